//! CPU time and memory of processes, as Linux's `/proc` tells them, and this process's limits.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};

/// CPU time, in nanoseconds, that the live threads of process `pid` have used, user and kernel together.
///
/// The sum of the first field of `/proc/PID/task/*/schedstat` (nanoseconds on the CPU; the ticks of
/// `/proc/PID/stat` are 10 ms coarse). A thread that ended takes its time with it, so this fits servers with a
/// fixed set of threads. `0` when the process does not exist.
#[must_use]
pub fn cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident: u64,
    /// The most that was resident at any time (`VmHWM`).
    pub peak: u64,
}

/// Resident memory of process `pid`; zeros when the process does not exist.
///
/// User memory only: what the kernel holds in socket buffers is not in it.
#[must_use]
pub fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Memory { resident: status_bytes(&status, "VmRSS:"), peak: status_bytes(&status, "VmHWM:") }
}

/// CPU time, in ticks of 10 ms, that the whole machine has spent on anything but being idle, over all cores.
///
/// With the time that the measured processes took it tells how much others disturbed a run.
#[must_use]
pub fn machine_busy_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    fields.iter().enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum()
}

/// Allows this process as many open files as its hard limit says.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Not being allowed to is no error yet: the limit may be enough.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn status_bytes(status: &str, key: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let pid = std::process::id();
        let before = cpu_ns(pid);
        let mut sum = 0u64;
        for n in 0..20_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n));
        }
        // Another read wakes nothing up: the scheduler adds a running thread's time at its tick.
        std::thread::yield_now();
        assert!(cpu_ns(pid) > before, "{sum}");
        let memory = memory(pid);
        assert!(memory.resident > 100 * 1024 && memory.peak >= memory.resident, "{memory:?}");
        assert!(machine_busy_ticks() > 0);
    }

    #[test]
    fn a_process_that_is_gone_has_nothing() {
        assert_eq!(cpu_ns(u32::MAX), 0);
        assert_eq!(memory(u32::MAX).resident, 0);
    }

    #[test]
    fn status_is_in_bytes() {
        assert_eq!(status_bytes("VmPeak:\t  10 kB\nVmRSS:\t  2048 kB\n", "VmRSS:"), 2 << 20);
        assert_eq!(status_bytes("", "VmRSS:"), 0);
    }
}

//! What the files of Linux's /proc say (proc(5)). Texts in, numbers out: nothing here touches a file.

/// What a processor has done since the machine was started, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) busy: u64,
    pub(super) total: u64,
}

/// The lines `cpu` and `cpuN` of /proc/stat: all processors together, then each with its number.
/// A processor that is switched off has no line.
pub(super) fn processors(stat: &str) -> Option<(Ticks, Vec<(usize, Ticks)>)> {
    let mut all = None;
    let mut each = Vec::new();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next().and_then(|word| word.strip_prefix("cpu")) else { continue };
        let ticks = ticks(words)?;
        match name {
            "" => all = Some(ticks),
            number => each.push((number.parse().ok()?, ticks)),
        }
    }
    Some((all?, each))
}

fn ticks<'a>(words: impl Iterator<Item = &'a str>) -> Option<Ticks> {
    // user, nice, system, idle, iowait, irq, softirq, steal. The two after them, guest and guest_nice, are
    // part of user and nice: counted again, a virtual machine's host would be busier than it is.
    let columns: Vec<u64> = words.take(8).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let total: u64 = columns.iter().sum();
    // Waiting for a disk is idling, too: something else could run.
    let idle = columns.get(3)? + columns.get(4).unwrap_or(&0);
    Some(Ticks { busy: total - idle, total })
}

/// The ticks that a process has used, of /proc/PID/stat: `utime` and `stime`, fields 14 and 15.
pub(super) fn process_ticks(stat: &str) -> Option<u64> {
    // Field 2 is the program's name in brackets, which may hold blanks and brackets itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// A line such as `MemTotal:  8056712 kB` of /proc/meminfo or /proc/PID/status, in bytes.
pub(super) fn bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// The averages over 1, 5 and 15 minutes of /proc/loadavg: tasks that run, want to, or wait for a disk.
pub(super) fn load_averages(loadavg: &str) -> Option<[f64; 3]> {
    let mut words = loadavg.split_ascii_whitespace().map(|word| word.parse().ok());
    Some([words.next()??, words.next()??, words.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "\
cpu  2255 34 2290 22625563 6290 127 456 10 1000 5
cpu0 1132 34 1441 11311718 3675 127 438 10 600 5
cpu3 1123 0 849 11313845 2614 0 18 0 400 0
intr 114930548 113199788 3 0 5 263 0 4
ctxt 1990473
btime 1062191376
";

    #[test]
    fn processors_are_busy_when_they_neither_idle_nor_wait_for_disks() {
        let (all, each) = processors(STAT).unwrap();
        let busy = 2255 + 34 + 2290 + 127 + 456 + 10;
        assert_eq!(all, Ticks { busy, total: busy + 22_625_563 + 6290 });
        let busy = 1123 + 849 + 18;
        assert_eq!(each[1], (3, Ticks { busy, total: busy + 11_313_845 + 2614 }));
        assert_eq!(each.len(), 2);
    }

    #[test]
    fn an_old_kernel_has_fewer_columns() {
        let (all, each) = processors("cpu  10 1 9 80\n").unwrap();
        assert_eq!((all, each), (Ticks { busy: 20, total: 100 }, Vec::new()));
    }

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "4242 (a) 1 (b c) S 1 4242 4242 0 -1 4194560 2907 0 12 0 731 52 0 0 20 0 9 0 8675309 1 2";
        assert_eq!(process_ticks(stat), Some(731 + 52));
    }

    #[test]
    fn memory_is_given_in_units_of_1024_bytes() {
        let info = "MemTotal:        8056712 kB\nMemFree:          203904 kB\nMemAvailable:    5123456 kB\nHugePages_Total:       0\n";
        assert_eq!(bytes(info, "MemTotal"), Some(8_056_712 * 1024));
        assert_eq!(bytes(info, "MemAvailable"), Some(5_123_456 * 1024));
        assert_eq!(
            bytes("Name:\tdashboard\nVmHWM:\t  9000 kB\nVmRSS:\t  7312 kB\n", "VmRSS"),
            Some(7312 * 1024)
        );
        assert_eq!(bytes(info, "Mem"), None);
        assert_eq!(bytes(info, "HugePages_Total"), None);
    }

    #[test]
    fn load_is_three_averages() {
        assert_eq!(load_averages("0.24 1.05 12.50 1/389 12345\n"), Some([0.24, 1.05, 12.5]));
    }

    #[test]
    fn what_is_none_of_this_is_nothing() {
        for text in [
            "",
            "cpu",
            "cpu a b c d",
            "cpu 1 2 3",
            "cpux 1 2 3 4",
            "(",
            "1 (x) S 1",
            "MemTotal: kB",
            "1.0 2.0",
        ] {
            assert_eq!(processors(text), None, "{text}");
            assert_eq!(process_ticks(text), None, "{text}");
            assert_eq!(bytes(text, "MemTotal"), None, "{text}");
            assert_eq!(load_averages(text), None, "{text}");
        }
    }
}

//! The machine's own figures, read from Linux's /proc. Elsewhere there are none, and the page says so.

mod proc;

use std::fs;

use proc::Ticks;

/// What the machine does: processors in percent since the reading before, memory in bytes. `None`
/// is what cannot be known, as all that needs a reading before is at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Machine {
    /// All processors together.
    pub(crate) processors: Option<f64>,
    /// Each processor that is switched on.
    pub(crate) each_processor: Vec<f64>,
    /// This process's share of all processors.
    pub(crate) process: Option<f64>,
    /// Memory that is in use and could not be given to somebody else.
    pub(crate) memory_used: Option<u64>,
    pub(crate) memory_total: Option<u64>,
    /// This process's resident memory.
    pub(crate) resident: Option<u64>,
    /// Averages over 1, 5 and 15 minutes.
    pub(crate) load: Option<[f64; 3]>,
}

/// Reads the machine's figures again and again: processors are counted between two readings.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    before: Option<Counted>,
}

#[derive(Clone, Debug)]
struct Counted {
    all: Ticks,
    each: Vec<(usize, Ticks)>,
    process: u64,
}

impl Probe {
    /// /proc is no disk: the kernel answers at once, so that reading it may stand in async code.
    pub(crate) fn read(&mut self) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (memory, status) = (read("/proc/meminfo"), read("/proc/self/status"));
        let memory_total = proc::bytes(&memory, "MemTotal");
        let available = proc::bytes(&memory, "MemAvailable");
        let mut machine = Machine {
            memory_used: memory_total
                .zip(available)
                .map(|(total, available)| total.saturating_sub(available)),
            memory_total,
            resident: proc::bytes(&status, "VmRSS"),
            load: proc::load_averages(&read("/proc/loadavg")),
            ..Machine::default()
        };
        self.count(&read("/proc/stat"), &read("/proc/self/stat"), &mut machine);
        machine
    }

    fn count(&mut self, stat: &str, process: &str, machine: &mut Machine) {
        let Some((all, each)) = proc::processors(stat) else { return };
        let now = Counted { all, each, process: proc::process_ticks(process).unwrap_or_default() };
        if let Some(before) = self.before.replace(now.clone()) {
            machine.processors = percent(before.all.busy, now.all.busy, before.all, now.all);
            machine.process = percent(before.process, now.process, before.all, now.all);
            machine.each_processor = now
                .each
                .iter()
                .filter_map(|&(number, now)| {
                    let (_, before) = *before.each.iter().find(|(before, _)| *before == number)?;
                    percent(before.busy, now.busy, before, now)
                })
                .collect();
        }
    }
}

/// How much of the time between two readings was used. The kernel's columns are no exact clock: some may
/// run backwards for a moment.
fn percent(used_before: u64, used_now: u64, before: Ticks, now: Ticks) -> Option<f64> {
    let time = now.total.checked_sub(before.total).filter(|time| *time > 0)?;
    let used = used_now.saturating_sub(used_before).min(time);
    Some(100.0 * used as f64 / time as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(cores: &[(usize, u64, u64)]) -> String {
        let sum = |of: fn(&(usize, u64, u64)) -> u64| cores.iter().map(of).sum::<u64>();
        let mut text = format!("cpu {} 0 0 {} 0 0 0 0 0 0\n", sum(|c| c.1), sum(|c| c.2));
        for (number, user, idle) in cores {
            text += &format!("cpu{number} {user} 0 0 {idle} 0 0 0 0 0 0\n");
        }
        text
    }

    fn process(ticks: u64) -> String {
        format!("1 (dashboard) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 1")
    }

    fn counted(readings: &[(&str, u64)]) -> Machine {
        let mut probe = Probe::default();
        let mut machine = Machine::default();
        for (stat, ticks) in readings {
            machine = Machine::default();
            probe.count(stat, &process(*ticks), &mut machine);
        }
        machine
    }

    #[test]
    fn processors_are_counted_between_two_readings() {
        let first = stat(&[(0, 1000, 9000), (1, 0, 10_000)]);
        let second = stat(&[(0, 1075, 9025), (1, 25, 10_075)]);
        assert_eq!(counted(&[(&first, 70)]), Machine::default());
        let machine = counted(&[(&first, 70), (&second, 90)]);
        assert_eq!(machine.processors, Some(50.0));
        assert_eq!(machine.each_processor, [75.0, 25.0]);
        assert_eq!(machine.process, Some(10.0));
    }

    #[test]
    fn a_processor_that_was_switched_on_meanwhile_has_no_figure_yet() {
        let first = stat(&[(0, 0, 0), (2, 0, 0)]);
        let second = stat(&[(0, 10, 90), (1, 50, 50), (2, 90, 10)]);
        assert_eq!(counted(&[(&first, 0), (&second, 0)]).each_processor, [10.0, 90.0]);
    }

    #[test]
    fn time_that_stands_still_or_runs_backwards_is_no_figure() {
        let later = stat(&[(0, 10, 90)]);
        assert_eq!(counted(&[(&later, 5), (&later, 5)]).processors, None);
        assert_eq!(counted(&[(&later, 5), (&stat(&[(0, 5, 90)]), 5)]).processors, None);
        // Idling was corrected down by 1: all of the time was used, and not more.
        let corrected = "cpu 20 0 0 89 0\ncpu0 20 0 0 89 0\n";
        assert_eq!(counted(&[(&later, 5), (corrected, 5)]).processors, Some(100.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_figures() {
        let machine = Probe::default().read();
        let (used, total) = (machine.memory_used.unwrap(), machine.memory_total.unwrap());
        assert!(0 < used && used < total, "{machine:?}");
        assert!((1..total).contains(&machine.resident.unwrap()), "{machine:?}");
        assert!(machine.load.unwrap().iter().all(|load| *load >= 0.0));
    }
}

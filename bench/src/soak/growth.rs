//! What the process takes, and whether that grows.

use std::fmt;

use tokio::runtime::Handle;

use crate::process;

/// What the process takes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Since the start.
    pub(super) seconds: f64,
    pub(super) tasks: usize,
    pub(super) files: usize,
    /// Bytes.
    pub(super) resident: u64,
}

impl Sample {
    pub(super) fn take(seconds: f64) -> Self {
        Self {
            seconds,
            tasks: Handle::current().metrics().num_alive_tasks(),
            files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            resident: process::memory(std::process::id()).resident,
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tasks, {} files, {:.1} MiB",
            self.tasks,
            self.files,
            self.resident as f64 / f64::from(1 << 20)
        )
    }
}

/// How many quiet points it takes to tell growth from chance.
const STEADY: usize = 8;

/// The samples of all quiet points.
#[derive(Debug, Default)]
pub(super) struct Growth(Vec<Sample>);

/// How much a minute adds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trend {
    pub(super) tasks: f64,
    pub(super) files: f64,
    pub(super) mebibytes: f64,
}

impl Growth {
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// How much a minute adds, by the quiet points without the first third of them, in which caches fill. `None` where they are too few.
    pub(super) fn trend(&self) -> Option<Trend> {
        let settled = &self.0[self.0.len() / 3..];
        if settled.len() < 4 {
            return None;
        }
        let per_minute = |value: fn(&Sample) -> f64| slope(settled, value) * 60.0;
        Some(Trend {
            tasks: per_minute(|sample| sample.tasks as f64),
            files: per_minute(|sample| sample.files as f64),
            mebibytes: per_minute(|sample| sample.resident as f64 / f64::from(1 << 20)),
        })
    }

    /// Tasks or files that grow: at none of the last quiet points they are fewer than at the one before, and at the end many more.
    pub(super) fn leak(&self) -> Option<String> {
        let last = self.0.get(self.0.len().checked_sub(STEADY)?..)?;
        let tasks: Vec<_> = last.iter().map(|sample| sample.tasks).collect();
        let files: Vec<_> = last.iter().map(|sample| sample.files).collect();
        let (kind, values) =
            [("tasks", tasks), ("files", files)].into_iter().find(|(_, values)| grows(values))?;
        Some(format!("{kind} grow from one quiet point to the next: {values:?}"))
    }
}

fn grows(values: &[usize]) -> bool {
    let rises = values.windows(2).all(|pair| pair[0] <= pair[1]);
    let (first, last) = (values.first().copied(), values.last().copied());
    rises && last.unwrap_or_default() >= first.unwrap_or_default() + STEADY
}

/// The slope of the line that fits best, for each second.
fn slope(samples: &[Sample], value: fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean_at = samples.iter().map(|sample| sample.seconds).sum::<f64>() / count;
    let mean = samples.iter().map(value).sum::<f64>() / count;
    let (mut over, mut under) = (0.0, 0.0);
    for sample in samples {
        let at = sample.seconds - mean_at;
        over += at * (value(sample) - mean);
        under += at * at;
    }
    if under > 0.0 { over / under } else { 0.0 }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, files, mebibytes } = self;
        write!(f, "{tasks:+.2} tasks, {files:+.2} files, {mebibytes:+.2} MiB a minute")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(tasks: impl Iterator<Item = usize>) -> Growth {
        let sample = |(minute, tasks)| Sample { seconds: minute as f64 * 60.0, tasks, ..Sample::default() };
        Growth(tasks.enumerate().map(sample).collect())
    }

    #[test]
    fn what_grows_all_the_time_is_a_leak_and_what_goes_up_and_down_is_not() {
        let steady = growth((0..20).map(|minute| 100 + 2 * minute));
        assert!(steady.leak().is_some());
        assert!((steady.trend().unwrap_or_default().tasks - 2.0).abs() < 1e-9);
        assert_eq!(growth((0..20).map(|minute| 100 + 10 * (minute % 3))).leak(), None);
        assert_eq!(growth((0..3).map(|minute| 100 * minute)).leak(), None);
        assert!(growth((0..3).map(|minute| 100 * minute)).trend().is_none());
    }
}

//! Medians over the rounds, and ratios taken within them.

use std::fmt;

use super::launch::Outcome;
use super::workload::Metric;
use crate::fan::Report;

/// All outcomes, by cell.
pub(super) struct Results {
    names: Vec<String>,
    metric: Metric,
    outcomes: Vec<Vec<Outcome>>,
}

impl Results {
    /// `metric` is what the cells are compared by.
    pub(super) fn new(names: &[String], metric: Metric) -> Self {
        Self { names: names.to_vec(), metric, outcomes: vec![Vec::new(); names.len()] }
    }

    pub(super) fn add(&mut self, cell: usize, outcome: Outcome) {
        self.outcomes[cell].push(outcome);
    }

    /// The median over the rounds of this cell's figure by the first cell's figure of the same round.
    fn ratio(&self, cell: usize) -> f64 {
        let figures =
            |cell: usize| self.outcomes[cell].iter().map(|outcome| figure(&outcome.report, self.metric));
        median(
            figures(cell)
                .zip(figures(0))
                .filter(|(_, base)| *base > 0.0)
                .map(|(own, base)| own / base)
                .collect(),
        )
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| server/workload | runs | deliveries/s (min-max) | server us/delivery (min-max) | cores | p50 ms \
             | p99 ms | p99.9 ms | probe p99 ms | bytes/connection | lost | doubled | reordered | {} / {} |",
            title(self.metric),
            self.names[0]
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")?;
        for (cell, (name, outcomes)) in self.names.iter().zip(&self.outcomes).enumerate() {
            let column = |value: fn(&Report) -> f64| -> Vec<f64> {
                outcomes.iter().map(|outcome| value(&outcome.report)).collect()
            };
            let sum = |value: fn(&Report) -> u64| -> u64 {
                outcomes.iter().map(|outcome| value(&outcome.report)).sum()
            };
            writeln!(
                f,
                "| {name} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {} | {} | {} | {:.3} |",
                outcomes.len(),
                spread(column(|report| report.deliveries_per_s), 0),
                spread(column(|report| report.server_us_per_delivery), 3),
                median(column(|report| report.server_util)),
                median(column(|report| report.latency.p50_us / 1e3)),
                median(column(|report| report.latency.p99_us / 1e3)),
                median(column(|report| report.latency.p999_us / 1e3)),
                median(column(|report| figure(report, Metric::ProbeP99) / 1e3)),
                median(column(|report| report.bytes_per_conn)),
                sum(|report| report.lost),
                sum(|report| report.doubled),
                sum(|report| report.reordered),
                self.ratio(cell),
            )?;
        }
        Ok(())
    }
}

/// One run, for the eye.
pub(super) fn run_line(name: &str, outcome: &Outcome) -> String {
    let report = &outcome.report;
    let mut line = format!(
        "{name:<24} {:>9.0}/s  server {:.3} us {:.2} cores  client {:.3} us {:.2} cores  p50 {:.2} p99 {:.2} ms",
        report.deliveries_per_s,
        report.server_us_per_delivery,
        report.server_util,
        report.client_us_per_delivery,
        report.client_util,
        report.latency.p50_us / 1e3,
        report.latency.p99_us / 1e3,
    );
    if let Some(probe) = &report.probe {
        line.push_str(&format!("  probe p50 {:.2} p99 {:.2} ms", probe.p50_us / 1e3, probe.p99_us / 1e3));
    }
    line.push_str(&format!("  {:.0} bytes/connection  others {:.2}", report.bytes_per_conn, outcome.others));
    if !report.is_clean() {
        line.push_str(&format!(
            "  lost {} doubled {} reordered {} misrouted {} dead {} refused {}: {}",
            report.lost,
            report.doubled,
            report.reordered,
            report.misrouted,
            report.dead,
            report.refused,
            report.trouble.as_deref().unwrap_or("-")
        ));
    }
    line
}

fn figure(report: &Report, metric: Metric) -> f64 {
    match metric {
        Metric::CpuPerDelivery => report.server_us_per_delivery,
        Metric::P99 => report.latency.p99_us,
        Metric::ProbeP99 => report.probe.as_ref().map_or(0.0, |probe| probe.p99_us),
        Metric::BytesPerConn => report.bytes_per_conn,
    }
}

fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::CpuPerDelivery => "CPU per delivery",
        Metric::P99 => "p99",
        Metric::ProbeP99 => "probe p99",
        Metric::BytesPerConn => "bytes",
    }
}

fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
    format!("{:.digits$} ({low:.digits$}-{high:.digits$})", median(values))
}

/// The middle value, or the mean of the two in the middle; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(spread(vec![3.0, 1.0, 2.0], 1), "2.0 (1.0-3.0)");
    }
}

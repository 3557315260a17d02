//! The loads that have a name.

/// One load and the figure that it is about.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) metric: Metric,
    /// Whether it runs for `--seconds`; else it ends by itself.
    pub(super) timed: bool,
    /// The load generator's options.
    pub(super) fan: &'static [&'static str],
}

/// The figure by which cells are compared; less is better in each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Metric {
    /// CPU time of the server per delivery, in microseconds.
    CpuPerDelivery,
    /// 99th percentile of the latency, in microseconds.
    P99,
    /// The same of the probe's.
    ProbeP99,
    /// Resident bytes per idle connection.
    BytesPerConn,
}

pub(super) const ALL: &[Workload] = &[
    Workload {
        name: "fanout",
        about: "1 topic, 1,000 subscribers, closed loop, 8 messages in flight",
        metric: Metric::CpuPerDelivery,
        timed: true,
        fan: &["--conns", "1000", "--window", "8"],
    },
    Workload {
        name: "fanout-one",
        about: "the same with 1 message in flight",
        metric: Metric::CpuPerDelivery,
        timed: true,
        fan: &["--conns", "1000", "--window", "1"],
    },
    Workload {
        name: "fanout-deep",
        about: "the same with 64 messages in flight",
        metric: Metric::CpuPerDelivery,
        timed: true,
        fan: &["--conns", "1000", "--window", "64"],
    },
    Workload {
        name: "fanout-10k",
        about: "1 topic, 10,000 subscribers, 8 in flight",
        metric: Metric::CpuPerDelivery,
        timed: true,
        fan: &["--conns", "10000", "--window", "8", "--settle-ms", "1500"],
    },
    Workload {
        name: "pairs",
        about: "500 topics of 2 subscribers each, 256 in flight",
        metric: Metric::CpuPerDelivery,
        timed: true,
        fan: &["--conns", "1000", "--topics", "500", "--window", "256"],
    },
    Workload {
        name: "many-topics",
        about: "1,000 subscribers of 20 topics each, 1,000 topics, 256 in flight (v1 and sse-v1 only)",
        metric: Metric::CpuPerDelivery,
        timed: true,
        fan: &["--conns", "1000", "--topics", "1000", "--topics-per-conn", "20", "--window", "256"],
    },
    Workload {
        name: "steady",
        about: "1 topic, 1,000 subscribers, 50 messages/s, open loop",
        metric: Metric::P99,
        timed: false,
        fan: &["--conns", "1000", "--rate", "50", "--messages", "330", "--warmup", "33"],
    },
    Workload {
        name: "no-stall",
        about: "steady, with 1,024 bytes and longer: what to compare stall with",
        metric: Metric::P99,
        timed: false,
        fan: &["--conns", "1000", "--rate", "50", "--messages", "660", "--warmup", "66", "--payload", "1024"],
    },
    Workload {
        name: "stall",
        about: "no-stall with one subscriber that does not read; the others are measured",
        metric: Metric::P99,
        timed: false,
        fan: &[
            "--conns",
            "1000",
            "--rate",
            "50",
            "--messages",
            "660",
            "--warmup",
            "66",
            "--payload",
            "1024",
            "--stall",
            "1",
        ],
    },
    Workload {
        name: "fairness",
        about: "a probe topic of 4 subscribers at 50 messages/s beside a saturated one of 10,000",
        metric: Metric::ProbeP99,
        timed: true,
        fan: &["--conns", "10000", "--window", "8", "--settle-ms", "1500", "--saturate"],
    },
    Workload {
        name: "idle",
        about: "10,000 idle subscribers",
        metric: Metric::BytesPerConn,
        timed: false,
        fan: &["--conns", "10000", "--settle-ms", "3000", "--idle"],
    },
];

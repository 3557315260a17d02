//! Every figure: its key, its name, its unit, and the chart it is drawn in. This is the only place that knows them; the page
//! gets it as `/figures.json` and draws what it says.

use serde::Serialize;

/// A figure's key, as in a message's `key` and in the samples of the past.
pub(crate) type Key = &'static str;

pub(crate) const CPU: Key = "cpu";
pub(crate) const CPU_CORES: Key = "cpu.cores";
pub(crate) const CPU_PROCESS: Key = "cpu.process";
pub(crate) const MEMORY: Key = "memory";
pub(crate) const MEMORY_TOTAL: Key = "memory.total";
pub(crate) const RESIDENT: Key = "memory.process";
pub(crate) const LOAD: [Key; 3] = ["load.1", "load.5", "load.15"];
pub(crate) const PUBLISHED: Key = "published";
pub(crate) const DELIVERED: Key = "delivered";
pub(crate) const CONFLATED: Key = "conflated";
pub(crate) const DROPPED: Key = "dropped";
pub(crate) const GAPS: Key = "gaps";
pub(crate) const QUEUED: Key = "queued";
pub(crate) const LAGGING: Key = "lagging";
pub(crate) const SHARDS: Key = "shards";
pub(crate) const CONNECTIONS: Key = "connections";
pub(crate) const SUBSCRIPTIONS: Key = "subscriptions";
/// Not drawn over time: the topics with the most subscribers, and which demo load is on.
pub(crate) const TOPICS: Key = "topics";
pub(crate) const DEMO: Key = "demo";

/// What a number counts.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// 0 to 100.
    Percent,
    Bytes,
    /// Pieces a second, the mean since the sample before.
    PerSecond,
    /// Pieces at the time of the sample.
    Count,
    /// Tasks that run or want to, an average.
    Tasks,
}

/// One figure in a chart. A figure that is a list is drawn as a bundle of thin lines.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) key: Key,
    name: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    title: &'static str,
    unit: Unit,
    /// Where the axis ends, unless the values say.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    pub(crate) lines: &'static [Line],
}

/// A figure that the page shows large, with its last minute.
#[derive(Debug, Serialize)]
pub(crate) struct Tile {
    title: &'static str,
    unit: Unit,
    pub(crate) key: Key,
}

pub(crate) const TILES: &[Tile] = &[
    Tile { title: "Processor", unit: Unit::Percent, key: CPU },
    Tile { title: "Memory", unit: Unit::Bytes, key: MEMORY },
    Tile { title: "Published", unit: Unit::PerSecond, key: PUBLISHED },
    Tile { title: "Delivered", unit: Unit::PerSecond, key: DELIVERED },
    Tile { title: "Queued", unit: Unit::Count, key: QUEUED },
    Tile { title: "Dropped", unit: Unit::PerSecond, key: DROPPED },
];

pub(crate) const CHARTS: &[Chart] = &[
    Chart {
        title: "Messages",
        unit: Unit::PerSecond,
        max: None,
        lines: &[Line { key: DELIVERED, name: "delivered" }, Line { key: PUBLISHED, name: "published" }],
    },
    Chart {
        title: "Given up for slow readers",
        unit: Unit::PerSecond,
        max: None,
        lines: &[
            Line { key: CONFLATED, name: "conflated" },
            Line { key: DROPPED, name: "dropped" },
            Line { key: GAPS, name: "gaps told" },
        ],
    },
    Chart {
        title: "Waiting",
        unit: Unit::Count,
        max: None,
        lines: &[Line { key: QUEUED, name: "in queues" }, Line { key: SHARDS, name: "in each shard" }],
    },
    Chart {
        title: "Processor",
        unit: Unit::Percent,
        max: Some(100.0),
        lines: &[
            Line { key: CPU, name: "machine" },
            Line { key: CPU_PROCESS, name: "process" },
            Line { key: CPU_CORES, name: "cores" },
        ],
    },
    Chart {
        title: "Load average",
        unit: Unit::Tasks,
        max: None,
        lines: &[
            Line { key: LOAD[0], name: "1 min" },
            Line { key: LOAD[1], name: "5 min" },
            Line { key: LOAD[2], name: "15 min" },
        ],
    },
    Chart {
        title: "Memory",
        unit: Unit::Bytes,
        max: None,
        lines: &[Line { key: MEMORY, name: "used" }, Line { key: MEMORY_TOTAL, name: "installed" }],
    },
    Chart {
        title: "Memory of this process",
        unit: Unit::Bytes,
        max: None,
        lines: &[Line { key: RESIDENT, name: "resident" }],
    },
    Chart {
        title: "Readers",
        unit: Unit::Count,
        max: None,
        lines: &[
            Line { key: SUBSCRIPTIONS, name: "subscriptions" },
            Line { key: CONNECTIONS, name: "connections" },
            Line { key: LAGGING, name: "lagging" },
        ],
    },
];

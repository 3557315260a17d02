//! Time since the start of the program, in nanoseconds.

use std::sync::OnceLock;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call: monotonic.
pub(super) fn now_ns() -> u64 {
    let start = START.get_or_init(Instant::now);
    start.elapsed().as_nanos() as u64
}

/// CPU time that this process has used, in nanoseconds.
pub(super) fn own_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

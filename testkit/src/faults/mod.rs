//! What servers and networks do to a backend: each fault is noticed, each ends, and the law holds meanwhile.
//!
//! Write a [`Setup`] that puts a real server behind a proxy, and stamp the tests with [`fault_tests!`](crate::fault_tests), one for
//! each function of [`each`]. Two whole brokers publish and listen all the time ([`World`]). Of each fault it is asked that
//! it is noticed within 10 s; that the nodes are back soon after its end; that every accepted message is delivered, once and in order, or covered
//! by a gap; that no task and no connection is left, and no memory to speak of.
//!
//! What a test of your own needs is here, too: a [`World`] for other faults, and [`Lone`], a node without a broker. [`held_back`] and
//! [`standstill`] are for backends with settings of their own; [`presence`], [`names`], [`logs`] and [`Crowd`] are for all, and [`Written`] for
//! what a log says, and must not say.

mod apart;
mod books;
mod clock;
mod crowd;
pub mod each;
mod impostor;
pub mod logs;
mod lone;
pub mod names;
pub mod presence;
mod site;
mod world;
mod written;

use std::time::Duration;

pub use apart::{held_back, standstill};
pub use crowd::Crowd;
pub use impostor::impostor;
pub use lone::{Lone, Told, retention};
pub use site::{Setup, Site};
use tokio::runtime::Builder;
pub use world::{Losses, World, broker};
pub use written::{Written, chain};

/// The topic of a [`World`] whose messages are retained.
pub const LOGGED: &str = "logged.t";

/// The topic of a [`World`] whose messages are not.
pub const EPHEMERAL: &str = "ephemeral.t";

/// A fault must be noticed within this time.
pub const NOTICED: Duration = Duration::from_secs(10);

/// A node has to be back within this time after the end of a fault, later than a [bare client](Setup::bare_client) is. Time in which the test's
/// own program had no turn does not count.
pub const BACK: Duration = Duration::from_secs(1);

/// Nothing takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one fault, as [`fault_tests!`](crate::fault_tests) stamps it.
///
/// # Panics
///
/// When the backend does not stand it.
pub fn run(fault: impl Future<Output = ()>) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(fault);
}

/// Stamps one `#[test]` for each [fault](crate::faults::each), for the [`Setup`](crate::faults::Setup) that is named. Put it
/// into a module of its own.
#[macro_export]
macro_rules! fault_tests {
    ($setup:ty) => {
        $crate::__fault_tests! { ($setup)
            restart kill_9 blackhole_for_15_s refused_for_10_s latency_of_500_ms reset kicked slow_reader
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_tests {
    (($setup:ty) $($fault:ident)*) => {
        $(
            #[test]
            fn $fault() {
                $crate::faults::run($crate::faults::each::$fault::<$setup>());
            }
        )*
    };
}

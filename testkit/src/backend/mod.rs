//! The conformance suite for backends: one test for each thing that the contract of
//! [`Backend`](fanfare_core::backend::Backend) promises.
//!
//! Write a [`Harness`] that makes nodes of your backend, and stamp the tests with [`backend_tests!`](crate::backend_tests):
//!
//! ```
//! use std::sync::Arc;
//!
//! use fanfare_core::backend::{Backend, memory::MemoryHub};
//! use fanfare_testkit::backend::{Clock, Exception, Harness, Needs};
//!
//! struct Hub(MemoryHub, MemoryHub);
//!
//! #[async_trait::async_trait]
//! impl Harness for Hub {
//!     async fn start() -> Option<Self> {
//!         Some(Self(MemoryHub::new(), MemoryHub::new()))
//!     }
//!
//!     fn node(&self) -> Arc<dyn Backend> {
//!         Arc::new(self.0.node())
//!     }
//!
//!     fn stranger(&self) -> Arc<dyn Backend> {
//!         Arc::new(self.1.node())
//!     }
//!
//!     fn clock() -> Clock {
//!         Clock::Paused
//!     }
//!
//!     fn exceptions() -> Vec<Exception> {
//!         let faults = [Needs::Interruption, Needs::InterestLoss, Needs::LogLoss, Needs::Garbage, Needs::BadSettings];
//!         faults.into_iter().flat_map(|need| Exception::all_that_need(need, "an example")).collect()
//!     }
//! }
//!
//! mod conformance {
//!     fanfare_testkit::backend_tests!(super::Hub);
//! }
//! # fn main() {}
//! ```
//!
//! Each case has the name of the contract's clause in front ([`CASES`] lists them). Most work with a backend whose
//! [`Ingress`](fanfare_core::backend::Ingress) leads to the suite, which sees everything that arrives; those of the law (`law_*`) run whole
//! brokers and look at what subscribers get.

mod case;
mod cases;
mod cluster;
mod harness;
mod node;
mod reader;
mod record;
mod run;
mod subject;

pub use case::{CASES, Case, Exception, Needs, case};
pub use cluster::Cluster;
pub use harness::{Clock, Harness, SECRET};
pub use run::{run, run_case};

/// Stamps one `#[test]` for each [case](crate::backend::CASES) of the suite, for the [`Harness`](crate::backend::Harness) that is
/// named. Put it into a module of its own.
#[macro_export]
macro_rules! backend_tests {
    ($harness:ty) => {
        $crate::__backend_cases! { [$crate::__backend_stamp] ($harness) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __backend_stamp {
    (($harness:ty) $(($clause:literal, $name:ident, $needs:ident, $about:literal))*) => {
        $(
            #[doc = $about]
            #[test]
            fn $name() {
                $crate::backend::run::<$harness>(stringify!($name));
            }
        )*
    };
}

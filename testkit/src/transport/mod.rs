//! The conformance suite for transports: what clients get over the wire.
//!
//! Write a [`Harness`] that serves a broker by your transport and speaks to it as a client, and stamp the tests with
//! [`transport_tests!`](crate::transport_tests). `examples/custom-transport` in the project's repository shows both.
//!
//! Clients of the suite only listen: messages are published by the app. What a transport makes of its clients' commands is its own
//! matter, and for its own tests.

mod app;
mod case;
mod cases;
mod client;
mod harness;
mod run;

pub use case::{CASES, Case, case};
pub use client::{Client, Event, Refused, Wanted};
pub use harness::Harness;
pub use run::{Setup, run, run_case};

/// Stamps one `#[test]` for each [case](crate::transport::CASES) of the suite, for the [`Harness`](crate::transport::Harness) that
/// is named. Put it into a module of its own.
#[macro_export]
macro_rules! transport_tests {
    ($harness:ty) => {
        $crate::__transport_cases! { [$crate::__transport_stamp] ($harness) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transport_stamp {
    (($harness:ty) $(($name:ident, $about:literal))*) => {
        $(
            #[doc = $about]
            #[test]
            fn $name() {
                $crate::transport::run::<$harness>(stringify!($name));
            }
        )*
    };
}

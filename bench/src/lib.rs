//! What the benchmark programs are made of: [`fan`], the load generator; [`compare`], which runs servers in turn;
//! [`hop`], what a backend costs; [`soak`], everything at once for a long time; and [`process`], what the kernel says of a process.
//!
//! The programs themselves (`fan`, `peer`, `server`, `compare`, `hop`, `soak`) are in `src/bin`; `README.md` says how to
//! run them and how to read their numbers.

#![forbid(unsafe_code)]

pub mod compare;
pub mod fan;
pub mod hop;
pub mod process;
pub mod soak;

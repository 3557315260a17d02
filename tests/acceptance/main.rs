//! Fanfare from outside: real browsers, clients, proxies and shells against real processes.
//!
//! What a machine lacks is skipped with a loud word; with `CI=true` it is a failure. `scripts/setup` installs it.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

mod cross_origin;
mod documents;
mod nginx;
mod people;
mod resume;
mod scaling;

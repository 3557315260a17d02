//! The server under test: an axum app that mounts Fanfare as an app author would.

fn main() {}

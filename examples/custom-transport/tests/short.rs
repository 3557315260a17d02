//! What it takes to write a transport is what an author reads here: it stays short.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{fs, path::Path};

/// Lines that are neither blank nor a comment.
#[test]
fn it_is_shorter_than_200_lines_of_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let count = |text: String| {
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    };
    let lines: usize = files.map(count).sum();
    assert!(lines < 200, "{lines} lines of code");
}

//! Programs of others.

use std::path::{Path, PathBuf};

use super::root;

/// The path of a program, or nothing and a loud word; in CI its absence is a failure, since a skipped test proves
/// nothing there.
pub(crate) fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's servers and what scripts/setup fetches are not on everybody's PATH.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), root(".cache/bin")]);
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found.or_else(|| missing(program))
}

/// The Python of the environment that `scripts/setup` makes.
pub(crate) fn python() -> Option<PathBuf> {
    present(root(".cache/venv/bin/python"))
}

/// What a test in Chromium needs. True if all is there.
pub(crate) fn chromium() -> bool {
    let candidates = ["chromium", "chromium-browser", "google-chrome"];
    let browser = std::env::var_os("CHROMIUM").is_some()
        || candidates.iter().any(|name| Path::new("/usr/bin").join(name).is_file());
    (browser || missing("chromium").is_some())
        && found("node").is_some()
        && present(root("tests/browser/node_modules/playwright-core")).is_some()
}

fn present(file: PathBuf) -> Option<PathBuf> {
    if file.exists() { Some(file) } else { missing(&file.display().to_string()) }
}

fn missing(what: &str) -> Option<PathBuf> {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing (CI=true: nothing may be)");
    eprintln!("\n!!! SKIPPED: {what} is missing; scripts/setup installs it\n");
    None
}

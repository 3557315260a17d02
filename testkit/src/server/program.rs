//! Which servers there are, and where.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// How deep below `.cache/venv/lib` a program is looked for: Python packages bring servers along.
const DEPTH: usize = 6;

/// A server's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Program {
    /// `redis-server`, or what `REDIS_SERVER` names.
    Redis,
    /// `valkey-server`, or what `VALKEY_SERVER` names.
    Valkey,
    /// `nats-server`, or what `NATS_SERVER` names.
    Nats,
    /// `nats-server-current`, or what `NATS_CURRENT_SERVER` names: a newer one beside that of a distribution.
    NatsCurrent,
}

impl Program {
    /// The file's name: `redis-server`, `valkey-server`, `nats-server` or `nats-server-current`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
            Self::Nats => "nats-server",
            Self::NatsCurrent => "nats-server-current",
        }
    }

    /// The environment variable that names it.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Redis => "REDIS_SERVER",
            Self::Valkey => "VALKEY_SERVER",
            Self::Nats => "NATS_SERVER",
            Self::NatsCurrent => "NATS_CURRENT_SERVER",
        }
    }

    /// Whether it speaks NATS's protocol, and reads its configuration.
    #[must_use]
    pub fn is_nats(self) -> bool {
        matches!(self, Self::Nats | Self::NatsCurrent)
    }

    /// Where it is. `None` where it is missing, which is said on the standard error.
    ///
    /// # Panics
    ///
    /// When it is missing and `CI` is `true`.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        let found = self.named_by_variable().or_else(|| self.on_path()).or_else(|| self.in_environment());
        if found.is_none() {
            let (name, variable) = (self.name(), self.variable());
            missing(&format!("{name} is missing: install it, or set {variable} to its path"));
        }
        found
    }

    fn named_by_variable(self) -> Option<PathBuf> {
        let path = PathBuf::from(env::var_os(self.variable())?);
        is_program(&path).then_some(path)
    }

    fn on_path(self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
        folders.map(|folder| folder.join(self.name())).find(|path| is_program(path))
    }

    fn in_environment(self) -> Option<PathBuf> {
        let here = env::current_dir().ok()?;
        let venv = here.ancestors().map(|folder| folder.join(".cache/venv")).find(|venv| venv.is_dir())?;
        // There it is current anyway.
        let name = if self.is_nats() { Self::Nats.name() } else { self.name() };
        let script = venv.join("bin").join(name);
        if is_program(&script) { Some(script) } else { search(&venv.join("lib"), name, DEPTH) }
    }
}

/// Says that a test is skipped for want of something, past the test harness, which keeps to itself what
/// tests that pass have said.
///
/// # Panics
///
/// When `CI` is `true`: there nothing may be missing.
pub(crate) fn missing(what: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{what} (CI=true: nothing may be missing)");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "\n!!! {what}\n!!! {test} is SKIPPED.\n");
}

fn search(folder: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let program = folder.join(name);
    if is_program(&program) {
        return Some(program);
    }
    let below = depth.checked_sub(1)?;
    let folders = fs::read_dir(folder).ok()?.flatten();
    let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).find_map(|folder| search(&folder, name, below))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

//! A certificate of the tests' own.

use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

/// A certificate for this machine and the guide's `app.example`, and its key, as PEM files. It signs itself: clients have
/// to trust it by name.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = ["localhost", "127.0.0.1", "app.example"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("chain.pem"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        Self { folder }
    }

    pub(crate) fn chain(&self) -> String {
        path(&self.folder.path().join("chain.pem"))
    }

    pub(crate) fn key(&self) -> String {
        path(&self.folder.path().join("key.pem"))
    }
}

fn path(file: &Path) -> String {
    PathBuf::from(file).into_os_string().into_string().unwrap()
}

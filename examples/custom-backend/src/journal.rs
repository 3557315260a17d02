//! The file that all nodes write, and read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fanfare_core::{backend::Retention, message::Epoch};
use serde::{Deserialize, Serialize};

/// The bytes after which a journal is begun anew.
const LONG: u64 = 256 << 20;

/// The journal begins with eight bytes of its own, by which a new one is known: the epoch of all logs.
const HEAD: u64 = 8;

/// A line of the journal, in JSON; bytes are base64.
#[derive(Serialize, Deserialize)]
pub(crate) enum Record {
    /// An envelope, in the placed form on a logged topic.
    Message(Option<Retention>, String),
    /// A frame of one node, for another one or for all.
    Control(u64, Option<u64>, String),
}

/// A place in the journal: what is before it has been read.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    pub(crate) epoch: Epoch,
    end: u64,
}

impl Journal {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("journal"), epoch: Epoch::new(0), end: HEAD }
    }

    /// What has come since it was read last; what nobody can read is `None`. Where the epoch has changed what had not been read of
    /// the journal before is lost. Others wait until the file is closed.
    pub(crate) fn read(&mut self) -> io::Result<(File, Vec<Option<Record>>)> {
        let mut file = File::options().read(true).append(true).create(true).open(&self.path)?;
        file.lock()?;
        if !(HEAD..LONG).contains(&file.metadata()?.len()) {
            file.set_len(0)?;
            file.write_all(&fastrand::u64(1..).to_be_bytes())?;
            file.rewind()?;
        }
        let (mut head, mut bytes) = ([0; HEAD as usize], Vec::new());
        file.read_exact(&mut head)?;
        let epoch = Epoch::new(u64::from_be_bytes(head));
        let from = if epoch == self.epoch { self.end } else { HEAD };
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)?;
        // A writer that died may have left a part of a line.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        (self.epoch, self.end) = (epoch, from + bytes.len() as u64);
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        Ok((file, lines.map(|line| serde_json::from_slice(line).ok()).collect()))
    }

    /// Writes a record where reading has come to the end.
    pub(crate) fn append(&self, mut file: &File, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.set_len(self.end)?;
        file.write_all(&line)
    }
}

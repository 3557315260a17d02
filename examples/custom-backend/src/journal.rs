//! The file that all nodes write, and read.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::log::Keep;

/// The bytes after which a journal is begun anew.
const LONG: u64 = 256 << 20;

/// A line of the journal, in JSON; bytes are base64.
#[derive(Serialize, Deserialize)]
pub(crate) enum Record {
    /// The first line: the epoch of all logs.
    Begin(u64),
    /// An envelope, in the placed form on a logged topic.
    Message(Option<Keep>, String),
    Control {
        from: u64,
        to: Option<u64>,
        frame: String,
    },
}

/// A place in the journal: what is before it has been read.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    file: Option<File>,
    end: u64,
}

impl Journal {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, file: None, end: 0 }
    }

    /// Reads to the end; a line that nobody can read is `None`. Others wait until the file that is returned is closed.
    pub(crate) fn read(&mut self) -> io::Result<(Vec<Option<Record>>, File)> {
        let lock = File::create(self.folder.join("lock"))?;
        lock.lock()?;
        let path = self.folder.join("journal");
        if !fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= LONG) {
            let new = self.folder.join("journal.new");
            fs::write(&new, line(&Record::Begin(fastrand::u64(1..)))?)?;
            fs::rename(new, &path)?;
        }
        let file = File::options().read(true).write(true).open(path)?;
        // What has been read counts as read: nothing may fail any more but reading itself.
        let mut records = self.read_file()?;
        let inode = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
        if self.file.as_ref().and_then(inode) != inode(&file) {
            (self.file, self.end) = (Some(file), 0);
            records.extend(self.read_file()?);
        }
        Ok((records, lock))
    }

    fn read_file(&mut self) -> io::Result<Vec<Option<Record>>> {
        let Some(mut file) = self.file.as_ref() else { return Ok(Vec::new()) };
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        file.seek(SeekFrom::Start(self.end))?;
        file.read_to_end(&mut bytes)?;
        // A writer that died may have left a part of a line.
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            self.end += line.len() as u64;
            records.push(serde_json::from_slice(line).ok());
        }
        Ok(records)
    }

    /// Writes a line where reading has come to the end, and nobody else writes.
    pub(crate) fn append(&self, record: &Record) -> io::Result<()> {
        let mut file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.set_len(self.end)?;
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(&line(record)?)
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

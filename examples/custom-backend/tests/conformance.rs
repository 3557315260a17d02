//! The backend passes the suite; an outage is a folder that is away for a while.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use custom_backend::Folder;
use fanfare_core::{backend::Backend, topic::TopicName};
use fanfare_testkit::backend::{Exception, Harness, Needs};
use tempfile::TempDir;

struct Cluster {
    folder: TempDir,
}

impl Cluster {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[async_trait]
impl Harness for Cluster {
    async fn start() -> Option<Self> {
        let cluster = Self { folder: TempDir::new().unwrap() };
        for name in ["ours", "theirs"] {
            fs::create_dir(cluster.path(name)).unwrap();
        }
        Some(cluster)
    }

    fn node(&self) -> Arc<dyn Backend> {
        Arc::new(Folder::new(self.path("ours")))
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        Arc::new(Folder::new(self.path("theirs")))
    }

    async fn interrupt(&self) {
        fs::rename(self.path("ours"), self.path("away")).unwrap();
    }

    async fn restore(&self) {
        fs::rename(self.path("away"), self.path("ours")).unwrap();
    }

    /// The logs of all topics.
    async fn lose_log(&self, _: &TopicName) {
        fs::remove_file(self.path("ours/journal")).unwrap();
    }

    /// To all who want anything.
    async fn garble(&self, _: &TopicName) {
        let mut journal = File::options().append(true).open(self.path("ours/journal")).unwrap();
        journal.lock().unwrap();
        journal.write_all(b"{\"Invented\":\"later\"}\n").unwrap();
    }

    fn misconfigured(&self) -> Vec<(&'static str, Arc<dyn Backend>)> {
        File::create(self.path("file")).unwrap();
        vec![("a file", Arc::new(Folder::new(self.path("file"))))]
    }

    fn unreachable(&self) -> Arc<dyn Backend> {
        Arc::new(Folder::new(self.path("not there")))
    }

    fn exceptions() -> Vec<Exception> {
        let interests = "what a node wants is known to the node alone";
        let whole = "the journal is lost as a whole, or not at all";
        let interests = Exception::all_that_need(Needs::InterestLoss, interests);
        interests.chain(Exception::all_that_need(Needs::EndLoss, whole)).collect()
    }
}

fanfare_testkit::backend_tests!(Cluster);

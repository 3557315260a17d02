//! What a log says.

use std::{
    error::Error,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::PATIENCE;

/// What is written, in one place: give a clone to whatever writes.
#[derive(Clone, Debug, Default)]
pub struct Written {
    all: Arc<Mutex<Vec<u8>>>,
    begin: usize,
}

impl Written {
    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.all.lock()[self.begin..]).into_owned()
    }

    /// The same from here on.
    #[must_use]
    pub fn from_here(&self) -> Self {
        Self { all: self.all.clone(), begin: self.all.lock().len() }
    }

    /// Waits until it holds these words.
    ///
    /// # Panics
    ///
    /// When it never does.
    pub async fn says(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.text().contains(what) {
            assert!(Instant::now() < deadline, "the log does not say `{what}`: {}", self.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// All that an error says, to users and to developers, with what lies behind it.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} / {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(" / {error} / {error:?}");
        source = error.source();
    }
    text
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.all.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

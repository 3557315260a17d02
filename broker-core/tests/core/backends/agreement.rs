//! Nodes that configure topics differently warn, each once for each other node.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use fanfare_core::{backend::memory::MemoryHub, topic::TopicConfig};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::soon;
use crate::support::{Faulty, Handle, Node};

/// Collects the warnings of one target.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if ["pattern", "here", "there"].contains(&field.name()) {
            write!(self.0, "{}={value:?} ", field.name()).unwrap();
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "fanfare::config"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Warnings {
    fn take(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.sort();
        all
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_disagree_warn_once_for_each_pair() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let hub = MemoryHub::new();
    let config = |messages| TopicConfig::new().history(messages);
    let faulty = Faulty::of(&hub);
    let first = Node::start(|b| b.backend(Handle(faulty.clone())).topic("log", config(5))).await;
    let _same = Node::start(|b| b.backend(hub.node()).topic("log", config(5))).await;
    soon().await;
    assert!(warnings.take().is_empty(), "they agree");
    let _other = Node::start(|b| b.backend(hub.node()).topic("log", config(6))).await;
    soon().await;
    let (five, six) = (config(5).to_string(), config(6).to_string());
    let of_the_two = format!("pattern=\"log\" here=\"{five}\" there=\"{six}\" ");
    let of_the_other = format!("pattern=\"log\" here=\"{six}\" there=\"{five}\" ");
    assert_eq!(
        warnings.take(),
        [of_the_two.clone(), of_the_two, of_the_other.clone(), of_the_other],
        "the two of the other, and the other of the two"
    );
    // They meet again, and again.
    for _ in 0..3 {
        faulty.hub.set_connected(false);
        faulty.hub.set_connected(true);
        soon().await;
    }
    assert!(warnings.take().is_empty());
    drop(first);
}

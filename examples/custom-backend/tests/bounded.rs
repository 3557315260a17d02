//! A journal that has become too long is begun anew, once, and everybody goes on with it.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{fs::File, time::Duration};

use custom_backend::Folder;
use fanfare_core::{Broker, message::GapReason, policy::Open, subscription::Delivery, topic::TopicConfig};
use tokio::time::timeout;

#[tokio::test]
async fn a_journal_that_is_too_long_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut brokers = Vec::new();
    for _ in 0..3 {
        let builder = Broker::builder().policy(Open).topic("logged", TopicConfig::new().history(100));
        brokers.push(builder.backend(Folder::new(folder.path())).start().await.unwrap());
    }
    let mut subscription = brokers[0].subscribe("logged").await.unwrap();
    let before = brokers[1].publish("logged", "before").await.unwrap().position.unwrap();
    let patience = Duration::from_secs(60);
    let Some(Delivery::Message(_)) = timeout(patience, subscription.recv()).await.unwrap() else {
        panic!("no message")
    };
    {
        let journal = File::options().write(true).open(folder.path().join("journal")).unwrap();
        journal.lock().unwrap();
        // What is behind the last line is what a writer that died has left.
        journal.set_len(300 << 20).unwrap();
    }
    let mut positions = Vec::new();
    for (n, broker) in brokers.iter().enumerate() {
        positions.push(broker.publish("logged", format!("after {n}")).await.unwrap().position.unwrap());
    }
    assert!(
        positions
            .iter()
            .all(|position| position.epoch != before.epoch && position.epoch == positions[0].epoch)
    );
    assert_eq!(positions.iter().map(|position| position.offset).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(File::open(folder.path().join("journal")).unwrap().metadata().unwrap().len() < 1 << 20);
    let mut got = Vec::new();
    while got.last().is_none_or(|last| last != "after 2") {
        match timeout(patience, subscription.recv()).await.unwrap().unwrap() {
            Delivery::Message(message) => got.push(message.value.as_str().unwrap().to_owned()),
            Delivery::Gap(gap) if gap.reason == GapReason::Epoch => got.push("another epoch".to_owned()),
            Delivery::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
    assert_eq!(got, ["another epoch", "after 0", "after 1", "after 2"]);
}

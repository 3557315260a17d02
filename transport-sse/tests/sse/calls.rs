//! A stream of events has no way back.

use std::time::{Duration, Instant};

use crate::support::{Version, app};

#[tokio::test]
async fn who_only_listens_is_asked_nothing_and_not_waited_for() {
    let app = app().await;
    let mut readers = Vec::new();
    for version in [Version::One, Version::Two] {
        for query in ["topic=t", "topic=t&topic=u", "topic=t&format=v1"] {
            let mut reader = app.open(version, query, "").await;
            reader.begun().await;
            readers.push(reader);
        }
    }
    let began = Instant::now();
    let call = app.broker.clients().topic("t").call("seen", "?").timeout(Duration::from_secs(600));
    let answers = call.await.unwrap();
    assert_eq!((answers.answered(), answers.asked), (0, readers.len()));
    assert!(began.elapsed() < Duration::from_secs(60), "nobody was waited for");
    app.broker.publish("t", "next").await.unwrap();
    for reader in &mut readers {
        assert!(reader.next().await.data.contains("next"), "the stream goes on");
    }
}

//! A room of ten thousand, and a thousand who come each second.

use std::time::Duration;

use fanfare_core::presence::PresenceEvent;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::{node, told};

#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_little_and_knows_how_many_there_are() {
    let node = node().await;
    let mut watch = node.broker.presence("room.a").watch().unwrap();
    let mut clients = Vec::new();
    for tick in 0..100 {
        for _ in 0..100 {
            let mut client = node.client().await;
            let wanted = fanfare_core::session::SubscribeCommand::live("room.a").with_presence();
            client.session().subscribe(wanted).await.unwrap();
            clients.push(client);
        }
        sleep(Duration::from_millis(100)).await;
        assert_eq!(clients.len(), 100 * (tick + 1));
    }
    told().await;
    sleep(Duration::from_secs(2)).await;
    let (mut events, mut last) = (0, 0);
    while let Some(Some(event)) = watch.recv().now_or_never() {
        events += 1;
        last = event.counts().clients;
        if let PresenceEvent::Changes(changes) = event {
            assert!(changes.join.len() <= 1000);
        }
    }
    assert_eq!(last, 10_000);
    assert!(events < 60, "{events} events in 12 s");
    let stats = node.broker.stats();
    // Each of the ten thousand has had its snapshot, and then what all are told: not each of the others.
    assert!(stats.offered < 10_000 * 25, "{stats:?}");
    let page = node.broker.presence("room.a").page(None, 1000).await.unwrap();
    assert_eq!((page.members.len(), page.counts.clients), (1000, 10_000));
}

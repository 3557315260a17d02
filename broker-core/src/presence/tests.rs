//! What is left in a broker of rooms that nobody is in any more.

use super::PresenceConfig;
use crate::{Broker, policy::Open, topic::TopicConfig};

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_who_has_watched() {
    let rooms = TopicConfig::new().presence(PresenceConfig::new());
    let started = Broker::builder().policy(Open).topic("room.*", rooms).start().await;
    let broker = started.unwrap_or_else(|error| panic!("{error}"));
    for number in 0..10 {
        let presence = broker.presence(format!("room.{number}").as_str());
        let watches = [presence.watch(), presence.watch()];
        assert!(watches.iter().all(Result::is_ok));
        assert_eq!(broker.inner().presence.state.lock().watched.len(), 1);
        drop(watches);
    }
    let state = broker.inner().presence.state.lock();
    assert!(state.watched.is_empty());
    assert_eq!(state.replica.sizes()[0], 0);
}

//! What failed while the backend was up is tried again until it succeeds, and what was missed meanwhile is told.

use fanfare_core::backend::BackendErrorKind;

use super::{Two, soon};
use crate::support::{idle, name, received};

#[tokio::test(start_paused = true)]
async fn an_interest_that_failed_is_tried_again_although_the_backend_stays_up() {
    let two = Two::start().await;
    two.faulty.fail("subscribe", 3);
    let mut topic = two.here.broker.subscribe("t").await.unwrap();
    two.there.publish_numbers("t", 1..=2).await;
    soon().await;
    soon().await;
    two.there.publish_numbers("t", 3..=3).await;
    assert_eq!(received(&mut topic).await, ["gap missed=? ?..? backend", "t 3"]);
    assert_eq!(two.faulty.calls("subscribe"), 4, "and no more often than needed");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_failed_is_tried_again_and_its_subscribers_alone_are_told() {
    let two = Two::start().await;
    let mut other = two.here.broker.subscribe_pattern("other.*").await.unwrap();
    two.faulty.fail("subscribe", 3);
    let mut pattern = two.here.broker.subscribe_pattern("t.*").await.unwrap();
    two.there.publish_numbers("t.a", 1..=2).await;
    soon().await;
    soon().await;
    two.there.publish_numbers("t.a", 3..=3).await;
    assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend", "t.a 3"]);
    assert!(received(&mut other).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_interest_could_not_be_renewed_is_read_on_as_soon_as_it_is() {
    let two = Two::start().await;
    let mut log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.deafen(true);
    two.faulty.hub.set_connected(false);
    two.there.publish_numbers("log.a", 1..=3).await;
    two.faulty.fail("subscribe", 4);
    two.faulty.hub.set_connected(true);
    soon().await;
    soon().await;
    assert_eq!(received(&mut log).await, ["log.a#1 1", "log.a#2 2", "log.a#3 3"], "no gap");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_could_not_be_read_on_return_is_read_as_soon_as_it_can_be() {
    let two = Two::start().await;
    let mut log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.hub.set_connected(false);
    two.there.publish_numbers("log.a", 1..=3).await;
    two.faulty.fail("history", 2);
    two.faulty.hub.set_connected(true);
    soon().await;
    assert_eq!(received(&mut log).await, ["log.a#1 1", "log.a#2 2", "log.a#3 3"], "nobody publishes again");
}

#[tokio::test(start_paused = true)]
async fn what_a_message_shows_to_be_missing_is_read_later_if_it_cannot_be_read_at_once() {
    let two = Two::start().await;
    let mut log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.deafen(true);
    two.there.publish_numbers("log.a", 1..=2).await;
    idle().await;
    two.faulty.deafen(false);
    two.faulty.fail("history", 2);
    two.there.publish_numbers("log.a", 3..=3).await;
    soon().await;
    assert_eq!(received(&mut log).await, ["log.a#1 1", "log.a#2 2", "log.a#3 3"], "no gap");
    // What will never be read is told at once.
    two.faulty.deafen(true);
    two.there.publish_numbers("log.a", 4..=5).await;
    idle().await;
    two.faulty.deafen(false);
    two.faulty.fail_as("history", 1, BackendErrorKind::Corrupt);
    two.there.publish_numbers("log.a", 6..=6).await;
    assert_eq!(received(&mut log).await, ["gap missed=2 3..6 backend", "log.a#6 6"]);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_could_not_be_read_at_once_is_read_later() {
    let two = Two::start().await;
    let mut log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.deafen(true);
    two.there.publish_numbers("log.a", 1..=3).await;
    idle().await;
    two.faulty.fail("history", 2);
    for _ in 0..100 {
        two.faulty.ingress().lost(Some(&name("log.a")));
    }
    soon().await;
    assert_eq!(received(&mut log).await, ["log.a#1 1", "log.a#2 2", "log.a#3 3"]);
    let reads = two.faulty.calls("history");
    assert!(reads <= 6, "what is said a hundred times is read once: {reads}");
}

#[tokio::test(start_paused = true)]
async fn the_word_of_what_was_not_carried_is_given_again_until_it_is_taken() {
    let two = Two::start().await;
    let mut topic = two.there.broker.subscribe("t").await.unwrap();
    two.here.publish_numbers("t", 1..=1).await;
    two.faulty.fail("publish", 1);
    two.faulty.fail("control", 3);
    assert!(two.here.broker.publish("t", "2").await.is_err());
    soon().await;
    soon().await;
    // Nobody publishes again, and the backend was up all the time.
    assert_eq!(received(&mut topic).await, ["t 1", "gap missed=1 ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_carried_is_known_although_its_publisher_did_not_wait() {
    let two = Two::start().await;
    let mut topic = two.there.broker.subscribe("t").await.unwrap();
    two.here.publish_numbers("t", 1..=1).await;
    two.faulty.hang("publish");
    let mut publishing = Box::pin(std::future::IntoFuture::into_future(two.here.broker.publish("t", "2")));
    assert!(crate::support::waits(&mut publishing));
    drop(publishing);
    two.faulty.heal();
    tokio::time::sleep(2 * two.here.broker.limits().backend_timeout).await;
    assert_eq!(received(&mut topic).await, ["t 1", "gap missed=1 ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_given_up_is_given_up_later() {
    let two = Two::start().await;
    for topic in ["t", "log.a"] {
        let subscription = two.here.broker.subscribe(topic).await.unwrap();
        two.faulty.fail("unsubscribe", 2);
        drop(subscription);
        soon().await;
        assert_eq!(two.faulty.calls("unsubscribe"), 3, "{topic}");
        assert_eq!(two.here.broker.stats().topics, 0, "{topic}: nothing is kept of it");
    }
    let pattern = two.here.broker.subscribe_pattern("t.*").await.unwrap();
    two.faulty.fail("unsubscribe", 2);
    drop(pattern);
    soon().await;
    assert_eq!(two.faulty.calls("unsubscribe"), 3);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_while_giving_up_fails_keeps_the_topic() {
    let two = Two::start().await;
    let first = two.here.broker.subscribe("t").await.unwrap();
    two.faulty.fail("unsubscribe", usize::MAX);
    drop(first);
    idle().await;
    let mut second = two.here.broker.subscribe("t").await.unwrap();
    two.faulty.heal();
    soon().await;
    two.there.publish_numbers("t", 1..=1).await;
    let got = received(&mut second).await;
    assert_eq!(got.last().unwrap(), "t 1", "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn an_interest_that_is_refused_is_an_error_and_not_tried_again() {
    let two = Two::start().await;
    for topic in ["t", "log.a"] {
        two.faulty.fail_as("subscribe", usize::MAX, BackendErrorKind::Refused);
        assert!(two.here.broker.subscribe(topic).await.is_err(), "{topic}");
        soon().await;
        assert_eq!(two.faulty.calls("subscribe"), 1, "{topic}");
        two.faulty.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_from_before_a_loss_does_not_hide_it() {
    let two = Two::start().await;
    let mut topic = two.here.broker.subscribe("t").await.unwrap();
    two.there.publish_numbers("t", 1..=1).await;
    idle().await;
    two.faulty.hub.set_connected(false);
    two.there.publish_numbers("t", 2..=3).await;
    // The interest is renewed late; one message is given before that.
    two.faulty.slow("subscribe");
    two.faulty.hub.set_connected(true);
    two.there.publish_numbers("t", 4..=4).await;
    tokio::task::yield_now().await;
    two.there.publish_numbers("t", 5..=5).await;
    let got = received(&mut topic).await;
    let of = |text: &str| got.iter().position(|line| line == text).unwrap_or_else(|| panic!("{got:?}"));
    let gap = got.iter().position(|line| line.starts_with("gap")).unwrap();
    assert!(of("t 1") < gap && gap < of("t 4") && of("t 4") < of("t 5"), "{got:?}");
}

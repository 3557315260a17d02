//! Faults for backends with settings of their own, which therefore no list can hold.

use std::time::Duration;

use fanfare_core::{
    backend::{Backend, BackendState},
    subscription::Delivery,
};
use tokio::time::{sleep, timeout};

use super::{LOGGED, Lone, PATIENCE, Site, World, broker};

/// How many messages are held back.
const HELD: u32 = 1000;

/// With a buffer for 1,000 messages, what is published to a logged topic in an outage is sent after it, in order. The backend of the first
/// broker has the buffer; both use the proxy.
///
/// # Panics
///
/// When something is lost, or more is held back.
pub async fn held_back(site: &Site, buffered: impl Backend, other: impl Backend) {
    let (publisher, listener) = (broker(buffered).await, broker(other).await);
    let mut subscription = listener.subscribe(LOGGED).await.expect("a subscription");
    site.proxy.refuse();
    World::until_state(&publisher, BackendState::Down).await;
    // A backend may have several connections, and is down when it has noticed the end of one: what it sends by another one that is as dead is
    // not held back, and its outcome not known.
    sleep(Duration::from_millis(500)).await;
    let publish = |n: u32| tokio::spawn(publisher.publish(LOGGED, n.to_string()).into_future());
    let held: Vec<_> = (0..HELD).map(publish).collect();
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(200)).await;
    let over = timeout(PATIENCE, publisher.publish(LOGGED, "one too many").into_future()).await;
    assert!(over.expect("an answer at once").is_err(), "the buffer is bounded");
    site.proxy.heal();
    for publish in held {
        publish.await.expect("a task").expect("it is sent when the server is back");
    }
    let mut got = Vec::new();
    while got.len() < HELD as usize {
        match timeout(PATIENCE, subscription.recv()).await.expect("a message") {
            Some(Delivery::Message(message)) => {
                got.push(message.message().payload().as_str().expect("text").to_owned());
            }
            Some(_) => {}
            None => panic!("the subscription has ended"),
        }
    }
    got.sort_by_key(|text| text.parse::<u32>().expect("a number"));
    assert_eq!(got, (0..HELD).map(|n| n.to_string()).collect::<Vec<_>>());
    for broker in [publisher, listener] {
        broker.drain(Duration::from_secs(5)).await;
    }
}

/// A program that stands still for a while must not take that for the server's silence: for a backend that asks its server every 20 ms,
/// and gives it 300 ms. To be run on a runtime of one thread that does not run the proxy.
///
/// # Panics
///
/// When the backend believes that its server is gone.
pub async fn standstill(site: &Site, impatient: impl Backend) {
    let node = Lone::start(impatient).await;
    // Most of the time an answer is on its way.
    site.proxy.latency(Duration::from_millis(30));
    for _ in 0..20 {
        // Somewhere between a question and its answer.
        sleep(Duration::from_millis(fastrand::u64(20..60))).await;
        std::thread::sleep(Duration::from_millis(400));
    }
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.told(), [], "nothing has happened");
    node.end().await;
}

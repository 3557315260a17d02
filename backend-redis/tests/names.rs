//! Topics of any name, in any number, and clusters that share a server and nothing else.

mod support;

use fanfare_testkit::{
    faults::{Told, names},
    server::Program,
};
use futures_util::future::join_all;
use support::{Setup, lone};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_odd_names_are_apart() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    names::odd(lone(setup.builder()).await, lone(setup.builder()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_glob_would_read_is_read_as_it_stands() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    // Also a prefix is no glob.
    let builder = || setup.builder().prefix("odd[*]?\\:");
    let (publisher, listener) = (lone(builder()).await, lone(builder()).await);
    let stranger = lone(setup.builder().prefix("odd[x]y\\:")).await;
    for pattern in ["a?c.*", "[ab].>", r"x\\y.*", "{b}.*"] {
        listener.subscribe_pattern(pattern).await;
    }
    let (yes, no) =
        (["a?c.1", "[ab].1.2", r"x\\y.1", "{b}.1"], ["abc.1", "a.1", "b.1.2", "xy.1", "b.1", "a?c.1.2"]);
    for name in no.iter().chain(&yes) {
        stranger.hand_over(name, "stranger", None).await.expect("it is accepted");
        publisher.hand_over(name, name, None).await.expect("it is accepted");
    }
    listener
        .until("the last one", |told| told.contains(&Told::Message("{b}.1".into(), "{b}.1".into())))
        .await;
    let wanted: Vec<_> = yes.iter().map(|name| Told::Message((*name).into(), (*name).into())).collect();
    assert_eq!(listener.told(), wanted);
    for node in [publisher, listener, stranger] {
        node.end().await;
    }
}

/// Channels know nothing of databases, and prefixes may begin with each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_share_nothing() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let mut clusters = Vec::new();
    for (prefix, db) in
        [("app", 11), ("app1", 1), ("app", 1), ("app:", 1), ("app:1", 1), ("appdb1", 1), ("", 1), ("db1", 11)]
    {
        let pair = [(); 2].map(|()| lone(setup.builder().prefix(prefix).database(db)));
        let Ok(pair) = <[_; 2]>::try_from(join_all(pair).await) else { panic!("two nodes") };
        clusters.push((format!("{prefix}/{db}"), pair));
    }
    names::apart(clusters, |backend| backend.foreign_messages()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscriptions_are_renewed() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    let left = async || {
        let channels: Vec<String> = setup.tell(&["PUBSUB", "CHANNELS", "*many.*"]).await;
        channels.len()
    };
    names::many(&setup, publisher, listener, left).await;
}

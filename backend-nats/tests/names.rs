//! Topics of any name, in any number, and clusters that share a server and nothing else.

mod support;

use fanfare_core::backend::BackendState;
use fanfare_testkit::{
    faults::{Told, names},
    server::Program,
};
use futures_util::future::join_all;
use support::{Setup, lone, on_both};

on_both! {
    topics_of_odd_names_are_apart
    a_pattern_stands_for_whole_segments_and_not_for_the_systems
    clusters_share_nothing
    many_subscriptions_are_renewed
}

async fn topics_of_odd_names_are_apart(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    names::odd(lone(setup.builder()).await, lone(setup.builder()).await).await;
}

/// The rules of topics and those of subjects are not quite the same.
async fn a_pattern_stands_for_whole_segments_and_not_for_the_systems(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    for pattern in ["a.*", "*.b", "c.>", "$sys.>"] {
        listener.subscribe_pattern(pattern).await;
    }
    let yes = ["a.x", "a.b", "x.b", "c.d.e", "$sys.x.y", "$sys.b", "a.{%2A}"];
    let no = ["a", "a.x.y", "$other.b", "c", "b", "l.t.a.x", "t.a.x"];
    for name in no.iter().chain(&yes).chain(&["a.end"]) {
        publisher.hand_over(name, name, None).await.expect("it is accepted");
    }
    let message = |name: &&str| Told::Message((*name).into(), (*name).into());
    listener.until("the last one", |told| told.contains(&message(&"a.end"))).await;
    assert_eq!(listener.told(), yes.iter().chain(&["a.end"]).map(message).collect::<Vec<_>>());
    for node in [publisher, listener] {
        node.end().await;
    }
}

/// Prefixes may begin with each other, and look like what stands behind one.
async fn clusters_share_nothing(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let mut clusters = Vec::new();
    for prefix in ["app", "app1", "APP", "app-log", "app-values", "m", "l", "n", "_INBOX"] {
        let pair = [(); 2].map(|()| lone(setup.builder().prefix(prefix)));
        let Ok(pair) = <[_; 2]>::try_from(join_all(pair).await) else { panic!("two nodes") };
        clusters.push((prefix.to_owned(), pair));
    }
    names::apart(clusters, |backend| backend.foreign_messages()).await;
}

async fn many_subscriptions_are_renewed(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    publisher.until_state(BackendState::Up).await;
    let admin = setup.admin().await;
    let left = async || {
        let subjects = admin.subjects().await;
        subjects.iter().filter(|subject| subject.starts_with("fanfare.m.t.many.")).count()
    };
    names::many(&setup, publisher, listener, left).await;
}

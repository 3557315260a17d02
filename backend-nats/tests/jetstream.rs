//! A JetStream that is restarted: with what it had stored, with some of it, with nothing.

mod support;

use std::{fs, path::Path, process::Command};

use fanfare_core::{
    backend::{BackendState, HistoryQuery},
    message::Position,
    topic::TopicConfig,
};
use fanfare_nats::{NatsBackend, Storage};
use fanfare_testkit::{
    faults::{LOGGED, Lone, retention},
    server::Program,
};
use support::{Setup, lone, on_both, world};

on_both! {
    what_is_stored_survives_a_restart
    a_log_without_its_storage_is_another_one
    a_backup_that_is_put_back_gives_no_place_twice
    a_log_in_memory_begins_anew_with_the_server
}

async fn publish(node: &Lone<NatsBackend>, text: &str) -> Position {
    let kept = retention(&TopicConfig::new().history(100));
    let accepted = node.hand_over(LOGGED, text, Some(kept)).await.expect("it is stored");
    accepted.position.expect("a position")
}

async fn texts(node: &Lone<NatsBackend>) -> Vec<String> {
    let page = node.history(LOGGED, HistoryQuery::After { offset: 0, limit: 100 }).await;
    page.messages.iter().map(|m| m.payload().as_str().unwrap_or_default().to_owned()).collect()
}

/// The server goes and comes back; what happens to its files in between is the caller's.
async fn while_away(setup: &mut Setup, node: &Lone<NatsBackend>, meanwhile: impl FnOnce(&Path)) {
    setup.server.stop().await.expect("a signal");
    node.until_state(BackendState::Down).await;
    meanwhile(setup.server.folder());
    setup.server.restart().await.expect("a server");
    node.until_state(BackendState::Up).await;
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()));
}

async fn what_is_stored_survives_a_restart(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let before = publish(&node, "1").await;
    while_away(&mut setup, &node, |_| ()).await;
    let after = publish(&node, "2").await;
    assert_eq!(after.epoch, before.epoch);
    assert!(after.offset > before.offset, "{before:?} {after:?}");
    assert_eq!(texts(&node).await, ["1", "2"]);
    node.end().await;
    // Subscribers of a restart that keeps everything are told nothing.
    let world = world(setup.builder(), setup.builder()).await;
    for _ in 0..3 {
        world.check().await;
        setup.server.stop().await.expect("a signal");
        world.noticed("restart with storage").await;
        setup.server.restart().await.expect("a server");
        world.back("restart with storage").await;
    }
    let losses = world.end("restart with storage").await;
    assert_eq!(losses.logged, 0, "nothing was lost");
}

/// Without its storage the log is another one, and says so.
async fn a_log_without_its_storage_is_another_one(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let before = publish(&node, "1").await;
    while_away(&mut setup, &node, |folder| fs::remove_dir_all(folder.join("jetstream")).expect("a folder"))
        .await;
    let after = publish(&node, "2").await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(texts(&node).await, ["2"]);
    node.end().await;
    let world = world(setup.builder(), setup.builder()).await;
    for _ in 0..3 {
        world.check().await;
        setup.server.kill();
        world.noticed("restart without storage").await;
        setup.server.wipe().expect("a folder");
        setup.server.restart().await.expect("a server");
        world.back("restart without storage").await;
    }
    let losses = world.end("restart without storage").await;
    assert!(losses.gaps > 0, "{losses:?}");
}

/// A backup is put back: what was stored after it is lost, and its places are given to nobody.
async fn a_backup_that_is_put_back_gives_no_place_twice(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let first = publish(&node, "1").await;
    let backup = tempfile::tempdir().expect("a folder");
    let stored = backup.path().join("jetstream");
    while_away(&mut setup, &node, |folder| copy(&folder.join("jetstream"), &stored)).await;
    let lost = publish(&node, "lost").await;
    assert_eq!(lost.epoch, first.epoch);
    while_away(&mut setup, &node, |folder| {
        fs::remove_dir_all(folder.join("jetstream")).expect("a folder");
        copy(&stored, folder);
    })
    .await;
    let after = publish(&node, "2").await;
    assert!(
        after.epoch != lost.epoch || after.offset > lost.offset,
        "{after:?} may have named another message: {lost:?} did"
    );
    assert!(!texts(&node).await.contains(&"lost".to_owned()));
    node.end().await;
    // Two brokers of which nobody knows how far the other one was.
    let world = world(setup.builder(), setup.builder()).await;
    for _ in 0..3 {
        world.check().await;
        setup.server.stop().await.expect("a signal");
        let _ = fs::remove_dir_all(&stored);
        copy(&setup.server.folder().join("jetstream"), &stored);
        setup.server.restart().await.expect("a server");
        world.back("a backup").await;
        world.check().await;
        setup.server.kill();
        world.noticed("a backup").await;
        setup.server.wipe().expect("a folder");
        copy(&stored, setup.server.folder());
        setup.server.restart().await.expect("a server");
        world.back("a backup").await;
    }
    world.end("a backup").await;
}

/// In memory a log is as long as the server.
async fn a_log_in_memory_begins_anew_with_the_server(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder().storage(Storage::Memory)).await;
    let before = publish(&node, "1").await;
    while_away(&mut setup, &node, |_| ()).await;
    let after = publish(&node, "2").await;
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(texts(&node).await, ["2"]);
    node.end().await;
}

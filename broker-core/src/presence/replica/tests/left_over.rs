//! That nothing is kept, waited for or said that is not needed any more.

use super::*;

fn topic() -> TopicName {
    TopicName::new("room").unwrap()
}

fn info(meta: &str) -> Info {
    Info { user: None, meta: Some(meta.into()) }
}

/// A node without others.
fn alone() -> (Replica, Instant) {
    (Replica::new(NODES[0], true), Instant::now())
}

/// Rooms, what others are to be told, timers, and of how many clients watchers are to be told.
fn sizes(replica: &Replica) -> [usize; 4] {
    let [rooms, _, outgoing, _, timers, noted] = replica.sizes();
    [rooms, outgoing, timers, noted]
}

#[test]
fn a_node_alone_tells_nobody_and_notes_nothing_where_nobody_watches() {
    let (mut replica, now) = alone();
    for client in 1..=100 {
        replica.join(&topic(), PresenceConfig::new(), ClientId::new(client), info("x"), 1, now);
    }
    for client in 2..=100 {
        replica.leave(&topic(), ClientId::new(client), now);
    }
    assert_eq!(sizes(&replica), [1, 0, 0, 0]);
    assert_eq!(replica.poll(now + Duration::from_secs(1)), []);
}

#[test]
fn of_a_grace_that_is_over_before_its_time_no_timer_is_left() {
    let (mut replica, now) = alone();
    let config = PresenceConfig::new().grace(Duration::from_secs(3600));
    for _ in 0..10 {
        for client in [1, 2].map(ClientId::new) {
            replica.join(&topic(), config, client, info("x"), 1, now);
            replica.lose(&topic(), client, now);
        }
        // One comes back, one is let go.
        replica.join(&topic(), config, ClientId::new(1), info("x"), 1, now);
        replica.leave(&topic(), ClientId::new(2), now);
    }
    assert_eq!(sizes(&replica), [1, 0, 0, 0]);
}

#[test]
fn a_client_that_is_seen_elsewhere_has_one_grace_more_and_not_one_for_each_word() {
    let mut pair = Pair::new();
    let (topic, client) = (pair.topic.clone(), ClientId::new(7));
    pair.join(0, 7, "0", 1);
    pair.pass(100);
    pair.nodes[0].lose(&topic, client, pair.now);
    pair.pass(3000);
    pair.join(1, 7, "1", 2);
    pair.pass(4000);
    assert!(pair.nodes[0].own_info(&topic, client).is_some(), "it has another whole grace");
    for meta in 2..=3 {
        pair.join(1, 7, &meta.to_string(), meta);
        pair.pass(1000);
    }
    assert!(pair.nodes[0].own_info(&topic, client).is_none());
    assert_eq!(pair.shown(), [["3"], ["3"]]);
}

#[test]
fn what_is_said_already_is_not_said_again() {
    let mut pair = Pair::new();
    pair.join(0, 7, "x", 1);
    pair.pass(1000);
    pair.join(0, 7, "x", 2);
    assert_eq!(sizes(&pair.nodes[0])[1..3], [0, 0]);
}

#[test]
fn a_room_that_was_asked_for_is_held_for_a_while_and_one_that_is_served_anyway_is_not() {
    let (mut replica, now) = alone();
    let config = PresenceConfig::new();
    let after = |seconds| now + Duration::from_secs(seconds);
    for ms in 0..100 {
        assert!(replica.hold(&topic(), config, now + Duration::from_millis(ms)));
    }
    assert_eq!(sizes(&replica), [1, 0, 1, 0], "one timer, however often");
    replica.watch(&topic(), config, after(1));
    replica.unwatch(&topic(), after(1));
    assert_eq!(sizes(&replica)[0], 1, "it is still held");
    replica.hold(&topic(), config, after(2));
    replica.poll(after(6));
    assert_eq!(sizes(&replica)[0], 1, "from the last question on");
    replica.poll(after(7));
    assert_eq!(sizes(&replica), [0; 4]);
    assert_eq!(replica.rooms.capacity(), 0);

    replica.watch(&topic(), config, after(8));
    replica.hold(&topic(), config, after(8));
    replica.unwatch(&topic(), after(8));
    assert_eq!(sizes(&replica), [0; 4]);
}

#[test]
fn of_what_nobody_watches_any_more_nothing_is_noted() {
    let (mut replica, now) = alone();
    let config = PresenceConfig::new();
    replica.watch(&topic(), config, now);
    replica.join(&topic(), config, ClientId::new(1), info("x"), 1, now);
    assert_eq!(sizes(&replica)[3], 1);
    replica.unwatch(&topic(), now);
    assert_eq!(sizes(&replica)[3], 0);
}

#[test]
fn the_first_watcher_begins_with_what_is_there_and_so_does_a_second_one() {
    let (mut replica, now) = alone();
    let config = PresenceConfig::new();
    let join = |replica: &mut Replica, client| {
        replica.join(&topic(), config, ClientId::new(client), info("x"), 1, now);
    };
    replica.watch(&topic(), config, now);
    replica.unwatch(&topic(), now);
    (1..=3).for_each(|client| join(&mut replica, client));
    replica.watch(&topic(), config, now);
    join(&mut replica, 4);
    // Watchers have been told of three; the fourth is told next.
    let page = replica.snapshot(&topic()).unwrap();
    assert_eq!((page.members.len(), page.counts.clients), (3, 3));
    let (_, _, event) = replica.take_event(&topic(), now).unwrap();
    assert_eq!(event.counts().clients, 4);
}

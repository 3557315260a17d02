//! The server itself is killed and started again while two people type: what it still has is heard, and what it has lost is told.

use std::{collections::BTreeSet, time::Duration};

use super::{
    cluster::{Carrier, Cluster, on_each},
    person::{Heard, Person, Told, say_the_last_line},
};

on_each! {
    a_server_that_keeps_its_data_loses_no_line
    a_server_that_loses_its_data_is_told_by_a_gap
}

/// How many lines each types.
const LINES: usize = 90;

/// How long the server is away.
const AWAY: Duration = Duration::from_millis(700);

/// Two people, and a server that is killed in between, and comes back with its data or without.
async fn killed(mut cluster: Cluster, loses_all: bool) -> (Told, Told) {
    let (ann, ben) = (Person::new("ann", LINES), Person::new("ben", LINES));
    let mut progress = [ann.progress(), ben.progress()];
    let Cluster { server, nginx, .. } = &mut cluster;
    let fate = async {
        for person in &mut progress {
            person.until(LINES / 3).await;
        }
        server.kill();
        tokio::time::sleep(AWAY).await;
        if loses_all {
            server.wipe().unwrap();
        }
        server.restart().await.unwrap();
        for person in &mut progress {
            person.until(LINES).await;
        }
        say_the_last_line(nginx).await;
    };
    let (ann, ben, ()) = tokio::join!(ann.run(nginx), ben.run(nginx), fate);
    for person in [&ann, &ben] {
        assert_eq!(person.returns, 0, "a connection outlives an outage of the backend");
        assert!(!person.unanswered.is_empty(), "nobody has noticed the outage");
    }
    (ann, ben)
}

async fn a_server_that_keeps_its_data_loses_no_line(carrier: Carrier) {
    let Some(cluster) = Cluster::that_keeps_all(carrier).await else { return };
    let (ann, ben) = killed(cluster, false).await;
    assert_eq!(ann.lines(), ben.lines(), "one order for all");
    let once: BTreeSet<_> = ann.lines().into_iter().collect();
    assert_eq!((once.len(), ann.lines().len()), (2 * LINES + 1, 2 * LINES + 1));
    // Of a server that was killed nobody can know whether it has lost the end of its log: one word of caution is in order.
    for person in [&ann, &ben] {
        assert!(matches!(*person.gaps(), [] | ["backend"]), "{:?}", person.gaps());
    }
}

async fn a_server_that_loses_its_data_is_told_by_a_gap(carrier: Carrier) {
    let Some(cluster) = Cluster::start(carrier).await else { return };
    let (ann, ben) = killed(cluster, true).await;
    for person in [&ann, &ben] {
        assert_eq!(person.gaps(), ["epoch"]);
    }
    let halves = |person: &Told| {
        let mut halves = person.heard.split(|heard| matches!(heard, Heard::Gap { .. }));
        (halves.next().unwrap().to_vec(), halves.next().unwrap().to_vec())
    };
    let ((before, after), (bens, after_too)) = (halves(&ann), halves(&ben));
    assert_eq!(after, after_too, "one order for all");
    // Who was nearer heard more before the server went; what both heard is the same.
    assert!(before.starts_with(&bens) || bens.starts_with(&before));

    let unanswered: BTreeSet<_> = ann.unanswered.union(&ben.unanswered).map(String::as_str).collect();
    for before in [before, bens] {
        let [old, new] = [&before, &after].map(|half| half.iter().map(Heard::text).collect::<BTreeSet<_>>());
        assert_eq!((old.len(), new.len()), (before.len(), after.len()), "on either side nothing comes twice");
        // Who had no answer types again, into a log that has forgotten; nothing else is on both sides.
        assert!(old.intersection(&new).all(|line| unanswered.contains(line)), "{old:?} {new:?}");
    }

    // All that the new log has accepted was heard.
    let heard: BTreeSet<_> = after.iter().filter_map(Heard::position).collect();
    let log = |position: &str| position.split_once(':').unwrap().0.to_owned();
    let new_log = log(heard.first().unwrap());
    let accepted = ann.accepted.iter().chain(&ben.accepted).map(String::as_str);
    let accepted: BTreeSet<_> = accepted.filter(|position| log(position) == new_log).collect();
    assert!(accepted.len() > LINES, "{accepted:?}");
    assert!(heard.is_superset(&accepted), "{accepted:?} {heard:?}");
}

//! Nodes come and go while two people type.

use super::{
    cluster::{Carrier, Cluster, on_each, revive},
    person::{Person, Told, say_the_last_line},
};

on_each! {
    a_node_is_killed_and_nobody_loses_a_line
    nodes_are_replaced_one_after_the_other_and_nobody_loses_a_line
}

/// How many lines each types.
const LINES: usize = 120;

/// Both have heard every line once, in one order, which has each one's own; nothing was missing.
fn check(ann: &Told, ben: &Told) {
    let (left, right) = (ann.lines(), ben.lines());
    assert_eq!(left, right, "one order for all");
    assert_eq!((ann.gaps(), ben.gaps()), (vec![], vec![]));
    assert_eq!(left.len(), 2 * LINES + 1);
    for name in ["ann", "ben"] {
        let own: Vec<_> = left.iter().filter(|line| line.starts_with(name)).collect();
        let typed: Vec<_> = (0..LINES).map(|n| format!("{name} {n}")).collect();
        assert_eq!(own, typed.iter().collect::<Vec<_>>());
    }
}

async fn a_node_is_killed_and_nobody_loses_a_line(carrier: Carrier) {
    let Some(mut cluster) = Cluster::start(carrier).await else { return };
    let (ann, ben) = (Person::new("ann", LINES), Person::new("ben", LINES));
    let mut progress = [ann.progress(), ben.progress()];
    let Cluster { nodes, nginx, .. } = &mut cluster;
    let fate = async {
        // Turn by turn: of two people one is on each node.
        for person in &mut progress {
            person.until(LINES / 3).await;
        }
        nodes[0].kill();
        for person in &mut progress {
            person.until(LINES).await;
        }
        say_the_last_line(nginx).await;
    };
    let (ann, ben, ()) = tokio::join!(ann.run(nginx), ben.run(nginx), fate);
    check(&ann, &ben);
    assert_eq!(ann.returns + ben.returns, 1, "one of them was on the node that was killed");
}

/// As a new version is rolled out.
async fn nodes_are_replaced_one_after_the_other_and_nobody_loses_a_line(carrier: Carrier) {
    let Some(mut cluster) = Cluster::start(carrier).await else { return };
    let (ann, ben) = (Person::new("ann", LINES), Person::new("ben", LINES));
    let mut progress = [ann.progress(), ben.progress()];
    let Cluster { server, nodes, nginx } = &mut cluster;
    let fate = async {
        for (step, which) in [(LINES / 4, 0), (LINES / 2, 1)] {
            for person in &mut progress {
                person.until(step).await;
            }
            nodes[which].terminate();
            assert!(nodes[which].ended().await.success());
            revive(&mut nodes[which], carrier, server);
        }
        for person in &mut progress {
            person.until(LINES).await;
        }
        say_the_last_line(nginx).await;
    };
    let (ann, ben, ()) = tokio::join!(ann.run(nginx), ben.run(nginx), fate);
    check(&ann, &ben);
    assert!(ann.returns >= 1 && ben.returns >= 1, "each was on one that was replaced");
}

//! Who is up.

use super::*;
use crate::broker;

const HEARTBEAT: u8 = 5;

#[tokio::test(start_paused = true)]
async fn nodes_know_each_other_at_once_and_those_that_come_later() {
    let hub = MemoryHub::new();
    let one = Node::start(&hub).await;
    let two = Node::start(&hub).await;
    soon().await;
    assert_eq!((one.events(), two.events()), (vec![up(&two)], vec![up(&one)]));
    seconds(1.0).await;
    let three = Node::start(&hub).await;
    soon().await;
    assert_eq!(three.knows(), sorted(vec![one.id(), two.id()]));
    assert_eq!((one.events(), two.events()), (vec![up(&three)], vec![up(&three)]));
    seconds(60.0).await;
    for node in [&one, &two, &three] {
        assert_eq!(node.knows().len(), 2);
    }
    assert!(one.events().is_empty() && two.events().is_empty(), "they go on hearing each other");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_without_a_word_is_away_within_the_bound_and_once() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    seconds(10.0).await;
    one.events();
    two.line.set_mute(true);
    // The last heartbeat was at most 2 s ago: away from 5 s to 7 s from now.
    seconds(4.9).await;
    assert!(one.events().is_empty(), "three may be missing");
    seconds(2.2).await;
    assert_eq!(one.events(), [away(&two)]);
    assert!(one.knows().is_empty());
    seconds(60.0).await;
    assert!(one.events().is_empty(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_or_is_dropped_is_away_at_once() {
    let hub = MemoryHub::new();
    let one = Node::start(&hub).await;
    let (two, three) = (Node::start(&hub).await, Node::start(&hub).await);
    soon().await;
    one.events();
    let (drains, goes) = (away(&two), away(&three));
    assert!(two.broker.drain(Duration::from_secs(5)).await);
    soon().await;
    assert_eq!(one.events(), [drains]);
    drop(three);
    soon().await;
    assert_eq!(one.events(), [goes]);
    seconds(60.0).await;
    assert!(one.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn goodbye_comes_after_all_that_was_posted_and_nothing_follows() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    one.hears_parcels(9);
    soon().await;
    one.events();
    for number in 0..100 {
        two.inner().cluster.post(None, 9, number.to_string().into()).unwrap();
    }
    let goodbye = away(&two);
    two.broker.drain(Duration::from_secs(5)).await;
    assert!(two.inner().cluster.post(None, 9, "late".into()).is_err());
    soon().await;
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).chain([goodbye]).collect();
    assert_eq!(one.events(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_after_a_restart_is_another_one() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    soon().await;
    one.events();
    let gone = away(&two);
    drop(two);
    let two = Node::start(&hub).await;
    soon().await;
    assert_eq!(one.events(), [gone, up(&two)]);
    assert_eq!(one.knows(), [two.id()]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_heals() {
    let hub = MemoryHub::new();
    let (one, two, three) = (Node::start(&hub).await, Node::start(&hub).await, Node::start(&hub).await);
    for node in [&one, &two, &three] {
        node.hears_parcels(9);
    }
    soon().await;
    one.events();
    // It goes on hearing the others, and nobody hears it.
    three.line.set_mute(true);
    seconds(30.0).await;
    assert_eq!((one.events(), one.knows()), (vec![away(&three)], vec![two.id()]));
    assert_eq!(three.knows().len(), 2);
    two.events();
    three.line.set_mute(false);
    // What is heard first is a parcel: it is up before.
    three.inner().cluster.post(None, 9, "here I am".into()).unwrap();
    soon().await;
    assert_eq!(one.events(), [up(&three), "here I am".to_owned()]);
    assert_eq!(two.events(), [up(&three), "here I am".to_owned()]);
    seconds(60.0).await;
    assert!(one.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_again_hears_at_once_who_has_heard() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    soon().await;
    // Neither hears the other.
    one.line.set_mute(true);
    two.line.set_mute(true);
    seconds(30.0).await;
    assert!(one.knows().is_empty() && two.knows().is_empty());
    one.line.set_mute(false);
    two.line.set_mute(false);
    two.inner().cluster.post(None, 9, "here I am".into()).unwrap();
    soon().await;
    assert_eq!((one.knows(), two.knows()), (vec![two.id()], vec![one.id()]));
}

#[tokio::test(start_paused = true)]
async fn while_the_backend_is_down_everybody_else_goes_away_after_the_bound_and_is_back_at_once() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    seconds(10.0).await;
    one.events();
    two.events();
    one.line.hub.set_connected(false);
    one.line.sent(HEARTBEAT);
    seconds(4.9).await;
    assert!(one.events().is_empty(), "it may be back any moment");
    seconds(2.2).await;
    assert_eq!((one.events(), two.events()), (vec![away(&two)], vec![away(&one)]));
    seconds(60.0).await;
    assert_eq!(one.line.sent(HEARTBEAT), 0, "there is nobody to say it to");
    one.line.hub.set_connected(true);
    soon().await;
    assert_eq!((one.events(), two.events()), (vec![up(&two)], vec![up(&one)]));
    // A short outage is nobody's end.
    one.line.hub.set_connected(false);
    seconds(4.0).await;
    one.line.hub.set_connected(true);
    seconds(30.0).await;
    assert!(one.events().is_empty() && two.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whatever_a_node_says_it_is_there() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    soon().await;
    one.events();
    // Its heartbeats are lost, and what else it says is not; a word to come is one as well.
    two.line.is_old.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..10 {
        seconds(3.0).await;
        two.line.inject(None, &[1, 99]).await;
    }
    assert!(one.events().is_empty());
    seconds(8.0).await;
    assert_eq!(one.events(), [away(&two)]);
}

#[tokio::test(start_paused = true)]
async fn who_has_stood_still_itself_listens_first() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    soon().await;
    one.events();
    two.line.set_mute(true);
    // As when the process was stopped: nothing ran, and the clock did.
    tokio::time::advance(Duration::from_secs(60)).await;
    soon().await;
    assert!(one.events().is_empty(), "nobody can have been heard");
    seconds(8.0).await;
    assert_eq!(one.events(), [away(&two)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_judged_by_the_heartbeat_that_it_has_itself() {
    let hub = MemoryHub::new();
    let one = Node::start(&hub).await;
    let slow = Node::start_with(&hub, |builder| builder.heartbeat(Duration::from_secs(20))).await;
    seconds(120.0).await;
    assert_eq!(one.events(), [up(&slow)], "it is heard every 20 s, and never away");
    slow.line.set_mute(true);
    seconds(40.0).await;
    assert!(one.events().is_empty());
    seconds(22.0).await;
    assert_eq!(one.events(), [away(&slow)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_of_another_version_is_passed_over() {
    let hub = MemoryHub::new();
    let one = Node::start(&hub).await;
    let old = Line::of(&hub);
    old.is_old.store(true, std::sync::atomic::Ordering::SeqCst);
    let broker = Broker::builder().policy(policy::Open).backend(old.handle()).start().await.unwrap();
    // Of a version to come; of a kind to come; cut short.
    for frame in [&[2, 5, 0, 0, 0, 1][..], &[1, 99, 1, 2, 3], &[1, 5, 0], &[1, 7], &[1], &[]] {
        old.inject(None, frame).await;
    }
    soon().await;
    assert!(one.events().is_empty() && one.knows().is_empty(), "it has not said a word that is known");
    // A heartbeat to which a newer version has added something.
    let newer = Line::of(&hub);
    let _newer = Broker::builder().policy(policy::Open).backend(newer.handle()).start().await.unwrap();
    soon().await;
    one.events();
    let mut heartbeat = vec![1, 5, 0, 0, 7, 208, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    heartbeat.extend([200, 0, 3, 1, 2, 3, 201, 0]);
    newer.inject(None, &heartbeat).await;
    soon().await;
    assert!(one.events().is_empty());
    assert_eq!(one.knows().len(), 1);
    drop(broker);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_carry_what_others_attach_in_order_with_what_they_post() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    one.hears_parcels(9);
    let posted = Arc::new(Mutex::new(0_u8));
    for node in [&one, &two] {
        let (posted, heard) = (posted.clone(), node.heard.clone());
        let say = move |_: &Arc<Inner>| Some(format!("up to {}", posted.lock()).into());
        let hear = move |_: &Arc<Inner>, _: NodeId, said: Bytes| heard.note(shorten(&said));
        node.inner().cluster.on_heartbeat(attachments::PRESENCE + 100, say, hear);
    }
    soon().await;
    one.events();
    // Long enough that the heartbeat comes while parts of it wait.
    let long = Bytes::from(vec![7; 3 << 20]);
    seconds(1.79).await;
    for _ in 0..20 {
        two.inner().cluster.post(None, 9, long.clone()).unwrap();
        *posted.lock() += 1;
        sleep(Duration::from_millis(20)).await;
    }
    seconds(3.0).await;
    let mut arrived = 0;
    let mut beats = 0;
    for said in one.events() {
        match said.strip_prefix("up to ") {
            Some(number) => {
                beats += 1;
                assert_eq!(number.parse(), Ok(arrived), "neither before nor after");
            }
            None => arrived += 1,
        }
    }
    assert_eq!(arrived, 20);
    assert!(beats >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_has_no_task_and_no_timer() {
    let broker = Broker::builder().policy(policy::Open).shards(1).start().await.unwrap();
    assert!(super::super::Cluster::tasks(broker.inner(), &broker.inner().backend).is_empty());
    let cluster = &broker.inner().cluster;
    assert_eq!(cluster.post(None, 9, "to nobody".into()), Ok(()));
    assert!(broker.nodes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_nodes_of_one_name_do_no_harm_to_a_third() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    soon().await;
    one.events();
    // As if there were another run of the same name.
    let mut twin = vec![1, 5, 0, 0, 7, 208, 0];
    twin.extend(4711_u64.to_be_bytes());
    for _ in 0..3 {
        two.line.inject(None, &twin).await;
        seconds(2.0).await;
    }
    assert!(one.events().is_empty());
    assert_eq!(one.knows(), [two.id()]);
}

#[tokio::test(start_paused = true)]
async fn who_panics_over_a_word_hears_the_next() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    one.inner().cluster.on_parcel(8, |_, _, _| panic!("what is this?"));
    one.hears_parcels(9);
    soon().await;
    one.events();
    two.inner().cluster.post(None, 8, "boo".into()).unwrap();
    two.inner().cluster.post(None, 9, "hello".into()).unwrap();
    soon().await;
    assert_eq!(one.events(), ["hello"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_back_in_time_hears_at_once_that_the_others_are_there() {
    let hub = MemoryHub::new();
    let slow = |builder: BrokerBuilder| builder.heartbeat(Duration::from_secs(20));
    let (one, two) = (Node::start_with(&hub, slow).await, Node::start_with(&hub, slow).await);
    soon().await;
    one.events();
    two.events();
    one.line.hub.set_connected(false);
    // A moment before its time is over; the next heartbeat of the other comes too late.
    seconds(60.5).await;
    one.line.hub.set_connected(true);
    seconds(30.0).await;
    assert!(one.events().is_empty() && two.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_speaks_seldom_notices_the_end_of_one_that_speaks_often() {
    let hub = MemoryHub::new();
    let one = Node::start_with(&hub, |builder| builder.heartbeat(Duration::from_secs(600))).await;
    let two = Node::start(&hub).await;
    soon().await;
    assert_eq!(one.events(), [up(&two)]);
    two.line.set_mute(true);
    seconds(8.0).await;
    assert_eq!(one.events(), [away(&two)]);
    // Also where something else is heard of it before its heartbeat.
    two.line.set_mute(false);
    two.line.is_old.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut parcel = broker::parcel_head().to_vec();
    parcel.extend([0, 250, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    two.line.inject(None, &parcel).await;
    soon().await;
    assert_eq!(one.events(), [up(&two)]);
    seconds(1.0).await;
    let mut heartbeat = vec![1, HEARTBEAT, 0, 0, 7, 208, 0];
    heartbeat.extend(4711_u64.to_be_bytes());
    two.line.inject(None, &heartbeat).await;
    seconds(8.0).await;
    assert_eq!(one.events(), [away(&two)]);
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_while_the_backend_is_said_to_be_down_is_away_again_after_the_bound() {
    let hub = MemoryHub::new();
    let one = Node::start(&hub).await;
    soon().await;
    one.line.hub.set_connected(false);
    seconds(1.0).await;
    // What the backend had taken in before.
    let mut heartbeat = vec![0, 0, 7, 208, 0];
    heartbeat.extend(4711_u64.to_be_bytes());
    one.inner().cluster.hear_heartbeat(one.inner(), NodeId::new(7), heartbeat.into());
    assert_eq!(one.knows(), [NodeId::new(7)]);
    seconds(7.5).await;
    assert!(one.knows().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_heard_of_who_has_said_goodbye_is_passed_over() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    one.hears_parcels(9);
    soon().await;
    one.events();
    let goodbye = away(&two);
    two.line.inject(None, &broker::goodbye()).await;
    two.inner().cluster.post(None, 9, "late".into()).unwrap();
    seconds(10.0).await;
    assert_eq!(one.events(), [goodbye]);
}

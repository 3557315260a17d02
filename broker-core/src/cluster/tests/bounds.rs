//! What others make a node do ends, and takes no more room than it may.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::{super::Whom, line::Fate, *};

const KIND: u8 = 98;
const HEARTBEAT: u8 = 5;
const PARCEL: u8 = 7;
/// How long any question may take.
const LONGEST: f64 = 600.0;

/// Its answers never come. What is held here is held by each that is being worked on.
fn never_answers(node: &Node) -> Arc<()> {
    let held = Arc::new(());
    let at_work = held.clone();
    node.inner().cluster.on_question(KIND, move |_, _, _| {
        let at_work = at_work.clone();
        async move {
            std::future::pending::<()>().await;
            drop(at_work);
            None
        }
    });
    held
}

/// A question as it travels: its number, how long its asker waits (milliseconds), what it is about.
fn question(number: u64, within: u32) -> Bytes {
    [&number.to_be_bytes()[..], &within.to_be_bytes(), &[KIND]].concat().into()
}

#[tokio::test(start_paused = true)]
async fn no_question_takes_for_ever() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    let held = never_answers(&two);
    soon().await;
    let start = Instant::now();
    let cluster = &one.inner().cluster;
    let answers = cluster.ask(one.inner(), Whom::Others, KIND, Bytes::new(), Duration::MAX).all().await;
    assert_eq!((answers.answered, answers.asked), (0, 1));
    assert!((LONGEST..LONGEST + 1.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    soon().await;
    // Whatever the other node says of how long it waits.
    two.inner().cluster.hear_question(two.inner(), one.id(), question(1, u32::MAX));
    soon().await;
    assert_eq!(Arc::strong_count(&held), 3);
    seconds(LONGEST + 1.0).await;
    assert_eq!(Arc::strong_count(&held), 2);
}

#[tokio::test(start_paused = true)]
async fn who_has_said_goodbye_begins_no_answer() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = begun.clone();
    two.inner().cluster.on_question(KIND, move |_, _, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { None }
    });
    soon().await;
    two.inner().cluster.hear_question(two.inner(), one.id(), question(1, 1000));
    soon().await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    two.broker.drain(Duration::from_millis(50)).await;
    two.inner().cluster.hear_question(two.inner(), one.id(), question(2, 1000));
    soon().await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_the_tasks_of_questions_that_are_over() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    two.inner().cluster.on_question(KIND, |_, _, question| async move { Some(question) });
    soon().await;
    for _ in 0..200 {
        let asking =
            one.inner().cluster.ask(one.inner(), Whom::Others, KIND, Bytes::new(), Duration::from_secs(5));
        assert_eq!(asking.all().await.answered, 1);
    }
    for node in [&one, &two] {
        let tasks = node.inner().cluster.asks.tasks();
        assert!(tasks < 10, "{tasks}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_frames_are_with_the_backend_and_the_others_wait_in_order() {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    two.hears_parcels(9);
    soon().await;
    two.events();
    one.line.sent(PARCEL);
    one.line.next([Fate::Held; 16]);
    for number in 0..40 {
        one.inner().cluster.post(None, 9, number.to_string().into()).unwrap();
    }
    soon().await;
    assert_eq!(one.line.sent(PARCEL), 16);
    assert!(two.events().is_empty());
    one.line.release();
    soon().await;
    assert_eq!(two.events(), (16..40).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_do_not_go_out_do_not_pile_up() {
    let hub = MemoryHub::new();
    let one = Node::start(&hub).await;
    soon().await;
    one.line.sent(HEARTBEAT);
    // Nothing is awaited, so nothing is sent meanwhile.
    for _ in 0..9000 {
        one.inner().cluster.beat(one.inner(), None, false);
    }
    soon().await;
    assert_eq!(one.line.sent(HEARTBEAT), 8192);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_presence_has_nothing_to_say_of_it() {
    let one = Node::start(&MemoryHub::new()).await;
    assert!(one.inner().cluster.handlers.read().attachments.is_empty());
}

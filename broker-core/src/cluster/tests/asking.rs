//! Answered n of m.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{sync::Semaphore, time::Instant};

use super::{
    super::{
        MAX_PARCEL, Whom,
        ask::{Answers, Asking, Asks},
    },
    line::Fate,
    *,
};

const KIND: u8 = 99;
const WITHIN: Duration = Duration::from_secs(5);

/// Answers with the question and its own name, after a while.
fn answers(node: &Node, after: Duration) {
    let id = node.id();
    node.inner().cluster.on_question(KIND, move |_, from, question| async move {
        sleep(after).await;
        Some(format!("{} of {from} at {id}", shorten(&question)).into())
    });
}

fn ask(node: &Node, whom: Whom, question: &'static str) -> Asking {
    node.inner().cluster.ask(node.inner(), whom, KIND, question.into(), WITHIN)
}

fn texts(answers: &Answers) -> Vec<String> {
    sorted(answers.answers.iter().map(|(_, text)| shorten(text)).collect())
}

fn said(question: &str, by: &Node, at: &Node) -> String {
    format!("{question} of {} at {}", by.id(), at.id())
}

async fn nodes<const N: usize>() -> ([Node; N], MemoryHub) {
    let hub = MemoryHub::new();
    let mut nodes = Vec::new();
    for _ in 0..N {
        let node = Node::start(&hub).await;
        answers(&node, Duration::ZERO);
        nodes.push(node);
    }
    soon().await;
    (nodes.try_into().unwrap_or_else(|_| panic!("as many as were made")), hub)
}

fn counts(answers: &Answers) -> (usize, usize) {
    (answers.answered, answers.asked)
}

#[tokio::test(start_paused = true)]
async fn all_answer_this_node_too_and_nobody_waits_longer() {
    let ([one, two, three], _hub) = nodes().await;
    let start = Instant::now();
    let answers = ask(&one, Whom::All, "who?").all().await;
    assert!(start.elapsed() < Duration::from_millis(100), "it does not wait for the deadline");
    assert_eq!(counts(&answers), (3, 3));
    let expected = [&one, &two, &three].map(|node| said("who?", &one, node));
    assert_eq!(texts(&answers), sorted(expected.to_vec()));
    assert!(answers.answers.iter().all(|(node, text)| shorten(text).ends_with(&node.to_string())));

    let others = ask(&one, Whom::Others, "who?").all().await;
    assert_eq!((counts(&others), others.answers.len()), ((2, 2), 2));
    let single = ask(&one, Whom::Node(two.id()), "you?").all().await;
    assert_eq!((counts(&single), texts(&single)), ((1, 1), vec![said("you?", &one, &two)]));
    let own = ask(&one, Whom::Node(one.id()), "me?").all().await;
    assert_eq!((counts(&own), texts(&own)), ((1, 1), vec![said("me?", &one, &one)]));
    let unknown = ask(&one, Whom::Node(NodeId::new(1)), "there?").all().await;
    assert_eq!(counts(&unknown), (0, 1));
    assert_eq!(one.inner().cluster.asks.open_questions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_before_it_answers_ends_the_waiting() {
    let ([one, two, three], _hub) = nodes().await;
    answers(&two, Duration::from_secs(3600));
    let mut asking =
        one.inner().cluster.ask(one.inner(), Whom::All, KIND, "who?".into(), Duration::from_secs(300));
    let (mut answered, start) = (Vec::new(), Instant::now());
    answered.push(asking.next().await.unwrap().0);
    answered.push(asking.next().await.unwrap().0);
    assert_eq!(sorted(answered), sorted(vec![one.id(), three.id()]));
    // It says nothing any more, not even goodbye.
    two.line.set_mute(true);
    assert_eq!(asking.next().await, None);
    assert!(start.elapsed() <= Duration::from_secs(8), "the heartbeat bound, not the deadline");
    assert_eq!(asking.counts(), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_says_goodbye_before_it_answers_ends_the_waiting() {
    let ([one, two], _hub) = nodes().await;
    answers(&two, Duration::from_secs(3600));
    let asking = ask(&one, Whom::Others, "who?");
    soon().await;
    let start = Instant::now();
    two.broker.drain(Duration::from_millis(100)).await;
    let answers = asking.all().await;
    assert_eq!(counts(&answers), (0, 1));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_ignored_and_nothing_is_left_behind() {
    let ([one, two], _hub) = nodes().await;
    answers(&two, Duration::from_secs(4));
    let start = Instant::now();
    let within = Duration::from_secs(3);
    let answers = one.inner().cluster.ask(one.inner(), Whom::All, KIND, "who?".into(), within).all().await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!((counts(&answers), texts(&answers)), ((1, 2), vec![said("who?", &one, &one)]));
    assert_eq!(one.inner().cluster.asks.open_questions(), 0);
    seconds(10.0).await;
    // The next question does not get the answer of the one before.
    self::answers(&two, Duration::ZERO);
    let next = ask(&one, Whom::Others, "and now?").all().await;
    assert_eq!(texts(&next), [said("and now?", &one, &two)]);
}

#[tokio::test(start_paused = true)]
async fn who_answers_twice_counts_once() {
    let ([one, two, three], _hub) = nodes().await;
    answers(&three, Duration::from_secs(1));
    let mut asking = ask(&one, Whom::Others, "who?");
    assert_eq!(asking.next().await.unwrap().0, two.id());
    // Whichever number the question has: others are not open.
    for number in 1..=16_u64 {
        let again = [&number.to_be_bytes()[..], &[0], b"again"].concat();
        one.inner().cluster.hear_answer(two.id(), again.into());
    }
    let rest = asking.all().await;
    assert_eq!((counts(&rest), texts(&rest)), ((2, 2), vec![said("who?", &one, &three)]));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_dropped_is_forgotten() {
    let ([one, two], _hub) = nodes().await;
    answers(&two, Duration::from_secs(1));
    let mut asking = ask(&one, Whom::All, "who?");
    assert_eq!(asking.next().await.unwrap().0, one.id(), "the first answer is enough");
    drop(asking);
    assert_eq!(one.inner().cluster.asks.open_questions(), 0);
    seconds(3.0).await;
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_there_is_dropped_there() {
    let ([one, two], _hub) = nodes().await;
    let held = Arc::new(());
    let at_work = held.clone();
    two.inner().cluster.on_question(KIND, move |_, _, _| {
        let at_work = at_work.clone();
        async move {
            std::future::pending::<()>().await;
            drop(at_work);
            None
        }
    });
    let asking = ask(&one, Whom::Others, "who?");
    soon().await;
    assert_eq!(Arc::strong_count(&held), 3);
    let answers = asking.all().await;
    assert_eq!(counts(&answers), (0, 1));
    soon().await;
    assert_eq!(Arc::strong_count(&held), 2);
}

#[tokio::test(start_paused = true)]
async fn who_panics_or_does_not_know_says_so_and_nobody_waits() {
    let ([one, two, three], _hub) = nodes().await;
    two.inner().cluster.on_question(KIND, |_, _, question: Bytes| async move {
        assert!(question.is_empty(), "on purpose");
        None
    });
    three
        .inner()
        .cluster
        .on_question(KIND, |_, _, _| -> std::future::Ready<Option<Bytes>> { panic!("on purpose") });
    let start = Instant::now();
    let answers = ask(&one, Whom::All, "who?").all().await;
    assert_eq!(counts(&answers), (1, 3));
    let unknown = one.inner().cluster.ask(one.inner(), Whom::All, 250, "what?".into(), WITHIN).all().await;
    assert_eq!(counts(&unknown), (0, 3));
    let own = three
        .inner()
        .cluster
        .ask(three.inner(), Whom::Node(three.id()), KIND, "?".into(), WITHIN)
        .all()
        .await;
    assert_eq!(counts(&own), (0, 1));
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_questions_is_answered_as_far_as_there_is_room() {
    let ([one, two], _hub) = nodes().await;
    let (gate, at_work) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    two.inner().cluster.on_question(KIND, {
        let (gate, at_work) = (gate.clone(), at_work.clone());
        move |_, _, _| {
            let (gate, at_work) = (gate.clone(), at_work.clone());
            async move {
                at_work.fetch_add(1, Ordering::SeqCst);
                let _passed = gate.acquire().await;
                Some(Bytes::new())
            }
        }
    });
    let flood = Asks::max_answering() + 50;
    let start = Instant::now();
    let asking: Vec<_> = (0..flood).map(|_| ask(&one, Whom::Others, "who?")).collect();
    soon().await;
    assert_eq!(at_work.load(Ordering::SeqCst), Asks::max_answering());
    gate.add_permits(flood);
    let mut answered = 0;
    for asking in asking {
        let answers = asking.all().await;
        assert_eq!(answers.asked, 1);
        answered += answers.answered;
    }
    assert_eq!(answered, Asks::max_answering());
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "the others are told no, and nobody waits for them"
    );
    // And then there is room again.
    assert_eq!(counts(&ask(&one, Whom::Others, "who?").all().await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_older_node_is_never_asked() {
    let ([one, two], hub) = nodes().await;
    let old = Line::of(&hub);
    old.is_old.store(true, Ordering::SeqCst);
    let _old = Broker::builder().policy(policy::Open).backend(old.handle()).start().await.unwrap();
    soon().await;
    let start = Instant::now();
    assert_eq!(counts(&ask(&one, Whom::All, "who?").all().await), (2, 2));
    assert!(start.elapsed() < Duration::from_millis(100));
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_not_waited_for() {
    let ([one, _two], _hub) = nodes().await;
    let start = Instant::now();
    one.line.next([Fate::Refused]);
    assert_eq!(counts(&ask(&one, Whom::All, "who?").all().await), (1, 2), "the backend refuses");
    one.line.hub.set_connected(false);
    assert_eq!(counts(&ask(&one, Whom::All, "who?").all().await), (1, 2), "the backend is away");
    let long = Bytes::from(vec![b'?'; MAX_PARCEL]);
    let asking = one.inner().cluster.ask(one.inner(), Whom::All, KIND, long, WITHIN);
    assert_eq!(counts(&asking.all().await), (1, 2), "it does not fit a parcel");
    assert!(start.elapsed() < Duration::from_millis(100));
    one.line.hub.set_connected(true);
    // What is lost on the way is waited for until the deadline, and no longer.
    one.line.next([Fate::Lost]);
    assert_eq!(counts(&ask(&one, Whom::All, "who?").all().await), (1, 2));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_twice_counts_once() {
    let ([one, two], _hub) = nodes().await;
    two.line.next([Fate::SentTwice; 2]);
    let answers = ask(&one, Whom::Others, "who?").all().await;
    assert_eq!((counts(&answers), answers.answers.len()), ((1, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn answers_may_be_long_but_not_longer_than_a_parcel() {
    let ([one, two], _hub) = nodes().await;
    two.inner().cluster.on_question(KIND, |_, _, question: Bytes| async move {
        let length = if question.is_empty() { 5 << 20 } else { 9 << 20 };
        Some(Bytes::from(vec![3; length]))
    });
    let long = ask(&one, Whom::Others, "").all().await;
    assert_eq!((counts(&long), long.answers[0].1.len()), ((1, 1), 5 << 20));
    let start = Instant::now();
    assert_eq!(counts(&ask(&one, Whom::Others, "more").all().await), (0, 1));
    assert!(start.elapsed() < Duration::from_millis(100), "it says that it cannot");
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_answers_itself() {
    let broker = Broker::builder().policy(policy::Open).shards(1).start().await.unwrap();
    let cluster = &broker.inner().cluster;
    cluster.on_question(KIND, |_, _, question| async move { Some(question) });
    let answers = cluster.ask(broker.inner(), Whom::All, KIND, "echo".into(), WITHIN).all().await;
    assert_eq!((counts(&answers), shorten(&answers.answers[0].1)), ((1, 1), "echo".to_owned()));
    assert_eq!(
        counts(&cluster.ask(broker.inner(), Whom::Others, KIND, "echo".into(), WITHIN).all().await),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_that_answers_outlives_the_broker() {
    let ([one, two], _hub) = nodes().await;
    answers(&two, Duration::from_secs(3600));
    let asking =
        one.inner().cluster.ask(one.inner(), Whom::Others, KIND, "who?".into(), Duration::from_secs(300));
    soon().await;
    let weak = Arc::downgrade(two.inner());
    two.broker.drain(Duration::from_millis(50)).await;
    drop(two);
    soon().await;
    assert!(weak.upgrade().is_none(), "an answer in the making does not keep it");
    drop(asking);
}

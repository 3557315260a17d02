//! What a node asks of others, how often, and what it makes of answers that lack a part.

use super::*;

/// The frame that answers.
const ENTRIES: u8 = 3;

/// A node that has heard of another one, and begins to serve a topic.
fn asking() -> (Replica, TopicName, Instant) {
    let (mut replica, now) = (Replica::new(NODES[0], false), Instant::now());
    let topic = TopicName::new("room").unwrap();
    replica.node_up(NODES[1], now);
    replica.watch(&topic, PresenceConfig::new(), now);
    (replica, topic, now)
}

fn frames(effects: Vec<Effect>) -> Vec<Bytes> {
    let frame = |effect| if let Effect::Send(_, frame) = effect { Some(frame) } else { None };
    effects.into_iter().filter_map(frame).collect()
}

/// When it does what, in milliseconds.
fn times(replica: &mut Replica, start: Instant, until: u64, what: impl Fn(&Effect) -> bool) -> Vec<u64> {
    let mut times = Vec::new();
    let mut now = start;
    loop {
        let done = replica.poll(now).into_iter().filter(&what).count();
        times.extend(std::iter::repeat_n((now - start).as_millis() as u64, done));
        match replica.next_wake() {
            Some(next) if next <= start + Duration::from_millis(until) => now = next,
            _ => return times,
        }
    }
}

#[test]
fn who_does_not_answer_is_asked_again_and_again_but_less_and_less_often() {
    let (mut replica, _, start) = asking();
    let asked = times(&mut replica, start, 40_000, |effect| matches!(effect, Effect::Send(..)));
    assert_eq!(asked, [0, 1000, 3000, 7000, 15_000, 23_000, 31_000, 39_000]);
}

#[test]
fn a_room_that_is_left_and_entered_again_waits_for_answers_as_long_as_any() {
    let (mut replica, topic, start) = asking();
    let again = start + Duration::from_millis(600);
    replica.poll(start);
    replica.unwatch(&topic, start + Duration::from_millis(100));
    replica.watch(&topic, PresenceConfig::new(), again);
    let asked = |effect: &Effect| matches!(effect, Effect::Send(..));
    let ready = |effect: &Effect| matches!(effect, Effect::Ready(_));
    let all = times(&mut replica, again, 3000, |effect| asked(effect) || ready(effect));
    // Asked at once, again after a second, in which it is ready, and after three.
    assert_eq!(all, [0, 1000, 1000, 3000]);
}

#[test]
fn watchers_who_come_back_are_not_told_before_their_time() {
    let (mut replica, topic) = (Replica::new(NODES[0], true), TopicName::new("room").unwrap());
    let (start, config) = (Instant::now(), PresenceConfig::new());
    let after = |ms| start + Duration::from_millis(ms);
    let join = |replica: &mut Replica, client, now| {
        replica.join(&topic, config, ClientId::new(client), Info::default(), 1, now);
    };
    replica.watch(&topic, config, start);
    join(&mut replica, 1, start);
    replica.unwatch(&topic, after(10));
    replica.leave(&topic, ClientId::new(1), after(10));
    replica.watch(&topic, config, after(40));
    join(&mut replica, 2, after(40));
    let told = times(&mut replica, after(40), 1000, |effect| matches!(effect, Effect::Tell(_)));
    assert_eq!(told, [50]);
}

#[test]
fn a_room_is_ready_when_the_last_that_has_not_answered_is_away() {
    let (mut replica, topic, now) = asking();
    replica.poll(now);
    replica.node_away(NODES[1], now);
    assert_eq!(replica.poll(now), [Effect::Ready(topic)]);
    let [_, _, _, _, timers, _] = replica.sizes();
    assert_eq!(timers, 0, "it is not asked again, and nobody waits");
}

#[test]
fn an_answer_leaves_no_timer() {
    let mut pair = Pair::new();
    // The answers to both.
    pair.pass(0);
    for node in &pair.nodes {
        let [rooms, _, _, _, timers, _] = node.sizes();
        assert_eq!((rooms, timers), (1, 0));
    }
}

#[test]
fn who_is_asked_anew_is_asked_again_a_second_later_and_once() {
    let (mut replica, _, start) = asking();
    replica.poll(start);
    let later = start + Duration::from_millis(500);
    // Two frames of it are missing.
    replica.heartbeat(NODES[1], 1, later);
    replica.heartbeat(NODES[1], 3, later);
    let [_, _, _, _, timers, _] = replica.sizes();
    assert_eq!(timers, 2, "that it is asked again, and that nobody waits longer");
    let asked = times(&mut replica, later, 2900, |effect| matches!(effect, Effect::Send(..)));
    assert_eq!(asked, [0, 1000]);
}

#[test]
fn what_has_not_changed_is_answered_in_a_word() {
    let mut pair = Pair::new();
    for client in 1..=100 {
        pair.join(1, client, "a long word of each", 1);
    }
    pair.pass(2000);
    let sent = pair.nodes[1].sent();
    pair.nodes[0].heartbeat(NODES[1], sent + 1, pair.now);
    let questions = frames(pair.nodes[0].poll(pair.now));
    assert_eq!(questions.len(), 1);
    pair.nodes[1].receive(NODES[0], questions[0].clone(), pair.now).unwrap();
    let answers = frames(pair.nodes[1].poll(pair.now));
    assert_eq!(answers.len(), 1);
    assert!(answers[0].len() < 64, "{}", answers[0].len());
    pair.nodes[0].receive(NODES[1], answers[0].clone(), pair.now).unwrap();
    assert_eq!(pair.nodes[0].page(&pair.topic, None, 1000).unwrap().members.len(), 100);
}

#[test]
fn parts_of_two_answers_are_not_put_together() {
    let (mut replica, topic, now) = asking();
    let mut other = Replica::new(NODES[1], false);
    other.node_up(NODES[0], now);
    let join = |other: &mut Replica, client, meta: &str| {
        let info = Info { user: None, meta: Some(meta.into()) };
        other.join(&topic, PresenceConfig::new(), ClientId::new(client), info, 1, now);
    };
    (1..=12).for_each(|client| join(&mut other, client, &"x".repeat(8000)));
    let question = frames(replica.poll(now)).remove(0);
    other.poll(now + Duration::from_millis(100));
    // What it has to say of changes, and the parts of its answer.
    let answer = |other: &mut Replica| {
        other.receive(NODES[0], question.clone(), now).unwrap();
        frames(other.poll(now)).into_iter().partition::<Vec<_>, _>(|frame| frame[0] != ENTRIES)
    };
    let (_, first) = answer(&mut other);
    assert!(first.len() > 1);
    replica.receive(NODES[1], first[0].clone(), now).unwrap();
    // One that stands in the first part says something else; of the next answer that part is lost.
    join(&mut other, 1, &"y".repeat(8000));
    let (changes, second) = answer(&mut other);
    assert_eq!((changes.len(), second.len()), (1, first.len()));
    for frame in changes.iter().chain(&second[1..]) {
        replica.receive(NODES[1], frame.clone(), now).unwrap();
    }
    assert!(replica.snapshot(&topic).is_none(), "it is not known yet who is there");
    for part in answer(&mut other).1 {
        replica.receive(NODES[1], part, now).unwrap();
    }
    assert!(replica.snapshot(&topic).is_some());
    let page = replica.page(&topic, None, 1).unwrap();
    assert!(page.members[0].meta.as_ref().unwrap().starts_with('y'));
}

#[test]
fn who_watches_when_all_have_answered_begins_with_what_they_said() {
    let (mut replica, topic, now) = asking();
    let mut other = Replica::new(NODES[1], false);
    other.node_up(NODES[0], now);
    let join = |replica: &mut Replica, client| {
        replica.join(&topic, PresenceConfig::new(), ClientId::new(client), Info::default(), 1, now);
    };
    (1..=3).for_each(|client| join(&mut other, client));
    let question = frames(replica.poll(now)).remove(0);
    join(&mut replica, 4);
    assert_eq!(replica.sizes()[5], 0, "nobody has been told anything yet");
    other.receive(NODES[0], question, now).unwrap();
    for frame in frames(other.poll(now)) {
        replica.receive(NODES[1], frame, now).unwrap();
    }
    join(&mut replica, 5);
    // Watchers begin with four; the fifth is told next.
    let page = replica.snapshot(&topic).unwrap();
    assert_eq!((page.members.len(), page.counts.clients), (4, 4));
}

#[test]
fn what_a_node_gathers_still_goes_out_before_its_goodbye() {
    let mut pair = Pair::new();
    pair.join(0, 7, "x", 1);
    pair.nodes[0].goodbye();
    for frame in frames(pair.nodes[0].poll(pair.now)) {
        pair.nodes[1].receive(NODES[0], frame, pair.now).unwrap();
    }
    pair.nodes[1].node_away(NODES[0], pair.now);
    assert_eq!(pair.shown()[1], ["x"]);
}

#[test]
fn who_has_said_goodbye_and_is_back_in_time_keeps_its_members() {
    let mut pair = Pair::new();
    pair.join(0, 7, "x", 1);
    pair.pass(100);
    pair.nodes[0].goodbye();
    pair.pass(100);
    pair.nodes[1].node_away(NODES[0], pair.now);
    pair.pass(1000);
    pair.nodes[1].node_up(NODES[0], pair.now);
    for _ in 0..10 {
        pair.pass(1000);
        assert_eq!(pair.shown()[1], ["x"]);
        let told = pair.nodes[1].take_event(&pair.topic, pair.now);
        assert!(!matches!(&told, Some((_, _, PresenceEvent::Changes(c))) if !c.leave.is_empty()), "{told:?}");
    }
}

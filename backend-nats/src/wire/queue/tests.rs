use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::*;
use crate::error::Trouble;

fn append(queue: &Queue, payload: &'static str) -> Asking {
    let payload = Bytes::from_static(payload.as_bytes());
    queue.hand_over(Call::Append { subject: "l.t.a".into(), id: None, payload }, true)
}

fn frames(queue: &Queue, bytes: &'static str) -> Asking {
    let bytes = Bytes::from_static(bytes.as_bytes());
    queue.hand_over(Call::Frames { subject: "s".into(), bytes }, false)
}

fn sent(queue: &Queue) -> String {
    let mut out = BytesMut::new();
    queue.take(&mut out, usize::MAX);
    String::from_utf8(out.to_vec()).unwrap()
}

/// The subjects for answers in what was sent.
fn replies(sent: &str) -> Vec<String> {
    sent.split_whitespace().filter(|word| word.starts_with("_INBOX.x.")).map(str::to_owned).collect()
}

fn answer(queue: &Queue, reply: &str, headers: &'static str, payload: &'static str) {
    let (headers, payload) = (Bytes::from_static(headers.as_bytes()), Bytes::from_static(payload.as_bytes()));
    let message = Message { sid: INBOX, subject: reply.to_owned(), reply: None, headers, payload };
    assert!(queue.answer(message).is_none());
}

fn up() -> Queue {
    let queue = Queue::new(None);
    queue.up("_INBOX.x".into());
    queue
}

#[tokio::test]
async fn what_a_stream_refuses_that_is_gone_goes_to_the_next_in_its_order() {
    let queue = up();
    let asked = ["first", "second", "third"].map(|text| append(&queue, text));
    assert_eq!(sent(&queue), "", "no stream is known");
    queue.until_it_lacks_a_stream().await;
    queue.set_stream("old".into());
    let replies_of_old = replies(&sent(&queue));
    assert_eq!(replies_of_old.len(), 3);
    answer(&queue, &replies_of_old[1], "NATS/1.0 503\r\n\r\n", "");
    answer(&queue, &replies_of_old[2], "NATS/1.0 503\r\n\r\n", "");
    assert_eq!(sent(&queue), "", "the first may have been stored");
    answer(&queue, &replies_of_old[0], "", "{\"error\":{\"code\":400,\"err_code\":10060}}");
    queue.until_it_lacks_a_stream().await;
    assert_eq!(queue.refusals(), 1);
    queue.set_stream("new".into());
    let again = sent(&queue);
    let places = ["first", "second", "third"].map(|text| again.find(text).unwrap());
    assert!(places.is_sorted() && again.contains("Nats-Expected-Stream: new\r\n"), "{again}");
    let [first, ..] = asked;
    answer(&queue, &replies(&again)[0], "", "{\"stream\":\"new\",\"seq\":1}");
    assert!(matches!(first.answer().await, Ok(Answer::Message(_))));
}

#[tokio::test]
async fn what_one_of_two_streams_refuses_and_the_other_takes_is_not_sent_again() {
    let queue = up();
    let (both, after) = (append(&queue, "both"), append(&queue, "after"));
    queue.set_stream("old".into());
    let replies = replies(&sent(&queue));
    answer(&queue, &replies[0], "", "{\"error\":{\"code\":400,\"err_code\":10060},\"stream\":\"new\"}");
    answer(&queue, &replies[0], "", "{\"stream\":\"old\",\"seq\":1}");
    answer(&queue, &replies[1], "", "{\"stream\":\"old\",\"seq\":2}");
    answer(&queue, &replies[1], "", "{\"error\":{\"code\":400,\"err_code\":10060},\"stream\":\"new\"}");
    assert!(matches!(both.answer().await, Ok(Answer::Message(_))));
    assert!(matches!(after.answer().await, Ok(Answer::Message(_))));
    queue.set_stream("old".into());
    assert_eq!(sent(&queue), "", "both are stored");
}

#[tokio::test]
async fn frames_are_taken_when_the_ping_behind_them_is_answered() {
    let queue = up();
    let (one, two) = (frames(&queue, "SUB s 5\r\n"), frames(&queue, "PUB s 0\r\n\r\n"));
    assert_eq!(sent(&queue), "SUB s 5\r\nPUB s 0\r\n\r\nPING\r\n");
    let mut two = Box::pin(two.answer());
    assert!(two.as_mut().now_or_never().is_none());
    queue.pong();
    assert!(matches!(one.answer().await, Ok(Answer::Taken)));
    assert!(matches!(two.await, Ok(Answer::Taken)));
}

#[tokio::test]
async fn what_was_refused_does_not_come_behind_what_followed_it() {
    let queue = up();
    let other = Bytes::from_static(b"other");
    let other = queue.hand_over(Call::Append { subject: "l.t.b".into(), id: None, payload: other }, true);
    let asked = ["first", "second", "third"].map(|text| append(&queue, text));
    queue.set_stream("s".into());
    let replies = replies(&sent(&queue));
    answer(&queue, &replies[0], "NATS/1.0 503\r\n\r\n", "");
    answer(&queue, &replies[1], "NATS/1.0 503\r\n\r\n", "");
    answer(&queue, &replies[2], "", "{\"stream\":\"s\",\"seq\":1}");
    answer(&queue, &replies[3], "NATS/1.0 503\r\n\r\n", "");
    queue.set_stream("s".into());
    let again = sent(&queue);
    assert!(again.contains("other") && again.contains("third") && !again.contains("first"), "{again}");
    let [first, second, third] = asked;
    assert!(matches!(first.answer().await, Err(Lost::Refused(_))), "it is not stored");
    assert!(matches!(second.answer().await, Ok(Answer::Message(_))));
    drop((other, third));
}

#[tokio::test]
async fn what_was_sent_is_unanswered_and_what_was_not_is_unsent() {
    let queue = up();
    let first = frames(&queue, "PUB s 0\r\n\r\n");
    sent(&queue);
    let second = frames(&queue, "PUB s 0\r\n\r\n");
    queue.down();
    assert!(matches!(first.answer().await, Err(Lost::Unanswered)));
    assert!(matches!(second.answer().await, Err(Lost::Unsent)));
    assert!(matches!(frames(&queue, "").answer().await, Err(Lost::Unsent)));
}

#[tokio::test]
async fn what_the_server_refuses_fails_alone() {
    let (queue, no) = (up(), Trouble::refused("no"));
    let (refused, said) = (frames(&queue, "SUB s 5\r\n"), frames(&queue, "PUB s 0\r\n\r\n"));
    sent(&queue);
    assert!(queue.refuse_subscription("s", &no));
    assert!(matches!(refused.answer().await, Err(Lost::Refused(_))));
    assert!(!queue.refuse_subscription("s", &no), "nobody has asked");
    queue.pong();
    assert!(matches!(said.answer().await, Ok(Answer::Taken)), "it was published");
}

#[tokio::test]
async fn subscriptions_beyond_what_the_server_takes_are_given_back() {
    let (queue, no) = (up(), Trouble::refused("no"));
    let taken = frames(&queue, "SUB s 5\r\n");
    sent(&queue);
    let refused = [frames(&queue, "SUB s 6\r\n"), frames(&queue, "SUB s 7\r\n")];
    let said = frames(&queue, "PUB s 0\r\n\r\n");
    sent(&queue);
    queue.pong();
    assert!(matches!(taken.answer().await, Ok(Answer::Taken)), "it was asked for before");
    assert_eq!(queue.refuse_subscriptions(&no).len(), 2, "it does not say which");
    assert_eq!(queue.refuse_subscriptions(&no).len(), 0, "once for each");
    assert_eq!(sent(&queue), "UNSUB 6\r\nUNSUB 7\r\n");
    queue.pong();
    for refused in refused {
        assert!(matches!(refused.answer().await, Err(Lost::Refused(_))));
    }
    assert!(matches!(said.answer().await, Ok(Answer::Taken)));
}

#[tokio::test]
async fn what_a_connection_says_of_streams_counts_while_it_lasts() {
    let queue = Queue::new(Some(Room { messages: 10, bytes: 1000 }));
    queue.up("_INBOX.x".into());
    let held = append(&queue, "held");
    let first = queue.connection();
    queue.down();
    queue.refuse_appends(&Trouble::unavailable("it broke"), first);
    queue.up("_INBOX.x".into());
    queue.refuse_appends(&Trouble::unavailable("it broke"), first);
    queue.until_it_lacks_a_stream().await;
    queue.set_stream("s".into());
    assert!(sent(&queue).contains("held"), "it waits for the next connection");
    drop(held);
    let refused = append(&queue, "refused");
    queue.forget_stream();
    queue.refuse_appends(&Trouble::unavailable("no"), queue.connection());
    assert!(matches!(refused.answer().await, Err(Lost::Refused(_))));
}

#[tokio::test]
async fn what_is_held_is_sent_by_the_next_connection_which_brings_late_answers() {
    let queue = up();
    queue.set_stream("s".into());
    let (late, frame) = (append(&queue, "late"), frames(&queue, "PUB s 0\r\n\r\n"));
    let sent_first = sent(&queue);
    queue.hold();
    let held = append(&queue, "held");
    queue.ping();
    assert_eq!(sent(&queue), "PING\r\n");
    queue.pong();
    assert!(matches!(frame.answer().await, Ok(Answer::Taken)));
    queue.moved();
    assert!(sent(&queue).contains("held"));
    answer(&queue, &replies(&sent_first)[0], "", "{\"stream\":\"s\",\"seq\":1}");
    assert!(matches!(late.answer().await, Ok(Answer::Message(_))));
    drop(held);
}

#[tokio::test]
async fn frames_of_several_subjects_fail_by_any_of_them() {
    let queue = up();
    let two = frames(&queue, "PUB a 11\r\nPUB x 0\r\n\r\n\r\nPUB b _INBOX 1\r\nb\r\n");
    sent(&queue);
    queue.refuse("x", &Trouble::refused("it is part of what was said"));
    queue.refuse("b", &Trouble::refused("no"));
    queue.pong();
    assert!(matches!(two.answer().await, Err(Lost::Refused(_))));
}

#[tokio::test]
async fn what_is_larger_than_the_server_takes_is_not_sent() {
    let queue = up();
    queue.limit(100);
    queue.set_stream("s".into());
    // The version, one header, and the ends of lines are 37 bytes.
    let (fits, large) = (append(&queue, "x".repeat(63).leak()), append(&queue, "x".repeat(64).leak()));
    assert_eq!(replies(&sent(&queue)).len(), 1);
    assert!(matches!(large.answer().await, Err(Lost::Refused(_))));
    drop(fits);
}

#[tokio::test]
async fn a_question_whose_asker_is_gone_keeps_nobody_waiting() {
    let queue = up();
    let ask = |subject: &str| {
        let (subject, headers, payload) = (subject.into(), Vec::new(), Bytes::new());
        queue.hand_over(Call::Ask { subject, headers, payload, expect: Expect::One }, false)
    };
    drop(ask("nobody.answers"));
    let awaited = ask("somebody.waits");
    sent(&queue);
    queue.expire(Duration::MAX);
    assert_eq!(queue.until_idle().now_or_never(), None, "one is awaited");
    drop(awaited);
    queue.expire(Duration::MAX);
    assert_eq!(queue.until_idle().now_or_never(), Some(()));
}

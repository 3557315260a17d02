//! The queue without a connection.

use futures_util::FutureExt;

use super::*;

fn sent(queue: &Queue) -> Vec<u8> {
    let mut out = BytesMut::new();
    let _ = queue.take(&mut out, 1 << 16, b"(runs)");
    out.to_vec()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn publish(queue: &Queue, text: &'static str) -> Asking {
    queue.hand_over(bytes(text), Expect::One, Retry::Held, None)
}

fn ask(queue: &Queue, text: &'static str) -> Asking {
    queue.hand_over(bytes(text), Expect::One, Retry::No, None)
}

fn load() -> Option<Redirect> {
    Some(Redirect::Load(vec![bytes("L")]))
}

fn state_of(asking: Asking) -> Option<Answer> {
    asking.answer().now_or_never()
}

#[test]
fn what_was_sent_is_told_from_what_was_not() {
    let queue = Queue::new(None);
    queue.up();
    let a = publish(&queue, "a");
    assert_eq!(sent(&queue), b"a");
    let b = publish(&queue, "b");
    queue.down();
    assert_eq!(state_of(a), Some(Err(Lost::Unanswered)));
    assert_eq!(state_of(b), Some(Err(Lost::Unsent)));
    assert_eq!(state_of(publish(&queue, "c")), Some(Err(Lost::Unsent)));
}

#[test]
fn a_buffer_holds_back_what_is_published_and_no_more_than_it_may() {
    let queue = Queue::new(Some(Room { messages: 2, bytes: 100 }));
    assert_eq!(state_of(ask(&queue, "history")), Some(Err(Lost::Unsent)));
    let a = publish(&queue, "a");
    let _b = publish(&queue, "b");
    assert_eq!(state_of(publish(&queue, "c")), Some(Err(Lost::Full)));
    queue.up();
    assert_eq!(sent(&queue), b"ab");
    queue.answer(Value::Okay, None).unwrap();
    assert_eq!(state_of(a), Some(Ok(Value::Okay)));
}

#[test]
fn what_goes_again_is_not_overtaken() {
    let queue = Queue::new(None);
    queue.up();
    let [_a, _b, _c] = ["a", "b", "c"].map(|text| publish(&queue, text));
    assert_eq!(sent(&queue), b"abc");
    // The server knows the script of none of them.
    queue.answer(Value::Nil, load()).unwrap();
    let _d = publish(&queue, "d");
    assert_eq!(sent(&queue), b"", "b and c are still on their way");
    queue.answer(Value::Nil, load()).unwrap();
    queue.answer(Value::Nil, load()).unwrap();
    assert_eq!(sent(&queue), b"Labcd");
}

#[test]
fn what_was_redirected_is_taken_out_in_its_order() {
    let queue = Queue::new(None);
    queue.up();
    let [_a, _b, _c] = ["a", "b", "c"].map(|text| publish(&queue, text));
    let _ = sent(&queue);
    let moved = Redirect::Moved(7, "h:1".into());
    queue.answer(Value::Nil, Some(moved.clone())).unwrap();
    queue.answer(Value::Okay, None).unwrap();
    let _d = publish(&queue, "d");
    assert_eq!(sent(&queue), b"", "c is still on its way");
    queue.answer(Value::Nil, Some(Redirect::Later)).unwrap();
    assert_eq!(queue.take(&mut BytesMut::new(), 1 << 16, b""), Taken::Redirects { later: true });
    let drained = queue.drain();
    let drained: Vec<_> = drained.iter().map(|(request, to)| (&request.bytes[..], to.clone())).collect();
    assert_eq!(drained, [(&b"a"[..], Some(moved)), (b"c", Some(Redirect::Later)), (b"d", None)]);
}

#[test]
fn a_dropped_publish_is_sent() {
    let queue = Queue::new(None);
    queue.up();
    drop(publish(&queue, "a"));
    assert_eq!(sent(&queue), b"a");
}

#[test]
fn a_confirmation_that_nobody_asked_for_answers_nothing() {
    let queue = Queue::new(None);
    queue.up();
    let asking = ask(&queue, "PING");
    let _ = sent(&queue);
    let moved = Confirm { what: Subscribing::Shard(false), channel: "t".into() };
    assert!(!queue.confirm(&moved));
    queue.answer(Value::SimpleString("PONG".into()), None).unwrap();
    assert!(matches!(state_of(asking), Some(Ok(Value::SimpleString(_)))));
    assert!(queue.answer(Value::Nil, None).is_err());
}

#[test]
fn a_command_of_several_answers_is_sent_on_when_all_have_come() {
    let queue = Queue::new(None);
    queue.up();
    let _pair = queue.hand_over(bytes("pair"), Expect::Several(2, Vec::new()), Retry::Held, Some(7));
    let next = publish(&queue, "next");
    let _ = sent(&queue);
    queue.answer(Value::Nil, Some(Redirect::Moved(7, "h:1".into()))).unwrap();
    queue.answer(Value::Int(1), None).unwrap();
    queue.answer(Value::Okay, None).unwrap();
    assert_eq!(state_of(next), Some(Ok(Value::Okay)), "its own answer");
    let drained = queue.drain();
    let drained: Vec<_> = drained.iter().map(|(request, to)| (&request.bytes[..], to.is_some())).collect();
    assert_eq!(drained, [(&b"pair"[..], true)]);
}

#[test]
fn a_command_is_not_sent_on_for_ever() {
    let queue = Queue::new(None);
    queue.up();
    let asking = publish(&queue, "a");
    let refused = || Value::SimpleString("no".into());
    for _ in 0..MAX_HOPS {
        let _ = sent(&queue);
        queue.answer(refused(), load()).unwrap();
        // The scripts come first.
        let _ = sent(&queue);
        queue.answer(Value::Okay, None).unwrap();
    }
    queue.answer(refused(), load()).unwrap();
    assert_eq!(state_of(asking), Some(Ok(refused())));
}

#[test]
fn runs_are_those_of_the_moment_of_sending() {
    let queue = Queue::new(Some(Room { messages: 2, bytes: 100 }));
    let packed = Packed::without_runs(bytes("call$0\r\n\r\n$0\r\n\r\n"));
    let _a = queue.hand_over(packed, Expect::One, Retry::Held, None);
    let _b = publish(&queue, " b");
    queue.up();
    assert_eq!(sent(&queue), b"call(runs) b");
}

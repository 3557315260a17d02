//! Calls of clients and of the app, many at once, and such as nobody answers in time.

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare::{
    calls::{Answers, CallConfig},
    message::Payload,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    sync::{Barrier, Notify},
    time::timeout,
};

use super::harness::{Backend, Site, on_every_backend, until};
use crate::support::PATIENCE;

on_every_backend! {
    of_a_thousand_calls_at_once_each_reply_is_its_callers
    of_a_thousand_calls_by_the_app_each_answer_is_its_clients
    a_call_that_times_out_leaves_nothing_behind_and_its_late_reply_is_ignored
    a_call_by_the_app_that_times_out_leaves_nothing_behind_and_its_late_answer_is_ignored
}

const CALLERS: usize = 20;
const CALLS_OF_EACH: usize = 50;

async fn of_a_thousand_calls_at_once_each_reply_is_its_callers(backend: Backend) {
    // None is answered before all have been made, by clients of all nodes.
    let all_made = Arc::new(Barrier::new(CALLERS * CALLS_OF_EACH));
    let at_once = CallConfig::new().concurrent(CALLS_OF_EACH).timeout(PATIENCE);
    let started = Site::start(backend, |builder| {
        let all_made = all_made.clone();
        builder.on_call_with("echo", at_once, move |call| {
            let all_made = all_made.clone();
            async move {
                let number: usize = call.payload.parse_json()?;
                all_made.wait().await;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..10))).await;
                let (client, user) = (call.client.id.to_string(), call.client.user());
                Ok(Payload::json(&json!({ "client": client, "user": user, "number": number }))?)
            }
        })
    });
    let Some(site) = started.await else { return };
    let callers = (0..CALLERS).map(|turn| {
        let node = site.node(turn);
        async move {
            let user = format!("user-{turn}");
            let mut client = node.client(&user).await;
            let mut calls = Vec::new();
            for _ in 0..CALLS_OF_EACH {
                let number = fastrand::u32(..);
                let call = json!({ "call": { "method": "echo", "data": number } });
                calls.push((client.command(call).await, number));
            }
            fastrand::shuffle(&mut calls);
            for (id, number) in calls {
                let said = client.reply(id).await.unwrap();
                let expected = json!({ "client": client.name(), "user": user, "number": number });
                assert_eq!(said["data"], expected);
            }
            client.nothing_more().await;
        }
    });
    join_all(callers).await;
}

async fn of_a_thousand_calls_by_the_app_each_answer_is_its_clients(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let mut clients = join_all((0..CALLERS).map(|turn| site.node(turn).client("ann"))).await;
    let mut names: Vec<String> = clients.iter().map(|client| client.name().to_owned()).collect();
    names.sort();
    // Every call is for all of them.
    let calls = (0..CALLS_OF_EACH).map(|number| {
        let call = site.node(number).broker.clients().call_json("square", &number).timeout(PATIENCE);
        tokio::spawn(call.into_future())
    });
    let calls: Vec<_> = calls.collect();
    let answering = clients.iter_mut().map(|client| async move {
        let mut asked = Vec::new();
        for _ in 0..CALLS_OF_EACH {
            asked.push(client.next().await);
        }
        fastrand::shuffle(&mut asked);
        for call in asked {
            assert_eq!(call["call"]["method"], "square");
            let number = call["call"]["data"].as_u64().unwrap();
            let answer = json!({ "square": number * number, "by": client.name() });
            client.answer(&call, answer).await;
        }
    });
    join_all(answering).await;
    for (number, call) in calls.into_iter().enumerate() {
        let answers: Answers = call.await.unwrap().unwrap();
        assert!(answers.is_complete(), "{answers:?}");
        let mut by = Vec::new();
        for (client, answer) in answers.answers {
            let answer: Value = answer.unwrap().parse_json().unwrap();
            assert_eq!(answer, json!({ "square": number * number, "by": client.to_string() }));
            by.push(client.to_string());
        }
        by.sort();
        assert_eq!(by, names);
    }
    for client in &mut clients {
        client.nothing_more().await;
    }
}

/// How many handlers there are, counted as they begin and end.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn a_call_that_times_out_leaves_nothing_behind_and_its_late_reply_is_ignored(backend: Backend) {
    let running = Arc::new(AtomicUsize::new(0));
    let too_late = Arc::new(Notify::new());
    let started = Site::start(backend, |builder| {
        let soon = CallConfig::new().timeout(Duration::from_millis(20));
        let (running, too_late) = (running.clone(), too_late.clone());
        builder
            .on_call_with("never", soon, move |_| {
                let (running, too_late) = (Running::new(&running), too_late.clone());
                async move {
                    too_late.notified().await;
                    drop(running);
                    Ok("too late".into())
                }
            })
            .on_call("echo", |call| async move { Ok(call.payload) })
    });
    let Some(site) = started.await else { return };
    let mut ann = site.node(1).client("ann").await;
    // More than may be under way for one connection.
    for n in 0..80 {
        let error = ann.call("never", n).await.unwrap_err();
        assert_eq!((&error["code"], &error["retry"]), (&json!("timeout"), &json!(true)));
        // A handler that went on would have its answer now.
        too_late.notify_waiters();
        until("the handler has ended", || running.load(Ordering::SeqCst) == 0).await;
        assert_eq!(ann.call("echo", n).await.unwrap(), n);
    }
    ann.nothing_more().await;
    ann.leave().await;
    until("nobody is left", || site.nodes.iter().all(|node| node.broker.stats().connections == 0)).await;
}

async fn a_call_by_the_app_that_times_out_leaves_nothing_behind_and_its_late_answer_is_ignored(
    backend: Backend,
) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    // On two nodes the client that is called is on the other one.
    let [ann, mut ben] = site.people(["ann", "ben"]).await;
    let call = |data: Value, timeout: Duration| {
        let call = site.broker().clients().user("ben").call_json("confirm", &data).timeout(timeout);
        tokio::spawn(call.into_future())
    };
    // More than may wait for one client, were they left behind.
    let mut late = Vec::new();
    for _ in 0..2 {
        let calls: Vec<_> = (0..40).map(|n| call(json!(n), Duration::from_secs(2))).collect();
        for _ in 0..40 {
            late.push(ben.next().await);
        }
        for call in calls {
            let answers = call.await.unwrap().unwrap();
            assert_eq!((answers.answered(), answers.asked), (0, 1), "{answers:?}");
        }
    }
    let open = call(json!("now"), PATIENCE);
    let now = ben.next().await;
    assert_eq!(now["call"]["data"], "now");
    for call in &late {
        ben.answer(call, "late").await;
    }
    // An answer to a call that is over is replied to where it has a number, and passed over.
    let again = json!({ "answer": { "call_id": late[0]["call"]["call_id"], "data": "again" } });
    assert_eq!(ben.ask(again).await, json!({}));
    ben.answer(&now, "in time").await;
    let answers = open.await.unwrap().unwrap();
    assert!(answers.is_complete(), "{answers:?}");
    assert_eq!(answers.one().unwrap().parse_json::<Value>().unwrap(), "in time");
    ben.nothing_more().await;
    // Nobody waits for a client that has gone.
    let open = call(json!("gone"), 10 * PATIENCE);
    assert_eq!(ben.next().await["call"]["data"], "gone");
    ben.vanish();
    let answers = timeout(PATIENCE, open).await.expect("it waits for nobody").unwrap().unwrap();
    assert_eq!((answers.answered(), answers.asked), (0, 1));
    drop(ann);
}

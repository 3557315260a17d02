//! Clients that come back.

use crate::transport::{Event, Wanted, app::App, run::Setup};

pub(in crate::transport) async fn recovery_goes_on_where_it_stopped(setup: Setup) {
    let app = App::start(setup).await;
    let topics = ["logged.a", "logged.b"];
    let mut client = app.client(&topics).await;
    for topic in topics {
        for n in 0..10 {
            app.publish(topic, format!("{topic} {n}")).await;
        }
    }
    for _ in 0..20 {
        client.message().await;
    }
    let mut resume = client.resume();
    assert!(resume.is_some(), "a client of logged topics has a position");
    drop(client);
    // Twice, without reading anything new the second time.
    for round in 0..2 {
        if round == 0 {
            for n in 10..20 {
                app.publish("logged.a", format!("logged.a {n}")).await;
            }
        }
        let wanted = Wanted::topics(topics).resuming(resume.clone());
        let mut client = app.client_for(&wanted).await;
        app.publish("logged.b", format!("round {round}")).await;
        client.until_text(&format!("round {round}")).await;
        let missed = if round == 0 { 10..20 } else { 20..20 };
        // The two topics have no order between them.
        while client.texts().len() <= missed.len() {
            client.next().await;
        }
        let mut expected: Vec<_> = missed.map(|n| format!("logged.a {n}")).collect();
        expected.push(format!("round {round}"));
        let (mut heard, mut all) = (client.texts(), expected.iter().map(String::as_str).collect::<Vec<_>>());
        heard.sort_unstable();
        all.sort_unstable();
        assert_eq!(heard, all);
        let of_a: Vec<_> = client.texts().into_iter().filter(|text| text.starts_with("logged.a")).collect();
        assert_eq!(of_a, expected[..expected.len() - 1], "in order");
        assert!(!client.got.iter().any(|event| matches!(event, Event::Gap { .. })), "nothing was lost");
        resume = client.resume();
    }
}

pub(in crate::transport) async fn recovery_beyond_the_log_is_a_gap(setup: Setup) {
    let app = App::start(setup).await;
    let mut client = app.client(&["short.t"]).await;
    app.publish("short.t", "0").await;
    client.message().await;
    let resume = client.resume();
    drop(client);
    for n in 1..=30 {
        app.publish("short.t", n.to_string()).await;
    }
    let mut client = app.client_for(&Wanted::topics(["short.t"]).resuming(resume)).await;
    client.until_text("30").await;
    let gap = Event::Gap { topic: "short.t".to_owned(), missed: Some(25), reason: "history".to_owned() };
    assert_eq!(client.got.first(), Some(&gap));
    assert_eq!(client.texts(), ["26", "27", "28", "29", "30"]);
}

//! What hooks hear of a session that changes its connection.

use super::*;

#[tokio::test(start_paused = true)]
async fn hooks_hear_of_connections() {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let journal = journal.clone();
        move |id: ClientId, resumed: bool| journal.lock().unwrap().push((what, id, resumed))
    };
    let (up, going, gone) = (note("up"), note("going"), note("gone"));
    let server = Server::start(|broker| {
        broker
            .on_connected(move |client| {
                up(client.id, client.resumed);
                async {}
            })
            .on_disconnecting(move |client, _, _| {
                going(client.id, client.resumed);
                async {}
            })
            .on_disconnected(move |client, _| {
                gone(client.id, client.resumed);
                async {}
            })
    })
    .await;
    let (mut client, secret) = server.client("ann").await;
    let id = client.session().client().unwrap();
    cut(client).await;
    let (again, _) = server.resume("ann", &secret).await;
    cut(again).await;
    let expected = [
        ("up", id, false),
        ("going", id, false),
        ("gone", id, false),
        ("up", id, true),
        ("going", id, true),
        ("gone", id, true),
    ];
    assert_eq!(*journal.lock().unwrap(), expected);
    journal.lock().unwrap().clear();
    // One that was let in at the door is heard of under the name that it had there, too.
    let mut door = server.node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    let before = door.session().client().unwrap();
    door.call(connect("ann", Some(&secret), &[])).await;
    assert_eq!(door.session().client(), Some(id));
    let expected =
        [("up", before, false), ("going", before, false), ("gone", before, false), ("up", id, true)];
    assert_eq!(*journal.lock().unwrap(), expected);
    assert!(server.node.broker.clients().client(before).list().await.unwrap().clients.is_empty());
}

//! Which clients are meant.

use fanfare_core::session::{Command, SubscribeCommand};

use super::*;

#[tokio::test(start_paused = true)]
async fn conditions_narrow_across_nodes() {
    let cluster = Cluster::of(3).await;
    let mut ann = cluster.client(0, "ann", &["chat.lobby"]).await;
    let mut tab = cluster.client(1, "ann", &["chat.lobby", "news"]).await;
    let mut bob = cluster.client(2, "bob", &["chat.lobby"]).await;
    let mut anonymous = cluster.client(1, "", &["chat.*"]).await;
    let (ann, tab, bob, anonymous) = (id(&mut ann), id(&mut tab), id(&mut bob), id(&mut anonymous));
    let broker = &cluster.node(2).broker;
    let all = broker.clients();

    let listed = all.clone().list().await.unwrap();
    assert_eq!(named(&listed), sorted([ann, tab, bob, anonymous]));
    assert_eq!((listed.total, listed.answered, listed.asked, listed.is_complete()), (4, 3, 3, true));
    let of = |client| listed.clients.iter().find(|member| member.client == client).unwrap();
    assert_eq!((of(tab).user.as_deref(), of(tab).node), (Some("ann"), cluster.node(1).broker.node()));
    assert_eq!((of(anonymous).user.as_deref(), &*of(anonymous).transport), (None, "test"));

    assert_eq!(named(&all.clone().user("ann").list().await.unwrap()), sorted([ann, tab]));
    assert_eq!(named(&all.clone().client(tab).list().await.unwrap()), [tab]);
    // By its name alone: who gets it by a pattern has not joined it.
    assert_eq!(named(&broker.members("chat.lobby").await.unwrap()), sorted([ann, tab, bob]));
    assert!(all.clone().topic("chat.*").list().await.is_err(), "no topic has this name");
    assert_eq!(named(&all.clone().topic("chat.lobby").user("ann").list().await.unwrap()), sorted([ann, tab]));
    assert_eq!(named(&all.clone().user("ann").topic("news").list().await.unwrap()), [tab]);
    assert_eq!(named(&all.clone().topic("chat.lobby").except(bob).except(ann).list().await.unwrap()), [tab]);
    assert_eq!(named(&all.clone().client(ann).client(tab).list().await.unwrap()), []);
    assert_eq!(named(&all.clone().user("bob").client(ann).list().await.unwrap()), []);
    assert_eq!(named(&all.clone().topic("nothing").list().await.unwrap()), []);

    let here = all.clone().local().list().await.unwrap();
    assert_eq!((named(&here), here.answered, here.asked), (vec![bob], 1, 1));

    let some = all.clone().limit(3).list().await.unwrap();
    assert_eq!((some.clients.len(), some.total, some.is_complete()), (3, 4, false));
    let count = all.count().await.unwrap();
    assert_eq!((count.clients.len(), count.total), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_true_after_each_of_a_thousand_joins_and_leaves() {
    let cluster = Cluster::with(2, |builder| {
        builder.limits(|limits| {
            limits.commands_per_second = 100_000.try_into().unwrap();
            limits.commands_burst = 100_000.try_into().unwrap();
            limits.subscribes_per_second = 100_000.try_into().unwrap();
        })
    })
    .await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut clients = Vec::new();
    for number in 0..12 {
        clients.push((cluster.client(number % 2, "", &[]).await, false));
    }
    for step in 0..1000 {
        let at = rng.usize(..clients.len());
        let (client, is_in) = &mut clients[at];
        let id_of = client.next_id();
        // Nothing is waited for but the reply's being enqueued.
        let command = if *is_in {
            Command::Unsubscribe { topic: "room".to_owned() }
        } else {
            Command::Subscribe(SubscribeCommand::live("room"))
        };
        client.session().handle(id_of, command).await.unwrap();
        *is_in = !*is_in;
        let members = cluster.node(step % 2).broker.members("room").await.unwrap();
        let truth = clients.iter_mut().filter(|(_, is_in)| *is_in).map(|(client, _)| id(client));
        assert_eq!(named(&members), sorted(truth.collect::<Vec<_>>()), "step {step}");
        if step % 50 == 0 {
            for (client, _) in &mut clients {
                client.read().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_is_not_meant_and_who_has_gone_is_not_either() {
    let cluster = Cluster::of(1).await;
    let node = cluster.node(0);
    let mut stranger = node.connect(Handshake::new("test").with_token("stranger")).await.unwrap();
    let stranger = id(&mut stranger);
    assert_eq!(node.broker.clients().client(stranger).count().await.unwrap().total, 0);
    assert_eq!(node.broker.clients().client(stranger).call("who", "?").await.unwrap().asked, 0);
    let client = cluster.client(0, "ann", &["t"]).await;
    let broker = &cluster.node(0).broker;
    assert_eq!(broker.clients().count().await.unwrap().total, 1);
    drop(client);
    soon().await;
    assert_eq!(broker.clients().count().await.unwrap().total, 0);
    assert_eq!(broker.members("t").await.unwrap().total, 0);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_within_the_process_are_no_clients() {
    let cluster = Cluster::of(1).await;
    let broker = &cluster.node(0).broker;
    let _subscription = broker.subscribe("t").await.unwrap();
    assert_eq!(broker.members("t").await.unwrap().total, 0);
}

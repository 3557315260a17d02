//! What is done to the clients of all nodes, where one of them answers in no known form.

use super::{super::questions, *};

/// Two nodes, of which the second answers nonsense.
async fn misunderstood() -> (Node, Node) {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    for kind in [questions::CLIENTS, questions::CALL] {
        two.inner().cluster.on_question(kind, |_, _, _| async { Some("?".into()) });
    }
    soon().await;
    (one, two)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_none() {
    let (one, _two) = misunderstood().await;
    let members = one.broker.clients().list().await.unwrap();
    assert_eq!((members.answered, members.asked, members.is_complete()), (1, 2, false));
    let reached = one.broker.clients().unsubscribe("t").await.unwrap();
    assert_eq!((reached.answered, reached.asked, reached.is_complete()), (1, 2, false));
    let called = one.broker.clients().call("seen", "?").await.unwrap();
    assert_eq!((called.asked, called.silent_nodes, called.is_complete()), (0, 1, false));
}

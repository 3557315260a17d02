//! Calls of clients: who is answered what, in which order, and what is left behind.

mod answered;
mod ends;
mod order;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    BrokerBuilder,
    calls::{CallConfig, ClientCall},
    message::Payload,
    session::{CallCommand, CloseKind, Command, Refusal},
};
use tokio::{sync::Semaphore, time::Instant};

use crate::support::Node;

fn call(method: &str, payload: impl Into<Payload>) -> Command {
    Command::Call(CallCommand::new(method, payload))
}

async fn echo(call: ClientCall) -> Result<Payload, Refusal> {
    Ok(call.payload)
}

/// Serves `hold`, which answers when there is a permit, and says how many are being served.
fn holding(broker: BrokerBuilder, config: CallConfig) -> (BrokerBuilder, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (permits, running) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_handler, counted) = (permits.clone(), running.clone());
    let broker = broker.on_call_with("hold", config, move |call| {
        let (permits, running) = (of_handler.clone(), counted.clone());
        async move {
            let _counted = Counted::new(&running);
            permits.acquire().await.map_err(|_| Refusal::forbidden("closed"))?.forget();
            Ok(call.payload)
        }
    });
    (broker, permits, running)
}

/// Counts itself as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn node(set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Node {
    Node::start(|broker| set(broker).on_call("echo", echo)).await
}

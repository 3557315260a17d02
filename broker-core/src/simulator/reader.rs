//! A subscription within the process.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;

use super::{
    frames::{Flag, uid},
    track::Begun,
    truth::Truth,
    view::View,
};
use crate::{
    SubscribeError,
    outbox::Outbox,
    session::{ClientId, Start},
    subscription::{Delivery, Subscribe, Subscription},
    topic::OverflowPolicy,
};

pub(super) struct Reader {
    pub(super) name: &'static str,
    pub(super) start: Start,
    policy: Option<OverflowPolicy>,
    state: State,
    flag: Arc<Flag>,
    view: Option<View>,
    has_ended: bool,
}

enum State {
    Subscribing(BoxFuture<'static, Result<Subscription<str>, SubscribeError>>),
    Subscribed(Subscription<str>),
}

impl Reader {
    pub(super) fn new(
        mut subscribe: Subscribe<str>,
        name: &'static str,
        start: Start,
        policy: Option<OverflowPolicy>,
        queue: Option<usize>,
    ) -> Self {
        subscribe = subscribe.start(start);
        if let Some(policy) = policy {
            subscribe = subscribe.overflow(policy);
        }
        if let Some(queue) = queue {
            subscribe = subscribe.queue_messages(queue);
        }
        let state = State::Subscribing(subscribe.into_future());
        Self { name, start, policy, state, flag: Flag::raised(), view: None, has_ended: false }
    }

    pub(super) fn client(&self) -> Option<ClientId> {
        self.view.as_ref().map(|view| view.client)
    }

    pub(super) fn outbox(&self) -> Option<&Outbox> {
        match &self.state {
            State::Subscribing(_) => None,
            State::Subscribed(subscription) => Some(subscription.outbox()),
        }
    }

    pub(super) fn messages(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.messages)
    }

    /// Takes at most so many deliveries, if `always` or woken. False when it was not.
    pub(super) fn poll(
        &mut self,
        truth: &Truth,
        mut begun: Begun,
        most: usize,
        always: bool,
        trace: bool,
    ) -> bool {
        if self.has_ended || !(self.flag.lower() || always) {
            return false;
        }
        let waker = Waker::from(self.flag.clone());
        let mut cx = Context::from_waker(&waker);
        if let State::Subscribing(future) = &mut self.state {
            let Poll::Ready(result) = future.as_mut().poll(&mut cx) else { return true };
            let subscription = result.unwrap_or_else(|error| panic!("{error}"));
            let logged = subscription.outcome().position.is_some();
            begun.conflates = self.policy.map(|policy| policy == OverflowPolicy::ConflateByKey);
            begun.resyncs = self.policy.map(|policy| policy == OverflowPolicy::Resync && logged);
            let mut view = View::new(subscription.client(), None);
            view.subscribed(truth, self.name, &begun, subscription.outcome(), false);
            self.view = Some(view);
            self.state = State::Subscribed(subscription);
        }
        let (State::Subscribed(subscription), Some(view)) = (&mut self.state, &mut self.view) else {
            return true;
        };
        for _ in 0..most {
            let next = std::pin::pin!(subscription.recv());
            let Poll::Ready(next) = next.poll(&mut cx) else { return true };
            if trace {
                eprintln!("    the reader of {} {} sees {next:?}", self.name, view.client);
            }
            match next {
                Some(Delivery::Message(received)) => {
                    let topic = received.topic().as_str();
                    view.message(truth, topic, uid(received.message()), received.place());
                }
                Some(Delivery::Gap(gap)) => view.gap(truth, self.name, &gap),
                Some(Delivery::Live(position)) => view.live(truth, self.name, position),
                Some(other) => panic!("{other:?}"),
                None => {
                    self.has_ended = true;
                    return true;
                }
            }
        }
        // There may be more.
        self.flag.raise();
        true
    }

    pub(super) fn end(&mut self, truth: &Truth) {
        match (&self.state, &mut self.view) {
            (State::Subscribed(_), Some(view)) if !self.has_ended => view.end(truth),
            (State::Subscribing(_), _) => panic!("never subscribed"),
            _ => {}
        }
    }
}

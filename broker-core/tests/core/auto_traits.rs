//! What may be sent to and shared with other threads: part of the interface, so a change of it breaks here.

use fanfare_core::{
    Broker, BrokerBuilder, ConnectError, Limits, StartError, Stats, SubscribeError,
    backend::{self, memory},
    hooks, message, outbox, policy, publish, session, subscriber, subscription,
    topic::{self, TopicName},
};

const fn send<T: Send>() {}
const fn sync<T: Sync>() {}
const fn is_static<T: 'static>() {}

macro_rules! send_and_sync {
    ($($type:ty),* $(,)?) => {
        $(send::<$type>(); sync::<$type>(); is_static::<$type>();)*
    };
}

#[test]
fn public_types_are_send_and_sync() {
    send_and_sync! {
        Broker, BrokerBuilder, Limits, Stats,
        ConnectError, StartError, SubscribeError,
        backend::Accepted, backend::BackendError, backend::HistoryQuery, backend::Incoming, backend::Ingress,
        backend::Interest, backend::Outgoing, backend::Page, backend::Retention,
        memory::HubNode, memory::MemoryBackend, memory::MemoryHub,
        hooks::Client, hooks::ClientPublish,
        message::Format, message::Gap, message::InvalidPayload, message::Message, message::MessageParts,
        message::Payload, message::Position,
        outbox::Outbox,
        policy::Admission, policy::Identity, policy::Open, policy::Rules,
        publish::PublishError, publish::Report,
        session::ClientId, session::CloseReason, session::Command, session::CommandError, session::Handshake,
        session::Refusal, session::Reply,
        subscriber::Notice, subscriber::Offer, subscriber::PullHandle,
        subscription::Feed, subscription::Subscription<str>, subscription::Delivery<message::Payload>,
        topic::InvalidTopic, topic::PatternTrie<()>, topic::TopicConfig, topic::TopicPattern, TopicName,
    }
}

#[test]
fn what_is_awaited_can_be_awaited_on_any_thread() {
    const fn future<T: Send>(_: &T) {}
    // Never called: that it compiles is the test.
    #[allow(dead_code)]
    fn futures(broker: &Broker, session: session::Session, format: &message::Format) {
        future(&broker.publish("t", "1").into_future());
        future(&broker.publish("t", "1").report());
        future(&broker.subscribe("t").into_future());
        future(&broker.history(session::HistoryCommand::newest("t")));
        future(&broker.connect(session::Handshake::new("test"), format));
        future(&broker.drain(std::time::Duration::ZERO));
        future(&session.close(session::CloseKind::Normal.into()));
    }
    send::<session::Session>();
    send::<publish::Publish>();
    send::<subscription::Subscribe<str>>();
}

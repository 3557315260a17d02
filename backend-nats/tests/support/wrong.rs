//! What goes wrong at the start, and what is said of it.

use fanfare_core::{Broker, StartError, backend::BackendError, policy::Open, topic::TopicConfig};
use fanfare_nats::NatsBuilder;
use fanfare_testkit::backend::SECRET;

use super::{PASSWORD, chain};

/// A broker with logged topics, which shows no secret.
pub async fn start(builder: NatsBuilder) -> Result<Broker, StartError> {
    let backend = builder.build().expect("settings");
    let shown = format!("{backend:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(PASSWORD), "{shown}");
    let logged = TopicConfig::new().history(100).latest(10);
    let broker = Broker::builder().policy(Open).topic("logged.>", logged).backend(backend);
    // Servers are to be what limits a message.
    broker.limits(|limits| limits.max_message = 1 << 20).start().await
}

/// An error's words, and none of a secret.
pub fn check(error: &BackendError, says: &str) {
    let text = chain(error);
    assert!(text.contains(says), "`{text}` does not say `{says}`");
    assert!(!text.contains(SECRET) && !text.contains(PASSWORD), "{text}");
}

/// What a start fails with: words that say what to do.
pub async fn refused(builder: NatsBuilder, says: &str) {
    let Err(StartError::Backend(error)) = start(builder).await else { panic!("it starts: {says}") };
    check(&error, says);
    assert!(!error.retry_can_help(), "{}: {:?}", chain(&error), error.kind());
}

//! What all connections of a mounted transport share.

use std::{sync::Arc, time::Duration};

use fanfare_core::{Broker, TooManyFormats, message::Format};
use fanfare_http::wheel::Wheel;
use fanfare_protocol::DecodeLimits;

use crate::{
    Config,
    encoder::{Plain, V1},
};

pub(crate) struct Mount {
    pub(crate) broker: Broker,
    pub(crate) v1: Format,
    pub(crate) plain: Format,
    pub(crate) config: Config,
    pub(crate) decode: DecodeLimits,
    /// Bytes.
    pub(crate) max_message: u32,
    pub(crate) commands_ahead: usize,
    pub(crate) ping_interval: Duration,
    pub(crate) wheel: Wheel,
}

impl Mount {
    /// Registers the formats and makes a wheel: once per broker.
    pub(crate) fn new(broker: &Broker) -> Result<Self, TooManyFormats> {
        let v1 = broker.register(Arc::new(V1))?;
        let plain = broker.register(Arc::new(Plain))?;
        Ok(Self::with(broker.clone(), v1, plain, Config::new(), Wheel::new()))
    }

    /// The same, configured anew.
    pub(crate) fn configured(&self, config: Config) -> Self {
        Self::with(self.broker.clone(), self.v1.clone(), self.plain.clone(), config, self.wheel.clone())
    }

    fn with(broker: Broker, v1: Format, plain: Format, config: Config, wheel: Wheel) -> Self {
        let limits = broker.limits();
        let decode = DecodeLimits {
            text: limits.max_label,
            subscribe: limits.subscriptions_per_connection,
            topics: limits.topics_per_publish,
            ..DecodeLimits::default()
        };
        let commands_ahead = limits.commands_ahead;
        let max_message = config.longest_message(limits.max_message);
        let ping_interval = broker.ping_interval();
        Self { broker, v1, plain, config, decode, max_message, commands_ahead, ping_interval, wheel }
    }
}

//! What all streams of a mounted transport share.

use std::{sync::Arc, time::Duration};

use fanfare_core::{Broker, TooManyFormats, message::Format};
use fanfare_http::wheel::Wheel;

use crate::{
    Config,
    encoder::{Chunked, Raw, V1},
};

pub(crate) struct Mount {
    pub(crate) broker: Broker,
    pub(crate) raw: Format,
    /// For streams of which fan-out writes the socket.
    pub(crate) direct: Format,
    pub(crate) v1: Format,
    pub(crate) config: Config,
    /// How often a silent stream says that it is there.
    pub(crate) ping_interval: Duration,
    pub(crate) wheel: Wheel,
}

impl Mount {
    /// Registers the formats and makes a wheel: once per broker.
    pub(crate) fn new(broker: &Broker) -> Result<Self, TooManyFormats> {
        Ok(Self {
            raw: broker.register(Arc::new(Raw))?,
            direct: broker.register(Arc::new(Chunked(Raw)))?,
            v1: broker.register(Arc::new(V1))?,
            broker: broker.clone(),
            config: Config::new(),
            ping_interval: broker.ping_interval(),
            wheel: Wheel::new(),
        })
    }

    /// The same, configured anew.
    pub(crate) fn configured(&self, config: Config) -> Self {
        Self {
            broker: self.broker.clone(),
            raw: self.raw.clone(),
            direct: self.direct.clone(),
            v1: self.v1.clone(),
            config,
            ping_interval: self.ping_interval,
            wheel: self.wheel.clone(),
        }
    }
}

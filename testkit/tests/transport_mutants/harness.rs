//! Pipes to a server with one fault.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use fanfare_core::Broker;
use fanfare_testkit::{
    backend::Clock,
    transport::{Client, Event, Harness, Refused, Wanted},
    v1::{Frame, V1},
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

use crate::{fault::Fault, server::Server};

pub(crate) struct Piped(Arc<Server>);

impl Piped {
    pub(crate) fn with(fault: Fault, broker: &Broker) -> Self {
        Self(Arc::new(Server::new(broker, fault)))
    }
}

#[async_trait]
impl Harness for Piped {
    async fn serve(broker: &Broker) -> Self {
        Self::with(Fault::None, broker)
    }

    async fn connect(&self, wanted: &Wanted) -> Result<Box<dyn Client>, Refused> {
        let (here, there) = tokio::io::duplex(64 << 10);
        tokio::spawn(self.0.clone().serve(there));
        let v1 = V1::resuming(wanted.resume.as_deref().unwrap_or_default());
        let mut client =
            PipeClient { stream: BufReader::new(here), v1, early: VecDeque::new(), closed: false };
        client.send(wanted.token.as_deref().unwrap_or_default()).await?;
        for (id, topic) in (1..).zip(&wanted.topics) {
            client.subscribe(id, topic).await?;
        }
        Ok(Box::new(client))
    }

    fn clock() -> Clock {
        Clock::Paused
    }
}

struct PipeClient {
    stream: BufReader<DuplexStream>,
    v1: V1,
    early: VecDeque<Event>,
    closed: bool,
}

impl PipeClient {
    async fn send(&mut self, line: &str) -> Result<(), Refused> {
        let sent = self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).await;
        sent.map_err(|error| Refused(error.to_string()))
    }

    async fn subscribe(&mut self, id: u64, topic: &str) -> Result<(), Refused> {
        let command = self.v1.subscribe(id, topic);
        self.send(&command).await?;
        loop {
            match self.frame().await {
                Some(Frame::Reply { result: Ok(ok), .. }) => {
                    self.v1.subscribed(topic, &ok);
                    return Ok(());
                }
                Some(Frame::Event(event @ Event::Closed { .. })) => {
                    return Err(Refused(format!("{event:?}")));
                }
                Some(Frame::Event(event)) => self.early.push_back(event),
                other => return Err(Refused(format!("{other:?}"))),
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        Some(self.v1.read(&line))
    }
}

#[async_trait]
impl Client for PipeClient {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.early.pop_front() {
            return Some(event);
        }
        while !self.closed {
            if let Frame::Event(event) = self.frame().await? {
                self.closed = matches!(event, Event::Closed { .. });
                return Some(event);
            }
        }
        None
    }

    fn resume(&self) -> Option<String> {
        self.v1.resume()
    }
}

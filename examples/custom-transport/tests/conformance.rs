//! The transport passes the suite.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{collections::VecDeque, net::SocketAddr};

use async_trait::async_trait;
use fanfare_core::Broker;
use fanfare_testkit::{
    transport::{Client, Event, Harness, Refused, Wanted},
    v1::{Frame, V1},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

struct Lines {
    address: SocketAddr,
    server: JoinHandle<()>,
}

struct LineClient {
    stream: BufReader<TcpStream>,
    v1: V1,
    /// What came before the last subscribe was answered.
    early: VecDeque<Event>,
    closed: bool,
}

#[async_trait]
impl Harness for Lines {
    async fn serve(broker: &Broker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let broker = broker.clone();
        let server = tokio::spawn(async move { custom_transport::serve(listener, broker).await.unwrap() });
        Self { address, server }
    }

    async fn connect(&self, wanted: &Wanted) -> Result<Box<dyn Client>, Refused> {
        let stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
        let v1 = V1::resuming(wanted.resume.as_deref().unwrap_or_default());
        let mut client = LineClient { stream, v1, early: VecDeque::new(), closed: false };
        client.send(wanted.token.as_deref().unwrap_or_default()).await?;
        for (id, topic) in (1..).zip(&wanted.topics) {
            client.subscribe(id, topic).await?;
        }
        Ok(Box::new(client))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl LineClient {
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
                Some(other) => return Err(Refused(format!("{other:?}"))),
                None => return Err(Refused("the connection has ended".to_owned())),
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            if self.stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
        }
        Some(self.v1.read(&line))
    }
}

#[async_trait]
impl Client for LineClient {
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

fanfare_testkit::transport_tests!(Lines);

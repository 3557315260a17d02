//! A WebSocket client that is not ours, and speaks v1.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::support::PATIENCE;

/// A connection to `/ws`. What the server says unasked waits in its order while a reply is waited for.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    told: VecDeque<Told>,
    commands: u64,
    /// What the server has answered to the last `connect`.
    pub(crate) welcome: Value,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Text(Value),
    /// A header and a payload.
    Binary(Value, Vec<u8>),
    /// The close frame's code; nothing where the connection broke without.
    End(Option<u16>),
}

impl Client {
    /// A connection on which nothing was said.
    pub(crate) async fn open(address: &str) -> Self {
        Self::opening(address, "/ws", &[]).await
    }

    /// The same, with what a handshake may say beside.
    pub(crate) async fn opening(address: &str, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let opened = async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            client_async(request, stream).await.unwrap()
        };
        let (socket, _) = timeout(PATIENCE, opened).await.expect("no handshake");
        Self { socket, told: VecDeque::new(), commands: 0, welcome: Value::Null }
    }

    /// One of plain mode: payloads are all it hears.
    pub(crate) async fn plain(address: &str, query: &str) -> Self {
        Self::opening(address, &format!("/ws?{query}"), &[]).await
    }

    /// One that has said who it is.
    pub(crate) async fn of_user(address: &str, user: &str) -> Self {
        Self::entering(address, json!({ "token": user })).await
    }

    /// One that has sent this `connect`.
    pub(crate) async fn entering(address: &str, connect: Value) -> Self {
        let mut client = Self::open(address).await;
        client.welcome = client.ask(json!({ "connect": connect })).await;
        client
    }

    /// The public name of the connection.
    pub(crate) fn name(&self) -> &str {
        self.welcome["client"].as_str().unwrap()
    }

    /// The secret with which the session can be taken up.
    pub(crate) fn session(&self) -> &str {
        self.welcome["session"].as_str().unwrap()
    }

    /// Sends a frame as it is.
    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Sends a frame where the connection may be gone by now; false if it is.
    pub(crate) async fn try_send(&mut self, frame: Value) -> bool {
        self.socket.send(Message::text(frame.to_string())).await.is_ok()
    }

    /// Sends a binary frame: a header and a payload.
    pub(crate) async fn send_binary(&mut self, header: Value, payload: &[u8]) {
        let header = header.to_string();
        let length = u32::try_from(header.len()).unwrap().to_be_bytes();
        self.socket.send(Message::binary([&length, header.as_bytes(), payload].concat())).await.unwrap();
    }

    /// Sends a command under the next number, which it returns.
    pub(crate) async fn command(&mut self, command: Value) -> u64 {
        let command = self.numbered(command);
        let id = self.commands;
        self.send(command).await;
        id
    }

    /// The command with the next number.
    pub(crate) fn numbered(&mut self, mut command: Value) -> Value {
        self.commands += 1;
        command["id"] = self.commands.into();
        command
    }

    /// The reply to a command.
    pub(crate) async fn reply(&mut self, id: u64) -> Result<Value, Value> {
        let is_it = |told: &Told| matches!(told, Told::Text(frame) if frame["id"] == id);
        // It may have come while another reply was waited for.
        let mut next = self.told.iter().position(is_it).and_then(|at| self.told.remove(at));
        loop {
            let told = match next.take() {
                Some(told) => told,
                None => self.read().await,
            };
            match told {
                Told::Text(mut frame) if frame["id"] == id => {
                    return match frame.get_mut("ok") {
                        Some(ok) => Ok(ok.take()),
                        None => Err(frame["error"].take()),
                    };
                }
                Told::End(code) => {
                    panic!("the connection ended instead of a reply: {code:?}, {:?}", self.told)
                }
                other => self.told.push_back(other),
            }
        }
    }

    /// Sends a command, and returns its reply.
    pub(crate) async fn try_ask(&mut self, command: Value) -> Result<Value, Value> {
        let id = self.command(command).await;
        self.reply(id).await
    }

    /// Sends a command that succeeds, and returns what it says.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        self.try_ask(command).await.unwrap_or_else(|error| panic!("refused: {error}"))
    }

    pub(crate) async fn subscribe(&mut self, topic: &str) -> Value {
        self.ask(json!({ "subscribe": { "topic": topic } })).await
    }

    pub(crate) async fn unsubscribe(&mut self, topic: &str) {
        self.ask(json!({ "unsubscribe": { "topic": topic } })).await;
    }

    pub(crate) async fn publish(&mut self, topic: &str, data: impl Into<Value>) -> Value {
        self.ask(json!({ "publish": { "topic": topic, "data": data.into() } })).await
    }

    /// Calls a method of the app: what it answers, or its error.
    pub(crate) async fn call(&mut self, method: &str, data: impl Into<Value>) -> Result<Value, Value> {
        let answer = self.try_ask(json!({ "call": { "method": method, "data": data.into() } })).await;
        answer.map(|mut ok| ok["data"].take())
    }

    /// Answers a call of the app's.
    pub(crate) async fn answer(&mut self, call: &Value, data: impl Into<Value>) {
        let id = &call["call"]["call_id"];
        self.send(json!({ "answer": { "call_id": id, "data": data.into() } })).await;
    }

    /// What comes next, whatever it is.
    pub(crate) async fn told(&mut self) -> Told {
        match self.told.pop_front() {
            Some(told) => told,
            None => self.read().await,
        }
    }

    /// The next frame, which is text.
    pub(crate) async fn next(&mut self) -> Value {
        match self.told().await {
            Told::Text(frame) => frame,
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next frame, which is a message of this topic and this payload.
    pub(crate) async fn expect(&mut self, topic: &str, data: impl Into<Value>) -> Value {
        let frame = self.next().await;
        assert_eq!((&frame["topic"], &frame["data"]), (&topic.into(), &data.into()), "{frame}");
        frame
    }

    /// Nothing comes before this message, which was sent last.
    pub(crate) async fn nothing_before(&mut self, topic: &str, marker: impl Into<Value>) {
        self.expect(topic, marker).await;
    }

    /// Nothing else was said before now: no reply and no call, which those to this command do not overtake.
    pub(crate) async fn nothing_more(&mut self) {
        self.ask(json!({ "ping": {} })).await;
        assert_eq!(self.told, []);
    }

    /// The next payload in plain mode, which is binary.
    pub(crate) async fn raw(&mut self) -> Vec<u8> {
        match timeout(PATIENCE, self.socket.next()).await.expect("nothing came") {
            Some(Ok(Message::Binary(bytes))) => bytes.into(),
            other => panic!("no payload: {other:?}"),
        }
    }

    /// The code with which the server closes, and the frames before it.
    pub(crate) async fn ended(&mut self) -> (Option<u16>, Vec<Value>) {
        let mut frames = Vec::new();
        loop {
            match self.told().await {
                Told::Text(frame) => frames.push(frame),
                Told::Binary(header, _) => frames.push(header),
                Told::End(code) => return (code, frames),
            }
        }
    }

    /// Says goodbye for good, with 1000, and waits until the server has heard it.
    pub(crate) async fn leave(mut self) {
        let goodbye =
            tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "".into() };
        self.socket.close(Some(goodbye)).await.unwrap();
        self.ended().await;
    }

    /// Is gone without a word, as a process that is killed.
    pub(crate) fn vanish(self) {
        drop(self);
    }

    async fn read(&mut self) -> Told {
        // Pings do not count as something.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return Told::Text(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => {
                    let (length, rest) = bytes.split_first_chunk().unwrap();
                    let (header, payload) = rest.split_at(u32::from_be_bytes(*length) as usize);
                    return Told::Binary(serde_json::from_slice(header).unwrap(), payload.to_vec());
                }
                Some(Ok(Message::Close(frame))) => return Told::End(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Told::End(None),
            }
        }
    }
}

//! What clients ask for.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    client::Serving,
    track::Begun,
    truth::Topic,
    view::Request,
    world::{PATTERNS, TOPICS, World, pick},
};
use crate::{
    message::{Epoch, Position},
    session::{Command, ConnectCommand, PublishCommand, Start, SubscribeCommand},
};

impl World {
    pub(super) fn client(&mut self) -> Option<usize> {
        let ready: Vec<usize> = (0..self.clients.len()).filter(|at| !self.clients[*at].is_done()).collect();
        (!ready.is_empty()).then(|| pick(&mut self.rng, &ready))
    }

    pub(super) fn command(&mut self) {
        let Some(at) = self.client() else { return };
        if self.clients[at].is_ending() {
            return;
        }
        let name =
            if self.rng.u8(..4) == 0 { pick(&mut self.rng, &PATTERNS) } else { pick(&mut self.rng, &TOPICS) };
        let (request, command) = match self.rng.u8(..10) {
            0..5 => {
                let start = self.start(name, self.clients[at].view.positions.get(name).copied());
                let wanted = vec![(name.to_owned(), start)];
                let request = Request::Subscribe { wanted, before: None, begun: Vec::new() };
                (request, Command::Subscribe(SubscribeCommand::starting(name, start)))
            }
            5..7 => (
                Request::Unsubscribe { name: name.to_owned() },
                Command::Unsubscribe { topic: name.to_owned() },
            ),
            7..9 => {
                let (payload, mut sending) = self.message();
                let mut publish = PublishCommand::to_topics(sending.names(), payload);
                publish.key = sending.sent.key.map(|key| key.to_string());
                publish.echo = self.rng.bool();
                let client = self.clients[at].view.client;
                sending.sent.except = if publish.echo { Vec::new() } else { vec![client] };
                self.sending.push(sending);
                (Request::Publish(self.next_uid), Command::Publish(publish))
            }
            _ if !self.clients[at].has_connected => {
                self.clients[at].has_connected = true;
                let mut names = TOPICS.iter().chain(&PATTERNS).copied().collect::<Vec<_>>();
                self.rng.shuffle(&mut names);
                names.truncate(self.rng.usize(..4));
                names.sort_unstable();
                names.dedup();
                let mut wanted = Vec::new();
                for name in names {
                    wanted.push((name.to_owned(), self.start(name, None)));
                }
                let mut connect = ConnectCommand::default();
                let each = |(name, start): &(String, Start)| SubscribeCommand::starting(name, *start);
                connect.subscribe = wanted.iter().map(each).collect();
                let request = Request::Subscribe { wanted, before: None, begun: Vec::new() };
                (request, Command::Connect(connect))
            }
            _ => (Request::Ping, Command::Ping),
        };
        note!(self, "{} asks {command:?}", self.clients[at].view.client);
        self.clients[at].send(request, command);
    }

    pub(super) fn start(&mut self, name: &str, known: Option<Position>) -> Start {
        if !name.starts_with("l.") || name.contains('*') {
            return Start::Live;
        }
        let topic = self.truth.topic(name);
        let (top, epoch) = (topic.top() as u64, topic.epoch);
        match self.rng.u8(..10) {
            0..2 => Start::Live,
            2 => Start::Earliest,
            3 => Start::Latest,
            4..6 => Start::Last(self.rng.u64(..10)),
            6 => Start::After(Position::new(Epoch::new(7), self.rng.u64(..=top))),
            7 if known.is_some() => known.map_or(Start::Live, Start::After),
            _ => match epoch {
                Some(epoch) => Start::After(Position::new(epoch, self.rng.u64(..=top + 1))),
                None => Start::Live,
            },
        }
    }

    pub(super) fn begun(&self, name: &str, start: Start, before: Vec<usize>) -> Begun {
        // A message's age is told by the wall clock, which goes on while the broker's stands still.
        let now = Instant::now() + self.began.elapsed() + Duration::from_millis(2);
        let topic = self.truth.topics.iter().find(|topic| topic.name == name);
        Begun {
            start,
            tops: self.truth.topics.iter().map(Topic::top).collect(),
            before,
            floor: topic.map_or(0, |topic| topic.floor(now)),
            latest: topic.map_or_else(Vec::new, Topic::latest),
            conflates: None,
            resyncs: None,
        }
    }

    pub(super) fn poll_session(&mut self) {
        if let Some(at) = self.client() {
            self.poll_session_at(at, true);
        }
    }

    /// False when it was not polled.
    pub(super) fn poll_session_at(&mut self, at: usize, always: bool) -> bool {
        let Some(serving) = self.clients[at].poll_session(always) else { return false };
        // A transport serves some commands, then flushes.
        if !always || self.rng.bool() {
            self.clients[at].outbox.flush();
        }
        let (Serving::Midway(id) | Serving::Done(id)) = serving else { return true };
        let request = self.clients[at].view.requests.get(&id).cloned();
        if self.accepted() > 0 {
            let Some(Request::Publish(uid)) = request else { panic!("accepted, but not asked for") };
            let index = self.sending.iter().position(|sending| sending.sent.uid == uid);
            let sending = self.sending.swap_remove(index.unwrap_or_else(|| panic!("accepted twice")));
            self.accept(sending);
        } else if let Some(Request::Subscribe { wanted, before, .. }) = request {
            let tops: Vec<usize> = self.truth.topics.iter().map(Topic::top).collect();
            if let Serving::Midway(_) = serving {
                self.clients[at].view.begins(id, tops);
                return true;
            }
            note!(self, "{} is subscribed to {wanted:?}", self.clients[at].view.client);
            let before = before.unwrap_or(tops);
            let begun = wanted.iter().map(|(name, start)| self.begun(name, *start, before.clone()));
            let begun = begun.collect();
            self.clients[at].view.began(id, begun);
        }
        true
    }
}

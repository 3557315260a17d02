//! A client's life, from one connection to the next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare::{
    calls::ClientError,
    message::{Format, Payload, Position},
    session::{
        AnswerCommand, CallCommand, CloseKind, Command, ConnectCommand, HistoryCommand, PublishCommand,
        Start, SubscribeCommand,
    },
};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use super::{
    books::{Books, live},
    format::Heard,
    line::Line,
};
use crate::soak::{
    gate::Phase,
    ledger::Wrong,
    nodes::Node,
    people::is_room,
    topics::{KEYS, OPEN, TOPICS, USERS},
    track::Wanted,
    world::{World, between},
};

/// Nothing takes a client this long, unless it hangs.
const WITHIN: Duration = Duration::from_secs(60);

/// Subscriptions of a client.
const SUBSCRIPTIONS: usize = 6;

/// Lives until the end.
pub(crate) async fn run(world: Arc<World>, number: usize, mut rng: Rng) {
    let mut client = Client {
        who: format!("client {number}"),
        user: number % USERS,
        world: world.clone(),
        session: None,
        name: String::new(),
        subscribed: Vec::new(),
    };
    // Its connection is made while there is work; that it is there is none.
    while let Some(working) = world.gate.work().await {
        let Some(node) = world.nodes.pick(&mut rng) else {
            sleep(between(&mut rng, 5, 50)).await;
            continue;
        };
        let entered = timeout(WITHIN, client.enter(&node, &mut rng)).await;
        drop(working);
        match entered {
            Err(_) => world.verdict.wrong(&client.who, "connecting hangs", String::new),
            Ok(Err(Trouble::Wrong(wrong))) => world.verdict.wrong(&client.who, wrong, String::new),
            Ok(Err(Trouble::Refused(why))) => {
                world.counts.add(&format!("connect: {why}"));
                sleep(between(&mut rng, 10, 300)).await;
            }
            Ok(Ok((line, books))) => {
                if let Err(wrong) = client.stay(&node, line, books, &mut rng).await {
                    world.verdict.wrong(&client.who, wrong, String::new);
                }
            }
        }
        if world.verdict.is_over() {
            return;
        }
    }
}

struct Client {
    who: String,
    user: usize,
    world: Arc<World>,
    /// With what its session is taken up, and what its session was called.
    session: Option<String>,
    name: String,
    /// What it was subscribed to.
    subscribed: Vec<(String, Option<Position>)>,
}

enum Trouble {
    Refused(String),
    Wrong(Wrong),
}

impl From<Wrong> for Trouble {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl Client {
    /// Connects, and takes its session up if it has one.
    async fn enter(&mut self, node: &Node, rng: &mut Rng) -> Result<(Line, Books), Trouble> {
        let format: &Format = &node.format;
        let mut line = Line::connect(node, format).await.map_err(Trouble::Refused)?;
        let mut books = Books::new(&self.world, &self.who, node);
        let mut connect = ConnectCommand::default();
        connect.session = self.session.clone();
        connect.token = Some(self.user.to_string());
        let wanted = self.wanted(rng);
        connect.subscribe = wanted.iter().map(command).collect();
        let lost = || Trouble::Refused("lost".into());
        let id = line.command(Command::Connect(connect)).await.ok_or_else(lost)?;
        // It is let in before it is answered, and by then others may reach it.
        let mut early = Vec::new();
        loop {
            let heard = line.next().await.ok_or_else(lost)??;
            match heard {
                Heard::Connected(connected) => {
                    self.world.counts.add(if connected.resumed { "resumed" } else { "connected" });
                    if connected.resumed && connected.client != self.name {
                        let name = &self.name;
                        return Err(Trouble::Wrong(format!("{name} is resumed as {}", connected.client)));
                    }
                    if !connected.resumed && self.session.is_some() {
                        self.world.counts.add("not resumed");
                    }
                    books.connected(&connected, self.user)?;
                    for heard in early {
                        self.hear(&mut line, &mut books, heard).await?;
                    }
                    books.begun(&connected, &wanted)?;
                    self.name = connected.client;
                    self.session = connected.session;
                    return Ok((line, books));
                }
                Heard::Close(why) => return Err(Trouble::Refused(why)),
                Heard::Failed(failed, code) if failed == id => return Err(Trouble::Refused(code)),
                heard => early.push(heard),
            }
        }
    }

    /// What it was subscribed to, from where it stopped.
    fn wanted(&self, rng: &mut Rng) -> Vec<Wanted> {
        if self.subscribed.is_empty() {
            let name = TOPICS[rng.usize(..OPEN)].name;
            return vec![live(name)];
        }
        let wanted = |(name, position): &(String, Option<Position>)| Wanted {
            start: position.map_or(Start::Live, Start::After),
            ..live(name)
        };
        self.subscribed.iter().map(wanted).collect()
    }

    /// Lives on a connection until that ends.
    async fn stay(
        &mut self,
        node: &Node,
        mut line: Line,
        mut books: Books,
        rng: &mut Rng,
    ) -> Result<(), Wrong> {
        let gate = self.world.gate.clone();
        let until = Instant::now() + between(rng, 50, 20_000);
        let mut is_closed = false;
        loop {
            let pause = between(rng, 1, 400);
            let act = async {
                sleep(pause).await;
                gate.until(|phase| phase != Phase::Quiet).await
            };
            let heard = tokio::select! {
                biased;
                () = self.world.verdict.over() => return Ok(()),
                heard = line.next() => Some(heard),
                _ = act => None,
            };
            match heard {
                Some(None) => {
                    self.subscribed = books.positions();
                    return Ok(());
                }
                Some(Some(heard)) => {
                    is_closed |= self.hear(&mut line, &mut books, heard?).await?;
                    continue;
                }
                None => {}
            }
            if gate.phase() == Phase::Over {
                drop(books);
                line.close(CloseKind::Normal).await;
                return Ok(());
            }
            if is_closed {
                continue;
            }
            if Instant::now() > until {
                self.leave(line, books, rng).await;
                return Ok(());
            }
            // What is under way has its end before all settles.
            let Some(_working) = working(&self.world) else { continue };
            if timeout(WITHIN, act_once(&mut line, &mut books, rng)).await.is_err() {
                return Err(format!("a command hangs on node {}", node.slot));
            }
        }
    }

    /// Its own decision: to say goodbye, or to be lost without a word.
    async fn leave(&mut self, line: Line, books: Books, rng: &mut Rng) {
        self.subscribed = books.positions();
        drop(books);
        if rng.u32(..4) == 0 {
            self.world.counts.add("goodbyes");
            line.close(CloseKind::Normal).await;
            (self.session, self.subscribed) = (None, Vec::new());
        } else {
            self.world.counts.add("lost connections");
            drop(line);
        }
        if rng.bool() {
            sleep(between(rng, 0, 4_000)).await;
        }
    }

    /// Takes in what comes; whether it is the end.
    async fn hear(&mut self, line: &mut Line, books: &mut Books, heard: Heard) -> Result<bool, Wrong> {
        match heard {
            Heard::Message(message) => books.message(&message)?,
            Heard::Gap(name, gap) => books.gap(&name, &gap)?,
            Heard::Live(name, at) => books.live(&name, at)?,
            Heard::Subscribed(id, outcome) => books.subscribed(id, outcome)?,
            Heard::Done(id, at) => books.done(id, at.as_str().and_then(|at| at.parse().ok()))?,
            Heard::Called(id, answer) => books.answered(id, answer.as_str())?,
            Heard::Failed(id, code) => books.failed(id, &code)?,
            Heard::Call(call, payload) => {
                let result: Result<Payload, ClientError> = Ok(payload);
                line.command(Command::Answer(AnswerCommand::new(call, result))).await;
            }
            Heard::SubscribedByServer(name, outcome) => books.by_server(&name, outcome)?,
            Heard::UnsubscribedByServer(name) => books.ended(&name),
            Heard::Present(name, members) => books.present(&name, members),
            Heard::Changed(name, joined, left) => books.changed(&name, joined, &left),
            Heard::Connected(_) => return Err("connect is answered twice".into()),
            Heard::Close(why) => {
                self.world.counts.add(&format!("closed: {why}"));
                self.subscribed = books.positions();
                return Ok(true);
            }
            Heard::Nothing => {}
        }
        Ok(false)
    }
}

/// Somebody works, if there is work.
fn working(world: &World) -> Option<crate::soak::gate::Working> {
    world.gate.try_work()
}

/// One command.
async fn act_once(line: &mut Line, books: &mut Books, rng: &mut Rng) {
    match rng.u32(..10) {
        0 | 1 if books.positions().len() < SUBSCRIPTIONS => {
            let wanted = live(TOPICS[rng.usize(..OPEN)].name);
            if !books.has(&wanted.name)
                && let Some(id) = line.command(Command::Subscribe(command(&wanted))).await
            {
                books.asked_to_subscribe(id, wanted);
            }
        }
        2 => {
            let names = books.positions();
            if let Some((topic, _)) = names.get(rng.usize(..names.len().max(1))) {
                let command = Command::Unsubscribe { topic: topic.clone() };
                if let Some(id) = line.command(command).await {
                    books.asked_to_unsubscribe(id, topic);
                }
            }
        }
        3 => {
            let asked = format!("{:x}", rng.u64(..));
            let call = CallCommand::new("echo", Payload::text(asked.clone()));
            if let Some(id) = line.command(Command::Call(call)).await {
                books.called(id, asked);
            }
        }
        4 => {
            let topic = TOPICS[rng.usize(..10)].name;
            if let Some(id) = line.command(Command::History(HistoryCommand::newest(topic))).await {
                books.asked_else(id);
            }
        }
        _ => publish(line, books, rng).await,
    }
}

async fn publish(line: &mut Line, books: &mut Books, rng: &mut Rng) {
    let index = rng.usize(..OPEN);
    let topic = &TOPICS[index];
    let key = topic.keyed.then(|| rng.u8(..KEYS));
    let Some(uid) = books.next(index, key) else { return };
    let mut publish = PublishCommand::new(topic.name, uid.payload(rng.usize(..2_000)));
    publish.event = Some(uid.to_string());
    publish.key = key.map(|key| format!("k{key}"));
    publish.message_id = topic.ids.then(|| format!("id-{uid}"));
    match line.command(Command::Publish(publish)).await {
        Some(id) => books.asked_to_publish(id, uid),
        None => books.asked_to_publish(0, uid),
    }
}

fn command(wanted: &Wanted) -> SubscribeCommand {
    let command = SubscribeCommand::starting(&wanted.name, wanted.start);
    if is_room(&wanted.name) { command.with_presence() } else { command }
}

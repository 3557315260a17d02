//! A question to nodes, and what they answer: "answered n of m".
//!
//! A question is u64 its number, u32 how long its asker waits (milliseconds), u8 what it is about, and the rest; an answer is u64 the question's
//! number, u8 whether it is one ([`ANSWERED`]), and the rest; all big-endian.
//!
//! Asked are the nodes that are up at that moment, and this one, which answers without the network. Each is done when it has answered, when
//! it says that it cannot, or when it is away; once all are done there is nothing to wait for. What comes after that, or after the
//! deadline, is passed over: with the [`Asking`] everything that is known of the question is gone.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::Instant,
};

use super::{Cluster, NotSent, parcels};
use crate::{backend::NodeId, broker::Inner};

/// How many questions of others are answered at once; what is beyond is answered by a no. A call to a client is one until the client
/// has answered.
const MAX_ANSWERING: usize = 2048;

/// How long a question may take, whoever asks.
const LONGEST: Duration = Duration::from_secs(600);

/// It is an answer; anything else is none.
const ANSWERED: u8 = 0;
const NOT_ANSWERED: u8 = 1;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Every node, this one included.
    All,
    /// Every node but this one.
    Others,
    /// One node; it may be this one.
    Node(NodeId),
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The answers, in the order in which they came.
    pub(crate) answers: Vec<(NodeId, Bytes)>,
    /// How many nodes have answered.
    pub(crate) answered: usize,
    /// How many were asked.
    pub(crate) asked: usize,
}

/// A question that was asked. Dropped, it is forgotten.
pub(crate) struct Asking {
    broker: Arc<Inner>,
    number: u64,
    pending: Arc<Pending>,
    /// What this node answers itself.
    own: Option<BoxFuture<'static, Option<Bytes>>>,
    deadline: Instant,
}

/// All questions that are open, and those of others that are being answered.
pub(super) struct Asks {
    last: AtomicU64,
    open: Mutex<FxHashMap<u64, Arc<Pending>>>,
    answering: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Pending {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Default)]
struct State {
    /// Who has not answered yet.
    waiting: FxHashSet<NodeId>,
    answers: VecDeque<(NodeId, Bytes)>,
    answered: usize,
    asked: usize,
}

impl Default for Asks {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(0),
            open: Mutex::default(),
            answering: Arc::new(Semaphore::new(MAX_ANSWERING)),
            tasks: Mutex::default(),
        }
    }
}

impl Pending {
    /// A node is done, with an answer or without.
    fn done(&self, node: NodeId, answer: Option<Bytes>) {
        let mut state = self.state.lock();
        if !state.waiting.remove(&node) {
            return;
        }
        if let Some(answer) = answer {
            state.answered += 1;
            state.answers.push_back((node, answer));
        }
        drop(state);
        self.notify.notify_one();
    }

    /// Those of these that have not answered will not.
    fn give_up(&self, nodes: Vec<NodeId>) {
        for node in nodes {
            self.done(node, None);
        }
    }
}

impl Cluster {
    /// Asks a question of a [kind](super::questions), for so long at most. Calling this is asking; this node's own answer is
    /// worked on while the [`Asking`] is awaited.
    pub(crate) fn ask(
        &self,
        broker: &Arc<Inner>,
        whom: Whom,
        kind: u8,
        question: Bytes,
        within: Duration,
    ) -> Asking {
        let within = within.min(LONGEST);
        let own = match whom {
            Whom::All => true,
            Whom::Others => false,
            Whom::Node(node) => node == self.node,
        };
        let number = self.asks.last.fetch_add(1, Ordering::Relaxed) + 1;
        let pending = Arc::new(Pending::default());
        let others = self.open(number, &pending, whom);
        if !others.is_empty() {
            let mut content = BytesMut::with_capacity(13 + question.len());
            content.put_u64(number);
            content.put_u32(u32::try_from(within.as_millis()).unwrap_or(u32::MAX));
            content.put_u8(kind);
            content.put_slice(&question);
            let to = if let Whom::Node(node) = whom { Some(node) } else { None };
            self.send_question(broker, &pending, others, to, content.freeze());
        }
        let own = own.then(|| {
            let mut state = pending.state.lock();
            state.asked += 1;
            state.waiting.insert(self.node);
            self.answer(broker.clone(), self.node, kind, question, within)
        });
        Asking { broker: broker.clone(), number, pending, own, deadline: Instant::now() + within }
    }

    /// Notes who is asked. A node that goes away from now on is noticed.
    fn open(&self, number: u64, pending: &Arc<Pending>, whom: Whom) -> Vec<NodeId> {
        let mut open = self.asks.open.lock();
        let nodes = self.nodes();
        let mut state = pending.state.lock();
        let others: Vec<_> = match whom {
            Whom::All | Whom::Others => nodes.to_vec(),
            Whom::Node(node) if node == self.node => Vec::new(),
            Whom::Node(node) => {
                state.asked += 1;
                nodes.iter().copied().filter(|known| *known == node).collect()
            }
        };
        if !matches!(whom, Whom::Node(_)) {
            state.asked += others.len();
        }
        state.waiting.extend(&others);
        open.insert(number, pending.clone());
        others
    }

    /// A question that is not sent is answered by nobody.
    fn send_question(
        &self,
        broker: &Inner,
        pending: &Arc<Pending>,
        others: Vec<NodeId>,
        to: Option<NodeId>,
        content: Bytes,
    ) {
        match self.outgoing.post_and_tell(to, parcels::QUESTION, content) {
            Ok(told) => {
                let pending = Arc::downgrade(pending);
                let wait = async move {
                    if told.await != Ok(Ok(()))
                        && let Some(pending) = pending.upgrade()
                    {
                        pending.give_up(others);
                    }
                };
                self.asks.spawn(&broker.runtime, wait);
            }
            Err(error) => {
                tracing::debug!(target: "fanfare::core", %error, "a question is not sent");
                pending.give_up(others);
            }
        }
    }

    /// What this node says to a question.
    fn answer(
        &self,
        broker: Arc<Inner>,
        from: NodeId,
        kind: u8,
        question: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Option<Bytes>> {
        let Some(answer) = self.handlers.read().questions.get(&kind).cloned() else {
            tracing::debug!(target: "fanfare::core", %from, kind, "a question of an unknown kind");
            return std::future::ready(None).boxed();
        };
        let answer = async move {
            let answer = AssertUnwindSafe(async move { answer(broker, from, question).await }).catch_unwind();
            match tokio::time::timeout(within, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => {
                    tracing::error!(target: "fanfare::core", kind, "the answer to a question panicked");
                    None
                }
                Err(_) => None,
            }
        };
        answer.boxed()
    }

    /// A question of another node.
    pub(super) fn hear_question(&self, broker: &Arc<Inner>, from: NodeId, mut content: Bytes) {
        let (Ok(number), Ok(within), Ok(kind)) =
            (content.try_get_u64(), content.try_get_u32(), content.try_get_u8())
        else {
            return;
        };
        let within = Duration::from_millis(within.into()).min(LONGEST);
        let Ok(permit) = self.asks.answering.clone().try_acquire_owned() else {
            tracing::warn!(target: "fanfare::core", %from, limit = MAX_ANSWERING, "too many questions at once: one is not answered");
            self.say(from, number, None);
            return;
        };
        let answer = self.answer(broker.clone(), from, kind, content, within);
        let broker = broker.clone();
        let runtime = broker.runtime.clone();
        let say = async move {
            let answer = answer.await;
            broker.cluster.say(from, number, answer);
            drop(permit);
        };
        self.asks.spawn(&runtime, say);
    }

    fn say(&self, to: NodeId, number: u64, answer: Option<Bytes>) {
        let mut content = BytesMut::with_capacity(9 + answer.as_ref().map_or(0, Bytes::len));
        content.put_u64(number);
        content.put_u8(if answer.is_some() { ANSWERED } else { NOT_ANSWERED });
        content.put_slice(answer.as_deref().unwrap_or_default());
        if self.post(Some(to), parcels::ANSWER, content.freeze()) == Err(NotSent::TooLong) {
            tracing::error!(target: "fanfare::core", "an answer is too long to be sent");
            self.say(to, number, None);
        }
    }

    /// An answer of another node.
    pub(super) fn hear_answer(&self, from: NodeId, mut content: Bytes) {
        let (Ok(number), Ok(status)) = (content.try_get_u64(), content.try_get_u8()) else { return };
        let pending = self.asks.open.lock().get(&number).cloned();
        if let Some(pending) = pending {
            pending.done(from, (status == ANSWERED).then_some(content));
        }
    }

    /// A node will answer no more.
    pub(super) fn gives_no_answer(&self, node: NodeId) {
        let open: Vec<_> = self.asks.open.lock().values().cloned().collect();
        for pending in open {
            pending.done(node, None);
        }
    }
}

impl Asks {
    /// Runs something that ends by itself, and at the latest with the broker.
    fn spawn(&self, runtime: &tokio::runtime::Handle, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, runtime);
    }

    pub(super) fn stop(&self) {
        self.answering.close();
        self.tasks.lock().abort_all();
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn open_questions(&self) -> usize {
        self.open.lock().len()
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn tasks(&self) -> usize {
        self.tasks.lock().len()
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn max_answering() -> usize {
        MAX_ANSWERING
    }
}

impl Asking {
    /// The next answer; `None` when there will be none any more. [`counts`](Self::counts) says how many there were.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, no answer is lost.
    pub(crate) async fn next(&mut self) -> Option<(NodeId, Bytes)> {
        loop {
            {
                let mut state = self.pending.state.lock();
                if let Some(answer) = state.answers.pop_front() {
                    return Some(answer);
                }
                if state.waiting.is_empty() {
                    return None;
                }
            }
            let own = async {
                match &mut self.own {
                    Some(own) => own.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = own => {
                    self.own = None;
                    self.pending.done(self.broker.node, answer);
                }
                () = self.pending.notify.notified() => {}
                () = tokio::time::sleep_until(self.deadline) => return None,
            }
        }
    }

    /// How many nodes have answered so far, and how many were asked.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.pending.state.lock();
        (state.answered, state.asked)
    }

    /// Waits for all answers.
    pub(crate) async fn all(mut self) -> Answers {
        let mut answers = Vec::new();
        while let Some(answer) = self.next().await {
            answers.push(answer);
        }
        let (answered, asked) = self.counts();
        Answers { answers, answered, asked }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.broker.cluster.asks.open.lock().remove(&self.number);
    }
}

//! What this node could not carry to the others, and what others could not carry to it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::{
    Inner,
    control::{LOST_ANY, LOST_TOPICS, frame},
    settle::{Debt, Settled},
};
use crate::{
    backend::{NodeId, Origin},
    fanout::Whom,
    message::{Gap, GapReason},
    topic::TopicName,
};

/// How many topics are remembered one by one; with more, every topic is said to have lost something. With the
/// longest names they fit into 64 KiB.
const MAX_TOPICS: usize = 240;

/// The ephemeral topics of which this node failed to carry messages, since it last said so.
#[derive(Default)]
pub(crate) struct Uncarried(Mutex<Lost>);

#[derive(Default)]
struct Lost {
    /// Stream and number of the last message that was not carried.
    topics: FxHashMap<TopicName, (u64, u64)>,
    any: bool,
}

impl Uncarried {
    fn note(&self, name: TopicName, origin: Origin) {
        let mut lost = self.0.lock();
        if lost.topics.len() >= MAX_TOPICS && !lost.topics.contains_key(&name) {
            lost.any = true;
        } else {
            lost.topics.insert(name, (origin.stream, origin.seq));
        }
    }

    /// Remembers what could not be said. What was lost since goes further, and stands for it.
    fn put_back(&self, told: Lost) {
        let mut lost = self.0.lock();
        lost.any |= told.any;
        for (name, last) in told.topics {
            lost.topics.entry(name).or_insert(last);
        }
        lost.any |= lost.topics.len() > MAX_TOPICS;
    }

    fn take(&self) -> Lost {
        std::mem::take(&mut self.0.lock())
    }
}

impl Lost {
    fn is_empty(&self) -> bool {
        self.topics.is_empty() && !self.any
    }

    /// For each topic the length of its name (u8), the name, stream and number (u64, big-endian).
    fn frame(&self) -> Bytes {
        if self.any {
            return frame(LOST_ANY, &[]);
        }
        let mut topics = BytesMut::new();
        for (name, (stream, seq)) in &self.topics {
            topics.put_u8(u8::try_from(name.as_str().len()).unwrap_or(u8::MAX));
            topics.put_slice(name.as_str().as_bytes());
            topics.put_u64(*stream);
            topics.put_u64(*seq);
        }
        frame(LOST_TOPICS, &topics)
    }
}

/// The next topic of a frame; `None` at its end, or where it is no such frame.
fn next_topic(frame: &mut Bytes) -> Option<(TopicName, u64, u64)> {
    let length = usize::from(frame.try_get_u8().ok()?);
    if frame.len() < length {
        return None;
    }
    let name = frame.split_to(length);
    let name = TopicName::new(std::str::from_utf8(&name).ok()?).ok()?;
    Some((name, frame.try_get_u64().ok()?, frame.try_get_u64().ok()?))
}

impl Inner {
    /// Notes that a message was not carried. The others are told when the backend is up.
    pub(crate) fn not_carried(&self, topics: Vec<(TopicName, Origin)>) {
        for (name, origin) in topics {
            self.uncarried.note(name, origin);
        }
        // One that failed alone is told at once; an outage's are told at its end.
        self.owe(Debt::Uncarried);
    }

    /// Tells the other nodes what was not carried to them.
    pub(super) async fn tell_uncarried(&self) -> Settled {
        let lost = self.uncarried.take();
        if lost.is_empty() {
            return Settled::Done;
        }
        let settled = self.send_control(None, lost.frame()).await;
        if settled == Settled::NotYet {
            self.uncarried.put_back(lost);
        }
        settled
    }

    /// Takes the word of a node that could not carry some of its messages.
    pub(super) fn hear_of_losses(&self, from: NodeId, mut topics: Bytes) {
        while let Some((name, stream, seq)) = next_topic(&mut topics) {
            self.lost_from(&name, Origin { node: from, stream, seq });
        }
    }

    fn lost_from(&self, name: &TopicName, origin: Origin) {
        let Some(topic) = self.topic_for_receiving(name).filter(|topic| !topic.is_logged()) else { return };
        let mut sequencer = topic.sequencer();
        if let Some(missed) = sequencer.hear_of_loss(origin) {
            self.push_lost(&topic, &mut sequencer, Gap::new(GapReason::Backend, missed), Whom::All);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_survives_its_frame() {
        let uncarried = Uncarried::default();
        let origin = |seq| Origin { node: NodeId::new(1), stream: 7, seq };
        uncarried.note(TopicName::new("a.b").unwrap(), origin(3));
        uncarried.note(TopicName::new("a.b").unwrap(), origin(4));
        let mut frame = uncarried.take().frame();
        assert_eq!((frame.get_u8(), frame.get_u8()), (1, LOST_TOPICS));
        assert_eq!(next_topic(&mut frame), Some((TopicName::new("a.b").unwrap(), 7, 4)));
        assert_eq!(next_topic(&mut frame), None);
        assert!(uncarried.take().is_empty());
    }

    #[test]
    fn a_frame_that_is_cut_short_ends() {
        let uncarried = Uncarried::default();
        uncarried.note(TopicName::new("a").unwrap(), Origin { node: NodeId::new(1), stream: 7, seq: 3 });
        let frame = uncarried.take().frame();
        for end in 2..frame.len() {
            assert_eq!(next_topic(&mut frame.slice(2..end)), None, "{end}");
        }
    }

    #[test]
    fn what_could_not_be_said_does_not_hide_what_was_lost_since() {
        let uncarried = Uncarried::default();
        let origin = |seq| Origin { node: NodeId::new(1), stream: 7, seq };
        uncarried.note(TopicName::new("a").unwrap(), origin(3));
        uncarried.note(TopicName::new("b").unwrap(), origin(1));
        let told = uncarried.take();
        uncarried.note(TopicName::new("a").unwrap(), origin(5));
        uncarried.put_back(told);
        let lost = uncarried.take();
        assert_eq!(lost.topics[&TopicName::new("a").unwrap()], (7, 5));
        assert_eq!(lost.topics[&TopicName::new("b").unwrap()], (7, 1));
        assert!(!lost.any);
    }

    #[test]
    fn too_many_topics_are_any() {
        let uncarried = Uncarried::default();
        for n in 0..=MAX_TOPICS {
            let name = TopicName::new(format!("t{n}")).unwrap();
            uncarried.note(name, Origin { node: NodeId::new(1), stream: 1, seq: 1 });
        }
        assert_eq!(uncarried.take().frame().as_ref(), [1, LOST_ANY]);
    }
}

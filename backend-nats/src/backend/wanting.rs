//! What this node wants.

use bytes::Bytes;
use fanfare_core::{
    backend::{Interest, Retention},
    message::Position,
};
use tokio::time::sleep;

use super::running::Running;
use crate::{
    error::Trouble,
    keep::{Node, lost, within},
    receive::Interests,
    wire::{Asking, Call},
};

impl Running {
    /// Sees to it that there is a stream that can hold these logs.
    pub(super) async fn prepare(&self, logs: &[Retention]) -> Result<(), Trouble> {
        let node = &self.node;
        logs.iter().for_each(|retention| node.logs.need(retention));
        within(node.settings.publish_within, node.logs.stream()).await.map(drop)
    }

    pub(super) async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, Trouble> {
        let node = &self.node;
        let (sid, asked) = {
            let _subscribing = node.subscribing.lock();
            let wanted = node.interests.want(interest, || node.queue.next_sid());
            let (sid, frame) =
                wanted.ok_or_else(|| Trouble::refused("an interest of a kind that is not known"))?;
            // Where there is a subscription, what was sent before is confirmed by the answer to nothing at all.
            (sid, self.send(&self.subject(interest), frame.unwrap_or_default()))
        };
        if let Interest::Topic { retention: Some(retention), .. } = interest {
            node.logs.need(retention);
        }
        within(node.settings.answer_within, async { asked.answer().await.map_err(lost) }).await?;
        if !node.interests.confirm(sid) {
            return Err(Trouble::unavailable("the subscription has ended meanwhile"));
        }
        match interest {
            Interest::Topic { name, retention: Some(retention) } => {
                // From here on all comes, so that nothing falls between the log's end and what comes.
                let top = node.logs.top(name, retention, &node.interests);
                let (top, entry) = within(node.settings.publish_within, top).await?;
                node.pushed.reach(name, top.epoch, entry);
                Ok(Some(top))
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn unsubscribe(&self, interest: &Interest) -> Result<(), Trouble> {
        let (asked, _ending) = {
            let _subscribing = self.node.subscribing.lock();
            let Some(sid) = self.node.interests.give_up(interest) else { return Ok(()) };
            (self.send("", format!("UNSUB {sid}\r\n")), Ending(&self.node.interests, sid))
        };
        within(self.node.settings.answer_within, async { asked.answer().await.map_err(lost) }).await.map(drop)
    }

    fn send(&self, subject: &str, frames: String) -> Asking {
        send(&self.node, subject, frames)
    }

    fn subject(&self, interest: &Interest) -> String {
        match interest {
            Interest::Topic { name, .. } => self.node.names.topic(name),
            Interest::Pattern(pattern) => self.node.names.pattern(pattern),
            _ => String::new(),
        }
    }
}

/// Asks again for what a server has refused and is still wanted, for ever: it may be allowed once more, and nobody says so.
pub(super) async fn ask_again(node: &Node) {
    loop {
        sleep(node.settings.ping_every.saturating_mul(PINGS)).await;
        let asked: Vec<_> = {
            let _subscribing = node.subscribing.lock();
            if !node.health.is_up() {
                continue;
            }
            let wanted = node.interests.ask_again(|| node.queue.next_sid());
            wanted
                .into_iter()
                .map(|(sid, source, frame)| {
                    let subject = source.subject(&node.names);
                    (sid, source, send(node, &subject, frame))
                })
                .collect()
        };
        for (sid, source, asked) in asked {
            if asked.answer().await.is_ok() && node.interests.confirm(sid) {
                // What came meanwhile did not come here.
                node.inbox.lost(source.topic());
            }
        }
    }
}

/// Once in so many of the times after which a silent server is asked whether it is there: ten seconds by default.
const PINGS: u32 = 5;

fn send(node: &Node, subject: &str, frames: String) -> Asking {
    let call = Call::Frames { subject: subject.into(), bytes: Bytes::from(frames) };
    node.queue.hand_over(call, false)
}

/// A subscription that is being ended; dropped, it has.
struct Ending<'a>(&'a Interests, u64);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended(self.1);
    }
}

//! The law, as one subscription can check it.

mod by_name;
mod by_pattern;
mod sent;

use std::fmt;

use by_name::ByName;
use by_pattern::ByPattern;
use fanfare::{
    message::{Gap, LogPlace, Message, Position},
    session::{Start, Subscribed},
};
use sent::SentTrack;

use super::{
    ledger::{Claim, Ledger, Tick, Wrong},
    topics::{TOPICS, index},
    uid::Uid,
};

/// What a subscription was made for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// A topic or a pattern.
    pub(super) name: String,
    pub(super) start: Start,
    /// Of values of the same key only the last one need come.
    pub(super) conflates: bool,
}

/// What one subscription has seen, and what it is owed.
#[derive(Debug)]
pub(super) struct Track {
    kind: Kind,
    /// To be checked when all is settled.
    claims: Vec<Claim>,
}

#[derive(Debug)]
enum Kind {
    Logged(Box<ByName>),
    Ephemeral(SentTrack),
    Pattern(ByPattern),
}

/// One thing that came, as it is written down.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Began(String),
    Message(usize, Uid, Option<LogPlace>),
    Gap(Gap),
    Live(Position),
    Other(String),
}

impl Track {
    /// One that begins now: `since` is a moment after its beginning.
    pub(super) fn new(wanted: &Wanted, outcome: Subscribed, since: Tick) -> Result<Self, Wrong> {
        let conflates = wanted.conflates;
        let kind = match index(&wanted.name) {
            None => Kind::Pattern(ByPattern::new(&wanted.name, since, conflates)),
            Some(topic) if TOPICS[topic].logged => {
                Kind::Logged(Box::new(ByName::new(topic, wanted, outcome)?))
            }
            Some(topic) => Kind::Ephemeral(SentTrack::new(vec![topic], since, conflates)),
        };
        Ok(Self { kind, claims: Vec::new() })
    }

    /// A message came.
    pub(super) fn message(&mut self, ledger: &Ledger, message: &Message) -> Result<Seen, Wrong> {
        let name = message.topic().as_str();
        let topic = index(name).ok_or_else(|| format!("a message of {name}, which is no topic of ours"))?;
        let event = message.event().unwrap_or_default();
        let uid: Uid = event.parse().map_err(|()| format!("a message of {name} is called {event:?}"))?;
        let place = message.place();
        let seen = Seen::Message(topic, uid, place);
        if !uid.fits(message.payload()) {
            return Err(format!("{uid} of {name} has another payload: {:?}", message.payload()));
        }
        ledger.heard(topic, uid, place)?;
        match (&mut self.kind, place) {
            (Kind::Logged(track), Some(place)) if track.topic == topic => {
                track.message(place, &mut self.claims)
            }
            (Kind::Ephemeral(track), None) if track.topics.contains(&topic) => {
                track.message(uid, &mut self.claims)
            }
            (Kind::Pattern(track), place) if track.sent.topics.contains(&topic) => {
                track.message(topic, uid, place, &mut self.claims)
            }
            _ => Err(format!("a message of {name}, which is not subscribed")),
        }?;
        Ok(seen)
    }

    /// A gap was told.
    pub(super) fn gap(&mut self, gap: &Gap) -> Result<(), Wrong> {
        if gap.missed == Some(0) {
            return Err(format!("a gap of nothing: {gap:?}"));
        }
        match &mut self.kind {
            Kind::Logged(track) => track.gap(gap, &mut self.claims),
            Kind::Ephemeral(track) | Kind::Pattern(ByPattern { sent: track, .. }) => {
                track.gaps += 1;
                Ok(())
            }
        }
    }

    /// All that was missed has come.
    pub(super) fn live(&mut self, position: Position) -> Result<(), Wrong> {
        match &mut self.kind {
            Kind::Logged(track) => track.live(position, &mut self.claims),
            _ => Err(format!("live at {position} where nothing is retained")),
        }
    }

    /// Where to go on later.
    pub(super) fn position(&self) -> Option<Position> {
        match &self.kind {
            Kind::Logged(track) => Some(track.last),
            _ => None,
        }
    }

    /// What has not come yet; `None` where everything has.
    pub(super) fn behind(&self, ledger: &Ledger) -> Option<Wrong> {
        match &self.kind {
            Kind::Logged(track) => track.behind(ledger),
            Kind::Ephemeral(track) => track.behind(ledger),
            Kind::Pattern(track) => track.behind(ledger),
        }
    }

    /// Holds what was taken for true against the truth. To be asked when all is settled.
    pub(super) fn check(&mut self, ledger: &Ledger) -> Result<(), Wrong> {
        self.take_claims().iter().try_for_each(|claim| ledger.check(claim))
    }

    /// What was taken for true and is not checked yet.
    pub(super) fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(what) | Self::Other(what) => f.write_str(what),
            Self::Message(topic, uid, None) => write!(f, "{} {uid}", TOPICS[*topic].name),
            Self::Message(topic, uid, Some(place)) => {
                write!(f, "{} {uid} at {} after {}", TOPICS[*topic].name, place.position, place.prev)
            }
            Self::Gap(gap) => write!(f, "{gap:?}"),
            Self::Live(position) => write!(f, "live at {position}"),
        }
    }
}

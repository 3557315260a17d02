//! Histories that are wrong.

use std::sync::Arc;

use fanfare_core::{
    backend::{BackendError, BackendErrorKind, HistoryQuery, Page},
    message::{Epoch, LogPlace, Message, MessageParts},
};

use crate::{fault::Fault, twisted::same_epoch};

pub(crate) fn twist(fault: Fault, mut page: Page, query: HistoryQuery) -> Result<Page, BackendError> {
    match fault {
        Fault::NeverMore => page.more = false,
        Fault::FloorOfZero => page.floor = 0,
        Fault::RefusesUnknownLogs if page.last == 0 => {
            return Err(BackendError::new(BackendErrorKind::Corrupt, "history", "there is no such log"));
        }
        Fault::EmptiedIsLost if page.messages.is_empty() && page.last > 0 => {
            (page.epoch, page.floor, page.last) = (Epoch::new(page.epoch.value() + 1), 0, 0);
        }
        Fault::LatestInWrongOrder if query == HistoryQuery::Latest => page.messages.reverse(),
        Fault::ForgetsKeysInTheLog => change(&mut page, |parts, _| parts.key = None),
        Fault::WrongPrev => change(&mut page, |_, place| place.prev = place.prev.saturating_sub(1)),
        Fault::KeepsEpoch => {
            page.epoch = Epoch::new(7);
            change(&mut page, |_, place| place.position = same_epoch(place.position));
        }
        Fault::HidesHoles => {
            if let Some(first) = page.messages.first_mut()
                && let Some(place) = first.place()
            {
                *first = Arc::new(Message::logged(first.parts().clone(), LogPlace { prev: 0, ..place }));
            }
        }
        Fault::ForgetsWhatIsBeforeHoles => {
            if let Some(at) = first_behind_hole(&page) {
                page.floor = page.messages[at].place().map_or(0, |place| place.prev);
                page.messages.drain(..at);
            }
        }
        Fault::CoversHoles => {
            if let Some(at) = first_behind_hole(&page)
                && let (Some(before), Some(place)) =
                    (page.messages[at - 1].position(), page.messages[at].place())
            {
                let parts = page.messages[at].parts().clone();
                page.messages[at] =
                    Arc::new(Message::logged(parts, LogPlace { prev: before.offset, ..place }));
            }
        }
        _ => {}
    }
    Ok(page)
}

/// The first message that does not follow the one before it.
fn first_behind_hole(page: &Page) -> Option<usize> {
    let follows = |pair: &[Arc<Message>]| {
        pair[1].place().map(|place| place.prev) == pair[0].position().map(|position| position.offset)
    };
    page.messages.windows(2).position(|pair| !follows(pair)).map(|at| at + 1)
}

fn change(page: &mut Page, change: impl Fn(&mut MessageParts, &mut LogPlace)) {
    for message in &mut page.messages {
        if let Some(mut place) = message.place() {
            let mut parts = message.parts().clone();
            change(&mut parts, &mut place);
            *message = Arc::new(Message::logged(parts, place));
        }
    }
}

/// The last of each key, as far as the history has them.
pub(crate) fn latest_of(mut page: Page) -> Page {
    let all = page.messages.clone();
    page.messages.retain(|message| {
        let is_later =
            |other: &&Arc<Message>| other.key() == message.key() && other.position() > message.position();
        message.key().is_some() && !all.iter().any(|other| is_later(&other))
    });
    page
}

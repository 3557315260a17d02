//! Who is subscribed now, with what each has seen.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fanfare::message::{Gap, Message, Position};
use parking_lot::Mutex;

use super::{
    diary::Diary,
    ledger::{Claim, Wrong},
    track::{Seen, Track, Wanted},
    verdict::Verdict,
    world::World,
};

/// All that are subscribed now.
#[derive(Debug, Default)]
pub(super) struct Roster {
    next: AtomicU64,
    seats: Mutex<BTreeMap<u64, Arc<Seat>>>,
    /// Those who have gone, until what they took for true is checked.
    left: Mutex<Vec<Arc<Seat>>>,
    /// What those took for true who never had a place.
    claims: Mutex<Vec<(String, Claim)>>,
}

/// One subscription's books.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) who: String,
    track: Mutex<Track>,
    diary: Mutex<Diary<Seen>>,
}

/// A place in the roster, until it is dropped.
pub(super) struct Place {
    world: Arc<World>,
    id: u64,
    pub(super) seat: Arc<Seat>,
}

impl Place {
    /// A subscription begins.
    pub(super) fn take(
        world: &Arc<World>,
        who: String,
        wanted: &Wanted,
        track: Track,
        began: String,
    ) -> Self {
        let mut diary = Diary::new();
        diary.push(world.verdict.seconds(), Seen::Began(format!("{began}, {wanted:?}")));
        let seat = Arc::new(Seat { who, track: Mutex::new(track), diary: Mutex::new(diary) });
        let id = world.roster.next.fetch_add(1, Ordering::SeqCst);
        world.roster.seats.lock().insert(id, seat.clone());
        Self { world: world.clone(), id, seat }
    }

    /// A message came.
    pub(super) fn message(&self, message: &Message) {
        let mut track = self.seat.track.lock();
        let seen = track.message(&self.world.ledger, message);
        drop(track);
        self.world.counts.add("deliveries");
        match seen {
            Ok(seen) => self.note(seen),
            Err(wrong) => self.wrong(wrong),
        }
    }

    pub(super) fn gap(&self, gap: &Gap) {
        self.world.counts.add(&format!("gaps {}", gap.reason.as_str()));
        let told = self.seat.track.lock().gap(gap);
        self.note(Seen::Gap(gap.clone()));
        self.judge(told);
    }

    pub(super) fn live(&self, position: Position) {
        let told = self.seat.track.lock().live(position);
        self.note(Seen::Live(position));
        self.judge(told);
    }

    pub(super) fn note(&self, seen: Seen) {
        self.seat.diary.lock().push(self.world.verdict.seconds(), seen);
    }

    pub(super) fn judge(&self, told: Result<(), Wrong>) {
        if let Err(wrong) = told {
            self.wrong(wrong);
        }
    }

    pub(super) fn wrong(&self, wrong: impl Into<String>) {
        self.seat.wrong(&self.world.verdict, wrong);
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.seat.track.lock().position()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.note(Seen::Other("it goes".into()));
        self.world.roster.seats.lock().remove(&self.id);
        self.world.roster.left.lock().push(self.seat.clone());
    }
}

impl Seat {
    fn wrong(&self, verdict: &Verdict, wrong: impl Into<String>) {
        verdict.wrong(&self.who, wrong, || format!("what it saw last:\n{}", self.diary.lock()));
    }
}

impl Roster {
    /// How many are subscribed.
    pub(super) fn len(&self) -> usize {
        self.seats.lock().len()
    }

    /// What somebody takes for true who has no place here.
    pub(super) fn claims(&self, who: &str, claim: Claim) {
        self.claims.lock().push((who.to_owned(), claim));
    }

    /// Somebody who has not got everything, and what.
    pub(super) fn behind(&self, world: &World) -> Option<(Arc<Seat>, Wrong)> {
        let seats: Vec<_> = self.seats.lock().values().cloned().collect();
        seats.into_iter().find_map(|seat| {
            let wrong = seat.track.lock().behind(&world.ledger)?;
            Some((seat, wrong))
        })
    }

    /// The same, and nobody is waited for any more.
    pub(super) fn blame(&self, world: &World) {
        if let Some((seat, wrong)) = self.behind(world) {
            seat.wrong(&world.verdict, format!("not settled: {wrong}"));
        }
    }

    /// Holds what everybody took for true against the truth. To be asked when all is settled.
    pub(super) fn check(&self, world: &World) {
        let seats: Vec<_> = self.seats.lock().values().cloned().collect();
        for seat in seats.into_iter().chain(std::mem::take(&mut *self.left.lock())) {
            let checked = seat.track.lock().check(&world.ledger);
            if let Err(wrong) = checked {
                seat.wrong(&world.verdict, wrong);
            }
        }
        for (who, claim) in std::mem::take(&mut *self.claims.lock()) {
            if let Err(wrong) = world.ledger.check(&claim) {
                world.verdict.wrong(&who, wrong, String::new);
            }
        }
    }
}

//! Deadlines of all connections of a transport, on one timer: for who writes one.
//!
//! A connection has one [`Timer`], which wakes its task at the next thing that it has to look at: a ping to send, a pong
//! that did not come, a write that does not move. Time is counted in ticks of 250 ms. Most deadlines move away before
//! they come (each byte read puts the next ping off), so a timer is not moved then: its task wakes up, finds that it is
//! early, and arms it anew.
//!
//! One task serves the wheel while any timer is armed, and there is none otherwise. It counts by tokio's clock, so it
//! works under paused time. An armed timer takes 32 bytes of the wheel, a deadline more than 128 s away one look per
//! turn of the wheel.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A point in time, in ticks since the wheel was made. 2^32 of them are 34 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u32);

const TICK: Duration = Duration::from_millis(250);
/// Slots of the wheel: 128 s.
const SLOTS: usize = 512;
/// Tasks woken before the wheel's task gives way.
const SLICE: usize = 256;
/// No entry.
const NONE: u32 = u32::MAX;

impl Tick {
    /// The first tick that comes at least `delay` after this one, whenever within this one the delay began.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let ticks = delay.as_nanos().div_ceil(TICK.as_nanos());
        Self(self.0.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)).saturating_add(1))
    }

    /// The tick at this time of the wheel's life, in milliseconds.
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(u32::try_from(u128::from(millis) / TICK.as_millis()).unwrap_or(u32::MAX))
    }

    /// This tick, put off by the ticks from `start` to `end`.
    #[must_use]
    pub fn put_off(self, start: Self, end: Self) -> Self {
        Self(self.0.saturating_add(end.0.saturating_sub(start.0)))
    }
}

/// A [`Tick`] that several may read and write.
#[derive(Debug)]
pub struct AtomicTick(AtomicU32);

impl AtomicTick {
    /// It begins with this tick.
    #[must_use]
    pub fn new(tick: Tick) -> Self {
        Self(AtomicU32::new(tick.0))
    }

    /// The tick. Relaxed, as is [`store`](Self::store).
    #[must_use]
    pub fn load(&self) -> Tick {
        Tick(self.0.load(Ordering::Relaxed))
    }

    /// Sets the tick.
    pub fn store(&self, tick: Tick) {
        self.0.store(tick.0, Ordering::Relaxed);
    }
}

/// The timers of one mounted transport. Cloning gives another handle of the same wheel.
#[derive(Clone)]
pub struct Wheel(Arc<Shared>);

struct Shared {
    started: Instant,
    /// The current tick, as the wheel's task counted it last.
    now: AtomicU32,
    slots: Mutex<Slots>,
}

struct Slots {
    /// The tick up to which timers were fired.
    fired: u32,
    /// First entry of each slot.
    heads: Box<[u32; SLOTS]>,
    entries: Vec<Entry>,
    /// First entry that no timer has.
    free: u32,
    /// Entries that are in a slot.
    armed: usize,
    /// Whether the wheel has a task.
    running: bool,
}

struct Entry {
    waker: Option<Waker>,
    due: u32,
    next: u32,
    previous: u32,
    armed: bool,
}

impl Wheel {
    /// An empty wheel. Needs no runtime until a timer is armed.
    #[must_use]
    pub fn new() -> Self {
        let slots = Mutex::new(Slots::new());
        Self(Arc::new(Shared { started: Instant::now(), now: AtomicU32::new(0), slots }))
    }

    /// The current tick, late by as much as the wheel's task is. Takes no lock. Stands still while nothing is armed.
    #[must_use]
    pub fn coarse_now(&self) -> Tick {
        self.0.now()
    }

    /// A timer that is not armed.
    #[must_use]
    pub fn timer(&self) -> Timer {
        let key = self.0.slots.lock().insert();
        Timer { shared: self.0.clone(), key, due: Tick(u32::MAX) }
    }
}

/// Wakes one task. Dropping it takes it off the wheel.
pub struct Timer {
    shared: Arc<Shared>,
    key: u32,
    due: Tick,
}

impl Timer {
    /// Has the task of `cx` woken at `due`, and no longer at the time it was armed for before. Costs nothing when it is
    /// armed for that already.
    ///
    /// Always give it the context of the same task: only a change of `due` makes it take another waker.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn arm(&mut self, due: Tick, cx: &Context<'_>) {
        if self.due == due && !self.is_due() {
            return;
        }
        self.due = due;
        let mut slots = self.shared.slots.lock();
        let kept = slots.unlink(self.key).filter(|waker| waker.will_wake(cx.waker()));
        let now = self.shared.tick();
        self.shared.now.store(now, Ordering::Relaxed);
        if slots.armed == 0 {
            slots.fired = now;
        }
        slots.link(self.key, due.0, kept.unwrap_or_else(|| cx.waker().clone()));
        if !slots.running {
            slots.running = true;
            // Made before it is spawned: a runtime that is shutting down drops it unpolled.
            let running = Running { shared: self.shared.clone(), ended: false };
            drop(slots);
            tokio::spawn(run(running));
        }
    }

    /// Whether the time it was armed for has come. Takes no lock.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due <= self.coarse_now()
    }

    /// The current tick, exact. Takes no lock.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(self.shared.tick())
    }

    /// The first tick that does not begin before a time.
    #[must_use]
    pub fn tick_at(&self, time: Instant) -> Tick {
        let ticks = time.saturating_duration_since(self.shared.started).as_nanos().div_ceil(TICK.as_nanos());
        Tick(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// The current tick, late by as much as the wheel's task is. Takes no lock. Stands still while nothing is armed.
    #[must_use]
    pub fn coarse_now(&self) -> Tick {
        self.shared.now()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let waker = self.shared.slots.lock().remove(self.key);
        // Outside the lock: the last waker of a task drops the task.
        drop(waker);
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").finish_non_exhaustive()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("due", &self.due).finish_non_exhaustive()
    }
}

/// Says on drop, when the runtime drops its task, that the wheel has no task any more.
struct Running {
    shared: Arc<Shared>,
    /// It was said already.
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.slots.lock().running = false;
        }
    }
}

async fn run(mut running: Running) {
    let shared = running.shared.clone();
    let mut woken = Vec::new();
    loop {
        let wakes_at = {
            let slots = shared.slots.lock();
            shared.started + TICK * slots.fired.saturating_add(1)
        };
        tokio::time::sleep_until(wakes_at).await;
        loop {
            let done = shared.fire(&mut woken);
            woken.drain(..).for_each(Waker::wake);
            match done {
                Fired::All => break,
                Fired::Slice => tokio::task::yield_now().await,
                Fired::Empty => {
                    running.ended = true;
                    return;
                }
            }
        }
    }
}

enum Fired {
    /// Up to the current tick.
    All,
    /// As many as one slice may wake.
    Slice,
    /// Nothing is armed. Under the same lock it was said that there is no task, so that who arms the next timer
    /// cannot rely on one that is about to end.
    Empty,
}

impl Shared {
    fn now(&self) -> Tick {
        Tick(self.now.load(Ordering::Relaxed))
    }

    fn tick(&self) -> u32 {
        let ticks = self.started.elapsed().as_millis() / TICK.as_millis();
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn fire(&self, woken: &mut Vec<Waker>) -> Fired {
        let mut slots = self.slots.lock();
        let now = self.tick();
        self.now.store(now, Ordering::Relaxed);
        slots.fire(now, woken)
    }
}

impl Slots {
    fn new() -> Self {
        Self {
            fired: 0,
            heads: Box::new([NONE; SLOTS]),
            entries: Vec::new(),
            free: NONE,
            armed: 0,
            running: false,
        }
    }

    /// Takes the wakers of what is due.
    fn fire(&mut self, current: u32, woken: &mut Vec<Waker>) -> Fired {
        // After a long sleep one turn sees every slot.
        let turn = current.saturating_sub(SLOTS as u32);
        self.fired = self.fired.max(turn);
        while self.fired < current && self.armed > 0 {
            let mut key = self.heads[slot(self.fired + 1)];
            while key != NONE {
                if woken.len() == SLICE {
                    return Fired::Slice;
                }
                let Entry { next, due, .. } = self.entries[key as usize];
                if due <= current {
                    woken.extend(self.unlink(key));
                }
                key = next;
            }
            self.fired += 1;
        }
        if self.armed == 0 {
            self.running = false;
            return Fired::Empty;
        }
        Fired::All
    }

    fn insert(&mut self) -> u32 {
        let entry = Entry { waker: None, due: 0, next: NONE, previous: NONE, armed: false };
        if self.free == NONE {
            self.entries.push(entry);
            return (self.entries.len() - 1) as u32;
        }
        let key = self.free;
        self.free = self.entries[key as usize].next;
        self.entries[key as usize] = entry;
        key
    }

    fn remove(&mut self, key: u32) -> Option<Waker> {
        let waker = self.unlink(key);
        self.entries[key as usize].next = self.free;
        self.free = key;
        waker
    }

    fn link(&mut self, key: u32, due: u32, waker: Waker) {
        // What is due already goes to the next slot that is looked at.
        let due = due.max(self.fired.saturating_add(1));
        let head = &mut self.heads[slot(due)];
        let next = std::mem::replace(head, key);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = key;
        }
        self.entries[key as usize] = Entry { waker: Some(waker), due, next, previous: NONE, armed: true };
        self.armed += 1;
    }

    fn unlink(&mut self, key: u32) -> Option<Waker> {
        let entry = &mut self.entries[key as usize];
        if !entry.armed {
            return None;
        }
        entry.armed = false;
        let waker = entry.waker.take();
        let (due, next, previous) = (entry.due, entry.next, entry.previous);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = previous;
        }
        match self.entries.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.heads[slot(due)] = next,
        }
        self.armed -= 1;
        waker
    }
}

fn slot(tick: u32) -> usize {
    tick as usize % SLOTS
}

#[cfg(test)]
mod tests;

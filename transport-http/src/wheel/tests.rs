//! The wheel under paused time, and its slots against a model.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::atomic::AtomicUsize,
    task::{Poll, Wake},
};

use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;

/// Waits as a connection's task does: it arms the timer and looks whether it is early whenever it is polled.
async fn sleep(timer: &mut Timer, delay: Duration) {
    let due = timer.now().after(delay);
    poll_fn(|cx| {
        timer.arm(due, cx);
        if timer.is_due() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn what_a_connection_pays() {
    assert_eq!(size_of::<Entry>(), 32);
    assert_eq!(size_of::<Timer>(), 16);
}

#[tokio::test(start_paused = true)]
async fn is_never_early_and_at_most_two_ticks_late() {
    let wheel = Wheel::new();
    let mut timer = wheel.timer();
    advance(Duration::from_millis(130)).await;
    for delay in [0u64, 1, 249, 250, 10_000, 25_000, 128_000, 129_000, 3_600_000] {
        let delay = Duration::from_millis(delay);
        let start = Instant::now();
        sleep(&mut timer, delay).await;
        let slept = start.elapsed();
        assert!(slept >= delay && slept <= delay + 2 * TICK, "{slept:?} for {delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tick_at_a_time_is_the_first_not_before_it() {
    let before = Instant::now();
    advance(TICK).await;
    let timer = Wheel::new().timer();
    for (millis, tick) in [(0, 0), (1, 1), (250, 1), (251, 2), (86_400_000, 345_600)] {
        let time = Instant::now() + Duration::from_millis(millis);
        assert_eq!(timer.tick_at(time), Tick(tick), "{millis}");
    }
    assert_eq!(timer.tick_at(before), Tick(0));
    advance(TICK * 3).await;
    assert_eq!(timer.tick_at(Instant::now()), timer.now());
}

#[tokio::test(start_paused = true)]
async fn wakes_many_at_their_own_times() {
    let wheel = Wheel::new();
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..5_000u64 {
        let mut timer = wheel.timer();
        tasks.spawn(async move {
            let delay = Duration::from_millis(at % 7 * 1_000);
            let start = Instant::now();
            sleep(&mut timer, delay).await;
            (delay, start.elapsed())
        });
    }
    while let Some(slept) = tasks.join_next().await {
        let (delay, slept) = slept.unwrap();
        assert!(slept >= delay && slept <= delay + 2 * TICK, "{slept:?} for {delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_moves_both_ways() {
    let wheel = Wheel::new();
    let mut timer = wheel.timer();
    let start = Instant::now();
    // Armed for later first, then for sooner: the sooner one counts.
    assert!(timeout(Duration::from_secs(1), sleep(&mut timer, Duration::from_secs(60))).await.is_err());
    sleep(&mut timer, Duration::from_secs(2)).await;
    assert!(start.elapsed() < Duration::from_secs(4));
    // And the other way round.
    assert!(timeout(Duration::from_secs(1), sleep(&mut timer, Duration::from_secs(2))).await.is_err());
    sleep(&mut timer, Duration::from_secs(60)).await;
    assert!(start.elapsed() > Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn armed_again_for_a_time_that_has_come_it_wakes_again() {
    let wheel = Wheel::new();
    let mut timer = wheel.timer();
    let due = timer.now().after(Duration::from_secs(1));
    let mut wakes = 0;
    timeout(
        Duration::from_secs(10),
        poll_fn(|cx| {
            timer.arm(due, cx);
            wakes += usize::from(timer.is_due());
            if wakes == 3 { Poll::Ready(()) } else { Poll::Pending }
        }),
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn there_is_a_task_only_while_a_timer_is_armed() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let wheel = Wheel::new();
    let mut first = wheel.timer();
    assert_eq!(alive(), 0);
    for _ in 0..3 {
        sleep(&mut first, Duration::from_secs(1)).await;
        let mut second = wheel.timer();
        assert!(timeout(Duration::from_secs(1), sleep(&mut second, Duration::from_secs(60))).await.is_err());
        assert_eq!(alive(), 1);
        drop(second);
        tokio::time::sleep(2 * TICK).await;
        assert_eq!(alive(), 0);
    }
    assert_eq!(wheel.0.slots.lock().entries.len(), 2, "entries are used again");
}

#[test]
fn outlives_a_runtime() {
    let wheel = Wheel::new();
    let mut timer = wheel.timer();
    for _ in 0..2 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut left = wheel.timer();
            sleep(&mut timer, Duration::from_secs(1)).await;
            assert!(timeout(TICK, sleep(&mut left, Duration::from_secs(60))).await.is_err());
        });
    }
}

#[derive(Debug, Clone)]
enum Step {
    Arm(usize, u32),
    Drop(usize),
    Advance(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12usize, prop_oneof![0..20u32, 0..2_000u32]).prop_map(|(key, delay)| Step::Arm(key, delay)),
        1 => (0..12usize).prop_map(Step::Drop),
        4 => prop_oneof![0..10u32, 0..1_500u32].prop_map(Step::Advance),
    ]
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

proptest! {
    #[test]
    fn slots_fire_as_a_sorted_list_would(steps in prop::collection::vec(step(), 1..120)) {
        let mut slots = Slots::new();
        let mut now = 0u32;
        // By the test's number of a timer: its key, its wakes so far, and when it is due.
        let mut timers = BTreeMap::<usize, (u32, Arc<Count>, Option<u32>)>::new();
        for step in steps {
            match step {
                Step::Arm(number, delay) => {
                    let (key, count, due) =
                        timers.entry(number).or_insert_with(|| (slots.insert(), Arc::default(), None));
                    slots.unlink(*key);
                    if slots.armed == 0 {
                        slots.fired = now;
                    }
                    slots.link(*key, now + delay, count.clone().into());
                    *due = Some((now + delay).max(slots.fired + 1));
                }
                Step::Drop(number) => {
                    if let Some((key, ..)) = timers.remove(&number) {
                        slots.remove(key);
                    }
                }
                Step::Advance(ticks) => {
                    now += ticks;
                    let mut woken = Vec::new();
                    slots.fire(now, &mut woken);
                    woken.into_iter().for_each(Waker::wake);
                }
            }
            for (_, count, due) in timers.values_mut() {
                let expected = usize::from(due.is_some_and(|due| due <= now));
                prop_assert_eq!(count.0.swap(0, Ordering::Relaxed), expected);
                if expected == 1 {
                    *due = None;
                }
            }
            let armed = timers.values().filter(|(.., due)| due.is_some()).count();
            prop_assert_eq!(slots.armed, armed);
        }
    }
}

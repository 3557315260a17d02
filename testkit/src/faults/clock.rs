//! How long something takes, on a machine that does much else.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// How often it is looked whether this program has its turn.
const TICK: Duration = Duration::from_millis(5);

/// Waits for something, and says how long it took of the time in which this program had its turn: a tick that comes late counts as
/// two ticks at most.
pub(super) async fn awake<T>(coming: impl Future<Output = T>) -> (T, Duration) {
    let mut coming = pin!(coming);
    let mut took = Duration::ZERO;
    loop {
        let began = Instant::now();
        tokio::select! {
            biased;
            came = &mut coming => return (came, took + began.elapsed().min(2 * TICK)),
            () = sleep(TICK) => took += began.elapsed().min(2 * TICK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_standstill_does_not_count() {
        let slow = async {
            sleep(Duration::from_millis(20)).await;
            std::thread::sleep(Duration::from_millis(500));
            sleep(Duration::from_millis(20)).await;
        };
        let ((), took) = awake(slow).await;
        assert!(took >= Duration::from_millis(30), "{took:?}");
        assert!(took < Duration::from_millis(400), "{took:?}");
    }
}

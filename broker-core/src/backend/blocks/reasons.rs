//! What is told to whoever reads the logs: with all that lies behind it, and not more often than it helps.

use std::{error::Error, fmt, time::Duration};

use tokio::time::Instant;

/// How often the same reason is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How many reasons are told within that time, at most.
const MOST: usize = 16;

/// The reasons that were told lately: a new one is told at once, and each again after 10 s where it still holds. Reasons that differ in
/// nothing but numbers (sizes, ports) are one; of more than 16 within 10 s the rest is left out.
#[derive(Debug, Default)]
pub struct Reasons {
    told: Vec<(Instant, String)>,
}

impl Reasons {
    /// Nothing was told yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { told: Vec::new() }
    }

    /// Whether this is to be told now. Who asks tells it.
    pub fn is_news(&mut self, error: &(dyn Error + 'static)) -> bool {
        let now = Instant::now();
        self.told.retain(|(at, _)| now.duration_since(*at) < TELL_EVERY);
        let mut reason = Chain(error).to_string();
        reason.retain(|ch| !ch.is_ascii_digit());
        let is_news = self.told.len() < MOST && self.told.iter().all(|(_, told)| *told != reason);
        if is_news {
            self.told.push((now, reason));
        }
        is_news
    }
}

/// An error with all that lies behind it, in one line: `cannot connect: connection refused`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut behind = self.0.source();
        while let Some(error) = behind {
            write!(f, ": {error}")?;
            behind = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::backend::blocks::Trouble;

    fn lost(cause: &'static str) -> Trouble {
        Trouble::unavailable("lost").caused_by(io::Error::other(cause))
    }

    #[test]
    fn what_lies_behind_is_told() {
        assert_eq!(Chain(&lost("reset by peer")).to_string(), "lost: reset by peer");
        let error = lost("reset by peer").into_error("publish");
        assert_eq!(Chain(&error).to_string(), "publish: lost: reset by peer");
        assert_eq!(Chain(&Trouble::refused("no")).to_string(), "no");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_reason_is_told_at_once_and_an_old_one_once_in_a_while() {
        let mut reasons = Reasons::new();
        assert!(reasons.is_news(&lost("a")));
        assert!(!reasons.is_news(&lost("a")));
        assert!(reasons.is_news(&lost("b")), "what lies behind is another");
        assert!(!reasons.is_news(&lost("a")), "and does not make the first one new");
        tokio::time::advance(TELL_EVERY).await;
        assert!(reasons.is_news(&lost("a")) && reasons.is_news(&lost("b")));
    }

    #[tokio::test(start_paused = true)]
    async fn reasons_without_end_are_not_told_without_end() {
        let mut reasons = Reasons::new();
        let sizes = (0..100).filter(|size| reasons.is_news(&Trouble::refused(format!("{size} bytes"))));
        assert_eq!(sizes.count(), 1);
        let mut all = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| (a as char, b as char)));
        let told =
            all.by_ref().filter(|(a, b)| reasons.is_news(&Trouble::refused(format!("{a}{b}")))).count();
        assert_eq!((told, reasons.told.len()), (MOST - 1, MOST));
        tokio::time::advance(TELL_EVERY).await;
        assert!(reasons.is_news(&Trouble::refused("zz")) && reasons.told.len() == 1);
    }
}

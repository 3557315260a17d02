//! Connections that have taken a session up: what it had may not be subscribed anew yet.

use crate::{session::ClientId, sync::Mutex};

/// Who may have something left to be subscribed anew.
#[derive(Default)]
pub(super) struct Resuming(Mutex<Clients>);

#[derive(Default)]
struct Clients {
    all: Vec<ClientId>,
    /// As long as it becomes before it is looked through.
    tidy_at: usize,
}

/// So few are not worth a look.
const FEW: usize = 64;

impl Resuming {
    /// A client has taken its session up. `has_left`: whether one still has something left to be subscribed anew.
    pub(super) fn add(&self, client: ClientId, has_left: impl Fn(ClientId) -> bool) {
        let mut clients = self.0.lock();
        if clients.all.len() >= clients.tidy_at.max(FEW) {
            clients.all.retain(|client| has_left(*client));
            clients.all.shrink_to(FEW);
            clients.tidy_at = 2 * clients.all.len();
        }
        clients.all.push(client);
    }

    /// Those of whom it is true.
    pub(super) fn all(&self, has_left: impl Fn(ClientId) -> bool) -> Vec<ClientId> {
        let mut clients = self.0.lock();
        clients.all.retain(|client| has_left(*client));
        clients.all.clone()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{cell::RefCell, collections::HashSet};

    use super::*;

    #[test]
    fn those_that_have_nothing_left_are_forgotten() {
        let (resuming, left) = (Resuming::default(), RefCell::new(HashSet::new()));
        let has_left = |client| left.borrow().contains(&client);
        for number in 0..10_000 {
            // So many at once.
            left.borrow_mut().insert(ClientId::new(number));
            left.borrow_mut().remove(&ClientId::new(number.wrapping_sub(100)));
            resuming.add(ClientId::new(number), has_left);
            assert!(resuming.0.lock().all.len() <= 400);
        }
        assert_eq!(resuming.all(has_left), (9900..10_000).map(ClientId::new).collect::<Vec<_>>());
        left.borrow_mut().clear();
        assert_eq!(resuming.all(has_left), []);
    }
}

//! What one connection has been asked and has not answered.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{CallId, ClientError, gathering::Gathering};
use crate::{message::Payload, session::ClientId};

/// The calls of the server that one connection has not answered. An idle connection holds no memory for them.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Open>);

#[derive(Default)]
struct Open {
    calls: Option<Box<Calls>>,
    /// The connection has ended: it is asked nothing more.
    is_closed: bool,
}

/// Each, and where its answer belongs.
type Calls = Vec<(CallId, Arc<Gathering>)>;

impl Asked {
    /// Notes a call before it is sent. False when as many are open as may be, or the connection has ended.
    pub(super) fn begin(&self, call: CallId, gathering: &Arc<Gathering>, limit: usize) -> bool {
        let mut open = self.0.lock();
        let count = open.calls.as_ref().map_or(0, |calls| calls.len());
        if open.is_closed || count >= limit {
            return false;
        }
        open.calls.get_or_insert_default().push((call, gathering.clone()));
        true
    }

    /// Whether the client's answer to a call is waited for.
    pub(crate) fn is_open(&self, call: CallId) -> bool {
        let open = self.0.lock();
        open.calls.as_ref().is_some_and(|calls| calls.iter().any(|(id, _)| *id == call))
    }

    /// Takes the client's answer. False when there is no such call, not any more or never.
    pub(crate) fn answer(
        &self,
        client: ClientId,
        call: CallId,
        result: Result<Payload, ClientError>,
    ) -> bool {
        let gathering = self.take(call);
        gathering.map(|gathering| gathering.answered(client, result)).is_some()
    }

    /// The call is over: nobody waits for the answer.
    pub(super) fn forget(&self, call: CallId) {
        self.take(call);
    }

    /// The connection has ended: what it has not answered it will not.
    pub(crate) fn close(&self) {
        let mut open = self.0.lock();
        open.is_closed = true;
        let calls = open.calls.take();
        drop(open);
        for (_, gathering) in calls.into_iter().flat_map(|calls| *calls) {
            gathering.unanswered();
        }
    }

    /// How many calls are open.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().calls.as_ref().map_or(0, |calls| calls.len())
    }

    fn take(&self, call: CallId) -> Option<Arc<Gathering>> {
        let mut open = self.0.lock();
        let calls = open.calls.as_mut()?;
        let index = calls.iter().position(|(id, _)| *id == call)?;
        let (_, gathering) = calls.swap_remove(index);
        if calls.is_empty() {
            open.calls = None;
        }
        Some(gathering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_what_is_over() {
        let asked = Asked::default();
        let gathering = Arc::new(Gathering::new(4, 1000));
        let (client, id) = (ClientId::random(), CallId::new);
        for number in 0..3 {
            assert!(asked.begin(id(number), &gathering, 3));
        }
        assert!(!asked.begin(id(3), &gathering, 3), "as many as may be");
        assert!(asked.answer(client, id(1), Ok("yes".into())));
        assert!(!asked.answer(client, id(1), Ok("again".into())));
        asked.forget(id(0));
        assert_eq!(asked.len(), 1);
        asked.forget(id(2));
        assert!(asked.0.lock().calls.is_none(), "an idle connection holds no memory");
        assert!(asked.begin(id(2), &gathering, 3));
        asked.close();
        asked.close();
        assert_eq!(asked.len(), 0);
        assert!(asked.0.lock().calls.is_none(), "no memory either");
        assert!(!asked.begin(id(4), &gathering, 3), "it has ended");
        assert_eq!(gathering.take(), [(client, Ok("yes".into()))]);
        assert_eq!(Arc::strong_count(&gathering), 1);
    }
}

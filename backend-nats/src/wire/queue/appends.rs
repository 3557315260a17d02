//! What is for the logs waits until it is known which stream holds them.

use std::sync::Arc;

use super::{Lost, Queue, State};
use crate::error::Trouble;

impl Queue {
    /// Has the stream looked for if something waits for it. What is on its way is answered first: none of it may come after what
    /// is sent again.
    pub(super) fn look_for_stream(&self, state: &State) {
        let waits = !state.appends.is_empty() || !state.again.is_empty();
        if state.is_up && state.stream.is_none() && waits && state.appending == 0 {
            self.lacks_stream.notify_one();
        }
    }

    /// Waits until a stream has to be found for what waits.
    pub(crate) async fn until_it_lacks_a_stream(&self) {
        self.lacks_stream.notified().await;
    }

    /// How often what waits was refused by a stream that was gone, or had no leader.
    pub(crate) fn refusals(&self) -> u8 {
        self.state.lock().again.values().map(|request| request.tries).max().unwrap_or_default()
    }

    /// What is for logs goes to this stream from now on; first what was refused by another.
    pub(crate) fn set_stream(&self, stream: Arc<str>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.stream = Some(stream);
        while let Some((_, request)) = state.again.pop_last() {
            state.appends.push_front(request);
        }
        self.work.notify_one();
    }

    /// What is for logs waits until the stream has been looked at anew.
    pub(crate) fn forget_stream(&self) {
        let mut state = self.state.lock();
        state.stream = None;
        self.look_for_stream(&state);
    }

    /// There is no stream for what waits, a connection said. If that one is gone, the next one is asked.
    pub(crate) fn refuse_appends(&self, trouble: &Trouble, connection: u64) {
        let mut state = self.state.lock();
        if !state.is_up || state.connection != connection {
            return self.look_for_stream(&state);
        }
        let again = std::mem::take(&mut state.again);
        let waiting = std::mem::take(&mut state.appends);
        for request in again.into_values().chain(waiting) {
            self.finish(&mut state, request, Err(Lost::Refused(trouble.clone())));
        }
    }
}

//! What clients send behind their request, which nobody asked for.

use std::{io, task::Poll, time::Duration};

/// How long a client may take to leave when all was said.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// How many bytes a client may send.
const MOST: usize = 64 * 1024;

/// Bytes that were read and not heard.
#[derive(Default)]
pub(super) struct Unasked(usize);

impl Unasked {
    /// Reads what there is. Ready when the client has left, or sends what does not belong here.
    pub(super) fn poll(&mut self, mut read: impl FnMut(&mut [u8]) -> Poll<io::Result<usize>>) -> Poll<()> {
        let mut bytes = [0; 512];
        loop {
            match read(&mut bytes) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(count)) => {
                    self.0 += count;
                    if self.0 > MOST {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

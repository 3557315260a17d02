//! How much may wait for a server.

/// How much may wait: the bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes of all of them. One that is larger has room where nothing else waits.
    pub bytes: usize,
}

/// How much waits, or is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    messages: usize,
    bytes: usize,
}

impl Load {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more message waits, of so many bytes, if there is room for it. The room may be another one each time.
    #[must_use]
    pub fn put(&mut self, bytes: usize, room: Room) -> bool {
        let fits = self.messages < room.messages
            && (self.messages == 0 || self.bytes.saturating_add(bytes) <= room.bytes);
        if fits {
            self.messages += 1;
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }

    /// A message of so many bytes waits no longer.
    pub fn take(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_bytes_are_bounded() {
        let (mut load, room) = (Load::new(), Room { messages: 3, bytes: 10 });
        assert!(load.put(6, room) && !load.put(5, room) && load.put(4, room));
        assert!(load.put(0, room) && !load.put(0, room), "three");
        load.take(6);
        assert!(load.put(6, room) && !load.is_empty());
        for bytes in [4, 0, 6] {
            load.take(bytes);
        }
        assert!(load.is_empty());
        assert!(load.put(11, room) && !load.put(0, room), "a large one alone");
        assert!(!Load::new().put(0, Room { messages: 0, bytes: 10 }));
    }
}

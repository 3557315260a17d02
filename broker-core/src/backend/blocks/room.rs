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

    /// The server is away: of all that waits some may go on waiting, as far as there is room, and the rest is given up. Both keep their
    /// order. `bytes` says what something takes, or `None` where it may not wait.
    ///
    /// Where one that may wait has no room, all that follow have none either: they are not to be sent before it is known to be lost.
    #[must_use]
    pub fn hold<R>(
        &mut self,
        waiting: impl IntoIterator<Item = R>,
        room: Option<Room>,
        bytes: impl Fn(&R) -> Option<usize>,
    ) -> (Vec<R>, Vec<R>) {
        *self = Self::new();
        let mut room = room;
        waiting.into_iter().partition(|one| {
            let Some(bytes) = bytes(one) else { return false };
            let is_held = room.is_some_and(|room| self.put(bytes, room));
            room = room.filter(|_| is_held);
            is_held
        })
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
    fn what_follows_one_without_room_has_none() {
        let waiting = [("a", Some(4)), ("call", None), ("b", Some(9)), ("c", Some(1)), ("call", None)];
        let names = |some: Vec<(&'static str, Option<usize>)>| -> Vec<_> {
            some.into_iter().map(|(name, _)| name).collect()
        };
        let hold = |load: &mut Load, room| {
            let (held, lost) = load.hold(waiting, room, |(_, bytes)| *bytes);
            (names(held), names(lost))
        };
        let mut load = Load::new();
        assert!(load.put(7, Room { messages: 1, bytes: 10 }));
        let (held, lost) = hold(&mut load, Some(Room { messages: 9, bytes: 10 }));
        assert_eq!((held, lost), (vec!["a"], vec!["call", "b", "c", "call"]));
        load.take(4);
        assert!(load.is_empty(), "what was there before counts no longer");
        let (held, _) = hold(&mut load, Some(Room { messages: 9, bytes: 14 }));
        assert_eq!(held, ["a", "b", "c"]);
        assert!(hold(&mut load, None).0.is_empty() && load.is_empty());
    }

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

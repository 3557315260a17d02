//! Content that is longer than a frame: split here, joined there.
//!
//! A part is u8 (1: to one node, 0: to all), u8 what the parcel is about, u64 its number, u16 the part's, from 0, u16 how many there are, and the
//! content; all big-endian. The numbers of a node's parcels grow, so that what comes again, or too late, is known for it. What goes to
//! all and what goes to one node may take different ways, and is put together apart.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How long the content of a parcel may be.
pub(crate) const MAX_PARCEL: usize = 8 << 20;

/// How much of it goes into one frame.
pub(super) const PART: usize = 60 << 10;

/// How much is kept of all parcels that are not whole yet.
pub(super) const MAX_HELD: usize = 64 << 20;

/// What stands before a part's content.
pub(super) const HEADER: usize = 14;

/// A part of a parcel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) is_for_one: bool,
    pub(super) kind: u8,
    pub(super) number: u64,
    pub(super) index: u16,
    pub(super) count: u16,
    pub(super) content: Bytes,
}

/// How many frames a content takes.
pub(super) fn parts(length: usize) -> u16 {
    u16::try_from(length.div_ceil(PART).max(1)).unwrap_or(u16::MAX)
}

impl Part {
    /// One part of a content.
    pub(super) fn of(is_for_one: bool, kind: u8, number: u64, index: u16, content: &Bytes) -> Self {
        let start = usize::from(index) * PART;
        let end = content.len().min(start + PART);
        Self {
            is_for_one,
            kind,
            number,
            index,
            count: parts(content.len()),
            content: content.slice(start..end),
        }
    }

    pub(super) fn put(&self, frame: &mut BytesMut) {
        frame.put_u8(self.is_for_one.into());
        frame.put_u8(self.kind);
        frame.put_u64(self.number);
        frame.put_u16(self.index);
        frame.put_u16(self.count);
        frame.put_slice(&self.content);
    }

    pub(super) fn decode(mut body: Bytes) -> Option<Self> {
        if body.len() < HEADER {
            return None;
        }
        Some(Self {
            is_for_one: body.get_u8() & 1 == 1,
            kind: body.get_u8(),
            number: body.get_u64(),
            index: body.get_u16(),
            count: body.get_u16(),
            content: body,
        })
    }
}

/// Joins the parcels of one node.
#[derive(Default)]
pub(super) struct Joiner {
    ways: [Way; 2],
}

/// What comes one after the other.
#[derive(Default)]
struct Way {
    /// The number of the last parcel that began.
    last: u64,
    begun: Option<Begun>,
}

struct Begun {
    kind: u8,
    next: u16,
    count: u16,
    content: BytesMut,
}

impl Joiner {
    /// Takes a part; gives the parcel that is whole with it, and what it is about. `room`: how much more may be kept.
    pub(super) fn take(&mut self, part: Part, room: usize) -> Option<(u8, Bytes)> {
        let way = &mut self.ways[usize::from(part.is_for_one)];
        if part.index == 0 {
            if part.number <= way.last {
                return None;
            }
            way.last = part.number;
            way.begun = None;
            if part.count <= 1 {
                return Some((part.kind, part.content));
            }
            if usize::from(part.count) > MAX_PARCEL.div_ceil(PART) || part.content.len() > room {
                return None;
            }
            let content = BytesMut::from(&part.content[..]);
            way.begun = Some(Begun { kind: part.kind, next: 1, count: part.count, content });
            return None;
        }
        // A part that does not fit what was there before it: one is missing.
        let fits = |begun: &mut Begun| {
            part.number == way.last
                && (part.kind, part.index, part.count) == (begun.kind, begun.next, begun.count)
                && part.content.len() <= room.min(PART)
        };
        let mut begun = way.begun.take_if(|_| part.number >= way.last)?;
        if !fits(&mut begun) {
            tracing::debug!(target: "fanfare::core", "a part of a parcel is missing");
            return None;
        }
        begun.content.extend_from_slice(&part.content);
        begun.next += 1;
        if begun.next == begun.count {
            return Some((begun.kind, begun.content.freeze()));
        }
        way.begun = Some(begun);
        None
    }

    /// How many bytes wait for the rest of their parcel.
    pub(super) fn held(&self) -> usize {
        self.ways.iter().filter_map(|way| way.begun.as_ref()).map(|begun| begun.content.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(length: usize) -> Bytes {
        (0..length).map(|at| (at / 7) as u8).collect()
    }

    /// The parts of a parcel, as they arrive.
    fn split(is_for_one: bool, number: u64, content: &Bytes) -> Vec<Part> {
        let part = |index| {
            let mut frame = BytesMut::new();
            Part::of(is_for_one, 3, number, index, content).put(&mut frame);
            Part::decode(frame.freeze()).unwrap()
        };
        (0..parts(content.len())).map(part).collect()
    }

    fn join(joiner: &mut Joiner, parts: impl IntoIterator<Item = Part>) -> Vec<Bytes> {
        parts.into_iter().filter_map(|part| joiner.take(part, MAX_HELD)).map(|(_, content)| content).collect()
    }

    #[test]
    fn content_of_any_length_comes_whole() {
        let mut joiner = Joiner::default();
        let lengths = [0, 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1, MAX_PARCEL];
        for (number, length) in (1..).zip(lengths) {
            let content = content(length);
            let parts = split(false, number, &content);
            assert!(parts.iter().all(|part| part.content.len() <= PART));
            assert_eq!(parts.len(), length.div_ceil(PART).max(1));
            assert!(join(&mut joiner, parts) == [content], "{length}");
            assert_eq!(joiner.held(), 0);
        }
    }

    #[test]
    fn one_that_lacks_a_part_is_dropped_and_the_next_is_not() {
        let (torn, whole) = (content(4 * PART), content(PART + 1));
        for missing in 0..4 {
            let mut joiner = Joiner::default();
            let mut parts = split(false, 1, &torn);
            parts.remove(missing);
            assert!(join(&mut joiner, parts).is_empty(), "{missing}");
            assert!(join(&mut joiner, split(false, 2, &whole)) == [whole.clone()], "{missing}");
            assert_eq!(joiner.held(), 0);
        }
    }

    #[test]
    fn the_rest_of_one_is_not_the_rest_of_another() {
        let mut joiner = Joiner::default();
        let (first, second) = (split(false, 1, &content(2 * PART)), split(false, 2, &content(2 * PART)));
        let mixed = [first[0].clone(), second[1].clone()];
        assert!(join(&mut joiner, mixed).is_empty());
        assert_eq!(joiner.held(), 0, "it is given up");
    }

    #[test]
    fn what_comes_again_or_too_late_is_passed_over() {
        let mut joiner = Joiner::default();
        let (one, three) = (content(3), content(PART + 3));
        assert_eq!(join(&mut joiner, split(false, 5, &one)).len(), 1);
        assert!(join(&mut joiner, split(false, 5, &one)).is_empty());
        assert!(join(&mut joiner, split(false, 4, &one)).is_empty());
        let mut parts = split(false, 6, &three);
        let last = parts.pop().unwrap();
        assert!(join(&mut joiner, parts).is_empty());
        assert!(join(&mut joiner, split(false, 5, &three)).is_empty(), "nor does it disturb what has begun");
        assert!(join(&mut joiner, [last.clone()]) == [three]);
        assert!(join(&mut joiner, [last]).is_empty());
    }

    #[test]
    fn what_goes_to_one_and_what_goes_to_all_do_not_meet() {
        let mut joiner = Joiner::default();
        let (all, one) = (content(2 * PART), content(PART + 9));
        let (of_all, of_one) = (split(false, 1, &all), split(true, 2, &one));
        let mixed = of_one.into_iter().zip(of_all).flat_map(|(one, all)| [one, all]);
        assert!(join(&mut joiner, mixed) == [one, all]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut joiner = Joiner::default();
        let mut part = Part::of(false, 3, 1, 0, &content(2 * PART));
        part.count = u16::MAX;
        assert_eq!(joiner.take(part, MAX_HELD), None);
        assert_eq!(joiner.held(), 0, "it would become too long");
        let parts = split(false, 2, &content(3 * PART));
        assert_eq!(joiner.take(parts[0].clone(), PART - 1), None);
        assert_eq!(joiner.held(), 0, "there is no room to begin");
        let parts = split(false, 3, &content(3 * PART));
        joiner.take(parts[0].clone(), PART);
        assert_eq!(joiner.held(), PART);
        assert_eq!(joiner.take(parts[1].clone(), 0), None);
        assert_eq!(joiner.held(), 0, "there is no room to go on");
    }

    #[test]
    fn what_is_cut_short_is_no_part() {
        for length in 0..HEADER {
            assert_eq!(Part::decode(Bytes::from(vec![1; length])), None);
        }
    }
}

//! What a node says of itself again and again.
//!
//! u32 how often (milliseconds), u8 whether an answer is wanted, u64 the run's stamp; and of each attachment u8 its kind, u16 its
//! length, and its bytes. All big-endian; what a newer version adds at the end is passed over.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How much all attachments together may take.
const MAX_ATTACHED: usize = 48 << 10;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heartbeat {
    /// How often it says so.
    pub(super) every: Duration,
    /// Whether everybody else is to say so, too.
    pub(super) wants_answer: bool,
    pub(super) stamp: u64,
    /// What it says for others, each with its kind.
    pub(super) attached: Vec<(u8, Bytes)>,
}

impl Heartbeat {
    /// What does not fit is left out.
    pub(super) fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        body.put_u32(u32::try_from(self.every.as_millis()).unwrap_or(u32::MAX));
        body.put_u8(self.wants_answer.into());
        body.put_u64(self.stamp);
        let start = body.len();
        for (kind, bytes) in &self.attached {
            match u16::try_from(bytes.len()) {
                Ok(length) if body.len() - start + bytes.len() + 3 <= MAX_ATTACHED => {
                    body.put_u8(*kind);
                    body.put_u16(length);
                    body.put_slice(bytes);
                }
                _ => {
                    tracing::error!(target: "fanfare::core", kind, length = bytes.len(), "too long for a heartbeat");
                }
            }
        }
        body.freeze()
    }

    /// `None` where the bytes say nothing of the kind. An attachment that is cut short is none.
    pub(super) fn decode(mut body: Bytes) -> Option<Self> {
        let every = Duration::from_millis(body.try_get_u32().ok()?.into());
        let wants_answer = body.try_get_u8().ok()? & 1 == 1;
        let stamp = body.try_get_u64().ok()?;
        let mut attached = Vec::new();
        while let (Ok(kind), Ok(length)) = (body.try_get_u8(), body.try_get_u16()) {
            if body.len() < usize::from(length) {
                break;
            }
            attached.push((kind, body.split_to(length.into())));
        }
        Some(Self { every, wants_answer, stamp, attached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat() -> Heartbeat {
        let attached = vec![(1, Bytes::from_static(b"digest")), (9, Bytes::new())];
        Heartbeat { every: Duration::from_millis(1500), wants_answer: true, stamp: 7, attached }
    }

    #[test]
    fn it_survives_its_bytes() {
        assert_eq!(Heartbeat::decode(heartbeat().encode()), Some(heartbeat()));
        let bare = Heartbeat { wants_answer: false, attached: Vec::new(), ..heartbeat() };
        assert_eq!(Heartbeat::decode(bare.encode()), Some(bare));
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let bytes = heartbeat().encode();
        for end in 0..bytes.len() {
            match Heartbeat::decode(bytes.slice(..end)) {
                None => assert!(end < 13, "{end}"),
                Some(cut) => assert!(cut.attached.len() < 2, "{end}"),
            }
        }
    }

    #[test]
    fn it_fits_a_frame_whatever_is_attached() {
        let long = || Bytes::from(vec![1; 40 << 10]);
        let attached =
            vec![(1, long()), (2, long()), (3, Bytes::from_static(b"x")), (4, Bytes::from(vec![0; 70_000]))];
        let bytes = Heartbeat { attached, ..heartbeat() }.encode();
        assert!(bytes.len() < 60 << 10);
        let kinds: Vec<_> =
            Heartbeat::decode(bytes).unwrap().attached.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [1, 3]);
    }
}

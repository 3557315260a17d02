//! The bytes of a cursor.

use fanfare_core::message::{Epoch, Position};

use super::Hash;

const VERSION: u8 = 1;
/// The bytes of a hash.
pub(super) const HASH: usize = 6;
/// The most bytes of a number.
pub(super) const VARINT: usize = 10;

/// Appends a cursor of these places.
pub(super) fn write(places: impl Iterator<Item = (Hash, Position)> + Clone, out: &mut Vec<u8>) {
    let mut epochs: Vec<u64> = Vec::new();
    for (_, position) in places.clone() {
        if !epochs.contains(&position.epoch.value()) {
            epochs.push(position.epoch.value());
        }
    }
    out.push(VERSION);
    write_number(epochs.len() as u64, out);
    for epoch in &epochs {
        write_number(*epoch, out);
    }
    for (hash, position) in places {
        let index = epochs.iter().position(|epoch| *epoch == position.epoch.value()).unwrap_or_default();
        out.extend_from_slice(&hash.0.to_be_bytes()[8 - HASH..]);
        write_number(index as u64, out);
        write_number(position.offset, out);
    }
}

/// Reads a cursor of at most so many topics; `None` when it is none.
pub(super) fn read(bytes: &[u8], topics: usize) -> Option<Vec<(Hash, Position)>> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let count = usize::try_from(read_number(&mut rest)?).ok().filter(|count| *count <= topics)?;
    let epochs = (0..count).map(|_| read_number(&mut rest)).collect::<Option<Vec<_>>>()?;
    let mut places: Vec<(Hash, Position)> = Vec::new();
    while !rest.is_empty() {
        let (hash, after) = rest.split_first_chunk::<HASH>()?;
        rest = after;
        let hash = Hash(hash.iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte)));
        let epoch = epochs.get(usize::try_from(read_number(&mut rest)?).ok()?)?;
        let offset = read_number(&mut rest)?;
        if places.len() == topics {
            return None;
        }
        places.push((hash, Position::new(Epoch::new(*epoch), offset)));
    }
    Some(places)
}

/// LEB128: seven bits a byte, the lowest first.
fn write_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number in its shortest form.
fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if (shift == 63 && bits > 1) || (shift > 0 && *byte == 0) {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

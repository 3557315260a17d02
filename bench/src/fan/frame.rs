//! WebSocket frames (RFC 6455 section 5.2): text frames to the server, any frame from it.

/// The largest frame that is taken from a server, in bytes: more is taken for a broken header.
const MAX_PAYLOAD: u64 = 64 << 20;

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// One frame of a server, in the buffer that it was read into.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Frame<'a> {
    pub(super) fin: bool,
    pub(super) opcode: u8,
    pub(super) payload: &'a [u8],
    /// Bytes of the whole frame, header included.
    pub(super) size: usize,
}

/// The first frame in `bytes`: `None` while it is incomplete, an error when a server must not send it.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("a reserved bit is set");
    }
    if second & 0x80 != 0 {
        return Err("a server's frame is masked");
    }
    let (length, header) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > MAX_PAYLOAD {
        return Err("a frame is longer than 64 MiB");
    }
    let size = header + length as usize;
    let Some(payload) = bytes.get(header..size) else { return Ok(None) };
    Ok(Some(Frame { fin: first & 0x80 != 0, opcode: first & 0x0f, payload, size }))
}

/// Appends a final frame whose payload is `parts` in a row.
///
/// The masking key is zero, which leaves the payload as it is: RFC 6455 asks for an unpredictable key to
/// protect proxies, which are not here, and masking would be work for this program.
pub(super) fn encode(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(0x80 | length as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_three_lengths() {
        for length in [0usize, 5, 125, 126, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..=125 => bytes.push(length as u8),
                126..=65_535 => {
                    bytes.push(126);
                    bytes.extend_from_slice(&(length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(127);
                    bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            bytes.extend(std::iter::repeat_n(b'x', length));
            let size = bytes.len();
            for cut in [1, size / 2, size - 1] {
                if cut < size {
                    assert_eq!(decode(&bytes[..cut]), Ok(None), "{length} cut at {cut}");
                }
            }
            bytes.extend_from_slice(b"next");
            let frame = decode(&bytes).unwrap().unwrap();
            assert_eq!(
                (frame.fin, frame.opcode, frame.payload.len(), frame.size),
                (true, TEXT, length, size)
            );
        }
    }

    #[test]
    fn what_a_server_must_not_send() {
        assert!(decode(&[0xc1, 0]).is_err());
        assert!(decode(&[0x81, 0x80]).is_err());
        assert!(decode(&[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn our_frames_are_masked_with_zeros() {
        let mut out = Vec::new();
        encode(&mut out, TEXT, &[b"ab", b"c"]);
        assert_eq!(out, b"\x81\x83\0\0\0\0abc");
        out.clear();
        encode(&mut out, BINARY, &[&[7; 300]]);
        assert_eq!(out[..8], [0x82, 0xfe, 1, 44, 0, 0, 0, 0]);
        assert_eq!(out.len(), 308);
    }
}

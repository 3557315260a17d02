//! A client's encoder that is too simple to be wrong: the parser's counterpart in tests.

use super::Opcode;

/// A masked frame with its length in the shortest form.
pub(crate) fn masked(opcode: Opcode, fin: bool, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::from(fin) << 7 | opcode.bits()];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    out
}

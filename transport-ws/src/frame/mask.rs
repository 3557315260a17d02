//! A client's masking (RFC 6455, section 5.3).

/// Applies `key` to `data` in place. Masking and unmasking are the same.
///
/// `data[0]` meets `key[0]`: for the rest of a payload whose first `n` bytes are done, give [`rotated`]`(key, n)`.
pub(super) fn apply(data: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<16>();
    for word in words {
        *word = (u128::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key as it stands after `done` bytes of payload.
pub(super) fn rotated(mut key: [u8; 4], done: usize) -> [u8; 4] {
    key.rotate_left(done & 3);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    #[test]
    fn matches_the_definition_at_every_length() {
        for length in 0..100usize {
            let plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ KEY[i % 4]).collect();
            let mut data = plain.clone();
            apply(&mut data, KEY);
            assert_eq!(data, expected, "{length} bytes");
        }
    }

    #[test]
    fn goes_on_where_it_stopped() {
        for cut in 0..40 {
            let mut whole: Vec<u8> = (0..40).collect();
            let mut parts = whole.clone();
            apply(&mut whole, KEY);
            let (front, back) = parts.split_at_mut(cut);
            apply(front, KEY);
            apply(back, rotated(KEY, cut));
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn unmasks_the_example_of_the_rfc() {
        // Section 5.7: "Hello", masked.
        let mut data = [0x7F, 0x9F, 0x4D, 0x51, 0x58];
        apply(&mut data, KEY);
        assert_eq!(&data, b"Hello");
    }
}

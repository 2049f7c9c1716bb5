//! Base64 as credentials need it: read in the standard alphabet, written in the one for URLs.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// `bytes` in the alphabet for URLs, padded.
pub fn encode_url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = bits >> (18 - 6 * place) & 63;
                text.push(char::from(URL[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Reads the standard alphabet, padded or not; `None` for anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut bits = 0_u32;
        for place in 0..4 {
            let index = match chunk.get(place) {
                Some(symbol) => STANDARD.iter().position(|s| s == symbol)?,
                None => 0,
            };
            bits = bits << 6 | u32::try_from(index).ok()?;
        }
        let [_, three @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(&three[..chunk.len() - 1]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(encode_url(b"user:pass"), "dXNlcjpwYXNz");
        assert_eq!(encode_url(b"\xff\xfe"), "__4=");
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
            let text = encode_url(&bytes).replace('-', "+").replace('_', "/");
            assert_eq!(text.len() % 4, 0);
            assert_eq!(decode(&text), Some(bytes.clone()));
            assert_eq!(decode(text.trim_end_matches('=')), Some(bytes));
        }
        for wrong in ["a", "ab-_", "a b=", "=a", "ab=c", "é"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}

//! Random ids.

use std::fmt::Write;

use crate::error::{Code, Error, Kind, Result};

pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(count) if count == N => Ok(bytes),
        Ok(_) => Err(Error::new(
            Code::CreateFailed,
            Kind::Io,
            "random",
            "the kernel gave too few random bytes",
        )),
        Err(error) => Err(Error::new(
            Code::CreateFailed,
            Kind::Io,
            "random",
            "the kernel gave no random bytes",
        )
        .because(error)),
    }
}

/// A version 4 UUID of 16 random bytes.
pub(super) fn uuid(random: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in random.iter().enumerate() {
        let byte = match index {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An id for a session or task that was given none: eight letters and digits.
///
/// # Errors
/// `ACODE-CTN-001` when the kernel gives no random bytes.
pub fn generated_id() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random: [u8; 8] = random_bytes()?;
    // The first character is a letter outside the forms that names reserve.
    let first = char::from(b"abcdefgijklmnopq"[usize::from(random[0] % 16)]);
    Ok(std::iter::once(first)
        .chain(
            random[1..]
                .iter()
                .map(|byte| char::from(ALPHABET[usize::from(byte % 32)])),
        )
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nfr_020a_44_operations_are_uuids() {
        assert_eq!(uuid(&[0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&[0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn generated_ids_differ_and_name_exactly() {
        let (one, two) = (generated_id().unwrap(), generated_id().unwrap());
        assert_ne!(one, two);
        let name = crate::ContainerName::new(&crate::Prefix::default(), &one, &two).unwrap();
        assert_eq!(name.as_str(), format!("acode-{one}-{two}"));
    }
}

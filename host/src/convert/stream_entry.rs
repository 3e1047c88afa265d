//! The keys of `PutRecords` entries: what the service takes.

use std::fmt::Write as _;

use crate::convert::flaw::Flaw;

/// Characters of a partition key, at most.
const KEY_CHARACTERS_MAX: usize = 256;
/// The SDK of components says the same of the same mistake.
const INVALID_KEY: &str = "invalid-partition-key";

/// A partition key of any bytes: themselves if they are UTF-8, their lower-case hexadecimal form otherwise.
pub(crate) fn key_of_bytes(key: &[u8]) -> Result<String, Flaw> {
    if str::from_utf8(key).is_ok() {
        return partition_key(key);
    }
    let mut hexadecimal = String::with_capacity(2 * key.len());
    for byte in key {
        write!(hexadecimal, "{byte:02x}").expect("a string takes everything");
    }
    partition_key(hexadecimal.as_bytes())
}

/// A partition key.
pub(crate) fn partition_key(key: &[u8]) -> Result<String, Flaw> {
    let Ok(key) = str::from_utf8(key) else {
        return Err(Flaw::new(INVALID_KEY, "the partition key is not UTF-8"));
    };
    if key.is_empty() {
        return Err(Flaw::new(INVALID_KEY, "the partition key is empty: the stream takes 1 to 256 characters"));
    }
    // No character is longer than four bytes, and most keys are short.
    if key.len() > KEY_CHARACTERS_MAX {
        let characters = key.chars().count();
        if characters > KEY_CHARACTERS_MAX {
            let message = format!("the partition key has {characters} characters: the stream takes 1 to 256");
            return Err(Flaw::new(INVALID_KEY, message));
        }
    }
    Ok(key.to_owned())
}

/// An explicit hash key; none of zero length.
pub(crate) fn explicit_hash_key(text: &[u8]) -> Result<Option<u128>, Flaw> {
    let flaw = || Flaw::new("invalid-hash-key", "the explicit hash key is no decimal number below 2^128");
    if text.is_empty() {
        return Ok(None);
    }
    // A number may have no sign, which `parse` would take.
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(flaw());
    }
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(flaw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_key_is_decimal_and_below_two_to_the_128() {
        let largest = u128::MAX.to_string();
        assert_eq!(explicit_hash_key(b""), Ok(None));
        assert_eq!(explicit_hash_key(b"0"), Ok(Some(0)));
        assert_eq!(explicit_hash_key(largest.as_bytes()), Ok(Some(u128::MAX)));
        for bad in ["+1", "-1", "1 ", "0x1", "340282366920938463463374607431768211456", "١"] {
            assert!(explicit_hash_key(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(explicit_hash_key(b"\xff").is_err());
    }

    #[test]
    fn a_key_is_counted_in_characters() {
        let longest = "ä".repeat(256);
        assert_eq!(key_of_bytes(longest.as_bytes()), Ok(longest.clone()));
        let error = key_of_bytes(format!("{longest}b").as_bytes()).expect_err("one too many");
        assert_eq!(error, Flaw::new(INVALID_KEY, "the partition key has 257 characters: the stream takes 1 to 256"));
    }

    #[test]
    fn a_key_that_is_not_text_is_written_as_hexadecimal() {
        assert_eq!(key_of_bytes(&[0xff, 0x0a]), Ok("ff0a".to_owned()));
        assert_eq!(key_of_bytes(&[0xff; 128]), Ok("ff".repeat(128)));
        assert!(key_of_bytes(&[0xff; 129]).is_err());
        assert!(partition_key(&[0xff, 0x0a]).is_err());
        assert!(key_of_bytes(b"").is_err());
    }
}

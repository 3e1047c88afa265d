//! What is measured on: JSON events such as web shops write, with the fields that `projection` keeps far apart.

use std::fmt::Write as _;

/// Appending to a string does not fail.
const STRING: &str = "writing to a string does not fail";

/// Event `number`, exactly `size` bytes of JSON (at least about 200); the same number gives the same event.
pub(crate) fn event(number: u64, size: usize) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
    let mut text = format!(
        "{{\"event_id\":\"e-{:016x}\",\"type\":\"order\",\"user_id\":\"u-{:06}\",",
        random.next(),
        random.below(1_000_000)
    );
    // The last field fills up to the size, so leave room for what must come behind the items.
    text.push_str("\"items\":[");
    let mut first = true;
    while text.len() + 200 < size {
        if !first {
            text.push(',');
        }
        first = false;
        let (sku, quantity, cents) = (random.below(100_000), random.below(9) + 1, random.below(100_000));
        write!(
            text,
            "{{\"sku\":\"sku-{sku:05}\",\"quantity\":{quantity},\"price\":{}.{:02},\"gift\":{},\"note\":null}}",
            cents / 100,
            cents % 100,
            sku % 2 == 0
        )
        .expect(STRING);
    }
    write!(text, "],\"amount\":{}.{:02},\"text\":\"", random.below(10_000), random.below(100)).expect(STRING);
    while text.len() + 2 < size {
        text.push(char::from(b'a' + u8::try_from(random.below(26)).unwrap_or(0)));
    }
    text.push_str("\"}");
    text.into_bytes()
}

/// Sixteen characters, as partition keys often have.
pub(crate) fn partition_key(number: u64) -> String {
    format!("{:016x}", Random(number ^ 0xfeed).next())
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_size_asked_for_and_a_projection() {
        for size in [256, 300, 1024, 10 * 1024] {
            let event = event(7, size);
            assert_eq!(event.len(), size);
            transforms::project(&event, &mut Vec::new()).expect("the fields are there");
        }
    }
}

//! Everything random about a history comes from its seed.

/// splitmix64: small, and the same for ever. Each suite has its salt.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed ^ crate::SALT)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `low..=high`.
    pub(crate) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// The same, of a size.
    pub(crate) fn size(&mut self, low: u64, high: u64) -> usize {
        usize::try_from(self.between(low, high)).expect("small")
    }

    pub(crate) const fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.size(0, u64::try_from(last).expect("small"));
            items.swap(last, other);
        }
    }
}

/// A seed stands for its history only as long as this holds.
#[test]
fn a_seed_draws_the_same_for_ever() {
    let mut dice = Dice::new(7 ^ crate::SALT);
    let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
    dice.shuffle(&mut items);
    assert_eq!(items, [1, 4, 5, 2, 6, 0, 3, 7]);
    assert_eq!([dice.next(), dice.between(10, 1_000)], [0x53fc_d651_3d02_befe, 268]);
    assert_eq!([(); 8].map(|()| dice.percent(30)), [true, false, true, false, false, false, false, true]);
}

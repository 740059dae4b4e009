//! Seeds out of several numbers: whatever is random in training is a pure function of where it happens.

/// One seed, each bit of it depending on all of `numbers`.
pub fn seed_of(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x243F_6A88_85A3_08D3, |state, number| scramble(state ^ number))
}

/// SplitMix64's step.
pub(super) fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

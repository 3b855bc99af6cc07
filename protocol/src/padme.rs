//! Padmé padding (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019),
//! with a floor: a body's length tells at most O(log log) bits of what is inside, at 12 % cost or less.

/// The least padded length, so that small secrets all look alike.
pub const FLOOR: u64 = 1024;

/// Padded length of `len` bytes: at least [`FLOOR`], else the next length whose mantissa has no more bits than its exponent's length.
pub const fn padded_len(len: u64) -> u64 {
    if len <= FLOOR {
        return FLOOR;
    }
    let exponent = 63 - len.leading_zeros(); // ⌊log2 len⌋
    let mantissa = 32 - exponent.leading_zeros(); // ⌊log2 exponent⌋ + 1
    let mask = (1u64 << (exponent - mantissa)) - 1;
    (len + mask) & !mask
}

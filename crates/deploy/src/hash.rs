//! A hash by which two texts of ours are told apart: FNV-1a, of 64 bits. Nobody's secret depends on it.

/// The hash of a text; another one for each salt.
pub(crate) fn fnv1a(salt: u8, text: &str) -> u64 {
    let bytes = std::iter::once(salt).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

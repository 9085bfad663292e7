//! `traceparent` of W3C Trace Context, level 1.
//!
//! offramp records no spans, so it hands on what a device sends unchanged. Where a record comes without one, the
//! first hop starts a trace, named after the record's id: every duplicate of it is in the same one.

/// Offset basis and prime of FNV-1a with 128 bits.
const FNV_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A `traceparent` for the record with this id; not sampled, since nobody has recorded anything.
pub fn start(id: &str) -> String {
    let hash = |basis, text: &str| {
        let step = |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul(FNV_PRIME);
        text.bytes().fold(basis, step)
    };
    let trace = hash(FNV_BASIS, id);
    let span = hash(trace, "offramp") as u64;
    // All zeroes are no identifiers.
    format!("00-{:032x}-{:016x}-00", trace.max(1), span.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_well_formed_and_a_function_of_the_id() {
        let trace = start("edge-input/0/17");
        let parts: Vec<&str> = trace.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert!(trace.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)));
        assert_eq!(trace, start("edge-input/0/17"));
        let other = start("edge-input/0/18");
        assert_ne!(parts[1], other.split('-').nth(1).unwrap());
    }
}

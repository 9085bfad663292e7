//! Images as devices write them.

use std::fmt::Write as _;

use bytes::Bytes;

/// Nested lists, a batch dimension of one first, as the paper's devices write them: `[[[0, 255, …28], …28]]`.
/// `sample` has as many pixels as the product of `shape`.
pub fn to_json(sample: &[u8], shape: &[usize]) -> Bytes {
    fn level(out: &mut String, sample: &[u8], shape: &[usize]) {
        let Some((&length, inner)) = shape.split_first() else {
            write!(out, "{}", sample[0]).expect("writing to memory does not fail");
            return;
        };
        out.push('[');
        for at in 0..length {
            if at > 0 {
                out.push_str(", ");
            }
            let size = sample.len() / length;
            level(out, &sample[at * size..(at + 1) * size], inner);
        }
        out.push(']');
    }
    let mut out = String::with_capacity(sample.len() * 4);
    out.push('[');
    level(&mut out, sample, shape);
    out.push(']');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_written_as_the_papers_devices_write_it() {
        assert_eq!(to_json(&[0, 255, 7, 12], &[2, 2]), "[[[0, 255], [7, 12]]]");
    }
}

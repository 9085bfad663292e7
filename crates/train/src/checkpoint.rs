//! Where a training run stands, on disk: what an interrupted run needs to go on as if nothing had been.
//!
//! ```text
//! "offramp checkpoint 1\n"
//! 32 bytes   SHA-256 of the recipe and the data: what else decides the result
//! u64        epochs that are done
//! u64        steps that are done
//! u64        the best epoch, and 0 without one; f64 its score
//! u64        number of weights n
//! f32 × n    weights; f32 × n first moments; f32 × n second moments
//! f32 × n    weights of the best epoch, if there is one
//! 32 bytes   SHA-256 of all before
//! ```
//!
//! Everything is little-endian. There is no random state: what is random in an epoch follows from the seed and the
//! epoch's number.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::TrainError;
use crate::optimizer::Moments;

const MAGIC: &[u8] = b"offramp checkpoint 1\n";
const DIGEST: usize = 32;
/// Magic, fingerprint, four whole numbers and a score.
const HEAD: usize = MAGIC.len() + DIGEST + 5 * 8;

/// Where a training run stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// The number of epochs that are done.
    pub(crate) epochs: usize,
    pub(crate) weights: Vec<f32>,
    pub(crate) moments: Moments,
    /// Only kept where training may stop early.
    pub(crate) best: Option<Best>,
}

/// The weights that did best on the validation data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) score: f64,
    pub(crate) weights: Vec<f32>,
}

impl State {
    fn encode(&self, fingerprint: &[u8; DIGEST]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(fingerprint);
        let best = self.best.as_ref();
        bytes.extend((self.epochs as u64).to_le_bytes());
        bytes.extend(self.moments.steps.to_le_bytes());
        bytes.extend(best.map_or(0, |best| best.epoch as u64).to_le_bytes());
        bytes.extend(best.map_or(0.0, |best| best.score).to_le_bytes());
        bytes.extend((self.weights.len() as u64).to_le_bytes());
        let best = best.map(|best| &best.weights);
        let values =
            [&self.weights, &self.moments.first, &self.moments.second].into_iter().chain(best);
        bytes.extend(values.flatten().flat_map(|value| value.to_le_bytes()));
        bytes.extend(Sha256::digest(&bytes));
        bytes
    }

    fn decode(bytes: &[u8], fingerprint: &[u8; DIGEST], weights: usize) -> Result<State, String> {
        if !bytes.starts_with(MAGIC) {
            return Err("it is none of this version".to_owned());
        }
        let content = bytes.len().checked_sub(DIGEST).map(|end| bytes.split_at(end));
        let whole =
            content.filter(|(content, digest)| Sha256::digest(content).as_slice() == *digest);
        let Some((content, _)) = whole.filter(|(content, _)| content.len() >= HEAD) else {
            return Err("it is damaged: its checksum is another one".to_owned());
        };
        if content[MAGIC.len()..][..DIGEST] != *fingerprint {
            return Err("it is of another recipe, seed or data; train without --resume".to_owned());
        }
        let word = |at: usize| -> [u8; 8] {
            content[MAGIC.len() + DIGEST + 8 * at..][..8].try_into().expect("eight bytes are eight")
        };
        let number = |at| u64::from_le_bytes(word(at));
        let best_epoch = number(2) as usize;
        let vectors = if best_epoch == 0 { 3 } else { 4 };
        let values = &content[HEAD..];
        if number(4) != weights as u64 || values.len() != vectors * weights * 4 {
            return Err(format!("it holds {} weights, expected {weights}", number(4)));
        }
        let vector = |at: usize| -> Vec<f32> {
            values[at * weights * 4..(at + 1) * weights * 4]
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes are four")))
                .collect()
        };
        Ok(State {
            epochs: number(0) as usize,
            weights: vector(0),
            moments: Moments { first: vector(1), second: vector(2), steps: number(1) },
            best: (best_epoch > 0).then(|| Best {
                epoch: best_epoch,
                score: f64::from_le_bytes(word(3)),
                weights: vector(3),
            }),
        })
    }

    /// Writes all of the file or nothing: a run that is killed while it writes leaves the checkpoint before.
    pub(crate) fn write(&self, path: &Path, fingerprint: &[u8; DIGEST]) -> Result<(), TrainError> {
        model::write_whole(path, &self.encode(fingerprint))
            .map_err(|source| TrainError::Write { path: path.to_owned(), source })
    }

    /// Reads a file for a network with this number of `weights`.
    pub(crate) fn read(
        path: &Path,
        fingerprint: &[u8; DIGEST],
        weights: usize,
    ) -> Result<State, TrainError> {
        let fail = |source| TrainError::Read { path: path.to_owned(), source };
        let expected = (HEAD + 4 * weights * 4 + DIGEST) as u64;
        let found = std::fs::metadata(path).map_err(fail)?.len();
        let refuse = |problem| TrainError::Checkpoint { path: path.to_owned(), problem };
        if found > expected {
            return Err(refuse(format!(
                "it has {found} bytes, expected at most {expected}: it is of another recipe"
            )));
        }
        let bytes = std::fs::read(path).map_err(fail)?;
        State::decode(&bytes, fingerprint, weights).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(best: Option<Best>) -> State {
        let moments = Moments { first: vec![0.5, 1.5], second: vec![2.0, 3.0], steps: 12 };
        State { epochs: 3, weights: vec![-1.0, 4.0], moments, best }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let best = Best { epoch: 2, score: 0.75, weights: vec![9.0, 8.0] };
        for state in [state(None), state(Some(best))] {
            assert_eq!(State::decode(&state.encode(&[7; 32]), &[7; 32], 2), Ok(state));
        }
    }

    #[test]
    fn a_checkpoint_of_something_else_or_a_damaged_one_is_refused() {
        let good = state(None).encode(&[7; 32]);
        let problem = |bytes: &[u8], fingerprint: u8, weights| {
            State::decode(bytes, &[fingerprint; 32], weights).unwrap_err()
        };
        assert!(problem(&good, 8, 2).starts_with("it is of another recipe"));
        assert_eq!(problem(&good, 7, 3), "it holds 2 weights, expected 3");
        assert_eq!(problem(b"hello", 7, 2), "it is none of this version");
        for len in MAGIC.len()..good.len() {
            assert!(problem(&good[..len], 7, 2).starts_with("it is damaged"), "{len}");
        }
        let mut flipped = good;
        flipped[HEAD] ^= 1;
        assert!(problem(&flipped, 7, 2).starts_with("it is damaged"));
    }
}

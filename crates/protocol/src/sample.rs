//! Random messages, for what checks either side of a connection.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::{ErrorCode, Shape};

/// Where random values come from, and what is often among them because it means something to who gets them.
#[derive(Debug)]
pub struct Sampler {
    random: SmallRng,
    words: Vec<&'static str>,
    records: Bytes,
}

impl Sampler {
    /// The same seed gives the same values. Most strings are among `words`, and half of the byte strings are
    /// `records`.
    pub fn new(seed: u64, words: Vec<&'static str>, records: Bytes) -> Self {
        assert!(!words.is_empty(), "words to choose from");
        Self { random: SmallRng::seed_from_u64(seed), words, records }
    }
}

/// A random value, using only what the version can carry.
pub trait Sample {
    /// The next one.
    fn sample(sampler: &mut Sampler, shape: Shape) -> Self;
}

macro_rules! sample_integers {
    ($($integer:ty),*) => {$(
        impl Sample for $integer {
            fn sample(sampler: &mut Sampler, _: Shape) -> Self {
                // What has a meaning is often near zero.
                if sampler.random.random() { sampler.random.random_range(-1..=2) } else { sampler.random.random() }
            }
        }
    )*};
}

sample_integers!(i8, i16, i32, i64);

impl Sample for bool {
    fn sample(sampler: &mut Sampler, _: Shape) -> Self {
        sampler.random.random()
    }
}

impl Sample for ErrorCode {
    fn sample(sampler: &mut Sampler, _: Shape) -> Self {
        Self::ALL[sampler.random.random_range(0..Self::ALL.len())]
    }
}

impl Sample for Uuid {
    fn sample(sampler: &mut Sampler, _: Shape) -> Self {
        Self::from_bytes(sampler.random.random())
    }
}

impl Sample for String {
    fn sample(sampler: &mut Sampler, _: Shape) -> Self {
        if sampler.random.random_ratio(3, 4) {
            return sampler.words[sampler.random.random_range(0..sampler.words.len())].to_owned();
        }
        // Past 127 the compact length takes two bytes.
        (0..sampler.random.random_range(0..200))
            .map(|_| sampler.random.random_range('a'..='\u{fc}'))
            .collect()
    }
}

impl Sample for Bytes {
    fn sample(sampler: &mut Sampler, _: Shape) -> Self {
        if sampler.random.random() {
            return sampler.records.clone();
        }
        // Past 4096 the bytes are sent in place.
        let size = if sampler.random.random_ratio(1, 10) {
            5000
        } else {
            sampler.random.random_range(0..200)
        };
        (0..size).map(|_| sampler.random.random::<u8>()).collect()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(sampler: &mut Sampler, shape: Shape) -> Self {
        (0..sampler.random.random_range(0..4)).map(|_| T::sample(sampler, shape)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(sampler: &mut Sampler, shape: Shape) -> Self {
        sampler.random.random_ratio(3, 4).then(|| T::sample(sampler, shape))
    }
}

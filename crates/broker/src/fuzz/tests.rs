//! What fuzzers have found to be worth trying, tried again; and what they begin with.
//!
//! A target's inputs lie in `fuzz/corpus/<target>.txt`: one per line, in hexadecimal digits, those that once
//! broke something with a `#` and what it was.

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::input::{Parsed, written};
use super::*;
use crate::log::tests::Batch;
use protocol::Request;
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::compression::Compression;
use protocol::for_each_request;
use protocol::sample::{Sample, Sampler};
#[allow(clippy::wildcard_imports, reason = "a request of every API is sampled")]
use protocol::{admin::*, cluster::*, configs::*, fetch::*, groups::*, offsets::*, produce::*};

/// Where `cargo xtask fuzz` wants what its fuzzers begin with.
const DIR: &str = "OFFRAMP_FUZZ_DIR";
const SEED: u64 = 1;
/// Of each version of a request.
const SAMPLES: usize = 60;
/// Longer ones have little in them that shorter ones lack.
const SAMPLE_BYTES: usize = 300;

/// What there is, by its name.
const NAMES: &[&str] = &[
    world::TOPIC,
    world::TABLE,
    world::GROUP,
    world::OFFSETS,
    world::MEMBER,
    world::STATIC_MEMBER,
    world::INSTANCE,
];

/// What else means something here.
const WORDS: &[&str] = &[
    world::PROTOCOL_TYPE,
    world::PROTOCOL,
    "1",
    "-1",
    "0.5",
    "compact,delete",
    "delete",
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "segment.bytes",
    "segment.ms",
    "max.message.bytes",
    "delete.retention.ms",
    "min.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "Stable",
];

fn sampler() -> Sampler {
    Sampler::new(SEED, [NAMES, WORDS].concat(), batch::of(0, batch::RECORD))
}

fn corpus(target: Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let path = dir.join(target.name()).with_extension("txt");
    let lines = fs::read_to_string(&path).unwrap_or_default();
    let digits = lines.lines().map(|line| line.split_once('#').map_or(line, |(input, _)| input));
    digits
        .map(|digits| {
            let pairs = digits.trim().as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            pairs.map(byte).collect()
        })
        .collect()
}

#[test]
fn every_target_has_a_corpus_and_nothing_in_it_breaks_anything() {
    for target in Target::all() {
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "{}: run `cargo xtask fuzz --save`", target.name());
        let mut fuzz = Fuzz::new(target);
        for input in inputs {
            fuzz.run(&input);
        }
    }
}

#[test]
fn what_fuzzers_begin_with_gets_past_the_first_checks() {
    for target in Target::all() {
        let mut fuzz = Fuzz::new(target);
        let seeds = seeds(target);
        let is_read = |seed: &Vec<u8>| match target.0 {
            Kind::Requests(api) => input::requests(api)(seed.clone().into()).is_some(),
            Kind::Batch => batch::requests(seed.clone().into()).is_some(),
            Kind::Connection | Kind::Group => true,
        };
        assert!(!seeds.is_empty() && seeds.iter().all(is_read), "{}", target.name());
        for seed in seeds.iter().step_by(SAMPLES / 2) {
            fuzz.run(seed);
        }
    }
}

#[test]
#[ignore = "writes files for cargo xtask fuzz"]
fn inputs_are_written() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    for target in Target::all() {
        let dir = dir.join(target.name());
        fs::create_dir_all(&dir).unwrap();
        for (nth, input) in seeds(target).into_iter().chain(corpus(target)).enumerate() {
            fs::write(dir.join(nth.to_string()), input).unwrap();
        }
    }
    let words = NAMES.iter().chain(WORDS).map(|word| format!("\"{word}\"\n"));
    fs::write(dir.join("words"), words.collect::<String>()).unwrap();
}

fn seeds(target: Target) -> Vec<Vec<u8>> {
    match target.0 {
        Kind::Requests(api) => {
            macro_rules! find {
                ($request:ident, $response:ident) => {
                    if api == $request::API {
                        return [samples::<$request>(), produced(api)].concat();
                    }
                };
            }
            for_each_request!(find);
            unreachable!("every API has a request")
        }
        Kind::Batch => batches(),
        Kind::Connection => connections(),
        Kind::Group => groups(),
    }
}

/// Short requests, each behind the number of its version.
fn samples<R: Request + Sample>() -> Vec<Vec<u8>> {
    let mut sampler = sampler();
    let mut seeds = Vec::new();
    for (nth, version) in R::API.versions().enumerate() {
        let shape = R::API.shape(version);
        let all = std::iter::repeat_with(|| written(&R::sample(&mut sampler, shape), shape));
        let short = all.take(20 * SAMPLES).filter(|body| body.len() <= SAMPLE_BYTES);
        seeds.extend(short.take(SAMPLES).map(|body| [&[nth as u8], &body[..]].concat()));
    }
    seeds
}

/// Requests of all versions that append something, if the API is what appends.
fn produced(api: Api) -> Vec<Vec<u8>> {
    let versions = api.versions().enumerate().filter(|_| api == Api::Produce);
    let request = batch::produce(&batch::of(0, batch::RECORD));
    let body = |version| written(&request, api.shape(version));
    versions.map(|(nth, version)| [&[nth as u8], &body(version)[..]].concat()).collect()
}

/// Batches of all codecs: to be compressed, compressed, and whole.
fn batches() -> Vec<Vec<u8>> {
    let pairs = [(Some("k"), Some("v")), (Some("k"), None), (Some("l"), Some("")), (None, None)];
    let whole = Batch::pairs(&pairs).from(7, 0, 0).at(1000).bytes();
    let (header, records) = whole[21..].split_at(HEADER_BYTES - 21);
    let mut seeds = vec![[&[batch::WHOLE], &whole[..]].concat()];
    for codec in 0..5 {
        seeds.push([&[batch::COMPRESS | codec], header, records].concat());
        let compression =
            Compression::of(&BatchHeader::parse(&batch::of(codec, &[])).unwrap()).unwrap();
        let compressed = compression.deflate(records.to_vec()).unwrap();
        seeds.push([&[codec], header, &compressed].concat());
    }
    seeds
}

/// Steps at random.
fn groups() -> Vec<Vec<u8>> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let steps = std::iter::repeat_with(|| (0..40).map(|_| random.random()).collect());
    steps.take(SAMPLES).collect()
}

/// Frames of every API, a few on each connection.
fn connections() -> Vec<Vec<u8>> {
    let mut sampler = sampler();
    let mut all = Vec::new();
    macro_rules! push {
        ($request:ident, $response:ident) => {
            let version = *$request::API.versions().end();
            let shape = $request::API.shape(version);
            let mut parsed = Parsed::default();
            let mut sample = $request::sample(&mut sampler, shape);
            while SAMPLE_BYTES < written(&sample, shape).len() {
                sample = $request::sample(&mut sampler, shape);
            }
            parsed.push(version, &sample, false);
            all.push(parsed.bytes);
        };
    }
    for_each_request!(push);
    all.windows(3).map(|frames| [&[0], &frames.concat()[..]].concat()).collect()
}

//! What reading an image from JSON and writing features to it cost, beside general JSON libraries.
//!
//! ```sh
//! cargo bench -p wire
//! ```
//!
//! Reading: a 28×28 image as devices send it (`[[0, 0, 12, …], …]`, a fifth of the pixels not 0), and 64 features
//! as a tier forwards them, to `f32`. The others read into `Vec<Vec<f32>>`, we into a [`Tensor`]; simd-json changes
//! the text that it reads, so that it gets a copy each time, as it would have to of a record. sonic-rs is not among
//! them: it has serde built with other features, and with serde the engine and the training framework, once more.
//! Median of [`SAMPLES`] samples, each of which takes at least [`SAMPLE_TIME`].

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use wire::Tensor;

const SAMPLES: usize = 21;
const SAMPLE_TIME: Duration = Duration::from_millis(50);

type Rows = Vec<Vec<f32>>;

/// What is timed, by the name of its library.
type Cases<'a> = [(&'static str, Box<dyn FnMut() + 'a>); 3];

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    let features: Rows = vec![features()];
    let row = Tensor::rows_to_json(features.iter().map(Vec::as_slice));
    let image = spaced(&serde_json::to_vec(&image())?);
    report(&mut out, "read an image", image.len(), reading(&image))?;
    report(&mut out, "read features", row.len(), reading(&row))?;
    report(&mut out, "write features", row.len(), writing(&features))
}

fn reading(text: &[u8]) -> Cases<'_> {
    const READ: &str = "the text is a list of lists of numbers";
    let rows: Rows = serde_json::from_slice(text).expect(READ);
    assert_eq!(rows.concat(), Tensor::from_json(text).expect(READ).data, "all read the same");
    [
        (
            "offramp",
            Box::new(move || drop(black_box(Tensor::from_json(black_box(text)).expect(READ)))),
        ),
        (
            "serde_json",
            Box::new(move || {
                drop(black_box(serde_json::from_slice::<Rows>(black_box(text)).expect(READ)));
            }),
        ),
        (
            "simd-json",
            Box::new(move || {
                let mut copy = black_box(text).to_vec();
                drop(black_box(simd_json::from_slice::<Rows>(&mut copy).expect(READ)));
            }),
        ),
    ]
}

fn writing(rows: &Rows) -> Cases<'_> {
    const WRITTEN: &str = "floats are written to memory";
    [
        (
            "offramp",
            Box::new(move || {
                drop(black_box(Tensor::rows_to_json(black_box(rows).iter().map(Vec::as_slice))));
            }),
        ),
        (
            "serde_json",
            Box::new(move || drop(black_box(serde_json::to_vec(black_box(rows)).expect(WRITTEN)))),
        ),
        (
            "simd-json",
            Box::new(move || drop(black_box(simd_json::to_vec(black_box(rows)).expect(WRITTEN)))),
        ),
    ]
}

/// Times the cases in turn, so that what else the machine does meets all of them, and prints the medians.
fn report(out: &mut impl io::Write, what: &str, bytes: usize, cases: Cases<'_>) -> io::Result<()> {
    let mut cases = cases.map(|(library, mut call)| {
        let mut calls = 1;
        while time(&mut call, calls) < SAMPLE_TIME {
            calls *= 2;
        }
        (library, call, calls, Vec::with_capacity(SAMPLES))
    });
    for _ in 0..SAMPLES {
        for (_, call, calls, samples) in &mut cases {
            samples.push(time(call, *calls).as_secs_f64() * 1e9 / f64::from(*calls));
        }
    }
    for (library, _, _, mut samples) in cases {
        samples.sort_by(f64::total_cmp);
        let (ns, least) = (samples[SAMPLES / 2], samples[0]);
        let mb_per_s = bytes as f64 / ns * 1e3;
        writeln!(
            out,
            "{what:<16}{library:<12}bytes={bytes:<6}ns={ns:<8.0}mb_per_s={mb_per_s:<6.0}ns_min={least:.0}"
        )?;
    }
    Ok(())
}

fn time(call: &mut impl FnMut(), calls: u32) -> Duration {
    let begun = Instant::now();
    for _ in 0..calls {
        call();
    }
    begun.elapsed()
}

/// With a space after each comma, as Python's `json.dumps` writes it.
fn spaced(text: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(text).replace(',', ", ").into_bytes()
}

/// Rows of an image whose share of ink is that of MNIST's: a ring.
fn image() -> Vec<Vec<u8>> {
    let pixel = |x: i32, y: i32| {
        let distance = f64::from((x - 14).pow(2) + (y - 14).pow(2)).sqrt();
        // The ring is 9 pixels wide from the middle and 3 thick, and fades at its edges.
        (255.0 - (distance - 8.0).abs() * 110.0).clamp(0.0, 255.0) as u8
    };
    (0..28).map(|y| (0..28).map(|x| pixel(x, y)).collect()).collect()
}

/// What a rectified layer gives: about half of it 0, the rest fractions.
fn features() -> Vec<f32> {
    (0..64u16).map(|at| (f32::from(at) * 0.7).sin().max(0.0) * 3.1).collect()
}

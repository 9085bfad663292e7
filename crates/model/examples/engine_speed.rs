//! Measures an engine on one thread: `engine_speed MODEL.onnx|MODEL.h5 [SECONDS [BATCH]]`.
//!
//! Prints samples per second for one or several batch sizes: the median of seven runs of a seventh of the
//! time each, and the slowest and fastest of them.

use std::path::Path;
use std::time::{Duration, Instant};

use model::keras::{ImportOptions, import_h5};
use model::random::Random;
use model::{Engine, ModelError, SubModel};

const RUNS: u32 = 7;

fn main() -> Result<(), ModelError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = Path::new(arguments.first().expect("expected the path of a model"));
    let seconds = arguments.get(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(1.4);
    let sub_model = if path.extension().is_some_and(|extension| extension == "h5") {
        import_h5(path, &ImportOptions::default())?.sub_model().clone()
    } else {
        SubModel::load(path)?
    };
    let start = Instant::now();
    let mut engine = sub_model.engine()?;
    eprintln!("first engine in {:.1?}", start.elapsed());
    let batch: Option<usize> = arguments.get(2).and_then(|batch| batch.parse().ok());
    for batch in batch.map_or(vec![1, 2, 8, 32, 64, 100, 256], |batch| vec![batch]) {
        measure(&mut engine, batch, Duration::from_secs_f64(seconds / f64::from(RUNS)))?;
    }
    Ok(())
}

fn measure(engine: &mut Engine, batch: usize, time: Duration) -> Result<(), ModelError> {
    let len: usize = engine.sub_model().input_shape().iter().product();
    let mut random = Random::new(1);
    let samples: Vec<f32> = (0..batch * len).map(|_| random.between(0.0, 255.0)).collect();
    engine.run(&samples)?;
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < time {
            done += engine.run(&samples)?.samples;
        }
        rates.push(done as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let [slowest, median, fastest] = [rates[0], rates[rates.len() / 2], rates[rates.len() - 1]];
    eprintln!("batch {batch:3}: {median:9.0} samples/s ({slowest:.0} to {fastest:.0})");
    Ok(())
}

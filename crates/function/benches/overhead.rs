//! What a function costs over the bare engine, one image at a time.
//!
//! `cargo bench -p function --bench overhead` prints, in microseconds: the engine alone; the inference function
//! around it (a record in, the outgoing records out: decoding, the pool's thread, decision, encoding); and the same
//! through a connector and funnels on the embedded broker at 1,000 records a second, from when a record was
//! received to when it was decided, as the `offramp-times` header says it.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use function::Inference;
use function::inference::Settings;
use function::stop;
use function::tier::{Brokers, Composed, compose, exit_of};
use kafka::{Event, Producer, Reader, Start, admin};
use model::SubModel;
use model::dataset::drawn;
use pipeline::{ExitSettings, Pipeline, Scale};
use wire::{Encoding, Record, header};

const OUT: &str = "standard output is there";
const RUNS: usize = 20_000;
const WARM_UP: usize = 1000;
const RATE: u64 = 1000;
const PIPED: usize = 10_000;

/// Microseconds, in order.
struct Times(Vec<f64>);

impl Times {
    fn percentile(&mut self, percent: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[((self.0.len() - 1) as f64 * percent / 100.0).round() as usize]
    }
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a workspace");
    let sub_model = SubModel::load(&root.join("models/mnist-conv/edge.onnx")).expect("the demo's");
    let digits = drawn::draw(256, 5);
    let images: Vec<Bytes> = (0..256).map(|at| Bytes::copy_from_slice(digits.sample(at))).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut engine = engine(&sub_model, &images);
    let mut function = runtime.block_on(inference(&sub_model, &images));
    let mut piped = runtime.block_on(piped(root, &sub_model, &images));
    let mut out = std::io::stdout().lock();
    writeln!(out, "| one image, microseconds | p50 | p99 | over the engine, p50 | p99 |")
        .expect(OUT);
    writeln!(out, "|---|---|---|---|---|").expect(OUT);
    let (p50, p99) = (engine.percentile(50.0), engine.percentile(99.0));
    writeln!(out, "| the engine alone | {p50:.1} | {p99:.1} | | |").expect(OUT);
    for (name, times) in [
        ("the inference function", &mut function),
        ("received to decided in a tier, 1,000 records/s", &mut piped),
    ] {
        let (own_p50, own_p99) = (times.percentile(50.0), times.percentile(99.0));
        let (over_p50, over_p99) = (own_p50 - p50, own_p99 - p99);
        writeln!(out, "| {name} | {own_p50:.1} | {own_p99:.1} | {over_p50:.1} | {over_p99:.1} |")
            .expect(OUT);
    }
}

fn engine(sub_model: &SubModel, images: &[Bytes]) -> Times {
    let mut engine = sub_model.engine().expect("it loads");
    let samples: Vec<Vec<f32>> =
        images.iter().map(|image| image.iter().map(|&pixel| f32::from(pixel)).collect()).collect();
    let mut times = Vec::with_capacity(RUNS);
    for run in 0..WARM_UP + RUNS {
        let started = Instant::now();
        let output = engine.run(&samples[run % samples.len()]).expect("it runs");
        if WARM_UP <= run {
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        std::hint::black_box(output);
    }
    Times(times)
}

async fn inference(sub_model: &SubModel, images: &[Bytes]) -> Times {
    let settings = Settings {
        tier: "edge".to_owned(),
        exit: Some(
            exit_of(sub_model, &ExitSettings::default()).expect("the model's own exit fits").1,
        ),
        scale: Scale { min: 1, max: 1 },
        max_batch: 64,
        encoding: Encoding::U8,
        features: Encoding::Int8,
        answer_here: false,
        dialect: function::inference::Dialect::default(),
    };
    let inference = Inference::new(sub_model.clone(), settings, None, None);
    let mut times = Vec::with_capacity(RUNS);
    for run in 0..WARM_UP + RUNS {
        let value = Some(images[run % images.len()].clone());
        let record = Record { value, ..Record::default() };
        let started = Instant::now();
        let outcome = inference.infer(&record, None).await.expect("it infers");
        if WARM_UP <= run {
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        std::hint::black_box(outcome);
    }
    Times(times)
}

async fn piped(root: &Path, sub_model: &SubModel, images: &[Bytes]) -> Times {
    let dir = tempfile::tempdir().expect("a folder");
    let address = "127.0.0.1:0".parse().expect("an address");
    let broker = Broker::start(BrokerConfig::new(dir.path(), address)).await.expect("it starts");
    let servers = broker.advertised();
    let tier = |name: &str, more: &str| {
        format!(
            "[[tier]]\nname = \"{name}\"\nmodel = \"{name}.onnx\"\nbootstrap_servers = \"{servers}\"\n{more}\n"
        )
    };
    let edge = tier("edge", "input = { encoding = \"u8\" }");
    let text = format!("[pipeline]\nname = \"p\"\n{edge}{}", tier("fog", ""));
    let pipeline = Pipeline::parse(&text, root).expect("it is valid");
    let topics = ["p.edge-input", "p.edge-output", "p.fog-input", "p.edge-dead-letter"];
    admin::ensure_topics(servers, &topics, 1).await.expect("they are created");
    let mut brokers = Brokers::new("");
    let Composed { connector, .. } = compose(
        &pipeline,
        &pipeline.tiers[0],
        sub_model.clone(),
        &mut brokers,
        &|_| unreachable!(),
    )
    .expect("a tier");
    let (stopper, stop) = stop::channel();
    let running = tokio::spawn(connector.run(stop));
    let outputs = ["p.edge-output", "p.fog-input"];
    let reader = Reader::open(servers, &outputs, None, Start::End).await.expect("they are there");
    let producer = Producer::new(servers).expect("a producer");
    let images = images.to_vec();
    let sending = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE));
        for at in 0..PIPED {
            ticks.tick().await;
            let value = Some(images[at % images.len()].clone());
            let record = Record { value, ..Record::default() };
            producer.enqueue("p.edge-input", &record).await.expect("it is taken");
        }
    });
    let mut times = Vec::with_capacity(PIPED);
    while times.len() < PIPED {
        if let Event::Record(_, record) = reader.next().await.expect("it reads on") {
            let text = record.header(header::TIMES).expect("every hop adds it");
            let text = String::from_utf8_lossy(text);
            let (_, took) = text.split_once('+').expect("a time and how long");
            times.push(took.parse().expect("microseconds"));
        }
    }
    sending.await.expect("sending does not panic");
    stopper.stop();
    running.await.expect("the connector does not panic").expect("it stops");
    // The first ones found the engine cold.
    Times(times.split_off(WARM_UP))
}

//! What devices send, and when.

use std::path::PathBuf;
use std::sync::Arc;

use bench::payload::to_json;
use bench::{Headers, Join, Load, Schedule};
use bytes::Bytes;
use clap::ValueEnum;
use model::dataset::idx::{self, Split};
use model::dataset::{Dataset, drawn};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
pub(super) struct Args {
    /// The paper's devices: each sends 100 records at 1, 2, 3 and 4 a second, one after the other.
    #[arg(long, value_enum, conflicts_with_all = ["rate", "records", "burst", "sweep"])]
    profile: Option<Profile>,
    /// How many times as fast the profile's time goes.
    #[arg(long, default_value_t = 1.0, value_parser = scale, requires = "profile", value_name = "FACTOR")]
    time_scale: f64,
    /// Records to send.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    records: u64,
    /// Records a second, all devices together; 0 sends as fast as it goes.
    #[arg(long, default_value_t = 1000.0, value_parser = crate::commands::demo::rate)]
    pub(super) rate: f64,
    /// Records that come at once, at the rate on average.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "N")]
    burst: u64,
    /// Devices: of a profile each has its schedule, all beginning together; else they share the sending.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) devices: u64,
    /// Keys that the records share; 0 gives each record its own.
    #[arg(long, default_value_t = 0)]
    keys: u64,
    /// How the images are written, and the answers are read: `paper` writes nested lists as JSON, `raw` a byte a pixel;
    /// `kafka-ml` is raw, and its answers, `{"values": […]}`, are read.
    #[arg(long, alias = "encoding", value_enum, default_value_t)]
    format: Format,
    /// Folder with test images in MNIST's format; default: digits drawn by the program.
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only the first images, again and again; the published runs show 100.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    images: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Paper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    #[default]
    #[value(alias = "json")]
    Paper,
    Raw,
    KafkaMl,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.001..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("expected a factor from 0.001 to 1000".to_owned()),
    }
}

/// Images that are shown in turn, where they are drawn.
const DRAWN: usize = 1000;

/// The images, and where they are from.
pub(super) struct Images {
    dataset: Dataset,
    pub(super) origin: String,
}

impl Images {
    pub(super) fn read(args: &Args) -> anyhow::Result<Self> {
        let (dataset, origin) = match &args.data {
            Some(dir) => (idx::read(dir, Split::Test)?, "test images in MNIST's format"),
            None => (drawn::draw(DRAWN, 1), "digits drawn by the program"),
        };
        let dataset = match args.images {
            Some(count) => dataset.take(usize::try_from(count).unwrap_or(usize::MAX)),
            None => dataset,
        };
        anyhow::ensure!(!dataset.is_empty(), "there are no images, expected one at least");
        let origin = format!("{} {origin}", dataset.len());
        Ok(Self { dataset, origin })
    }
}

impl Args {
    /// How a tier of ours reads what is sent.
    pub(super) fn encoding(&self) -> &'static str {
        match self.format {
            Format::Paper => "json",
            Format::Raw | Format::KafkaMl => "u8",
        }
    }

    fn schedule(&self) -> Schedule {
        match (self.profile, self.burst) {
            (Some(Profile::Paper), _) => Schedule::paper(self.devices, self.time_scale),
            (None, 1) => Schedule::even(self.rate),
            (None, size) if self.rate > 0.0 => Schedule::Bursts { rate: self.rate, size },
            (None, _) => Schedule::AsFast,
        }
    }

    pub(super) fn describe(&self) -> String {
        let Self { devices, records, rate, burst, time_scale, .. } = self;
        match (self.profile, self.schedule()) {
            (Some(Profile::Paper), _) if (time_scale - 1.0).abs() > f64::EPSILON => {
                format!("the paper's stages {time_scale} times as fast, {devices} devices")
            }
            (Some(Profile::Paper), _) => format!("the paper's stages, {devices} devices"),
            (None, Schedule::Bursts { .. }) => {
                format!("{records} records, {burst} at once, {rate} a second on average")
            }
            (None, Schedule::AsFast) => format!("{records} records as fast as it goes"),
            (None, _) => format!("{records} records, {rate} a second"),
        }
    }

    pub(super) fn load(&self, images: &Images, join: Join) -> Load {
        let schedule = self.schedule();
        let records = schedule.records().unwrap_or(self.records);
        self.load_of(images, join, schedule, records)
    }

    /// So many records at another schedule.
    pub(super) fn load_of(
        &self,
        images: &Images,
        join: Join,
        schedule: Schedule,
        records: u64,
    ) -> Load {
        let dataset = &images.dataset;
        let shown = dataset.len().min(usize::try_from(records).unwrap_or(usize::MAX));
        let payload = |image| match self.format {
            Format::Paper => to_json(dataset.sample(image), &dataset.shape),
            Format::Raw | Format::KafkaMl => Bytes::copy_from_slice(dataset.sample(image)),
        };
        Load {
            records,
            schedule,
            devices: self.devices,
            keys: self.keys,
            payloads: Arc::new((0..shown).map(payload).collect()),
            labels: dataset.labels[..shown].to_vec(),
            join,
            headers: Headers::IdsAndLabels,
        }
    }
}

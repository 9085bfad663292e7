//! `offramp tail`: answers and dead letters as they come, and at the end what became of what was sent.

mod line;
mod places;
mod tally;

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use bench::Arrivals;
use kafka::Start;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::line::Printer;
use self::places::Topics;
use self::tally::{Patience, Tally};
use crate::clock::now_ms;
use crate::commands::demo::OutputFormat;
use crate::commands::pipeline_file;
use crate::outcome::OrConfig as _;
use crate::signals::stop_on_signal;

/// Show answers as they come: which tier, what class, how sure and how long after it was sent.
///
/// Dead letters are shown too. At the end (Ctrl-C, -n, or --until-answered) it says what became of what was sent
/// since it began: answered by which tier, dead-lettered, lost, answered twice. To know what was sent it reads the
/// pipeline's first input topic, or the one given by --sent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The pipeline whose topics are read.
    #[arg(default_value = pipeline_file::DEFAULT_FILE, conflicts_with = "outputs")]
    file: PathBuf,
    /// Topics of answers to read instead of a pipeline's; separated by commas, or given several times.
    #[arg(long = "out", value_name = "TOPIC", value_delimiter = ',')]
    outputs: Vec<String>,
    /// Topics of dead letters to read beside them.
    #[arg(long = "dead-letter", value_name = "TOPIC", value_delimiter = ',', requires = "outputs")]
    dead_letters: Vec<String>,
    /// Topic of what was sent, to which answers are joined by id. Default: the pipeline's first input.
    #[arg(long, value_name = "TOPIC")]
    sent: Option<String>,
    /// Brokers to bootstrap from, as `host:port,…`. Default: those of the pipeline, or with --out
    /// 127.0.0.1:9092.
    #[arg(short, long, value_name = "SERVERS")]
    bootstrap_servers: Option<String>,
    /// Begin with what is there already, which has no latency, instead of with what comes.
    #[arg(long)]
    from_beginning: bool,
    /// End after so many answers and dead letters.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End once all that was sent is answered and nothing was sent for a second, or once nothing came for
    /// --silence-s; fail if something was lost.
    #[arg(long)]
    until_answered: bool,
    /// An answer that takes longer than this counts as late, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..))]
    late_ms: u64,
    /// What was sent so long ago and is not answered counts as lost, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    silence_s: u64,
    /// How long ids are kept, to join answers and to know duplicates, in seconds; at least --silence-s. Not more
    /// than 500,000 are kept.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    window_s: u64,
    /// How to print answers.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Nothing was sent for this long, and what was sent counts as all.
const SENT_ALL: Duration = Duration::from_secs(1);
/// Pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.window_s < args.silence_s {
        let (window, silence) = (args.window_s, args.silence_s);
        return Err(anyhow!(
            "--window-s is {window}, expected at least --silence-s, which is {silence}"
        ))
        .or_config();
    }
    let topics = Topics::of(&args)?;
    if args.until_answered && !topics.has_sent() {
        return Err(anyhow!("--until-answered needs to know what was sent: --sent TOPIC"))
            .or_config();
    }
    let mut stop = stop_on_signal()?;
    let start = if args.from_beginning { Start::Beginning } else { Start::End };
    let mut arrivals = Arrivals::open(&topics.places, start).await?;
    let patience = Patience {
        late: Duration::from_millis(args.late_ms),
        silence: Duration::from_secs(args.silence_s),
        window: Duration::from_secs(args.window_s),
    };
    let mut tally = Tally::new(topics, patience);
    let mut out = BufWriter::new(std::io::stdout());
    let printer = Printer::new(args.output);
    printer.heading(&mut out)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut arrived = Vec::new();
    let mut news = News { sent: Instant::now(), any: Instant::now() };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while 0 < left && !(args.until_answered && news.is_over(&tally, args.silence_s)) {
        out.flush()?;
        arrived.clear();
        tokio::select! {
            biased;
            () = stop.said() => break,
            taken = arrivals.take(&mut arrived) => ensure!(taken > 0, "topics can't be read on"),
            _ = tick.tick() => tally.pass(now_ms()),
        }
        for record in arrived.drain(..) {
            news.any = Instant::now();
            if tally.is_sent(&record) {
                news.sent = news.any;
            }
            if let Some(seen) = tally.note(record, now_ms()) {
                printer.print(&mut out, &seen)?;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
    }
    let summary = tally.summary(now_ms());
    printer.summary(&mut out, &summary)?;
    out.flush()?;
    if args.until_answered && 0 < summary.lost {
        bail!("{} of {} records were lost", summary.lost, summary.sent.unwrap_or_default());
    }
    Ok(())
}

/// When something last came.
struct News {
    sent: Instant,
    any: Instant,
}

impl News {
    fn is_over(&self, tally: &Tally, silence_s: u64) -> bool {
        match tally.waiting() {
            None => false,
            Some(0) => SENT_ALL <= self.sent.elapsed(),
            Some(_) => Duration::from_secs(silence_s) < self.any.elapsed(),
        }
    }
}

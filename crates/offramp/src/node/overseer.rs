//! Looks at tiers and functions as they work: for those who ask, and to decide how many instances there are to be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, UNIX_EPOCH};

use autoscale::{Chain, Load, Policy, PolicyError, ServiceTimes};
use bench::process::Process;
use function::Stop;
use function::counters::Counts;
use function::latency::Histogram;
use pipeline::Scale;
use runtime::functions::Functions;
use runtime::pool::{Phase, PoolStatus};
use runtime::scaler::{self, Scaler};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::status::{FunctionStatus, InstanceStatus, Scaled, Status, TierStatus};
use crate::clock::now_ms;
use crate::tiers::Running;

/// How often tiers are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Looks that rates and percentiles are over.
const WINDOW: usize = 10;
/// A broker that does not say within this how far a tier has read is not waited for.
const LAG_TIMEOUT: Duration = Duration::from_millis(800);
/// Nobody wants to know a lag that was not asked for in this time.
const ASKED: Duration = Duration::from_secs(10);
/// Decisions on tiers that are kept.
const MAX_HISTORY: usize = 1000;
/// What a sample takes until that is measured, which is within the first seconds.
const EXPECTED_SERVICE: Duration = Duration::from_micros(100);
/// How long an instance of a sub-model takes to start until that is known: threads that load small networks.
const COLD_START: Duration = Duration::from_millis(20);

/// Looks, and decides. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Overseer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pipeline: String,
    started: Instant,
    tiers: Vec<Running>,
    functions: Option<Functions>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    scaling: TierScaling,
    looks: VecDeque<Look>,
    /// Of each tier: records that its topic has had, and those of them that are not done.
    progress: Vec<Option<(u64, u64)>>,
    asked: Option<Instant>,
    scaler: Scaler,
    history: VecDeque<Scaled>,
}

/// How tiers scale.
#[derive(Debug)]
struct TierScaling {
    chain: Chain,
    /// Which of them have more than one number of instances.
    scale: Vec<bool>,
}

impl TierScaling {
    fn of(scales: &[Scale]) -> Result<Self, PolicyError> {
        let policy = |scale: &Scale| Policy {
            min_scale: scale.min as u32,
            max_scale: scale.max as u32,
            expected_service: EXPECTED_SERVICE,
            ..Policy::default()
        };
        let chain = Chain::new(&scales.iter().map(policy).collect::<Vec<_>>())?;
        Ok(Self { chain, scale: scales.iter().map(|scale| scale.min < scale.max).collect() })
    }
}

/// What was counted at one moment.
#[derive(Debug)]
struct Look {
    at: Instant,
    tiers: Vec<(Counts, Histogram)>,
    calls: BTreeMap<String, u64>,
}

impl Overseer {
    /// Of tiers that run, within these bounds, and of functions.
    pub(crate) fn new(
        pipeline: &str,
        tiers: &[Running],
        scales: &[Scale],
        functions: Option<Functions>,
    ) -> Result<Self, PolicyError> {
        let state = State {
            scaling: TierScaling::of(scales)?,
            looks: VecDeque::new(),
            progress: vec![None; tiers.len()],
            asked: None,
            scaler: Scaler::default(),
            history: VecDeque::new(),
        };
        let shared = Shared {
            pipeline: pipeline.to_owned(),
            started: Instant::now(),
            tiers: tiers.to_vec(),
            functions,
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Tiers have other bounds from now on.
    pub(crate) fn rescale(&self, scales: &[Scale]) -> Result<(), PolicyError> {
        self.shared.state().scaling = TierScaling::of(scales)?;
        Ok(())
    }

    /// Looks and decides until told to stop.
    pub(crate) async fn run(self, stop: Stop) {
        tokio::join!(self.scale_functions(stop.clone()), self.watch_tiers(stop));
    }

    async fn scale_functions(&self, mut stop: Stop) {
        let Some(functions) = &self.shared.functions else { return };
        let mut ticks = interval(scaler::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { _ = ticks.tick() => {}, () = stop.said() => return }
            let now = self.shared.started.elapsed();
            self.shared.state().scaler.tick(functions, now);
        }
    }

    async fn watch_tiers(&self, mut stop: Stop) {
        let shared = &self.shared;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! { _ = ticks.tick() => {}, () = stop.said() => return }
            shared.look();
            let (scales, is_asked) = {
                let state = shared.state();
                let scales = state.scaling.scale.contains(&true);
                (scales, state.asked.is_some_and(|asked| asked.elapsed() < ASKED))
            };
            if scales || is_asked {
                self.ask_progress().await;
            }
            if scales {
                shared.scale_tiers();
            }
        }
    }

    async fn ask_progress(&self) {
        let asking = self.shared.tiers.iter().map(|tier| async {
            let (servers, topic) = &tier.input;
            let progress = timeout(LAG_TIMEOUT, kafka::admin::progress(servers, topic)).await;
            let progress = progress.ok()?.ok()?;
            let of_topic = progress.iter().filter(|progress| progress.topic == *topic);
            Some(of_topic.fold((0, 0), |(arrived, lag), progress| {
                (arrived + progress.extent.end.max(0) as u64, lag + progress.lag().max(0) as u64)
            }))
        });
        let progress = futures_util::future::join_all(asking).await;
        self.shared.state().progress = progress;
    }

    /// What the node is doing.
    pub(crate) async fn status(&self) -> Status {
        let is_first = self.shared.state().asked.replace(Instant::now()).is_none();
        if is_first {
            self.ask_progress().await;
        }
        self.shared.status()
    }

    /// The decisions that changed something, oldest first.
    pub(crate) fn history(&self) -> Vec<Scaled> {
        let state = self.shared.state();
        let functions = state.scaler.history().map(|change| Scaled {
            at_ms: change.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64,
            name: change.name.clone(),
            from: change.from,
            to: change.to,
            reason: change.reason.clone(),
        });
        let mut all: Vec<Scaled> = functions.chain(state.history.iter().cloned()).collect();
        all.sort_by_key(|scaled| scaled.at_ms);
        all
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    fn functions(&self) -> Vec<Arc<runtime::Function>> {
        self.functions.as_ref().map(Functions::all).unwrap_or_default()
    }

    fn counted(&self) -> Look {
        let tiers = self.tiers.iter().map(|tier| {
            let counters = &tier.counters;
            (counters.counts(), counters.latencies())
        });
        let calls = self
            .functions()
            .into_iter()
            .map(|function| (function.spec.name.clone(), function.pool.load().arrived));
        Look { at: Instant::now(), tiers: tiers.collect(), calls: calls.collect() }
    }

    fn look(&self) {
        let look = self.counted();
        let mut state = self.state();
        if state.looks.len() == WINDOW {
            state.looks.pop_front();
        }
        state.looks.push_back(look);
    }

    fn scale_tiers(&self) {
        let mut state = self.state();
        let loads: Vec<Load> = self
            .tiers
            .iter()
            .zip(&state.progress)
            .map(|(tier, known)| load(tier, *known))
            .collect();
        let decisions = state.scaling.chain.decide(&loads, self.started.elapsed());
        for (at, (tier, decision)) in self.tiers.iter().zip(decisions).enumerate() {
            if !state.scaling.scale[at] || decision.from == decision.to {
                continue;
            }
            tier.inference.current().pool().scale_to(decision.to as usize);
            let (name, reason) = (tier.tier.clone(), decision.reason.to_string());
            let (from, to) = (decision.from, decision.to);
            tracing::info!(tier = name, from, to, "{reason}");
            if state.history.len() == MAX_HISTORY {
                state.history.pop_front();
            }
            state.history.push_back(Scaled { at_ms: now_ms(), name, from, to, reason });
        }
    }

    fn status(&self) -> Status {
        let process = Process::own();
        let now = self.counted();
        let state = self.state();
        let then = state.looks.front();
        let seconds = then.map_or(1.0, |then| (now.at - then.at).as_secs_f64().max(0.1));
        let tiers = self.tiers.iter().enumerate().map(|(at, tier)| {
            let (counts, histogram) = &now.tiers[at];
            let (before, earlier) = match then {
                Some(then) => (then.tiers[at].0, histogram.since(&then.tiers[at].1)),
                None => (Counts::default(), histogram.clone()),
            };
            tier_status(tier, *counts, before, &earlier, seconds, state.progress[at])
        });
        let functions = self.functions().into_iter().map(|function| {
            let status = function.pool.status();
            let name = &function.spec.name;
            let before = then.and_then(|then| then.calls.get(name)).copied();
            let came = status.arrived.saturating_sub(before.unwrap_or(status.arrived));
            function_status(name, &function.spec.image, status, came as f64 / seconds)
        });
        Status {
            pipeline: self.pipeline.clone(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            memory_bytes: process.resident_mib().map_or(0, |mib| (mib * f64::from(1 << 20)) as u64),
            cpu_seconds: process.cpu().unwrap_or_default().as_secs_f64(),
            tiers: tiers.collect(),
            functions: functions.collect(),
        }
    }
}

fn load(tier: &Running, progress: Option<(u64, u64)>) -> Load {
    let counts = tier.counters.counts();
    let inference = tier.inference.current();
    let work = inference.pool().work();
    let instances = inference.pool().running() as u32;
    // Without the broker's word, what the connector has taken is all that is known.
    let (arrivals, lag) = progress.unwrap_or((counts.consumed, counts.in_flight()));
    Load {
        arrivals,
        lag,
        served: ServiceTimes::of_unknown_spread(work.samples, work.busy.as_secs_f64()),
        forwarded: counts.forwarded + counts.split,
        instances,
        ready: instances,
        concurrency: 1,
        cold_start: COLD_START,
    }
}

fn done(counts: Counts) -> u64 {
    counts.answered + counts.forwarded + counts.split + counts.dead_lettered
}

fn tier_status(
    tier: &Running,
    counts: Counts,
    before: Counts,
    latencies: &Histogram,
    seconds: f64,
    progress: Option<(u64, u64)>,
) -> TierStatus {
    let inference = tier.inference.current();
    let finished = done(counts).saturating_sub(done(before));
    let answered = (counts.answered + counts.split) - (before.answered + before.split);
    let ms = |percent| latencies.percentile(percent).map(|time| time.as_secs_f64() * 1e3);
    TierStatus {
        name: tier.tier.clone(),
        model: inference.sub_model().version().to_owned(),
        instances: inference.pool().running(),
        consumed: counts.consumed,
        answered: counts.answered,
        forwarded: counts.forwarded,
        split: counts.split,
        dead_lettered: counts.dead_lettered,
        retried: counts.retried,
        in_flight: counts.in_flight(),
        lag: progress.map(|(_, lag)| lag),
        buffered: tier.uplink.as_ref().map(|uplink| uplink.status().waiting_records),
        rate: finished as f64 / seconds,
        answered_share: (finished > 0).then(|| answered as f64 / finished as f64),
        latency_ms_p50: ms(50.0),
        latency_ms_p99: ms(99.0),
    }
}

fn function_status(name: &str, image: &str, status: PoolStatus, rate: f64) -> FunctionStatus {
    let instances = status.instances.iter().map(|instance| InstanceStatus {
        number: instance.number,
        phase: phase(instance.phase).to_owned(),
        in_flight: instance.in_flight,
        pid: instance.pid,
        memory_bytes: instance.usage.map(|usage| usage.memory_bytes),
        cpu_seconds: instance.usage.map(|usage| usage.cpu_seconds),
    });
    let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
    FunctionStatus {
        name: name.to_owned(),
        image: image.to_owned(),
        wanted: status.wanted,
        ready: status.ready,
        in_flight: status.in_flight,
        waiting: status.waiting,
        arrived: status.arrived,
        answered: status.answered,
        failed: status.failed,
        rate,
        call_ms: ms(status.call_seconds),
        start_ms: ms(status.start_seconds),
        broken_instances: status.broken_instances,
        instances: instances.collect(),
        last_failure: status.last_failure,
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Suspect => "suspect",
        Phase::Draining => "draining",
        Phase::BackingOff => "backing off",
    }
}

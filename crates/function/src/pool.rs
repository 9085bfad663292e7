//! A pool of instances: threads that each own a loaded engine.
//!
//! Calls wait in one bounded queue. An instance takes what is waiting as one batch: alone when little arrives,
//! many together under load, and none waits for a batch to fill. A probe does not wait behind inference: engines
//! run on the pool's threads, except where a run of few samples costs no more than waking one of those would. Such
//! a run happens where it is called for.
//!
//! An instance starts when a call finds all others busy, up to `scale.max`, and ends after [`IDLE_TIMEOUT`]
//! without calls, down to `scale.min`; or there are as many as [`Pool::scale_to`] has said, and one if a call finds
//! none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use model::{Engine, Output, SubModel};
use pipeline::Scale;
use tokio::sync::oneshot;

use crate::failure::Failure;

/// Calls that wait at most; beyond, callers are told to come back. At 64 samples a batch these are a few
/// milliseconds of a dense sub-model's work.
const QUEUE_BOUND: usize = 1024;
/// How long a refused caller should wait.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// An instance above the minimum that has nothing to do for this long ends and gives its memory back.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Samples that take no longer than this are run where they are called for: it is about as long as waking a thread,
/// and being woken by it.
const SHORT: Duration = Duration::from_micros(100);
/// Runs of so few samples say what one takes; in larger ones each takes less.
const FEW: usize = 4;
/// How much of the newest run goes into what is expected of the next.
const NEWEST: f64 = 0.1;

/// Runs a sub-model on threads of its own.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sub_model: SubModel,
    scale: Scale,
    max_batch: usize,
    state: Mutex<State>,
    wake: Condvar,
    /// Runs few samples for those who call.
    guest: Mutex<Option<Engine>>,
}

#[derive(Debug, Default)]
struct State {
    calls: VecDeque<Call>,
    running: usize,
    idle: usize,
    closed: bool,
    /// As many as there are to be, if somebody has said.
    wanted: Option<usize>,
    work: Work,
    /// How long a sample takes in a run of few, in seconds; not known at first.
    sample_takes: Option<f64>,
}

/// What a pool has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Samples that were run.
    pub samples: u64,
    /// How long running them took, on however many threads.
    pub busy: Duration,
}

#[derive(Debug)]
struct Call {
    samples: Vec<f32>,
    count: usize,
    reply: oneshot::Sender<Result<Output, Failure>>,
}

impl Pool {
    /// A pool of `scale.min` instances; each run takes `max_batch` samples at most, unless one call has more.
    pub fn new(sub_model: SubModel, scale: Scale, max_batch: usize) -> Self {
        let shared = Arc::new(Shared {
            sub_model,
            scale,
            max_batch,
            state: Mutex::default(),
            wake: Condvar::new(),
            guest: Mutex::default(),
        });
        for _ in 0..scale.min {
            start_instance(&shared, &mut shared.lock());
        }
        Self { shared }
    }

    /// Runs `count` samples, concatenated in `samples`.
    pub async fn run(&self, samples: Vec<f32>, count: usize) -> Result<Output, Failure> {
        if let Some(output) = self.shared.run_here(&samples, count) {
            return output;
        }
        let (reply, answer) = oneshot::channel();
        self.queue(Call { samples, count, reply })?;
        answer.await.unwrap_or_else(|_| Err(Failure::Unavailable("the pool is closing".into())))
    }

    /// Instances that are running.
    pub fn running(&self) -> usize {
        self.shared.lock().running
    }

    /// From now on this many instances, within the bounds of its scale. Those that are too many finish their run.
    pub fn scale_to(&self, instances: usize) {
        let scale = self.shared.scale;
        let wanted = instances.clamp(scale.min, scale.max);
        let mut state = self.shared.lock();
        state.wanted = Some(wanted);
        while state.running < wanted && !state.closed {
            start_instance(&self.shared, &mut state);
        }
        drop(state);
        self.shared.wake.notify_all();
    }

    /// What it has done.
    pub fn work(&self) -> Work {
        self.shared.lock().work
    }

    fn queue(&self, call: Call) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        if state.calls.len() >= QUEUE_BOUND {
            return Err(Failure::Overloaded { retry_after: RETRY_AFTER });
        }
        state.calls.push_back(call);
        let most = state.wanted.map_or(self.shared.scale.max, |wanted| wanted.max(1));
        if state.idle == 0 && state.running < most {
            start_instance(&self.shared, &mut state);
        }
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.calls.clear();
        drop(state);
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Runs few samples on the caller's thread, if that is as quick as anything and an instance would be free.
    fn run_here(&self, samples: &[f32], count: usize) -> Option<Result<Output, Failure>> {
        let state = self.lock();
        let is_quick =
            state.sample_takes.is_some_and(|take| take * count as f64 <= SHORT.as_secs_f64());
        if !is_quick || !state.calls.is_empty() || state.idle == 0 {
            return None;
        }
        drop(state);
        // Somebody else's run is not waited for.
        let mut guest = self.guest.try_lock().ok()?;
        let started = Instant::now();
        let output = run(&self.sub_model, &mut guest, samples);
        self.took(count, started.elapsed());
        Some(output.map_err(Failure::Failed))
    }

    /// An instance ends; the last one takes all that is loaded with it.
    fn ends(&self, state: &mut State) {
        state.running -= 1;
        if state.running == 0
            && let Ok(mut guest) = self.guest.try_lock()
        {
            *guest = None;
        }
    }

    /// Takes note of how long a run took.
    fn took(&self, count: usize, took: Duration) {
        let mut state = self.lock();
        state.work.samples += count as u64;
        state.work.busy += took;
        if count <= FEW {
            let newest = took.as_secs_f64() / count as f64;
            state.sample_takes = Some(match state.sample_takes {
                Some(known) => known + NEWEST * (newest - known),
                None => newest,
            });
        }
    }

    /// The next batch, or `None` when this instance should end.
    fn next_batch(&self) -> Option<Vec<Call>> {
        let mut state = self.lock();
        while state.calls.is_empty() && !state.closed {
            if state.wanted.is_some_and(|wanted| wanted < state.running) {
                self.ends(&mut state);
                return None;
            }
            state.idle += 1;
            let (woken, timeout) =
                self.wake.wait_timeout(state, IDLE_TIMEOUT).expect("no holder panics");
            state = woken;
            state.idle -= 1;
            let is_idle = timeout.timed_out() && state.calls.is_empty() && state.wanted.is_none();
            if is_idle && state.running > self.scale.min {
                self.ends(&mut state);
                return None;
            }
        }
        if state.closed {
            state.running -= 1;
            return None;
        }
        let mut batch = Vec::new();
        let mut samples = 0;
        while let Some(call) = state.calls.front() {
            if samples > 0 && samples + call.count > self.max_batch {
                break;
            }
            samples += call.count;
            batch.extend(state.calls.pop_front());
        }
        Some(batch)
    }
}

fn start_instance(shared: &Arc<Shared>, state: &mut State) {
    state.running += 1;
    let shared = Arc::clone(shared);
    // Not joined: it ends by itself once the pool is closed, and holds nothing that outlives it.
    let spawned = std::thread::Builder::new().name("inference".into()).spawn({
        let shared = Arc::clone(&shared);
        move || run_instance(&shared)
    });
    if let Err(error) = spawned {
        tracing::error!("no thread for an instance: {error}");
        state.running -= 1;
    }
}

fn run_instance(shared: &Shared) {
    let mut engine = None;
    while let Some(batch) = shared.next_batch() {
        run_batch(shared, &mut engine, batch);
    }
}

/// Runs one batch and answers each call with its part.
fn run_batch(shared: &Shared, engine: &mut Option<Engine>, mut batch: Vec<Call>) {
    let samples = match batch.as_mut_slice() {
        [only] => std::mem::take(&mut only.samples),
        calls => calls.iter().flat_map(|call| &call.samples).copied().collect(),
    };
    let is_loaded = engine.is_some();
    let started = Instant::now();
    match run(&shared.sub_model, engine, &samples) {
        Ok(output) => {
            if is_loaded {
                shared.took(output.samples, started.elapsed());
            }
            answer(batch, &output);
        }
        Err(reason) => refuse(batch, &reason),
    }
}

/// Runs samples. Loads the engine if there is none, and drops it if it panicked, so that the next run starts on a
/// new one.
fn run(
    sub_model: &SubModel,
    engine: &mut Option<Engine>,
    samples: &[f32],
) -> Result<Output, String> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut loaded = engine.take().map_or_else(|| sub_model.engine(), Ok)?;
        let output = loaded.run(samples);
        *engine = Some(loaded);
        output
    }));
    match run {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("the sub-model did not run: {error}")),
        Err(_) => Err("the engine panicked".to_owned()),
    }
}

fn answer(batch: Vec<Call>, output: &Output) {
    let mut first = 0;
    for call in batch {
        let part = part(output, first, call.count);
        first += call.count;
        // A caller that stopped waiting is not there to hear it.
        let _ = call.reply.send(Ok(part));
    }
}

/// `count` samples of an output, from sample `first` on.
fn part(output: &Output, first: usize, count: usize) -> Output {
    let rows = |values: &[f32]| {
        let row = values.len() / output.samples;
        values[first * row..(first + count) * row].to_vec()
    };
    Output {
        samples: count,
        classes: output.classes,
        exit: rows(&output.exit),
        features: output.features.as_deref().map(rows),
    }
}

fn refuse(batch: Vec<Call>, reason: &str) {
    for call in batch {
        let _ = call.reply.send(Err(Failure::Failed(reason.to_owned())));
    }
}

//! The cluster, event by event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::outcome::{Action, Outcome, Recorder};
use super::random::Random;
use super::shape::Scenario;
use crate::load::ServiceTimes;

/// After the last arrival the run ends by then, answered or not.
const PATIENCE: f64 = 3600.0;

/// A policy: how many instances there shall be, asked again and again.
pub trait Scaler {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// The time between two looks.
    fn period(&self) -> Duration;

    /// How many instances there shall be.
    fn desired(&mut self, view: &View, now: Duration) -> u32;

    /// Calls that the connector has under way at most. The paper's connector has one, our own many more than there are
    /// instances.
    fn in_flight(&self) -> u32 {
        4096
    }
}

/// What a policy can see.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct View {
    /// Records that have arrived so far.
    pub arrivals: u64,
    /// Records that wait.
    pub waiting: u64,
    /// Records in instances.
    pub in_flight: u64,
    /// Calls that have ended so far.
    pub served: ServiceTimes,
    /// Instances that take calls or will: those that are stopping don't count.
    pub instances: u32,
    /// Those that take calls.
    pub ready: u32,
    /// Of an instance.
    pub cold_start: Duration,
    /// What waited or was in flight, summed over time so far, in record-seconds.
    pub lag_seconds: f64,
    /// The time of instances that was spent in calls so far, in seconds.
    pub busy_seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Starting,
    Free,
    Busy,
    Stopped,
}

#[derive(Debug, Clone, Copy)]
struct Instance {
    state: State,
    is_stopping: bool,
}

/// What happens at a time. Seconds are compared by their bits, which for positive numbers is their order.
type Event = Reverse<(u64, u64, Happening)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Started(usize),
    /// The instance, and the record.
    Ended(usize, usize),
    Look,
}

struct Cluster {
    now: f64,
    instances: Vec<Instance>,
    waiting: VecDeque<usize>,
    view: View,
    events: BinaryHeap<Event>,
    events_so_far: u64,
    /// When a record's call began.
    began: Vec<f64>,
    recorder: Recorder,
}

/// Runs a scenario from one ready instance until everything is answered.
pub fn run(scenario: &Scenario, scaler: &mut (impl Scaler + ?Sized)) -> Outcome {
    let mut random = Random::new(scenario.seed);
    let arrivals = scenario.shape.arrivals(&mut random);
    let mean = scenario.service.as_secs_f64();
    let takes: Vec<f64> =
        arrivals.iter().map(|_| random.log_normal(mean, scenario.service_variation)).collect();
    let mut cluster = Cluster::new(scenario, &arrivals);
    let period = scaler.period().as_secs_f64().max(1e-3);
    cluster.schedule(period * random.unit(), Happening::Look);
    let end = arrivals.last().map_or(0.0, |last| last + PATIENCE);
    let (mut arrived, mut answered) = (0, 0);
    while answered < arrivals.len() && cluster.now < end {
        let next = cluster.events.peek().map(|Reverse((at, ..))| f64::from_bits(*at));
        let arrival = arrivals.get(arrived).copied();
        if let Some(at) = arrival.filter(|at| next.is_none_or(|next| *at <= next)) {
            cluster.pass(at);
            cluster.view.arrivals += 1;
            cluster.waiting.push_back(arrived);
            arrived += 1;
        } else if let Some(Reverse((at, _, happening))) = cluster.events.pop() {
            cluster.pass(f64::from_bits(at));
            match happening {
                Happening::Started(instance) => cluster.started(instance),
                Happening::Ended(instance, record) => {
                    cluster.ended(instance, record, arrivals[record]);
                    answered += 1;
                }
                Happening::Look => {
                    let seen = cluster.view();
                    let desired = scaler.desired(&seen, Duration::from_secs_f64(cluster.now));
                    cluster.scale(desired);
                    cluster.schedule(cluster.now + period, Happening::Look);
                }
            }
        }
        cluster.dispatch(scaler.in_flight(), &takes);
    }
    cluster.recorder.finish(cluster.now, arrivals.len(), takes.iter().sum())
}

impl Cluster {
    fn new(scenario: &Scenario, arrivals: &[f64]) -> Self {
        let cold_start = scenario.cold_start;
        Self {
            now: 0.0,
            instances: vec![Instance { state: State::Free, is_stopping: false }],
            waiting: VecDeque::new(),
            view: View { cold_start, ..View::default() },
            events: BinaryHeap::new(),
            events_so_far: 0,
            began: vec![0.0; arrivals.len()],
            recorder: Recorder::new(arrivals),
        }
    }

    fn schedule(&mut self, at: f64, happening: Happening) {
        self.events_so_far += 1;
        self.events.push(Reverse((at.to_bits(), self.events_so_far, happening)));
    }

    /// Lets time pass until then.
    fn pass(&mut self, until: f64) {
        let passed = until - self.now;
        let alive = self.instances.iter().filter(|one| one.state != State::Stopped).count();
        self.recorder.pass(self.now, until, alive as f64);
        let view = &mut self.view;
        view.lag_seconds += passed * (self.waiting.len() as f64 + view.in_flight as f64);
        view.busy_seconds += passed * view.in_flight as f64;
        self.now = until;
    }

    fn view(&self) -> View {
        let count = |wanted: &dyn Fn(Instance) -> bool| {
            self.instances.iter().filter(|one| wanted(**one)).count() as u32
        };
        View {
            waiting: self.waiting.len() as u64,
            instances: count(&|one| one.counts()),
            ready: count(&|one| one.counts() && one.state != State::Starting),
            ..self.view
        }
    }

    fn started(&mut self, instance: usize) {
        if self.instances[instance].state == State::Starting {
            self.instances[instance].state = State::Free;
        }
    }

    fn ended(&mut self, instance: usize, record: usize, arrived: f64) {
        let one = &mut self.instances[instance];
        one.state = if one.is_stopping { State::Stopped } else { State::Free };
        self.view.in_flight -= 1;
        self.view.served.add(Duration::from_secs_f64(self.now - self.began[record]));
        self.recorder.answered(arrived, self.now);
    }

    fn dispatch(&mut self, in_flight: u32, takes: &[f64]) {
        while self.view.in_flight < u64::from(in_flight) && !self.waiting.is_empty() {
            let free = self.instances.iter().position(|one| one.state == State::Free);
            let Some(instance) = free else { return };
            let Some(record) = self.waiting.pop_front() else { return };
            self.instances[instance].state = State::Busy;
            self.view.in_flight += 1;
            self.began[record] = self.now;
            self.schedule(self.now + takes[record], Happening::Ended(instance, record));
        }
    }

    /// Starts instances, or stops first those that are starting, then free ones, then busy ones.
    fn scale(&mut self, desired: u32) {
        let current = self.view().instances;
        if desired == current {
            return;
        }
        self.recorder.action(Action { at_s: self.now, from: current, to: desired });
        let start = self.now + self.view.cold_start.as_secs_f64();
        for _ in current..desired {
            self.instances.push(Instance { state: State::Starting, is_stopping: false });
            self.schedule(start, Happening::Started(self.instances.len() - 1));
        }
        for _ in desired..current {
            let first = |state| {
                self.instances.iter().rposition(|one| one.state == state && !one.is_stopping)
            };
            let found = first(State::Starting).or(first(State::Free)).or(first(State::Busy));
            let Some(one) = found.and_then(|at| self.instances.get_mut(at)) else { return };
            one.is_stopping = true;
            if one.state != State::Busy {
                one.state = State::Stopped;
            }
        }
    }
}

impl Instance {
    fn counts(self) -> bool {
        self.state != State::Stopped && !self.is_stopping
    }
}

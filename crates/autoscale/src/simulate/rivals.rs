//! What others do, to be compared with. Not meant to scale anything real.
//!
//! Each follows its source's rules with its defaults; what a default would hide (a start from zero, an activator) is left
//! out where a scenario never gets there.

use std::collections::VecDeque;
use std::time::Duration;

use super::cluster::{Scaler, View};

/// Each rival, as it comes; the first is the connector of the published systems.
pub fn all() -> Vec<Box<dyn Scaler>> {
    vec![
        Box::new(Fixed { instances: 1, in_flight: 1 }),
        Box::new(AlertRule::default()),
        Box::new(Lag::shipped()),
        Box::new(Lag::quick()),
        Box::new(Utilisation::shipped()),
        Box::new(Kpa::default()),
    ]
}

/// Instances that never change, behind a connector with few calls in flight: the paper's has one.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    /// Instances.
    pub instances: u32,
    /// Calls in flight.
    pub in_flight: u32,
}

impl Scaler for Fixed {
    fn name(&self) -> &'static str {
        "one in flight"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn desired(&mut self, _: &View, _: Duration) -> u32 {
        self.instances
    }

    fn in_flight(&self) -> u32 {
        self.in_flight
    }
}

/// Values of a counter, to tell how much it rose within the last seconds.
#[derive(Debug, Clone, Default)]
struct Counter(VecDeque<(Duration, f64)>);

impl Counter {
    /// The most that is asked for is a minute; a little more is kept.
    const KEPT: Duration = Duration::from_secs(90);

    fn see(&mut self, value: f64, now: Duration) {
        self.0.push_back((now, value));
        while self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) > Self::KEPT) {
            self.0.pop_front();
        }
    }

    /// How much it rose a second within the last `window`, or since the first value if that is younger.
    fn slope(&self, window: Duration) -> f64 {
        let Some(&(now, value)) = self.0.back() else { return 0.0 };
        let within = |(at, _): &&(Duration, f64)| now.saturating_sub(*at) <= window;
        let &(at, first) = self.0.iter().find(within).unwrap_or(&(now, value));
        let passed = now.saturating_sub(at).as_secs_f64();
        if passed > 0.0 { (value - first) / passed } else { 0.0 }
    }
}

/// The rule of `OpenFaaS`' community edition: an alert `rate of completed calls over 10 s > 5/s`, for 5 s. While it fires
/// a fifth of the most instances is added, again and again; once it is over, there is the fewest number again.
///
/// Prometheus evaluates each 5 s. Alertmanager tells of the alert after 5 s (`group_wait`), again after 30 s
/// (`repeat_interval`), and of its end within 10 s (`group_interval`).
#[derive(Debug, Clone, Default)]
pub struct AlertRule {
    completed: Counter,
    above_since: Option<Duration>,
    told: Option<Duration>,
    over_since: Option<Duration>,
    wanted: u32,
}

impl AlertRule {
    const MOST: u32 = 5;
    const STEP: u32 = 1;
    const RATE: f64 = 5.0;
    const OVER: Duration = Duration::from_secs(10);
    const FOR: Duration = Duration::from_secs(5);
    const GROUP_WAIT: Duration = Duration::from_secs(5);
    const GROUP_INTERVAL: Duration = Duration::from_secs(10);
    const REPEAT: Duration = Duration::from_secs(30);
}

impl Scaler for AlertRule {
    fn name(&self) -> &'static str {
        "alert rule"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn desired(&mut self, view: &View, now: Duration) -> u32 {
        self.wanted = self.wanted.max(1);
        self.completed.see(view.served.calls as f64, now);
        if self.completed.slope(Self::OVER) > Self::RATE {
            let since = *self.above_since.get_or_insert(now);
            self.over_since = None;
            let due =
                self.told.map_or(since + Self::FOR + Self::GROUP_WAIT, |at| at + Self::REPEAT);
            if now >= due {
                self.told = Some(now);
                self.wanted = (self.wanted + Self::STEP).min(Self::MOST);
            }
        } else {
            self.above_since = None;
            if self.told.is_some() {
                let since = *self.over_since.get_or_insert(now);
                if now >= since + Self::GROUP_INTERVAL {
                    (self.told, self.over_since, self.wanted) = (None, None, 1);
                }
            }
        }
        self.wanted
    }
}

/// The rules of Kubernetes' horizontal autoscaler: as many instances as a ratio to what there are says, unless it is
/// within a tenth of 1; at most twice as many or four more within 15 s, at once; fewer only as many as were the most
/// wanted within a window.
#[derive(Debug, Clone)]
struct Horizontal {
    window: Duration,
    wanted: VecDeque<(Duration, u32)>,
}

impl Horizontal {
    const SYNC: Duration = Duration::from_secs(15);
    const TOLERANCE: f64 = 0.1;
    const STEP: u32 = 4;

    fn new(window: Duration) -> Self {
        Self { window, wanted: VecDeque::new() }
    }

    /// `share` is the metric over its target, for the instances that there are.
    fn desired(&mut self, share: f64, current: u32, most: u32, now: Duration) -> u32 {
        let current = current.max(1);
        let proposed = if (share - 1.0).abs() <= Self::TOLERANCE {
            current
        } else {
            (f64::from(current) * share).ceil() as u32
        };
        let proposed = proposed.clamp(1, most.min((2 * current).max(current + Self::STEP)));
        self.wanted.push_back((now, proposed));
        while self.wanted.front().is_some_and(|(at, _)| now.saturating_sub(*at) > self.window) {
            self.wanted.pop_front();
        }
        let largest = self.wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(proposed);
        if proposed < current { largest.min(current) } else { proposed }
    }
}

/// KEDA's scaler for Kafka with the horizontal autoscaler behind it: an instance for each `threshold` records of lag,
/// never more than partitions.
#[derive(Debug, Clone)]
pub struct Lag {
    name: &'static str,
    poll: Duration,
    horizontal: Horizontal,
}

impl Lag {
    const THRESHOLD: f64 = 10.0;
    const PARTITIONS: u32 = 8;

    /// As it comes: polled each 30 s, down after 300 s.
    pub fn shipped() -> Self {
        let (poll, window) = (Duration::from_secs(30), Duration::from_secs(300));
        Self { name: "KEDA", poll, horizontal: Horizontal::new(window) }
    }

    /// As quick as it can be set sensibly: polled each 5 s, down after 15 s.
    pub fn quick() -> Self {
        let (poll, window) = (Duration::from_secs(5), Duration::from_secs(15));
        Self { name: "KEDA, quick", poll, horizontal: Horizontal::new(window) }
    }
}

impl Scaler for Lag {
    fn name(&self) -> &'static str {
        self.name
    }

    fn period(&self) -> Duration {
        self.poll
    }

    fn desired(&mut self, view: &View, now: Duration) -> u32 {
        let lag = (view.waiting + view.in_flight) as f64;
        let lag = lag.min(f64::from(Self::PARTITIONS) * Self::THRESHOLD);
        // An average value: the metric over the threshold is the number of instances itself.
        let share = lag / Self::THRESHOLD / f64::from(view.instances.max(1));
        self.horizontal.desired(share, view.instances, Self::PARTITIONS, now)
    }
}

/// The horizontal autoscaler on CPU, for a function that is busy while it is called: 70 % of the last 15 s.
#[derive(Debug, Clone)]
pub struct Utilisation {
    busy: Counter,
    horizontal: Horizontal,
}

impl Utilisation {
    const TARGET: f64 = 0.7;
    const MOST: u32 = 20;

    /// As it comes: down after 300 s.
    pub fn shipped() -> Self {
        Self { busy: Counter::default(), horizontal: Horizontal::new(Duration::from_secs(300)) }
    }
}

impl Scaler for Utilisation {
    fn name(&self) -> &'static str {
        "HPA on CPU"
    }

    fn period(&self) -> Duration {
        Horizontal::SYNC
    }

    fn desired(&mut self, view: &View, now: Duration) -> u32 {
        self.busy.see(view.busy_seconds, now);
        let busy = self.busy.slope(Horizontal::SYNC) / f64::from(view.ready.max(1));
        self.horizontal.desired(busy / Self::TARGET, view.instances, Self::MOST, now)
    }
}

/// Knative's autoscaler, for instances of which each carries one call at a time (`containerConcurrency: 1`).
///
/// The concurrency, averaged over 60 s and over 6 s, is divided by 0.7. Where the quick one asks for twice what is ready,
/// it panics: the larger counts and the number never falls, until a minute has passed without.
#[derive(Debug, Clone, Default)]
pub struct Kpa {
    lag: Counter,
    panic_since: Option<Duration>,
    panic_most: u32,
}

impl Kpa {
    const TARGET: f64 = 0.7;
    const STABLE: Duration = Duration::from_secs(60);
    const PANIC: Duration = Duration::from_secs(6);
    const PANIC_THRESHOLD: f64 = 2.0;
    const MOST: u32 = 20;
}

impl Scaler for Kpa {
    fn name(&self) -> &'static str {
        "KPA"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn desired(&mut self, view: &View, now: Duration) -> u32 {
        self.lag.see(view.lag_seconds, now);
        let ready = view.ready.max(1);
        let least = ready / 2;
        let wanted = |window| ((self.lag.slope(window) / Self::TARGET).ceil() as u32).max(least);
        let (stable, panic) = (wanted(Self::STABLE), wanted(Self::PANIC));
        if f64::from(panic) / f64::from(ready) >= Self::PANIC_THRESHOLD {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| now.saturating_sub(since) > Self::STABLE) {
            (self.panic_since, self.panic_most) = (None, 0);
        }
        let wanted = if self.panic_since.is_some() {
            self.panic_most = self.panic_most.max(stable).max(panic).max(view.instances);
            self.panic_most
        } else {
            stable
        };
        wanted.clamp(1, Self::MOST)
    }
}

use proptest::prelude::*;

use super::*;
use crate::load::ServiceTimes;

const NOTHING: Load = Load {
    arrivals: 0,
    lag: 0,
    served: ServiceTimes { calls: 0, seconds: 0.0, seconds_squared: 0.0 },
    forwarded: 0,
    instances: 0,
    ready: 0,
    concurrency: 1,
    cold_start: Duration::from_millis(50),
};

fn policy(max_scale: u32) -> Policy {
    Policy { max_scale, ..Policy::default() }
}

/// A function that records come to at a steady rate, and whose instances are there at once.
struct Function {
    scaler: Autoscaler,
    load: Load,
    now: Duration,
    arrived: f64,
    service: f64,
    /// Calls that the instances could have ended, beyond whole ones.
    begun: f64,
}

impl Function {
    fn new(policy: Policy, service_ms: u64) -> Self {
        let scaler = Autoscaler::new(policy).unwrap();
        let service = Duration::from_millis(service_ms).as_secs_f64();
        Self { scaler, load: NOTHING, now: Duration::ZERO, arrived: 0.0, service, begun: 0.0 }
    }

    /// Looks each quarter of a second, for so many seconds; the decisions that changed something.
    fn go(&mut self, seconds: u32, rate: f64) -> Vec<Decision> {
        let mut actions = Vec::new();
        for _ in 0..seconds * 4 {
            let decision = self.scaler.decide(&self.load, self.now);
            let load = &mut self.load;
            assert_eq!(decision.from, load.instances);
            (load.instances, load.ready) = (decision.to, decision.to);
            if decision.is_action() {
                actions.push(decision);
            }
            self.now += Duration::from_millis(250);
            self.arrived += rate / 4.0;
            let arrived = self.arrived as u64 - load.arrivals;
            load.arrivals += arrived;
            let servers = load.instances * load.concurrency;
            let can = self.begun + f64::from(servers) * 0.25 / self.service;
            let served = (load.lag + arrived).min(can as u64);
            self.begun = (can - served as f64).min(1.0);
            load.lag = load.lag + arrived - served;
            for _ in 0..served {
                load.served.add(Duration::from_secs_f64(self.service));
            }
        }
        actions
    }
}

#[test]
fn an_idle_function_goes_to_zero_and_its_next_record_starts_one() {
    let mut function = Function::new(policy(4), 100);
    function.go(30, 2.0);
    assert_eq!(function.load.instances, 1);
    let actions = function.go(100, 0.0);
    let [Decision { to: 0, reason: Reason::Idle { over }, .. }] = actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(over, Policy::default().idle);
    function.load.lag = 1;
    let decision = function.scaler.decide(&function.load, function.now);
    assert_eq!((decision.to, decision.reason), (1, Reason::Wake { waiting: 1 }));
}

#[test]
fn an_instance_that_starts_slowly_is_kept() {
    let mut function = Function::new(policy(4), 100);
    function.load.cold_start = Duration::from_secs(5);
    function.go(200, 2.0);
    function.go(200, 0.0);
    let decision = function.scaler.decide(&function.load, function.now);
    let cold_start = function.load.cold_start;
    assert_eq!((decision.to, decision.reason), (1, Reason::KeptWarm { cold_start }));
}

#[test]
fn a_burst_at_zero_instances_scales_past_one() {
    let mut scaler = Autoscaler::new(policy(10)).unwrap();
    assert_eq!(scaler.decide(&NOTHING, Duration::ZERO).to, 0);
    let load = Load { arrivals: 200, lag: 200, ..NOTHING };
    let decision = scaler.decide(&load, Duration::from_secs(1));
    // 200 × 0.1 s within 5 s, and as many on their way as have come.
    assert!(decision.to >= 4, "{decision}");
    assert!(scaler.decide(&load, Duration::from_secs(1)).to <= 10);
}

#[test]
fn instances_that_carry_ten_calls_each_are_a_tenth_as_many() {
    let mut one = Function::new(policy(100), 100);
    one.go(60, 300.0);
    let mut ten = Function::new(policy(100), 100);
    ten.load.concurrency = 10;
    ten.go(60, 300.0);
    assert!((30..=45).contains(&one.load.instances), "{}", one.load.instances);
    assert_eq!(ten.load.instances, one.load.instances.div_ceil(10));
}

#[test]
fn fewer_come_only_after_the_window_and_more_at_once() {
    let mut function = Function::new(policy(20), 100);
    function.go(120, 50.0);
    let busy = function.load.instances;
    assert!((6..=7).contains(&busy), "{busy}");
    assert_eq!(function.go(55, 5.0), []);
    let actions = function.go(60, 5.0);
    assert!(matches!(actions[0].reason, Reason::Spare { .. }), "{actions:?}");
    let quiet = function.load.instances;
    let actions = function.go(5, 50.0);
    assert!(quiet < busy && function.load.instances > quiet, "{actions:?}");
}

#[test]
fn what_is_outside_of_the_bounds_comes_inside() {
    let mut scaler =
        Autoscaler::new(Policy { min_scale: 2, max_scale: 5, ..Policy::default() }).unwrap();
    for (instances, to) in [(0, 2), (9, 5)] {
        let decision = scaler.decide(&Load { instances, ..NOTHING }, Duration::ZERO);
        let reason = Reason::Bounds { min_scale: 2, max_scale: 5 };
        assert_eq!((decision.to, decision.reason), (to, reason));
    }
}

#[test]
fn more_than_there_may_be_is_said() {
    let mut function = Function::new(policy(2), 100);
    function.go(30, 50.0);
    let decision = function.scaler.decide(&function.load, function.now);
    assert_eq!(decision.to, 2);
    let text = decision.to_string();
    let expected = "s: 2: arrivals 50.0/s x 100 ms with ";
    assert!(matches!(decision.reason, Reason::AtMax { .. }) && text.contains(expected), "{text}");
}

#[test]
fn a_reason_reads_as_a_sentence_with_its_figures() {
    let demand = Demand { rate: 13.34, service: 0.15, basis: Basis::Counted };
    let wait = Duration::from_millis(500);
    for (reason, expected) in [
        (
            Reason::Late { demand, share: 0.053, wait },
            "arrivals 13.3/s x 150 ms leave 5.3 % of the records waiting longer than 0.5 s",
        ),
        (
            Reason::Busy {
                demand: Demand { service: 0.000_51, basis: Basis::FedForward, ..demand },
                utilisation: 0.93,
            },
            "arrivals foreseen from the tier below 13.3/s x 0.510 ms keep the instances 93 % busy",
        ),
        (
            Reason::Backlog { waiting: 9, for_s: 0.675, catch_up: Duration::from_secs(5) },
            "9 records wait up to 0.68 s; they shall be worked off within 5 s",
        ),
    ] {
        assert_eq!(reason.to_string(), expected);
    }
    let reason = Reason::Spare { demand, over: Duration::from_secs(60) };
    let decision = Decision { at: Duration::from_millis(132_520), from: 5, to: 4, reason };
    let expected = "132.5 s: 5 to 4: arrivals 13.3/s x 150 ms; fewer were enough for 60 s";
    assert_eq!(decision.to_string(), expected);
}

fn situation(rate: f64, service: f64, variability: f64, waiting: u64) -> Situation {
    let flow = Flow { rate, service, variability };
    Situation { flow, basis: Basis::Counted, is_judged: true, waiting, concurrency: 1 }
}

prop_compose! {
    /// Anything that counters may say, also nonsense.
    fn any_load()(
        (arrivals, lag) in (prop_oneof![0u64..1000, any::<u64>()], prop_oneof![0u64..50, any::<u64>()]),
        (calls, seconds, seconds_squared) in (any::<u64>(), any::<f64>(), any::<f64>()),
        (instances, ready, concurrency) in (0u32..20, any::<u32>(), any::<u32>()),
        cold_ms in 0u64..100_000,
    ) -> Load {
        Load {
            arrivals, lag, served: ServiceTimes { calls, seconds, seconds_squared }, forwarded: calls, instances,
            ready, concurrency, cold_start: Duration::from_millis(cold_ms),
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_counted_the_scale_is_within_its_bounds_and_its_reason_has_numbers(
        loads in prop::collection::vec((any_load(), 0u64..100_000, any::<f64>()), 1..40),
        (min_scale, more) in (0u32..5, 1u32..10),
    ) {
        let policy = Policy { min_scale, max_scale: min_scale + more, ..Policy::default() };
        let (mut scaler, mut now) = (Autoscaler::new(policy).unwrap(), Duration::ZERO);
        for (load, passed, fed) in loads {
            now += Duration::from_millis(passed);
            let decision = scaler.decide_fed(&load, fed, now);
            prop_assert!((min_scale..=policy.max_scale).contains(&decision.to));
            prop_assert!(!decision.to_string().contains("NaN"), "{}", decision);
        }
    }

    #[test]
    fn what_is_needed_never_falls_when_anything_rises(
        (rate, service, variability) in (0.0..500.0f64, 0.001..2.0f64, 0.0..3.0f64),
        (more_rate, more_service, more_variability) in (0.0..100.0f64, 0.0..1.0f64, 0.0..2.0f64),
        (waiting, more_waiting, instances) in (0u64..500, 0u64..500, 1u32..40),
    ) {
        let policy = policy(40);
        let less = situation(rate, service, variability, waiting);
        for more in [
            situation(rate + more_rate, service, variability, waiting),
            situation(rate, service + more_service, variability, waiting),
            situation(rate, service, variability + more_variability, waiting),
            situation(rate, service, variability, waiting + more_waiting),
        ] {
            prop_assert!(less.needed(&policy) <= more.needed(&policy));
            let is_short = |one: &Situation| one.shortage(&policy, instances).is_some();
            prop_assert!(!is_short(&less) || is_short(&more));
        }
    }

    #[test]
    fn more_that_waits_never_gives_fewer(
        (rate, seconds) in (0.0..50.0f64, 1u32..200),
        (lag, more) in (0u64..200, 0u64..200),
    ) {
        let mut function = Function::new(policy(20), 100);
        function.go(seconds, rate);
        let to = |lag| {
            function.scaler.clone().decide(&Load { lag, ..function.load }, function.now).to
        };
        prop_assert!(to(lag) <= to(lag + more));
    }

    #[test]
    fn a_constant_load_is_left_alone(rate in 0.2..200.0f64, service_ms in 1u64..400) {
        let mut function = Function::new(policy(100), service_ms);
        // The start, and one window in which what that took is given back.
        function.go(150, rate);
        let settled = function.go(600, rate);
        prop_assert!(settled.is_empty(), "{settled:?}");
        prop_assert!(function.load.lag <= 1 + (rate * function.scaler.policy().wait.as_secs_f64()) as u64);
    }
}

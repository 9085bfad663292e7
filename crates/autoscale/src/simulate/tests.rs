//! The targets, and the order of what others reach. `--nocapture` shows every figure.

use std::time::Duration;

use super::rivals::{AlertRule, Fixed, Kpa, Lag, Utilisation};
use super::*;
use crate::policy::Policy;

const SEEDS: std::ops::Range<u64> = 0..20;
const POD: Duration = Duration::from_secs(5);

/// Of all seeds: the value in the middle, and the worst.
#[derive(Debug)]
struct Of {
    median: f64,
    worst: f64,
}

#[derive(Debug)]
struct Figures {
    p95: Of,
    cost: Of,
    actions: Of,
}

fn ours() -> Ours {
    let policy = Policy { min_scale: 1, max_scale: 20, ..Policy::default() };
    Ours::new(policy, Duration::from_millis(250)).unwrap()
}

fn one_in_flight() -> Fixed {
    Fixed { instances: 1, in_flight: 1 }
}

fn figures<S: Scaler>(scenario: Scenario, make: impl Fn() -> S) -> Figures {
    let outcomes: Vec<Outcome> =
        SEEDS.map(|seed| run(&Scenario { seed, ..scenario }, &mut make())).collect();
    assert!(outcomes.iter().all(|outcome| outcome.unanswered == 0));
    let of = |value: &dyn Fn(&Outcome) -> f64| {
        let mut values: Vec<f64> = outcomes.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        Of { median: values[values.len() / 2], worst: values[values.len() - 1] }
    };
    let figures = Figures {
        p95: of(&|outcome| outcome.latency(0.95)),
        cost: of(&Outcome::cost),
        actions: of(&|outcome| outcome.actions.len() as f64),
    };
    println!("{:<16}{:?}: {figures:?}", make().name(), scenario.shape);
    figures
}

#[test]
fn the_papers_ramp_is_followed_for_little_more_than_it_takes() {
    for devices in [5, 10] {
        let Figures { p95, cost, actions } = figures(Scenario::ramp(devices), ours);
        assert!(p95.worst <= 0.75, "{devices} devices: p95 {p95:?} s");
        assert!(cost.worst <= 1.35, "{devices} devices: {cost:?} x ideal");
        assert!(actions.worst <= 8.0, "{devices} devices: {actions:?} actions");
    }
}

#[test]
fn the_ramp_is_followed_too_when_calls_vary_and_devices_are_late() {
    for devices in [5, 10] {
        let varied = figures(Scenario { service_variation: 0.3, ..Scenario::ramp(devices) }, ours);
        assert!(varied.p95.worst <= 0.75 && varied.cost.worst <= 1.35, "{varied:?}");
        // Devices that are late send less a second, for which as many instances are needed and less busy.
        let shape = Shape::Ramp { devices, overhead: Duration::from_millis(62) };
        let late = figures(Scenario { shape, ..Scenario::ramp(devices) }, ours);
        assert!(late.p95.worst <= 0.75 && late.cost.worst <= 1.45, "{late:?}");
    }
}

#[test]
fn bursts_are_answered_in_time() {
    let Figures { p95, actions, .. } = figures(Scenario::bursts(), ours);
    assert!(p95.worst <= 0.6, "p95 {p95:?} s");
    assert!(actions.worst <= 12.0, "{actions:?} actions");
}

/// Chance can still do it: of 300 further seeds none took more than 6 actions with calls of 150 ms, and 5 took 7 with
/// calls of 300 ms.
#[test]
fn a_steady_load_is_left_alone_for_most_of_a_quarter_of_an_hour() {
    for service_ms in [150, 300] {
        let Figures { actions, p95, .. } =
            figures(Scenario::steady(Duration::from_millis(service_ms)), ours);
        assert!(actions.worst <= 6.0, "{service_ms} ms: {actions:?} actions");
        assert!(p95.worst <= 0.75, "{service_ms} ms: p95 {p95:?} s");
    }
}

/// Pods take seconds: the policy's targets are for instances that don't, but it holds its own there.
#[test]
fn slow_starts_cost_latency_and_not_stability() {
    let pods = |scenario| figures(Scenario { cold_start: POD, ..scenario }, ours);
    for scenario in [Scenario::ramp(5), Scenario::ramp(10), Scenario::bursts()] {
        let Figures { p95, cost, actions } = pods(scenario);
        assert!(p95.worst <= 2.0 && cost.worst <= 3.5 && actions.worst <= 12.0);
    }
}

/// The published systems: 5 devices 113 s at 1.1 × ideal, 10 devices 385 s, in the Python simulation of the policy's
/// source; each figure here is of that order.
#[test]
fn one_call_in_flight_falls_minutes_behind() {
    let five = figures(Scenario::ramp(5), one_in_flight);
    assert!((90.0..130.0).contains(&five.p95.median) && five.cost.median < 1.15, "{five:?}");
    let ten = figures(Scenario::ramp(10), one_in_flight);
    assert!((330.0..430.0).contains(&ten.p95.median), "{ten:?}");
}

/// Its signal is completed calls: a function that can't do five a second never scales.
#[test]
fn the_alert_rule_is_late_on_the_ramp_and_never_there_in_bursts() {
    let five = figures(Scenario::ramp(5), AlertRule::default);
    assert!((1.5..5.0).contains(&five.p95.median), "{five:?}");
    let ten = figures(Scenario::ramp(10), AlertRule::default);
    assert!((3.0..8.0).contains(&ten.p95.median), "{ten:?}");
    let slow = figures(Scenario::bursts(), AlertRule::default);
    assert!(slow.actions.worst < 1.0 && slow.p95.median > 300.0, "{slow:?}");
}

#[test]
fn lag_comes_too_late_as_a_signal() {
    let five = figures(Scenario::ramp(5), Lag::shipped);
    assert!((2.0..12.0).contains(&five.p95.median) && five.cost.median > 1.5, "{five:?}");
    let slow = figures(Scenario::bursts(), Lag::shipped);
    assert!((8.0..20.0).contains(&slow.p95.median), "{slow:?}");
    let flapping = figures(Scenario::steady(Duration::from_millis(150)), Lag::quick);
    assert!(flapping.actions.median > 30.0, "{flapping:?}");
}

#[test]
fn concurrency_is_quick_and_costs_twice_as_much() {
    let pods = |scenario| figures(Scenario { cold_start: POD, ..scenario }, Kpa::default);
    let ten = pods(Scenario::ramp(10));
    assert!(ten.p95.median < 1.0 && ten.cost.median > 2.5, "{ten:?}");
    let slow = pods(Scenario::bursts());
    assert!((1.0..3.0).contains(&slow.p95.median) && slow.cost.median > 5.0, "{slow:?}");
    let flapping = pods(Scenario::steady(Duration::from_millis(150)));
    assert!(flapping.actions.median > 20.0, "{flapping:?}");
}

#[test]
fn busy_instances_are_seen_each_quarter_of_a_minute() {
    let ten = figures(Scenario::ramp(10), Utilisation::shipped);
    assert!((1.0..10.0).contains(&ten.p95.median), "{ten:?}");
}

#[test]
fn a_run_is_the_same_each_time_and_adds_up() {
    let scenario = Scenario { service_variation: 0.5, seed: 7, ..Scenario::bursts() };
    let outcome = run(&scenario, &mut ours());
    assert_eq!(outcome, run(&scenario, &mut ours()));
    assert_ne!(outcome, run(&Scenario { seed: 8, ..scenario }, &mut ours()));
    let arrived: u32 = outcome.course.iter().map(|sample| sample.arrivals).sum();
    assert_eq!(arrived as usize, outcome.latencies.len());
    let instances: f64 = outcome.course.iter().map(|sample| sample.instances).sum();
    assert!((instances - outcome.replica_seconds).abs() < 1e-6 * instances);
    assert!(outcome.replica_seconds > outcome.ideal_seconds);
    let shortest = outcome.latencies.first().unwrap();
    assert!(*shortest > 0.0 && outcome.latency(1.0) >= outcome.latency(0.5));
}

#[test]
fn every_decision_has_its_reason() {
    let mut ours = ours();
    let outcome = run(&Scenario { seed: 1, ..Scenario::bursts() }, &mut ours);
    let decided: Vec<_> = ours.history().filter(|decision| decision.is_action()).collect();
    assert_eq!(decided.len(), outcome.actions.len());
    for (decision, action) in decided.iter().zip(&outcome.actions) {
        assert_eq!((decision.from, decision.to), (action.from, action.to), "{decision}");
    }
}

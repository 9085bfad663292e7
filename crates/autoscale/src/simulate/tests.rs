//! The targets, and the order of what others reach.

use std::time::Duration;

use super::*;
use crate::policy::Policy;

const SEEDS: std::ops::Range<u64> = 0..20;
const LOCAL: Duration = Duration::from_millis(50);
const POD: Duration = Duration::from_secs(5);

fn ramp(devices: u32) -> Scenario {
    let shape = Shape::Ramp { devices, overhead: Duration::ZERO };
    scenario(shape, 150)
}

fn bursts() -> Scenario {
    let (turn, length) = (Duration::from_secs(40), Duration::from_secs(600));
    scenario(Shape::Bursts { low: 2.0, high: 12.0, turn, length }, 300)
}

fn steady(service_ms: u64) -> Scenario {
    scenario(Shape::Steady { rate: 8.0, length: Duration::from_secs(900) }, service_ms)
}

fn scenario(shape: Shape, service_ms: u64) -> Scenario {
    let service = Duration::from_millis(service_ms);
    Scenario { shape, service, service_variation: 0.0, cold_start: LOCAL, seed: 0 }
}

fn ours() -> Ours {
    let policy = Policy { min_scale: 1, max_scale: 20, ..Policy::default() };
    Ours::new(policy, Duration::from_millis(250)).unwrap()
}

/// Median and worst.
fn spread(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() - 1])
}

fn show<S: Scaler>(name: &str, scenario: Scenario, make: impl Fn() -> S) {
    let outcomes: Vec<Outcome> =
        SEEDS.map(|seed| run(&Scenario { seed, ..scenario }, &mut make())).collect();
    let of = |value: &dyn Fn(&Outcome) -> f64| spread(outcomes.iter().map(value).collect());
    let p50 = of(&|o| o.latency(0.5));
    let p95 = of(&|o| o.latency(0.95));
    let p99 = of(&|o| o.latency(0.99));
    let cost = of(&Outcome::cost);
    let rs = of(&|o| o.replica_seconds);
    let actions = of(&|o| o.actions.len() as f64);
    eprintln!(
        "{name:<10}{:<16} p50 {:>7.2}{:>8.2}  p95 {:>7.2}{:>8.2}  p99 {:>7.2}{:>8.2}  rs {:>6.0}{:>7.0} cost {:>5.2}{:>6.2}  actions {:>3}{:>4}",
        make().name(), p50.0, p50.1, p95.0, p95.1, p99.0, p99.1, rs.0, rs.1, cost.0, cost.1, actions.0, actions.1
    );
}

#[test]
fn table() {
    for (name, s) in [
        ("ramp5", ramp(5)), ("ramp10", ramp(10)),
        ("ramp5o", Scenario{shape: Shape::Ramp{devices:5, overhead: Duration::from_millis(62)}, ..ramp(5)}),
        ("ramp10o", Scenario{shape: Shape::Ramp{devices:10, overhead: Duration::from_millis(62)}, ..ramp(10)}),
        ("ramp5v", Scenario{service_variation: 0.3, ..ramp(5)}), ("ramp10v", Scenario{service_variation:0.3, ..ramp(10)}),
        ("ramp5c", Scenario{cold_start: POD, ..ramp(5)}), ("ramp10c", Scenario{cold_start:POD, ..ramp(10)}),
        ("bursts", bursts()), ("bursts v", Scenario{service_variation:0.5, ..bursts()}), ("bursts c", Scenario{cold_start:POD, ..bursts()}),
        ("st 150", steady(150)), ("st 300", steady(300)), ("st 300v", Scenario{service_variation:0.5, ..steady(300)}),("st 30", steady(30)), ("st 1000", steady(1000)),
    ] {
        show(name, s, ours);
        if std::env::var("RIVALS").is_err() { continue; }
        show(name, s, || Fixed { instances: 1, in_flight: 1 });
        show(name, s, AlertRule::default);
        show(name, s, Lag::shipped);
        show(name, s, Lag::quick);
        show(name, s, Utilisation::shipped);
        show(name, s, Kpa::default);
    }
}

#[test]
fn trace() {
    let Ok(which) = std::env::var("TRACE") else { return };
    let s = match which.as_str() { "ramp5" => ramp(5), "ramp10" => ramp(10), "bursts" => bursts(), _ => steady(300) };
    let mut o = ours();
    run(&Scenario { seed: std::env::var("SEED").map_or(0, |s| s.parse().unwrap()), ..s }, &mut o);
    for d in o.history() { if d.is_action() || std::env::var("ALL").is_ok() { eprintln!("{d}"); } }
}

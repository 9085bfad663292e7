//! What targets are decided together, and whether estimates from offsets alone lead anywhere: the loop is closed over
//! consumers that take time and commit seldom.

use autoscale::{Autoscaler, Load, Policy};
use kafka::admin::{Extent, Standing};

use super::backlog::Backlog;
use super::service::Service;
use super::*;

const PARTITIONS: usize = 8;
const STEP: Duration = Duration::from_millis(100);
const COLD_START: Duration = Duration::from_secs(3);

/// Consumers in virtual time: each has its share of the partitions and handles one record at a time.
#[derive(Debug)]
struct Consumers {
    service_s: f64,
    commit: Duration,
    end: [f64; PARTITIONS],
    done: [f64; PARTITIONS],
    committed: [f64; PARTITIONS],
    ready: u32,
    starting: Option<(Duration, u32)>,
}

impl Consumers {
    fn pass(&mut self, rate: f64, now: Duration) {
        if let Some((_, instances)) = self.starting.filter(|(at, _)| *at <= now) {
            // Who leaves and who stays commits what is done, and the partitions are shared out anew.
            (self.ready, self.starting, self.committed) = (instances, None, self.done);
        }
        let step_s = STEP.as_secs_f64();
        for end in &mut self.end {
            *end += rate * step_s / PARTITIONS as f64;
        }
        for instance in 0..self.ready as usize {
            let mut records = step_s / self.service_s;
            let own = || (instance..PARTITIONS).step_by(self.ready as usize);
            // What one partition leaves over goes to the others.
            for _ in 0..PARTITIONS {
                let waiting = own().filter(|&at| self.done[at] < self.end[at]).count();
                let each = records / waiting.max(1) as f64;
                for at in own() {
                    let taken = each.min(self.end[at] - self.done[at]);
                    self.done[at] += taken;
                    records -= taken;
                }
            }
            // Each commits in its own time, and none just before a look.
            let phase = Duration::from_millis(300 + 700 * instance as u64);
            if (now + phase).as_millis().is_multiple_of(self.commit.as_millis()) {
                own().for_each(|at| self.committed[at] = self.done[at].floor());
            }
        }
    }

    fn standings(&self) -> Vec<Standing> {
        let standing = |at: usize| Standing {
            extent: Extent { partition: at as i32, start: 0, end: self.end[at].floor() as i64 },
            committed: (self.committed[at] > 0.0).then(|| self.committed[at] as i64),
        };
        (0..PARTITIONS).map(standing).collect()
    }
}

/// Records of `service_s` arrive at `rate` for twenty minutes. Returns how many instances there were each second.
fn instances(rate: f64, service_s: f64, expected: Duration) -> Vec<u32> {
    let commit = Duration::from_secs(5);
    let policy =
        Policy { min_scale: 1, max_scale: 20, expected_service: expected, ..Policy::default() };
    let mut autoscaler = Autoscaler::new(policy).unwrap();
    let (mut backlog, mut service) = (Backlog::new(commit), Service::new(commit));
    let mut consumers = Consumers {
        service_s,
        commit,
        end: [0.0; PARTITIONS],
        done: [0.0; PARTITIONS],
        committed: [0.0; PARTITIONS],
        ready: 1,
        starting: None,
    };
    let mut seen = Vec::new();
    for step in 1..12_000 {
        let now = STEP * step;
        consumers.pass(rate, now);
        if !step.is_multiple_of(10) {
            continue;
        }
        let counts = backlog.see(&consumers.standings(), now);
        let useful = consumers.ready.min(counts.partitions);
        let served = service.see(&counts, useful, now);
        let wanted = consumers.starting.map_or(consumers.ready, |(_, instances)| instances);
        let load = Load {
            arrivals: counts.arrivals,
            lag: counts.waiting.max(counts.lag.min(1)),
            served: served.times,
            forwarded: 0,
            instances: wanted,
            ready: consumers.ready,
            concurrency: 1,
            cold_start: COLD_START,
        };
        let decision = autoscaler.decide(&load, now);
        let to = decision.to.min(counts.partitions).max(1);
        if to != wanted {
            consumers.starting = Some((now + COLD_START, to));
        }
        seen.push(consumers.ready);
    }
    seen
}

/// A consumer that commits each 5 s has hundreds of records uncommitted all the time, and nothing to do.
#[test]
fn commits_that_are_rare_are_no_backlog() {
    let seen = instances(100.0, 0.001, Duration::from_millis(2));
    assert!(seen.iter().all(|&instances| instances == 1), "{:?}", seen.iter().max());
}

/// 4 instances are 75 % busy. What was expected was a tenth of what a record takes.
#[test]
fn a_backlog_shows_what_a_record_takes() {
    let seen = instances(30.0, 0.1, Duration::from_millis(10));
    let settled = &seen[seen.len() / 2..];
    assert!(settled.iter().all(|instances| (4..=5).contains(instances)), "{settled:?}");
    let most = seen.iter().max().unwrap();
    assert!(*most <= 8, "{most}");
}

#[test]
fn targets_that_feed_each_other_are_decided_together() {
    let one = "[[target]]\ntopic = \"t\"\ngroup = \"g\"\ngateway = \"http://g\"\n";
    let table = |name: &str, feeds| format!("{one}function = \"{name}\"\nfeeds_next = {feeds}\n");
    let text = [table("a", false), table("b", true), table("c", true), table("d", false)];
    let targets = file::parse(&text.concat(), Path::new(""), "b:9092").unwrap();
    let chains = split_into_chains(targets);
    let names: Vec<Vec<_>> =
        chains.iter().map(|chain| chain.iter().map(|t| t.name.as_str()).collect()).collect();
    assert_eq!(names, [vec!["a"], vec!["b", "c", "d"]]);
}

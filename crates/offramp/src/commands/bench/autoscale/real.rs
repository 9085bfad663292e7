//! The autoscaler as it works: real calls to real processes, in real time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use autoscale::simulate::{Action, Outcome, Random, Sample, Scenario};
use bytes::Bytes;
use runtime::functions::{Drivers, Functions};
use runtime::process::Programs;
use runtime::scaler::{self, Scaler};
use runtime::{Deployment, Request, SCALE_LABELS, Secrets};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How often instances are counted.
const LOOK: Duration = Duration::from_millis(50);
const NAME: &str = "wait";

/// Runs a scenario against a function that waits, an instance of which is a process that takes a call at a time.
pub(super) async fn run(scenario: &Scenario, max_scale: u32) -> anyhow::Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let functions = functions(dir.path(), scenario, max_scale)?;
    let function = functions.get(NAME).context("the function is deployed")?;
    function.pool.ready(1, 1, Duration::from_secs(30)).await.map_err(anyhow::Error::msg)?;
    let arrivals = scenario.shape.arrivals(&mut Random::new(scenario.seed));
    let records = arrivals.len();
    let started = Instant::now();
    let (tell, mut answered) = mpsc::channel(1024);
    for at in arrivals.clone() {
        let (functions, tell) = (functions.clone(), tell.clone());
        tokio::spawn(async move {
            sleep_until(started + Duration::from_secs_f64(at)).await;
            let mut request = Request::new(Bytes::from_static(b"record"));
            *request.method_mut() = hyper::Method::POST;
            let called = functions.call(NAME, request).await;
            let is_answered =
                called.is_some_and(|called| called.is_ok_and(|r| r.status().is_success()));
            // Whoever counts has given up.
            let _ = tell.send((at, is_answered)).await;
        });
    }
    drop(tell);
    let mut course = Course::new(&arrivals);
    let mut scaler = Scaler::default();
    let (mut looks, mut ticks) = (interval(LOOK), interval(scaler::TICK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut done = 0;
    while done < records {
        tokio::select! {
            told = answered.recv() => {
                let (arrived, is_answered) = told.context("a call is gone")?;
                course.answered(arrived, started.elapsed().as_secs_f64(), is_answered);
                done += 1;
            }
            _ = looks.tick() => {
                let instances = function.pool.status().instances.len();
                course.instances(started.elapsed().as_secs_f64(), instances as f64);
            }
            _ = ticks.tick() => {
                scaler.tick(&functions, started.elapsed());
                course.wanted(started.elapsed().as_secs_f64(), function.pool.status().wanted);
            }
        }
    }
    course.outcome.ideal_seconds = records as f64 * scenario.service.as_secs_f64();
    functions.close().await;
    ensure!(course.outcome.unanswered == 0, "{} calls failed", course.outcome.unanswered);
    Ok(course.finish(started.elapsed().as_secs_f64()))
}

fn functions(
    dir: &std::path::Path,
    scenario: &Scenario,
    max_scale: u32,
) -> anyhow::Result<Functions> {
    let program = std::env::current_exe().context("where this program is")?;
    let secrets = Secrets::open(dir.join("secrets"))?;
    let programs = Programs::new(dir.to_owned(), secrets, dir.join("run"))?;
    let path = program.to_str().context("the path of this program is not UTF-8")?;
    ensure!(!path.contains(char::is_whitespace), "`{path}` has spaces in it, expected none");
    programs.configured(program.clone());
    let drivers = Drivers { built_in: [].into(), program: Arc::new(programs) };
    let functions = Functions::open(dir.join("state"), drivers)?;
    let ms = scenario.service.as_millis();
    functions.fix(Deployment {
        service: NAME.to_owned(),
        image: NAME.to_owned(),
        env_process: format!("{path} function wait --ms {ms}"),
        env_vars: [("max_inflight".to_owned(), "1".to_owned())].into(),
        labels: [(format!("{SCALE_LABELS}.max"), max_scale.to_string())].into(),
        ..Deployment::default()
    })?;
    Ok(functions)
}

/// How a run goes on.
struct Course {
    outcome: Outcome,
    /// When instances were counted last, and how many they were.
    last: (f64, f64),
    wanted: u32,
}

impl Course {
    fn new(arrivals: &[f64]) -> Self {
        let outcome =
            Outcome { latencies: Vec::with_capacity(arrivals.len()), ..Outcome::default() };
        let mut this = Self { outcome, last: (0.0, 1.0), wanted: 1 };
        for at in arrivals {
            this.second(*at).arrivals += 1;
        }
        this
    }

    fn second(&mut self, at: f64) -> &mut Sample {
        let (course, index) = (&mut self.outcome.course, at as usize);
        while course.len() <= index {
            course.push(Sample { at_s: course.len() as f64, ..Sample::default() });
        }
        &mut course[index]
    }

    fn answered(&mut self, arrived: f64, now: f64, is_answered: bool) {
        if is_answered {
            self.outcome.latencies.push(now - arrived);
        } else {
            self.outcome.unanswered += 1;
        }
        let second = self.second(arrived);
        second.latency_s = second.latency_s.max(now - arrived);
    }

    fn instances(&mut self, now: f64, instances: f64) {
        let (then, before) = self.last;
        self.outcome.replica_seconds += before * (now - then);
        let middle = f64::midpoint(then, now);
        self.second(middle).instances += before * (now - then);
        self.last = (now, instances);
    }

    fn wanted(&mut self, now: f64, wanted: u32) {
        if wanted != self.wanted {
            let action = Action { at_s: now, from: self.wanted, to: wanted };
            self.outcome.actions.push(action);
            self.wanted = wanted;
        }
    }

    fn finish(mut self, now: f64) -> Outcome {
        let instances = self.last.1;
        self.instances(now, instances);
        self.outcome.length_s = now;
        self.outcome.latencies.sort_by(f64::total_cmp);
        self.outcome
    }
}

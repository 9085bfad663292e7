//! Reports of generated runs, with every chart there is.

use bench::report::{charts, digest, files, terminal};
use bench::run::{
    About, BUSY_CORES, Instances, Outcome, Remark, Run, Struck, Trial, Usage, Weight, check, file,
};
use bench::stats::Summary;

/// A run of two tiers whose latencies are `ms` and twice that, but for every fiftieth.
fn run(name: &str, ms: f64, trials: usize) -> Run {
    let record = |at: usize| {
        let due_s = at as f64 * 0.05;
        let tier = usize::from(at % 10 == 9);
        let slow = if at % 50 == 49 { 8.0 } else { 1.0 };
        let latency_s = ms * slow * (tier as f64 + 1.0) * (1.0 + (at % 7) as f64 / 20.0) / 1e3;
        let is_lost = at == 123;
        Outcome {
            due_s: Some(due_s),
            arrived_s: (!is_lost).then_some(due_s + latency_s),
            latency_s: (!is_lost).then_some(latency_s),
            tier: (!is_lost).then_some(tier),
            correct: (!is_lost).then_some(at % 25 != 3),
            warm_up: at < 10,
        }
    };
    let trial = |nth: usize| Trial {
        records: (0..400).map(record).collect(),
        duplicated: 2,
        send_error_ms: Summary::of(vec![0.05, 0.1, 2.5]),
        usage: (0..40)
            .map(|at| Usage {
                at_s: f64::from(at) * 0.5,
                name: "edge <1>".to_owned(),
                cpu_s: f64::from(at) * (0.1 + nth as f64 / 100.0),
                memory_mib: 20.0 + f64::from(at) / 10.0,
            })
            .collect(),
        instances: (0..40)
            .map(|at| Instances {
                at_s: f64::from(at) * 0.5,
                name: "edge".to_owned(),
                instances: f64::from(at / 10),
            })
            .collect(),
        faults: vec![Struck { at_s: 5.0, what: "kill edge".to_owned() }],
        ..Trial::default()
    };
    let about = About {
        system: "generated".to_owned(),
        arguments: ["bench", "run"].map(str::to_owned).to_vec(),
        stages: vec![(0.0, 20.0), (10.0, 20.0)],
        late_ms: 1000.0,
        ..About::default()
    };
    let tiers = vec!["edge".to_owned(), "cloud".to_owned()];
    let trials = (0..trials).map(trial).collect();
    let mut run = Run { name: name.to_owned(), tiers, about, trials, remarks: Vec::new() };
    run.remarks = check::ours(&run);
    run
}

#[test]
fn a_report_is_a_page_charts_and_figures() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [run("slow & <old>", 20.0, 3), run("quick", 5.0, 3)];
    let written = files::write("A & B", &runs, dir.path()).unwrap();
    let keys: Vec<&str> = charts::all(&runs).iter().map(|chart| chart.key).collect();
    let expected = [
        "latency-boxes",
        "latency-over-time",
        "latency-distribution",
        "exit-shares",
        "accuracy",
        "load-over-time",
        "cost",
        "usage-over-time",
        "instances-over-time",
    ];
    assert_eq!(keys, expected);
    assert_eq!(written.len(), 1 + 2 * keys.len() + 2);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let page = read("index.html");
    assert!(page.contains("<h1>A &amp; B</h1>") && page.contains("slow &amp; &lt;old&gt;"));
    // Nothing is fetched: no address but the name of SVG's namespace, no source and no style elsewhere.
    let addresses = page.matches("http").count();
    assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count(), "{page}");
    let page = page.replace("url(#", "");
    for outside in ["src=", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Names in the data do not end the script.
    let data = page.split("id=\"figures\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data.as_array().unwrap().len(), keys.len());
    for key in keys {
        let svg = read(&format!("{key}.svg"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{key}");
        let png = std::fs::read(dir.path().join(format!("{key}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }
    let csv = read("figures.csv");
    assert_eq!(csv.lines().count(), 1 + 2 * 3);
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.iter().all(|count| *count == columns[0]), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&read("figures.json")).unwrap();
    assert_eq!(json["runs"][0]["lost"], 3);
    assert_eq!(json["ratios"][0]["base"], "slow & <old>");
}

#[test]
fn ratios_of_trials_have_intervals_around_what_they_are() {
    let (slow, quick) = (run("slow", 20.0, 3), run("quick", 5.0, 3));
    let ratios = digest::ratios(&quick, &slow);
    let p50 = ratios.iter().find(|ratio| ratio.figure == "latency_ms_p50").unwrap();
    assert!((p50.ratio.value - 0.25).abs() < 1e-9 && p50.of == "trials", "{p50:?}");
    let one = digest::ratios(&run("quick", 5.0, 1), &run("slow", 20.0, 1));
    let p50 = one.iter().find(|ratio| ratio.figure == "latency_ms_p50").unwrap();
    assert!(p50.of == "records" && p50.ratio.low <= 0.25 && 0.25 <= p50.ratio.high, "{p50:?}");
}

#[test]
fn the_terminal_shows_boxes_and_what_is_wrong() {
    let text = terminal::report(&[run("one", 5.0, 2)]);
    assert!(text.contains("├") && text.contains("▒") && text.contains("┃"), "{text}");
    assert!(text.contains("2 of 780 records were lost"), "{text}");
    assert!(text.contains("doubtful: one: the devices did not keep their schedule"), "{text}");
    assert!(text.contains("780 records in 2 trials: 778 answered, 2 lost, 4 duplicated"), "{text}");
    assert!(text.contains("warm-up"), "{text}");
}

#[test]
fn a_machine_that_did_something_else_is_said() {
    let remarked = |busy: &str| {
        let mut run = run("one", 5.0, 1);
        let about = [("cores", "2"), (BUSY_CORES, busy)];
        run.about.machine = about.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        check::ours(&run).into_iter().any(|remark| remark.text.contains("busy with something else"))
    };
    assert!(remarked("0.60") && !remarked("0.05"));
}

#[test]
fn a_run_without_answers_is_no_reason_to_fail() {
    let mut empty = run("empty", 5.0, 1);
    empty.trials[0] = Trial { records: vec![Outcome::default(); 3], ..Trial::default() };
    empty.remarks = vec![Remark { weight: Weight::Invalid, text: "nothing".to_owned() }];
    let dir = tempfile::tempdir().unwrap();
    files::write("", &[empty.clone()], dir.path()).unwrap();
    assert!(terminal::report(&[empty]).contains("INVALID: empty: nothing"));
}

#[test]
fn a_saved_run_makes_the_same_report() {
    let dir = tempfile::tempdir().unwrap();
    let run = run("saved", 5.0, 2);
    file::save(&run, dir.path()).unwrap();
    let read = file::load(dir.path()).unwrap();
    let figures = |run: &Run| {
        let text = terminal::report(std::slice::from_ref(run));
        text.split("\nlatency").next().unwrap().to_owned()
    };
    assert_eq!(figures(&read), figures(&run));
}

//! What is wrong with a run.
//!
//! Of ours: what was lost or came twice, and devices that did not keep their schedule. Of published files, which are all
//! that is left of their runs: answers that are older than the run, that are in another file as well, that lack what
//! latencies are computed from, an "elapsed" with a pause in it, and clocks that disagree.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::published::{Answer, Published};
use super::{BUSY_CORES, Remark, Run, Weight};
use crate::schedule::PAPER_RECORDS;

/// The devices' p99 is at most this far behind the schedule, or it is said.
pub const SEND_ERROR_MS: f64 = 1.0;
/// More than this share of a machine's time before a run, and it was busy with something else.
const BUSY: f64 = 0.1;
/// A pause this long, and so many times longer than that between most answers, is none of a system at work.
const PAUSE_S: f64 = 20.0;
const PAUSE_TIMES: f64 = 20.0;
/// Devices send for a little longer than this: their stages without what sending takes.
const NOMINAL_S: f64 = 208.333;
/// How much longer the published devices took at most, and answers may wait.
const SLACK_S: f64 = 20.0;

fn remark(weight: Weight, text: impl Into<String>) -> Remark {
    Remark { weight, text: text.into() }
}

/// What is to be said of a run of ours.
pub fn ours(run: &Run) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let fates = run.fates();
    if fates.lost > 0 {
        let text = format!("{} of {} records were lost", fates.lost, fates.sent);
        remarks.push(remark(Weight::Note, text));
    }
    let sum = |count: fn(&super::Trial) -> u64| run.trials.iter().map(count).sum::<u64>();
    for (count, what) in [
        (sum(|trial| trial.duplicated), "arrived more than once"),
        (sum(|trial| trial.disordered), "overtook another of its key"),
        (sum(|trial| trial.unknown), "answered nothing that was sent"),
    ] {
        if count > 0 {
            remarks.push(remark(Weight::Note, format!("{count} times an answer {what}")));
        }
    }
    let error = run.each(|trial| Some(trial.send_error_ms?.p99)).into_iter().fold(0.0, f64::max);
    if SEND_ERROR_MS < error {
        let text = format!(
            "the devices did not keep their schedule: the p99 of how late they sent is {error:.2} ms, expected at most \
             {SEND_ERROR_MS} ms; latencies count from the schedule, so this is in them"
        );
        remarks.push(remark(Weight::Doubtful, text));
    }
    if let Some((busy, cores)) = busy(run) {
        let text = format!(
            "the machine was busy with something else: {busy:.1} of its {cores} cores before anything was started"
        );
        remarks.push(remark(Weight::Doubtful, text));
    }
    if run.about.joined_by.starts_with("order") {
        let text = "answers are paired with records in their order, because they carry no id: counts, throughput \
                    and the mean latency are right if nothing was lost or came twice; percentiles are those of a \
                    system that never reorders, accuracy is not known, and what came twice hides what was lost";
        remarks.push(remark(Weight::Doubtful, text));
    }
    remarks
}

/// How many cores were busy before the start, and all, where that is enough to be seen in what was measured.
fn busy(run: &Run) -> Option<(f64, f64)> {
    let number = |key: &str| run.about.machine.get(key)?.parse::<f64>().ok();
    let (busy, cores) = (number(BUSY_CORES)?, number("cores")?);
    (cores * BUSY < busy).then_some((busy, cores))
}

/// What is to be said of each of some published files, which are looked at together.
pub fn published(files: &[&Published]) -> Vec<Vec<Remark>> {
    files.iter().enumerate().map(|(at, file)| one(file, at, files)).collect()
}

fn one(file: &Published, at: usize, files: &[&Published]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let others = files.iter().enumerate().filter(|(other, _)| *other != at);
    for (_, other) in others {
        remarks.extend(overlap(file, other));
    }
    remarks.extend(older(file));
    remarks.extend(pause(file));
    remarks.extend(without_time(file));
    remarks.extend(missing(file));
    remarks.extend(offsets(&file.answers));
    remarks.extend(clocks(file));
    remarks.extend(keys(&file.answers));
    remarks.sort_by_key(|remark| std::cmp::Reverse(remark.weight));
    remarks
}

type Place<'a> = (&'a str, i32, i64, i64);

fn place(answer: &Answer) -> Place<'_> {
    (&answer.topic, answer.partition, answer.offset, answer.timestamp_ms)
}

/// Answers that another file has as well.
fn overlap(file: &Published, other: &Published) -> Option<Remark> {
    let theirs: HashSet<Place<'_>> = other.answers.iter().map(place).collect();
    let shared: Vec<&Answer> =
        file.answers.iter().filter(|answer| theirs.contains(&place(answer))).collect();
    let offsets = shared.iter().map(|answer| answer.offset);
    let (first, last) = (offsets.clone().min()?, offsets.max()?);
    // What comes before all else in a file belongs to an earlier run; two readings of one run share other answers.
    let newest_shared = shared.iter().map(|answer| answer.timestamp_ms).max()?;
    let own = file.answers.iter().filter(|answer| !theirs.contains(&place(answer)));
    let oldest_own = own.map(|answer| answer.timestamp_ms).min();
    let is_of_another = oldest_own.is_some_and(|oldest| newest_shared < oldest);
    let weight = if is_of_another { Weight::Invalid } else { Weight::Note };
    let text = format!(
        "{} of its {} answers (offsets {first} to {last}) are also in `{}`, with the same times",
        shared.len(),
        file.answers.len(),
        other.run.name
    );
    Some(remark(weight, text))
}

/// Answers from before the run.
fn older(file: &Published) -> Option<Remark> {
    let first_sent = file.answers.iter().filter_map(|answer| answer.sent_s).min_by(f64::total_cmp);
    let start = file.source.started_s.or(first_sent)?;
    let is_older = |answer: &&Answer| (answer.timestamp_ms as f64) < (start * 1e3).floor();
    let older: Vec<&Answer> = file.answers.iter().filter(is_older).collect();
    let (first, last) = (older.first()?, older.last()?);
    let text = format!(
        "{} of {} answers, {:.0} %, are older than the run: lines {} to {} were written up to {:.1} s before it began, at \
         {start:.3}",
        older.len(),
        file.answers.len(),
        100.0 * older.len() as f64 / file.answers.len() as f64,
        first.line,
        last.line,
        start - older.iter().map(|answer| answer.timestamp_ms).min()? as f64 / 1e3
    );
    Some(remark(Weight::Invalid, text))
}

/// A pause in the answers that no device made.
fn pause(file: &Published) -> Option<Remark> {
    let mut times: Vec<i64> = file.answers.iter().map(|answer| answer.timestamp_ms).collect();
    times.sort_unstable();
    let gaps = || times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e3);
    let mut sorted: Vec<f64> = gaps().collect();
    sorted.sort_by(f64::total_cmp);
    let usual = crate::stats::percentile(&sorted, 0.5)?;
    let (at, longest) = gaps().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    if longest < PAUSE_S.max(usual * PAUSE_TIMES) {
        return None;
    }
    let elapsed = (times[times.len() - 1] - times[0]) as f64 / 1e3;
    let text = format!(
        "elapsed spans two runs: of its {elapsed:.1} s, {longest:.1} s are a pause after the first {} answers, in which \
         nothing was written, while devices never wait longer than 1 s",
        at + 1
    );
    Some(remark(Weight::Invalid, text))
}

fn without_time(file: &Published) -> Option<Remark> {
    let without = file.answers.iter().filter(|answer| answer.sent_s.is_none()).count();
    let all = file.answers.len();
    let elapsed = file.run.trials[0].elapsed_s().unwrap_or_default();
    let text = match (without, file.shifted_s) {
        (0, _) => return None,
        (_, Some(shifted)) => format!(
            "no answer carries an id or the device's time: latencies come from pairing answers with a made-up schedule in \
             the order of writing, moved by {:.3} s so that the least is 0; they are not measured",
            -shifted
        ),
        (some, None) if some < all => {
            format!("{some} of {all} answers lack the device's time: they have no latency")
        }
        _ => format!(
            "no answer carries an id or the device's time: there is no latency, and {elapsed:.1} s from the first answer \
             to the last is how long the devices sent"
        ),
    };
    Some(remark(Weight::Doubtful, text))
}

/// Fewer answers than were sent, or more.
fn missing(file: &Published) -> Option<Remark> {
    let (found, sent) = (file.answers.len() as u64, file.devices * PAPER_RECORDS);
    let devices = file.devices;
    let text = match found.cmp(&sent) {
        std::cmp::Ordering::Equal => return only_one_topic(file),
        std::cmp::Ordering::Less => format!(
            "{} of {sent} records that {devices} devices send have no answer in it: lost, or not downloaded",
            sent - found
        ),
        std::cmp::Ordering::Greater => {
            format!("{found} answers, expected at most {sent} of {devices} devices: several runs")
        }
    };
    Some(remark(Weight::Doubtful, text))
}

/// A cascade in which one tier has all the answers although its topic began anew in the middle.
fn only_one_topic(file: &Published) -> Option<Remark> {
    let is_last = file.run.tiers.len() == 1;
    let text = || {
        format!(
            "all {} answers are of topic `{}`: the topics of other tiers were not read, or never answer",
            file.answers.len(),
            file.answers[0].topic
        )
    };
    is_last.then(|| remark(Weight::Doubtful, text()))
}

/// Offsets that are missing within a partition, or are there twice.
fn offsets(answers: &[Answer]) -> Vec<Remark> {
    let mut by_partition: BTreeMap<(&str, i32), Vec<i64>> = BTreeMap::new();
    for answer in answers {
        by_partition.entry((&answer.topic, answer.partition)).or_default().push(answer.offset);
    }
    let mut remarks = Vec::new();
    for ((topic, partition), mut offsets) in by_partition {
        offsets.sort_unstable();
        let twice = offsets.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let gaps: i64 = offsets.windows(2).map(|pair| (pair[1] - pair[0] - 1).max(0)).sum();
        let place = format!("`{topic}` partition {partition}");
        if twice > 0 {
            let text = format!("{twice} offsets of {place} are there twice");
            remarks.push(remark(Weight::Invalid, text));
        }
        if gaps > 0 {
            let text = format!(
                "{gaps} offsets of {place} between {} and {} are missing",
                offsets[0],
                offsets[offsets.len() - 1]
            );
            remarks.push(remark(Weight::Doubtful, text));
        }
    }
    remarks
}

/// Times that can't be of one clock.
fn clocks(file: &Published) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let latencies = file.answers.iter().filter_map(|answer| {
        Some((answer.line, answer.timestamp_ms as f64 / 1e3 - answer.sent_s?))
    });
    let negative: Vec<(usize, f64)> = latencies.filter(|(_, latency)| *latency < 0.0).collect();
    if let Some((line, least)) = negative.iter().min_by(|a, b| a.1.total_cmp(&b.1)) {
        let text = format!(
            "{} answers were written before they were sent, line {line} by {:.3} s: the clocks differ by at least that",
            negative.len(),
            -least
        );
        remarks.push(remark(Weight::Invalid, text));
    }
    let mut newest: HashMap<(&str, i32), (i64, i64)> = HashMap::new();
    let (mut back, mut most) = (0u64, 0);
    let mut sorted: Vec<&Answer> = file.answers.iter().collect();
    sorted.sort_by_key(|answer| answer.offset);
    for answer in sorted {
        let key = (answer.topic.as_str(), answer.partition);
        let (_, time) = newest.entry(key).or_insert((answer.offset, answer.timestamp_ms));
        if answer.timestamp_ms < *time {
            back += 1;
            most = most.max(*time - answer.timestamp_ms);
        }
        *time = answer.timestamp_ms.max(*time);
    }
    if back > 0 {
        let text = format!(
            "{back} answers have times up to {most} ms before those of smaller offsets: several clocks or writers wrote \
             them"
        );
        remarks.push(remark(Weight::Note, text));
    }
    let span = file.run.trials[0].send_span_s().filter(|_| file.shifted_s.is_none());
    if let Some(span) = span.filter(|span| NOMINAL_S + SLACK_S < *span) {
        let text = format!("the devices sent for {span:.1} s, expected about {NOMINAL_S:.0} s");
        remarks.push(remark(Weight::Doubtful, text));
    }
    remarks
}

fn keys(answers: &[Answer]) -> Option<Remark> {
    let mut seen = HashSet::new();
    let keys = answers.iter().filter_map(|answer| answer.key.as_deref());
    let twice = keys.filter(|key| !seen.insert(*key)).count();
    let text = || format!("{twice} answers have the key of another: they were answered twice");
    (twice > 0).then(|| remark(Weight::Doubtful, text()))
}

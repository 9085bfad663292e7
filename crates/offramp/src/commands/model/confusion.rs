//! Which classes are taken for which, as a table.

use std::io::Write as _;

use model::evaluate::Evaluation;

/// A table of more classes than this is wider than a terminal; then the commonest confusions are listed.
const MAX_COLUMNS: usize = 14;
const MOST_LISTED: usize = 20;
const COLUMN: usize = 7;

/// One row for each class: how often it gets each answer.
pub(super) fn rows(evaluation: &Evaluation) -> Vec<Vec<u32>> {
    let confusion = evaluation.confusion();
    confusion.chunks(evaluation.classes.max(1)).map(<[u32]>::to_vec).collect()
}

/// Prints a row for each class and a column for each answer, or the commonest confusions of many classes.
pub(super) fn print(evaluation: &Evaluation, labels: &[String]) -> anyhow::Result<()> {
    let rows = rows(evaluation);
    let mut out = std::io::stdout().lock();
    if rows.len() > MAX_COLUMNS {
        writeln!(out, "\nmost frequent confusions")?;
        for (count, class, answer) in commonest(&rows) {
            writeln!(out, "{count:>8}  {} taken for {}", labels[class], labels[answer])?;
        }
        return Ok(());
    }
    let short = |label: &String| label.chars().take(COLUMN - 1).collect::<String>();
    write!(out, "\n{:<16}", "class \\ answer")?;
    for label in labels {
        write!(out, "{:>COLUMN$}", short(label))?;
    }
    writeln!(out, "{:>10}", "right")?;
    for ((class, row), label) in rows.iter().enumerate().zip(labels) {
        write!(out, "{:<16}", label.chars().take(15).collect::<String>())?;
        for count in row {
            write!(out, "{count:>COLUMN$}")?;
        }
        let all: u32 = row.iter().sum();
        let share = f64::from(row[class]) / f64::from(all.max(1));
        writeln!(out, "{:>10}", super::cascade::percent(share))?;
    }
    Ok(())
}

/// The confusions of most samples: how many, of which class, taken for which.
fn commonest(rows: &[Vec<u32>]) -> Vec<(u32, usize, usize)> {
    let cells = rows.iter().enumerate().flat_map(|(class, row)| {
        let wrong = row.iter().enumerate().filter(move |&(answer, &n)| answer != class && n > 0);
        wrong.map(move |(answer, &count)| (count, class, answer))
    });
    let mut cells: Vec<_> = cells.collect();
    cells.sort_unstable_by_key(|&(count, class, answer)| (std::cmp::Reverse(count), class, answer));
    cells.truncate(MOST_LISTED);
    cells
}

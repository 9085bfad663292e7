//! The nearest of some names to one that is not among them.

/// How many names are suggested.
const MOST: usize = 3;
/// The most characters of a name that are compared: the comparison takes time with their square.
const COMPARED: usize = 100;

/// The names that take the fewest changed characters to become `wanted`, the nearest first. A name that contains it,
/// or that it contains, is near.
pub(super) fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let lower = wanted.to_lowercase();
    let mut ranked: Vec<(usize, &str)> = names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| {
            let candidate = name.to_lowercase();
            let contains = candidate.contains(&lower) || lower.contains(&candidate);
            let distance = distance(&lower, &candidate);
            (if contains { distance / 2 } else { distance }, name)
        })
        .filter(|(distance, name)| *distance <= 1 + name.chars().count().min(COMPARED) / 3)
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// `, nearest: a, b`, or nothing.
pub(super) fn phrase(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; nearest: `{}`", nearest.join("`, `"))
    }
}

/// Levenshtein's distance: characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let compared = |name: &str| name.chars().take(COMPARED).collect::<String>();
    strsim::levenshtein(&compared(a), &compared(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["conv1", "conv2", "relu_1", "block/relu_1/output", "logits"];
        assert_eq!(nearest("relu1", names), ["relu_1", "block/relu_1/output"][..1]);
        assert_eq!(nearest("conv3", names), ["conv1", "conv2"]);
        assert_eq!(nearest("relu_1", names), ["relu_1", "block/relu_1/output"]);
        assert!(nearest("something else", names).is_empty());
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}

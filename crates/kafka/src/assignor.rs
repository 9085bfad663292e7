//! How the leader of a consumer group shares partitions out: evenly, and so that most stay where they are.
//!
//! The cooperative protocol (KIP-429): a partition that moves is first left out, so that its owner gives it up, and
//! goes to its new owner in the rebalance that follows. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::consumer::Subscription;

use crate::cluster::Place;

/// The protocol's name, by which members of a group find out that they share partitions out alike.
pub(crate) const PROTOCOL: &str = "cooperative-sticky";

/// Each member's share, given what each brought and how many partitions there are of each topic.
pub(crate) fn assign(
    members: &BTreeMap<String, Subscription>,
    partitions: &HashMap<String, usize>,
) -> BTreeMap<String, Vec<Place>> {
    let names: Vec<&String> = members.keys().collect();
    let wants: Vec<&Subscription> = members.values().collect();
    let may_have =
        |member: usize, place: &Place| wants[member].topics.iter().any(|topic| **topic == *place.0);
    // Every partition that somebody wants, and who has it.
    let mut owners: BTreeMap<Place, Option<usize>> = BTreeMap::new();
    for topic in wants.iter().flat_map(|wants| &wants.topics) {
        let topic: Arc<str> = topic.as_str().into();
        let count = partitions.get(&*topic).copied().unwrap_or(0);
        for partition in 0..count as i32 {
            owners.entry((Arc::clone(&topic), partition)).or_default();
        }
    }
    let mut claims: HashMap<Place, (i32, usize, bool)> = HashMap::new();
    for (member, wants) in wants.iter().enumerate() {
        for owned in &wants.owned_partitions {
            let topic: Arc<str> = owned.topic.as_str().into();
            for &partition in &owned.partitions {
                let place = (Arc::clone(&topic), partition);
                if !owners.contains_key(&place) || !may_have(member, &place) {
                    continue;
                }
                let generation = wants.generation_id;
                // Whoever was there later is right; of two that were there at the same time, nobody knows.
                claims
                    .entry(place)
                    .and_modify(|(latest, owner, is_sure)| match generation.cmp(latest) {
                        std::cmp::Ordering::Greater => {
                            (*latest, *owner, *is_sure) = (generation, member, true);
                        }
                        std::cmp::Ordering::Equal => *is_sure = false,
                        std::cmp::Ordering::Less => {}
                    })
                    .or_insert((generation, member, true));
            }
        }
    }
    for (place, (_, owner, is_sure)) in claims {
        if is_sure && let Some(place) = owners.get_mut(&place) {
            *place = Some(owner);
        }
    }
    let mut shares: Vec<Vec<Place>> = vec![Vec::new(); names.len()];
    for (place, owner) in &owners {
        if let Some(owner) = owner {
            shares[*owner].push(place.clone());
        }
    }
    for (place, owner) in &owners {
        let least = (0..names.len()).filter(|&member| may_have(member, place));
        let least = least.min_by_key(|&member| shares[member].len());
        if let (None, Some(least)) = (owner, least) {
            shares[least].push(place.clone());
        }
    }
    while let Some((from, at, to)) = unfair(&shares, may_have) {
        let place = shares[from].remove(at);
        shares[to].push(place);
    }
    // What moves from a member that is still there has to be given up first.
    for (member, share) in shares.iter_mut().enumerate() {
        share.retain(|place| owners[place].is_none_or(|owner| owner == member));
        share.sort();
    }
    names.into_iter().cloned().zip(shares).collect()
}

/// A partition of one member that another, with fewer by two or more, could have.
fn unfair(
    shares: &[Vec<Place>],
    may_have: impl Fn(usize, &Place) -> bool,
) -> Option<(usize, usize, usize)> {
    let mut by_size: Vec<usize> = (0..shares.len()).collect();
    by_size.sort_by_key(|&member| shares[member].len());
    for &from in by_size.iter().rev() {
        for &to in &by_size {
            if shares[from].len() <= shares[to].len() + 1 {
                break;
            }
            if let Some(at) = shares[from].iter().rposition(|place| may_have(to, place)) {
                return Some((from, at, to));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::consumer::TopicPartitions;

    use super::*;

    fn subscription(topics: &[&str], owned: &[(&str, &[i32])], generation: i32) -> Subscription {
        Subscription {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            owned_partitions: owned
                .iter()
                .map(|&(topic, partitions)| TopicPartitions {
                    topic: topic.to_owned(),
                    partitions: partitions.to_vec(),
                })
                .collect(),
            generation_id: generation,
            ..Default::default()
        }
    }

    fn numbers(shares: &BTreeMap<String, Vec<Place>>, member: &str) -> Vec<i32> {
        shares[member].iter().map(|place| place.1).collect()
    }

    fn group(members: &[(&str, Subscription)]) -> BTreeMap<String, Subscription> {
        members.iter().map(|(name, wants)| ((*name).to_owned(), wants.clone())).collect()
    }

    #[test]
    fn who_comes_later_gets_its_share_in_two_steps() {
        let partitions = HashMap::from([("t".to_owned(), 4)]);
        let alone = group(&[("a", subscription(&["t"], &[], -1))]);
        assert_eq!(numbers(&assign(&alone, &partitions), "a"), [0, 1, 2, 3]);
        let two = group(&[
            ("a", subscription(&["t"], &[("t", &[0, 1, 2, 3])], 1)),
            ("b", subscription(&["t"], &[], -1)),
        ]);
        let shares = assign(&two, &partitions);
        assert_eq!((numbers(&shares, "a"), numbers(&shares, "b")), (vec![0, 1], vec![]));
        let given_up = group(&[
            ("a", subscription(&["t"], &[("t", &[0, 1])], 2)),
            ("b", subscription(&["t"], &[], 2)),
        ]);
        let shares = assign(&given_up, &partitions);
        assert_eq!((numbers(&shares, "a"), numbers(&shares, "b")), (vec![0, 1], vec![2, 3]));
    }

    #[test]
    fn a_claim_of_an_earlier_generation_counts_less() {
        let partitions = HashMap::from([("t".to_owned(), 1)]);
        let members = group(&[
            ("a", subscription(&["t"], &[("t", &[0])], 3)),
            ("b", subscription(&["t"], &[("t", &[0])], 2)),
        ]);
        let shares = assign(&members, &partitions);
        assert_eq!((numbers(&shares, "a"), numbers(&shares, "b")), (vec![0], vec![]));
    }

    #[test]
    fn members_get_only_what_they_want() {
        let partitions = HashMap::from([("t".to_owned(), 2), ("u".to_owned(), 2)]);
        let members = group(&[
            ("a", subscription(&["t", "missing"], &[], -1)),
            ("b", subscription(&["t", "u"], &[], -1)),
        ]);
        let shares = assign(&members, &partitions);
        let all: usize = shares.values().map(Vec::len).sum();
        assert_eq!((all, shares["a"].len()), (4, 2));
        assert!(shares["a"].iter().all(|place| &*place.0 == "t"));
    }

    proptest! {
        /// Rebalances until nothing moves any more: every partition has one owner, and shares differ by one at most.
        #[test]
        fn it_settles_evenly_and_nothing_is_owned_twice(
            members in 1usize..6,
            count in 0usize..20,
            owned in prop::collection::vec(0usize..7, 20),
        ) {
            let partitions = HashMap::from([("t".to_owned(), count)]);
            let mut shares: BTreeMap<String, Vec<i32>> =
                (0..members).map(|member| (member.to_string(), Vec::new())).collect();
            for (partition, owner) in owned.iter().enumerate().take(count) {
                if let Some(share) = shares.get_mut(&owner.to_string()) {
                    share.push(partition as i32);
                }
            }
            for generation in 0.. {
                prop_assert!(generation < 3, "it takes two rebalances");
                let wants = shares
                    .iter()
                    .map(|(name, share)| {
                        (name.clone(), subscription(&["t"], &[("t", share)], generation))
                    })
                    .collect();
                let given: BTreeMap<String, Vec<i32>> = assign(&wants, &partitions)
                    .into_iter()
                    .map(|(name, share)| (name, share.into_iter().map(|place| place.1).collect()))
                    .collect();
                for (name, share) in &given {
                    // Nobody gets what another still has.
                    for (other, had) in &shares {
                        prop_assert!(name == other || share.iter().all(|at| !had.contains(at)));
                    }
                }
                let is_settled = given == shares;
                shares = given;
                if is_settled {
                    break;
                }
            }
            let mut all: Vec<i32> = shares.values().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count as i32).collect::<Vec<_>>());
            let sizes = shares.values().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
}

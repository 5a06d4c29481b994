//! What has to go first of several patches.

use std::collections::{BTreeSet, HashMap};

use patchadm_svr4::patch::PatchId;

/// Puts what must go first before what waits for it; otherwise the given order stays. In a cycle too: the rules of each
/// patch then say what is in the way.
pub(super) fn in_order<T>(items: Vec<T>, needs: impl Fn(&T) -> (Option<PatchId>, Vec<PatchId>)) -> Vec<T> {
    let relations: Vec<_> = items.iter().map(&needs).collect();
    let mut revisions: HashMap<&str, Vec<(usize, &PatchId)>> = HashMap::new();
    for (place, (id, _)) in relations.iter().enumerate() {
        if let Some(id) = id {
            revisions.entry(id.base()).or_default().push((place, id));
        }
    }
    // For each patch how many come before it, and the ones that wait for it.
    let mut waits = vec![0_usize; relations.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); relations.len()];
    for (place, (_, required)) in relations.iter().enumerate() {
        let of_base = |needed: &PatchId| revisions.get(needed.base()).cloned().unwrap_or_default();
        let providers = required.iter().flat_map(|needed| {
            of_base(needed).into_iter().filter(|(_, id)| id.contains(needed)).map(|(other, _)| other)
        });
        let providers: BTreeSet<usize> = providers.filter(|other| *other != place).collect();
        waits[place] = providers.len();
        for other in providers {
            waiting[other].push(place);
        }
    }
    let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|place| waits[*place] == 0).collect();
    let mut rest: BTreeSet<usize> = (0..waits.len()).collect();
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(items.len());
    while let Some(place) = ready.pop_first().or_else(|| rest.first().copied()) {
        rest.remove(&place);
        ordered.extend(items[place].take());
        for later in &waiting[place] {
            waits[*later] -= 1;
            if waits[*later] == 0 && rest.contains(later) {
                ready.insert(*later);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(patches: &[(&str, &[&str])]) -> Vec<String> {
        let id = |text: &str| PatchId::new(text).unwrap();
        let items: Vec<_> = patches
            .iter()
            .map(|(own, required)| (id(own), required.iter().map(|r| id(r)).collect()))
            .collect();
        let sorted = in_order(items, |(own, required): &(PatchId, Vec<PatchId>)| {
            (Some(own.clone()), required.clone())
        });
        sorted.into_iter().map(|(own, _)| own.to_string()).collect()
    }

    #[test]
    fn a_requirement_comes_first_and_everything_else_stays() {
        assert_eq!(ordered(&[("3-01", &[]), ("1-01", &["2-01"]), ("2-02", &[])]), ["3-01", "2-02", "1-01"]);
    }

    #[test]
    fn thousands_that_each_need_the_next_are_turned_round() {
        let names: Vec<String> = (0..3_000).map(|at| format!("{at}-01")).collect();
        let needs: Vec<[&str; 1]> = names.iter().skip(1).map(|name| [name.as_str()]).collect();
        let mut patches: Vec<(&str, &[&str])> =
            names.iter().zip(&needs).map(|(name, needs)| (name.as_str(), needs.as_slice())).collect();
        patches.push((names.last().unwrap(), &[]));
        let mut turned = names.clone();
        turned.reverse();
        assert_eq!(ordered(&patches), turned);
    }

    #[test]
    fn a_cycle_ends_and_loses_nobody() {
        assert_eq!(ordered(&[("1-01", &["2-01"]), ("2-01", &["1-01"])]), ["1-01", "2-01"]);
    }
}

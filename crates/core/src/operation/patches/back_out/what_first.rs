//! What has to go first of several patches.

use std::collections::{BTreeSet, HashMap};

use patchadm_svr4::patch::PatchId;

/// Puts what must go first before what waits for it; otherwise the given order stays. In a cycle too: the rules of each
/// patch then say what is in the way.
pub(super) fn in_order(ids: Vec<PatchId>, needs: impl Fn(&PatchId) -> Vec<PatchId>) -> Vec<PatchId> {
    let mut revisions: HashMap<&str, Vec<(usize, &PatchId)>> = HashMap::new();
    for (place, id) in ids.iter().enumerate() {
        revisions.entry(id.base()).or_default().push((place, id));
    }
    // For each patch how many come before it, and the ones that wait for it.
    let mut waits = vec![0_usize; ids.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (place, id) in ids.iter().enumerate() {
        let of_base = |needed: &PatchId| revisions.get(needed.base()).cloned().unwrap_or_default();
        let required = needs(id);
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
    let mut ids: Vec<Option<PatchId>> = ids.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(ids.len());
    while let Some(place) = ready.pop_first().or_else(|| rest.first().copied()) {
        rest.remove(&place);
        ordered.extend(ids[place].take());
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
        let required: HashMap<PatchId, Vec<PatchId>> = patches
            .iter()
            .map(|(own, required)| (id(own), required.iter().map(|r| id(r)).collect()))
            .collect();
        let ids = patches.iter().map(|(own, _)| id(own)).collect();
        let sorted = in_order(ids, |own| required[own].clone());
        sorted.into_iter().map(|own| own.to_string()).collect()
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

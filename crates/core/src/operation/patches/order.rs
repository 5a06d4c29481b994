//! The order in which several patches of one command are taken.

use patchadm_svr4::patch::PatchId;

/// Puts what is required before what requires it; otherwise the given order stays. In a cycle too: the rules of each
/// patch then say what is missing.
pub(super) fn in_order<T>(items: Vec<T>, needs: impl Fn(&T) -> (Option<PatchId>, Vec<PatchId>)) -> Vec<T> {
    let relations: Vec<_> = items.iter().map(&needs).collect();
    let provides = |place: usize, required: &PatchId| {
        relations.get(place).and_then(|(id, _)| id.as_ref()).is_some_and(|id| id.contains(required))
    };
    let mut rest: Vec<(usize, T)> = items.into_iter().enumerate().collect();
    let mut ordered = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let waits = |place: usize| {
            let required = relations.get(place).map(|(_, required)| required.as_slice()).unwrap_or_default();
            required.iter().any(|id| rest.iter().any(|(other, _)| *other != place && provides(*other, id)))
        };
        let next = rest.iter().position(|(place, _)| !waits(*place)).unwrap_or(0);
        ordered.push(rest.remove(next).1);
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
    fn a_cycle_ends_and_loses_nobody() {
        assert_eq!(ordered(&[("1-01", &["2-01"]), ("2-01", &["1-01"])]), ["1-01", "2-01"]);
    }
}

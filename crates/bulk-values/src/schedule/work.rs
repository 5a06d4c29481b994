//! How much work the build of a package is.

/// The weight of a package whose recipe says nothing about it, as in pbulk.
const USUAL_WEIGHT: u64 = 100;

/// Returns the work that each package is expected to take: the known one, in milliseconds (the median of its last
/// successful builds); else the median of all that is known, times the weight of the package relative to the usual 100;
/// where nothing is known at all, the weight. The lists are in order of the packages; it is at least 1.
pub fn expected_work(known: &[Option<u64>], weights: &[u32]) -> Vec<u64> {
    let mut all: Vec<u64> = known.iter().flatten().copied().collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied();
    let estimate = |weight: u32| match median {
        Some(median) => median.saturating_mul(weight.into()) / USUAL_WEIGHT,
        None => weight.into(),
    };
    let known = known.iter().copied().chain(std::iter::repeat(None));
    weights
        .iter()
        .zip(known)
        .map(|(&weight, known)| known.unwrap_or_else(|| estimate(weight)).max(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_package_takes_the_median_times_its_weight() {
        let known = [Some(10), None, Some(40), None, Some(2_000)];
        assert_eq!(expected_work(&known, &[100, 100, 100, 250, 900, 50]), [10, 40, 40, 100, 2_000, 20]);
    }

    #[test]
    fn without_any_history_the_weight_counts() {
        assert_eq!(expected_work(&[], &[100, 4_000, 0]), [100, 4_000, 1]);
    }
}

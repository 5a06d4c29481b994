//! Confidence intervals of a median from order statistics: no distribution of the figures is assumed.

/// The smallest number of figures that has an interval.
pub(crate) const FEWEST: usize = 6;

/// Returns the interval that holds the true median with a confidence of at least 95 %; its ends are two of the figures.
/// `None` for fewer than [`FEWEST`] figures.
pub(crate) fn of_median(figures: &[f64]) -> Option<[f64; 2]> {
    let left_out = left_out(figures.len())?;
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    Some([figures[left_out], figures[figures.len() - 1 - left_out]])
}

/// Returns how many of `count` sorted figures lie outside the interval at either end. Each figure is below the true
/// median with a chance of one half, so the number of those below it is binomial; 2.5 % of the chance are left at each end.
fn left_out(count: usize) -> Option<usize> {
    let (mut chance, mut total, mut fewer) = (0.5_f64.powf(count as f64), 0.0, 0);
    while fewer < count {
        total += chance;
        if total > 0.025 {
            break;
        }
        chance *= (count - fewer) as f64 / (fewer + 1) as f64;
        fewer += 1;
    }
    fewer.checked_sub(1)
}

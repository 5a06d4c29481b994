//! Failures that are remembered: whether the same key is built again.

use super::line::PackageOutcome;
use super::state::{FailureCause, PackageState};
use crate::conf::{Limits, is_wider};

/// Returns whether a package is built again whose last outcome with the same key was this one.
///
/// A failure counts again in later runs, since the same inputs fail the same way. But what reached a limit is tried again
/// when that limit is wider now; what lacked a distfile or was deferred always; and every failure if `retry` asks for it.
pub fn is_tried_again(outcome: &PackageOutcome, limits: &Limits, retry: bool) -> bool {
    match (outcome.state, outcome.cause) {
        (PackageState::Failed, Some(cause)) => retry || is_cause_gone(cause, outcome.limit, limits),
        (PackageState::Failed, None)
        | (PackageState::Deferred | PackageState::Open | PackageState::Running, _) => true,
        // No failure of its own: what it needs decides.
        _ => false,
    }
}

fn is_cause_gone(cause: FailureCause, then: Option<u64>, limits: &Limits) -> bool {
    let Some(name) = cause.limit() else { return cause == FailureCause::Distfile };
    // Where the limit was not noted, a build in vain costs less than one that is left out.
    then.is_none_or(|then| is_wider(limits.get(name).unwrap_or_default(), then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::LimitName;

    fn failed(cause: FailureCause, limit: Option<u64>) -> PackageOutcome {
        PackageOutcome { cause: Some(cause), limit, ..PackageOutcome::of(PackageState::Failed) }
    }

    #[test]
    fn a_failure_counts_again_until_it_is_asked_for() {
        for cause in [FailureCause::Exit, FailureCause::Signal, FailureCause::Check, FailureCause::Install] {
            assert!(!is_tried_again(&failed(cause, None), &Limits::default(), false), "{cause}");
            assert!(is_tried_again(&failed(cause, None), &Limits::default(), true), "{cause}");
        }
    }

    #[test]
    fn what_reached_a_limit_is_tried_again_when_that_limit_is_wider() {
        let mut limits = Limits::default();
        let time = failed(FailureCause::Time, Some(3600));
        limits.set(LimitName::Cpu, 0);
        assert!(!is_tried_again(&time, &limits, false), "another limit is wider");
        limits.set(LimitName::Time, 1800);
        assert!(!is_tried_again(&time, &limits, false));
        limits.set(LimitName::Time, 3601);
        assert!(is_tried_again(&time, &limits, false));
        limits.set(LimitName::Time, 0);
        assert!(is_tried_again(&time, &limits, false), "there is no limit any more");
    }

    #[test]
    fn a_missing_distfile_and_machine_trouble_are_always_tried_again() {
        assert!(is_tried_again(&failed(FailureCause::Distfile, None), &Limits::default(), false));
        assert!(is_tried_again(&PackageOutcome::of(PackageState::Deferred), &Limits::default(), false));
        assert!(!is_tried_again(&PackageOutcome::of(PackageState::Done), &Limits::default(), true));
    }
}

//! Whether a trial is over, by its record and the clocks.
//!
//! | since the beginning | decides |
//! | --- | --- |
//! | the same boot, and its clock went on | the time since the boot alone: nobody sets it |
//! | the same boot, and its clock is earlier than at the beginning | the clock on the wall: a container that was started again keeps the id of the boot and has a clock of its own |
//! | one of the two boots is not known | the clock on the wall |
//! | another boot | it is over, unless it may go on after so many boots |
//! | a boot that it went on after | the clock on the wall, and the time since that boot: whichever is over first |
//!
//! A clock on the wall that is before the beginning, or beyond the deadline by more than the trial lasts, was set. Nothing
//! tells the time then, and the trial is over: what was there before it is safe.

use super::moment::Moment;
use super::record::TrialRecord;

/// Whether a trial goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialState {
    /// It does, for this many milliseconds.
    Running {
        /// The milliseconds until it is over.
        left: u64,
    },
    /// It was not confirmed in time.
    Over(OverReason),
}

/// Why a trial is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverReason {
    /// Its time is up.
    TimeIsUp,
    /// The machine was booted since.
    OtherBoot,
    /// The clock was set, so that nothing tells the time.
    ClockWasSet,
    /// Its probe failed, and its patches could not be backed out then.
    ProbeFailed,
}

impl TrialRecord {
    /// Returns whether the trial goes on at a moment. One whose patches could not be backed out does not, although its time
    /// is not up: its probe failed.
    pub fn state(&self, now: &Moment) -> TrialState {
        match self.state_by_time(now) {
            TrialState::Running { .. } if self.stuck.is_some() => TrialState::Over(OverReason::ProbeFailed),
            state => state,
        }
    }

    fn state_by_time(&self, now: &Moment) -> TrialState {
        match (&self.boot, &now.boot) {
            (Some(then), Some(of_now)) if then != of_now && self.boots >= self.reboots => {
                TrialState::Over(OverReason::OtherBoot)
            }
            (Some(then), Some(of_now)) if then != of_now || self.boots > 0 => self.after_boot(now),
            (Some(_), Some(_)) if now.since_boot >= self.monotonic => {
                let gone = now.since_boot - self.monotonic;
                running_for(self.duration.milliseconds().saturating_sub(gone))
            }
            _ => self.by_the_wall(now),
        }
    }

    /// Returns the same record in the boot of a moment, which counts as one of those that it may go on after; `None` if it
    /// is about that boot already, or is over.
    #[must_use]
    pub fn counting_boot(&self, now: &Moment) -> Option<Self> {
        let is_other = self.boot.is_some() && now.boot.is_some() && self.boot != now.boot;
        let goes_on = matches!(self.state(now), TrialState::Running { .. });
        let boots = self.boots.checked_add(1).filter(|_| is_other && goes_on)?;
        // It is counted from the boot on.
        Some(Self { boot: now.boot.clone(), monotonic: 0, boots, ..self.clone() })
    }

    /// A clock on the wall that was set in the meantime does not make it longer than it would be within one boot.
    fn after_boot(&self, now: &Moment) -> TrialState {
        let left_of_boot = self.duration.milliseconds().saturating_sub(now.since_boot);
        match self.by_the_wall(now) {
            TrialState::Running { left } => running_for(left.min(left_of_boot)),
            over @ TrialState::Over(_) => over,
        }
    }

    fn by_the_wall(&self, now: &Moment) -> TrialState {
        let left = self.until.timestamp_millis().saturating_sub(now.wall.timestamp_millis());
        let left = u64::try_from(left).unwrap_or_default();
        // The deadline is in whole seconds.
        if left > self.duration.milliseconds().saturating_add(1000) {
            return TrialState::Over(OverReason::ClockWasSet);
        }
        running_for(left)
    }
}

fn running_for(left: u64) -> TrialState {
    if left == 0 { TrialState::Over(OverReason::TimeIsUp) } else { TrialState::Running { left } }
}

#[cfg(test)]
mod tests {
    use super::super::duration::TrialDuration;
    use super::*;
    use chrono::{DateTime, Days, TimeDelta, Utc};

    const BOOT: &str = "0b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b";
    const OTHER: &str = "1b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b";

    fn begun() -> Moment {
        let wall = DateTime::parse_from_rfc3339("2026-11-20T06:37:39Z").unwrap().with_timezone(&Utc);
        Moment { wall, boot: Some(BOOT.to_owned()), since_boot: 5_000_000 }
    }

    fn record() -> TrialRecord {
        let patches = vec!["100-01".to_owned()];
        TrialRecord::beginning(patches, TrialDuration::parse("10m").unwrap(), &begun())
    }

    #[test]
    fn a_trial_whose_patches_could_not_go_is_over_before_its_time() {
        let stuck = record().stuck_because("a file is immutable");
        assert_eq!(stuck.state(&begun()), TrialState::Over(OverReason::ProbeFailed));
        assert_eq!(stuck.state(&later(600)), TrialState::Over(OverReason::TimeIsUp));
    }

    /// Returns the moment this many seconds later, by all clocks.
    fn later(seconds: i64) -> Moment {
        let begun = begun();
        Moment {
            wall: begun.wall + TimeDelta::seconds(seconds),
            since_boot: begun.since_boot.saturating_add_signed(seconds * 1000),
            ..begun
        }
    }

    const UP: TrialState = TrialState::Over(OverReason::TimeIsUp);

    #[test]
    fn in_the_same_boot_its_time_decides_alone() {
        assert_eq!(record().state(&later(0)), TrialState::Running { left: 600_000 });
        assert_eq!(record().state(&later(599)), TrialState::Running { left: 1_000 });
        assert_eq!(record().state(&later(600)), UP);
        assert_eq!(record().state(&later(1_000_000)), UP);
    }

    #[test]
    fn a_clock_that_is_set_ten_years_forth_or_back_changes_nothing() {
        for days in [Days::new(3_653), Days::new(1)] {
            let forth = Moment { wall: later(300).wall + days, ..later(300) };
            let back = Moment { wall: later(300).wall - days, ..later(300) };
            assert_eq!(record().state(&forth), TrialState::Running { left: 300_000 });
            assert_eq!(record().state(&back), TrialState::Running { left: 300_000 });
            assert_eq!(record().state(&Moment { wall: back.wall, ..later(600) }), UP);
        }
    }

    #[test]
    fn where_the_time_of_the_boot_runs_backwards_the_wall_decides() {
        let earlier = |seconds| Moment { since_boot: 4_999_999, ..later(seconds) };
        assert_eq!(record().state(&earlier(100)), TrialState::Running { left: 500_000 });
        assert_eq!(record().state(&earlier(600)), UP);
        let set = Moment { wall: begun().wall - Days::new(3_653), since_boot: 0, ..begun() };
        assert_eq!(record().state(&set), TrialState::Over(OverReason::ClockWasSet));
        let forth = Moment { wall: begun().wall + Days::new(3_653), since_boot: 0, ..begun() };
        assert_eq!(record().state(&forth), UP);
    }

    #[test]
    fn another_boot_is_the_end() {
        let booted = Moment { boot: Some(OTHER.to_owned()), ..later(1) };
        assert_eq!(record().state(&booted), TrialState::Over(OverReason::OtherBoot));
    }

    /// Returns the moment so many seconds after the beginning by the wall, and after another boot.
    fn booted(boot: &str, of_wall: i64, since_boot: u64) -> Moment {
        Moment { boot: Some(boot.to_owned()), since_boot: since_boot * 1000, ..later(of_wall) }
    }

    #[test]
    fn a_trial_goes_on_after_as_many_boots_as_it_may() {
        const THIRD: &str = "2b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b";
        let once = TrialRecord { reboots: 1, ..record() };
        assert_eq!(once.counting_boot(&later(10)), None, "the boot is the same");
        let counted = once.counting_boot(&booted(OTHER, 100, 20)).unwrap();
        assert_eq!((counted.boots, counted.monotonic, counted.boot.as_deref()), (1, 0, Some(OTHER)));
        assert_eq!(counted.counting_boot(&booted(OTHER, 110, 30)), None, "it is counted once");
        assert_eq!(counted.state(&booted(OTHER, 110, 30)), TrialState::Running { left: 490_000 });
        assert_eq!(counted.state(&booted(OTHER, 600, 520)), UP);
        assert_eq!(counted.state(&booted(THIRD, 200, 1)), TrialState::Over(OverReason::OtherBoot));
        assert_eq!(counted.counting_boot(&booted(THIRD, 200, 1)), None);
        assert_eq!(record().counting_boot(&booted(OTHER, 100, 20)), None, "nobody allowed it");
    }

    #[test]
    fn after_a_boot_a_clock_that_was_set_makes_no_trial_longer() {
        let counted = TrialRecord { reboots: 3, ..record() }.counting_boot(&booted(OTHER, 100, 20)).unwrap();
        // The clock stands still from here on.
        assert_eq!(counted.state(&booted(OTHER, 100, 599)), TrialState::Running { left: 1_000 });
        assert_eq!(counted.state(&booted(OTHER, 100, 600)), UP, "it lasts no longer than within one boot");
        let back = Moment { wall: begun().wall - Days::new(3_653), ..booted(OTHER, 0, 20) };
        assert_eq!(counted.state(&back), TrialState::Over(OverReason::ClockWasSet));
        let forth = Moment { wall: begun().wall + Days::new(3_653), ..booted(OTHER, 0, 20) };
        assert_eq!(counted.state(&forth), UP);
        let late = TrialRecord { reboots: 3, ..record() };
        assert_eq!(late.counting_boot(&booted(OTHER, 700, 5)), None, "its time was up before the boot");
    }

    #[test]
    fn where_a_boot_is_not_known_the_wall_decides() {
        let unknown = |seconds| Moment { boot: None, ..later(seconds) };
        assert_eq!(record().state(&unknown(100)), TrialState::Running { left: 500_000 });
        assert_eq!(record().state(&unknown(600)), UP);
        let nowhere = TrialRecord { boot: None, ..record() };
        assert_eq!(nowhere.state(&unknown(599)), TrialState::Running { left: 1_000 });
        assert_eq!(nowhere.state(&later(601)), UP);
    }

    #[test]
    fn a_record_that_claims_a_beginning_in_the_future_is_no_trial_for_ever() {
        let forged = TrialRecord {
            monotonic: u64::MAX,
            until: DateTime::parse_from_rfc3339("9999-12-31T23:59:59Z").unwrap().with_timezone(&Utc),
            ..record()
        };
        assert_eq!(forged.state(&later(0)), TrialState::Over(OverReason::ClockWasSet));
    }
}

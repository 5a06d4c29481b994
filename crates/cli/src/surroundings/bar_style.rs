//! The common look of bars: work, amount, speed and remaining time.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressState, ProgressStyle};
use patchadm_rootfs::WorkUnit;

use super::manner::columns;

/// Shorter work shows nothing.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// A narrower terminal shows only words, cut at the end of the line.
const ROOM_FOR_BAR: usize = 72;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarUnit {
    Bytes,
    Things(&'static str),
}

impl BarUnit {
    /// The message says what is done.
    pub(super) fn style(self) -> ProgressStyle {
        fitting(&self.template(), "{percent:>3}% {eta:>4} {wide_msg}")
    }

    fn template(self) -> String {
        let counted = match self {
            Self::Bytes => "{binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec:>12}".to_owned(),
            Self::Things(name) => format!("{{pos}}/{{len}} {name} {{per_sec:>9}}"),
        };
        format!("{{msg:>10}} [{{wide_bar}}] {counted} {{eta:>4}}")
    }
}

impl From<WorkUnit> for BarUnit {
    fn from(unit: WorkUnit) -> Self {
        match unit {
            WorkUnit::Bytes => Self::Bytes,
            WorkUnit::Files => Self::Things("files"),
            WorkUnit::Objects => Self::Things("objects"),
            WorkUnit::Packages => Self::Things("packages"),
            WorkUnit::Patches => Self::Things("patches"),
        }
    }
}

/// Returns a line that fits into a terminal of any width: a bar that takes the available room, or words only.
pub(super) fn fitting(with_bar: &str, words: &str) -> ProgressStyle {
    let has_room = columns(std::io::stderr()).is_none_or(|columns| columns >= ROOM_FOR_BAR);
    // Templates of this program are valid; an invalid one would only change the look.
    ProgressStyle::with_template(if has_room { with_bar } else { words })
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("eta", time_left)
        .with_key("per_sec", rate)
}

/// For `{per_sec}`: with decimals for small rates.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let rate = state.per_sec();
    let decimals = usize::from(rate < 100.0);
    // It is written into a string, which does not fail.
    let _ = write!(out, "{rate:.decimals$}/s");
}

/// For `{eta}`: empty before a part is done.
fn time_left(state: &ProgressState, out: &mut dyn Write) {
    if state.pos() > 0 {
        // It is written into a string, which does not fail.
        let _ = write!(out, "{:#}", HumanDuration(state.eta()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        for unit in [BarUnit::Bytes, BarUnit::Things("patches")] {
            assert!(ProgressStyle::with_template(&unit.template()).is_ok(), "{unit:?}");
        }
    }
}

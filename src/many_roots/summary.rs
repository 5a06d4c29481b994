//! The outcome of all roots: numbers by kind, reasons of failures, exit code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::root_report::{RootClass, RootReport};
use patchadm_cli::reply::{Exit, ResultWord};

/// Roots named with each reason: every one has had its own line.
const NAMED: usize = 5;

#[derive(Clone, Debug, Default)]
pub(super) struct RootsSummary {
    ends: Vec<Option<RootEnd>>,
    /// With the indices of their roots.
    reasons: BTreeMap<String, Vec<usize>>,
    reboots: Vec<(&'static str, usize)>,
    changed: bool,
    would_change: bool,
}

#[derive(Clone, Copy, Debug)]
struct RootEnd {
    class: RootClass,
    result: ResultWord,
    exit: Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ResultCounts {
    roots: usize,
    done: usize,
    planned: usize,
    finished: usize,
    rolled_back: usize,
    nothing_to_do: usize,
    refused: usize,
    failed: usize,
}

#[derive(Clone, Debug)]
struct ClassCounts {
    roots: usize,
    done: usize,
    nothing_to_do: usize,
    not_applicable: usize,
    refused: usize,
    failed: usize,
    not_begun: usize,
}

impl RootsSummary {
    pub(super) fn of(roots: usize) -> Self {
        Self { ends: vec![None; roots], ..Self::default() }
    }

    pub(super) fn count<B>(&mut self, place: usize, told: &RootReport<B>) {
        if let Some(end) = self.ends.get_mut(place) {
            *end = Some(RootEnd { class: told.class, result: told.result, exit: told.exit });
        }
        self.changed |= told.changed;
        self.would_change |= told.would_change;
        if let Some(reason) = &told.reason {
            self.reasons.entry(reason.clone()).or_default().push(place);
        }
        for word in &told.reboots {
            match self.reboots.iter_mut().find(|(known, _)| known == word) {
                Some((_, roots)) => *roots += 1,
                None => self.reboots.push((word, 1)),
            }
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// True if a root would differ without the dry run.
    pub(super) fn would_change(&self) -> bool {
        self.would_change
    }

    pub(super) fn number_of(&self, class: RootClass) -> usize {
        self.ends.iter().flatten().filter(|end| end.class == class).count()
    }

    pub(super) fn bad(&self) -> usize {
        self.number_of(RootClass::Refused) + self.number_of(RootClass::Failed)
    }

    pub(super) fn counts(&self) -> ResultCounts {
        let of = |word| self.ends.iter().flatten().filter(|end| end.result == word).count();
        ResultCounts {
            roots: self.ends.len(),
            done: of(ResultWord::Done),
            planned: of(ResultWord::Planned),
            finished: of(ResultWord::Finished),
            rolled_back: of(ResultWord::RolledBack),
            nothing_to_do: of(ResultWord::NothingToDo),
            refused: of(ResultWord::Refused),
            failed: of(ResultWord::Failed),
        }
    }

    fn kinds(&self) -> ClassCounts {
        ClassCounts {
            roots: self.ends.len(),
            done: self.number_of(RootClass::Done),
            nothing_to_do: self.number_of(RootClass::Idle),
            not_applicable: self.number_of(RootClass::NotApplicable),
            refused: self.number_of(RootClass::Refused),
            failed: self.number_of(RootClass::Failed),
            not_begun: self.number_of(RootClass::NotBegun),
        }
    }

    /// Returns the signal that kept a root from being done, else partly done if only some roots failed, else the first
    /// root's end that is no plain success.
    pub(super) fn exit(&self, signal: Option<i32>) -> Exit {
        let by_signal = signal.map(Exit::by_signal);
        let exits = || self.ends.iter().flatten().map(|end| end.exit);
        match by_signal {
            Some(exit) if exits().any(|other| other.verb_code() == exit.verb_code()) => exit,
            _ if exits().any(Exit::is_failure) && !exits().all(Exit::is_failure) => Exit::PARTLY,
            _ => self.decisive(),
        }
    }

    /// The first root's end that is no plain success.
    fn decisive(&self) -> Exit {
        self.ends.iter().flatten().map(|end| end.exit).find(|exit| *exit != Exit::OK).unwrap_or(Exit::OK)
    }

    fn first_failure(&self) -> Exit {
        self.ends.iter().flatten().map(|end| end.exit).find(|exit| exit.is_failure()).unwrap_or(Exit::OK)
    }

    /// The word of the first failed root, else of the first changed one.
    pub(super) fn result(&self, signal: Option<i32>) -> ResultWord {
        let exit = match self.exit(signal) {
            Exit::PARTLY => self.first_failure(),
            exit => exit,
        };
        let decides = |end: &&RootEnd| {
            if exit == Exit::OK { end.result != ResultWord::NothingToDo } else { end.exit == exit }
        };
        let decisive = self.ends.iter().flatten().find(decides);
        decisive.map_or(ResultWord::NothingToDo, |end| end.result)
    }

    /// The final text; `done` and `idle` are the words for roots with and without a change.
    pub(super) fn text(&mut self, names: &[&Path], done: &str, idle: &str) -> String {
        let counts = self.kinds();
        let plural = if counts.roots == 1 { "root" } else { "roots" };
        let mut text = format!("{} {plural}: {} {done}", counts.roots, counts.done);
        for (number, word) in [
            (counts.nothing_to_do, idle),
            (counts.not_applicable, "not applicable"),
            (counts.refused, "refused"),
            (counts.failed, "failed"),
            (counts.not_begun, "not begun"),
        ] {
            if number > 0 {
                let _ = write!(text, ", {number} {word}");
            }
        }
        text.push_str(".\n");
        self.reasons.values_mut().for_each(|places| places.sort_unstable());
        let mut reasons: Vec<(&String, &Vec<usize>)> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, places)| places.first().copied());
        for (reason, places) in reasons {
            let _ = writeln!(text, "{}", group(reason, places, names));
        }
        let not_begun = self
            .ends
            .iter()
            .zip(names)
            .filter(|(end, _)| end.is_some_and(|end| end.class == RootClass::NotBegun));
        for (number, (_, name)) in not_begun.enumerate() {
            text.push_str(if number == 0 { "  not begun:\n" } else { "" });
            let _ = writeln!(text, "    {}", name.display());
        }
        for (word, roots) in &self.reboots {
            let reboot = if word.starts_with("reconfig") { "reconfiguration reboot" } else { "reboot" };
            let soon = if word.ends_with("immediate") { " now" } else { "" };
            let is = if self.would_change && !self.changed { "would be" } else { "is" };
            let _ = writeln!(text, "  a {reboot} {is} required{soon} ({roots} of the roots)");
        }
        text
    }
}

/// A reason, the number of its roots, and the first of them.
fn group(reason: &str, places: &[usize], names: &[&Path]) -> String {
    let named = places.iter().take(NAMED).filter_map(|place| names.get(*place));
    let named: Vec<String> = named.map(|name| name.display().to_string()).collect();
    let more = match places.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("  {} × {}: {}{more}", places.len(), reason.trim_end_matches('.'), named.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::root_report::RootBody;
    use super::*;
    use patchadm_cli::reply::ExitCause;

    fn told(class: RootClass, exit: u8, reason: Option<&str>) -> RootReport<()> {
        let body = RootBody::Worked(());
        let report = RootReport::of_line(class, Exit::OK, String::new(), Path::new("/"), body);
        RootReport {
            exit: if exit == 0 { Exit::OK } else { Exit::passed_on(exit, ExitCause::Internal) },
            reason: reason.map(str::to_owned),
            changed: class == RootClass::Done,
            ..report
        }
    }

    #[test]
    fn reasons_are_grouped_and_named_in_the_order_of_the_roots_however_they_end() {
        let paths: Vec<PathBuf> = (0..9).map(|number| PathBuf::from(format!("/r/{number}"))).collect();
        let names: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let mut summary = RootsSummary::of(9);
        for place in [8, 7, 6, 5, 4, 3, 2] {
            summary.count(place, &told(RootClass::Refused, 3, Some("1-01 refused (3): it requires 2-01")));
        }
        summary.count(0, &told(RootClass::Done, 0, None));
        summary.count(1, &told(RootClass::Failed, 6, Some("failed (6): locked by another command")));
        let text = "9 roots: 1 done, 7 refused, 1 failed.\n  \
                    1 × failed (6): locked by another command: /r/1\n  \
                    7 × 1-01 refused (3): it requires 2-01: /r/2, /r/3, /r/4, /r/5, /r/6 and 2 more\n";
        assert_eq!(summary.text(&names, "done", "already applied"), text);
        assert_eq!((summary.exit(None), summary.result(None)), (Exit::PARTLY, ResultWord::Failed));
        assert_eq!(summary.exit(Some(15)), Exit::PARTLY, "a signal that came too late for every root");
    }

    #[test]
    fn a_signal_that_kept_a_root_from_being_done_is_the_exit_code() {
        let (first, second) = (PathBuf::from("/a"), PathBuf::from("/b"));
        let mut summary = RootsSummary::of(2);
        summary.count(0, &told(RootClass::Refused, 3, Some("x")));
        summary.count(1, &told(RootClass::NotBegun, 143, None));
        assert_eq!(summary.exit(Some(15)).verb_code(), 143);
        let text = summary.text(&[&first, &second], "done", "already applied");
        assert_eq!(text, "2 roots: 0 done, 1 refused, 1 not begun.\n  1 × x: /a\n  not begun:\n    /b\n");
    }

    #[test]
    fn nothing_to_do_anywhere_is_no_failure() {
        let mut summary = RootsSummary::of(2);
        summary.count(0, &told(RootClass::Idle, 0, None));
        summary.count(1, &told(RootClass::NotApplicable, 0, None));
        assert_eq!((summary.exit(None), summary.result(None)), (Exit::OK, ResultWord::NothingToDo));
    }
}

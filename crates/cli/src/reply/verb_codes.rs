//! The exit codes of all verbs, in one table.

use super::cause::ExitCause;

/// Decides among several codes for the same cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ExitKind {
    /// Success or failure.
    Plain,
    /// The planner or a check of trust refuses it.
    Refusal,
    /// The command did its work, and found something.
    Finding,
    /// The code of another process.
    PassedOn(u8),
}

#[derive(Clone, Copy, Debug)]
pub struct VerbCode {
    pub code: u8,
    /// A sentence.
    pub meaning: &'static str,
    /// The condition of the root, as a sentence.
    pub root: &'static str,
    /// The next step, as a sentence.
    pub advice: &'static str,
}

/// In their order. A signal is 128 and its number.
pub const VERB_CODES: [VerbCode; 10] = [
    VerbCode {
        code: DONE,
        meaning: "Done, or there was nothing to do.",
        root: "The root is in the requested state.",
        advice: "Nothing.",
    },
    VerbCode {
        code: FAILED,
        meaning: "Failed: an I/O error, damaged input, a failed script, or no network.",
        root: UNCHANGED,
        advice: "Read the message, fix the cause, and run the command again.",
    },
    VerbCode {
        code: USAGE,
        meaning: "Usage error: an unknown verb or option, or a missing argument.",
        root: "The root is unchanged.",
        advice: "Run the verb with `--help`.",
    },
    VerbCode {
        code: REFUSED,
        meaning: "Refused: a rule, a locally modified file, a missing requirement, or a signature.",
        root: "The root is unchanged.",
        advice: "Follow the hint in the message.",
    },
    VerbCode {
        code: FOUND,
        meaning: "A check found a problem, or the root does not have the named patch, run or path.",
        root: "The root is unchanged.",
        advice: "Read the output: it names each finding.",
    },
    VerbCode {
        code: PARTLY,
        meaning: "Partly done: some patches or roots succeeded, others did not.",
        root: "The output lists the state of each root.",
        advice: "Read the output: it names what failed, and why.",
    },
    VerbCode {
        code: BUSY,
        meaning: "Busy: another command, or dpkg or rpm, holds the lock.",
        root: "The root is unchanged.",
        advice: "Run the command again later, or wait for the lock with `--wait`.",
    },
    VerbCode {
        code: TRIAL_OVER,
        meaning: "The trial is over: its probe failed, or it expired.",
        root: "The root is as it was before the trial.",
        advice: "Find out why the probe failed, or confirm the next trial in time.",
    },
    VerbCode {
        code: REBOOT,
        meaning: "Done, and a reboot is needed. Only `update --reboot-code` reports it.",
        root: "The root is in the requested state.",
        advice: "Reboot the machine. For other verbs, check the `reboot` field of each patch in the `--json` output.",
    },
    VerbCode {
        code: UNFINISHED,
        meaning: "An earlier run is unfinished or in doubt.",
        root: "The root is in an intermediate state.",
        advice: "Run `recover`: it finishes or rolls back the run.",
    },
];

const UNCHANGED: &str = "The root is unchanged, unless the message says otherwise.";

const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
pub(super) const REFUSED: u8 = 3;
pub(super) const FOUND: u8 = 4;
const PARTLY: u8 = 5;
const BUSY: u8 = 6;
const TRIAL_OVER: u8 = 7;
pub(super) const REBOOT: u8 = 8;
pub(super) const UNFINISHED: u8 = 9;

/// Ctrl-C, for a signal of unknown number.
const INTERRUPTED: u8 = 130;

pub fn causes_of(code: u8) -> Vec<ExitCause> {
    let kinds = [ExitKind::Plain, ExitKind::Refusal, ExitKind::Finding];
    let may_be = |cause: ExitCause| kinds.iter().any(|kind| self::code(cause, *kind, None) == code);
    let is_found = |cause: &ExitCause| may_be(*cause) && *cause != ExitCause::Signal;
    ExitCause::ALL.iter().copied().filter(is_found).collect()
}

#[allow(clippy::match_same_arms)] // the rules stand in their order
pub(super) const fn code(cause: ExitCause, kind: ExitKind, classic: Option<u8>) -> u8 {
    use ExitKind::{Finding, PassedOn, Plain, Refusal};
    match (kind, cause) {
        (PassedOn(code), _) => code,
        (_, ExitCause::Ok | ExitCause::AlreadyApplied | ExitCause::Superseded) => DONE,
        (Finding, _) | (_, ExitCause::Unknown | ExitCause::Missing | ExitCause::Attention) => FOUND,
        (_, ExitCause::Signal) => match classic {
            Some(code) if code > 128 => code,
            _ => INTERRUPTED,
        },
        (_, ExitCause::Partly) => PARTLY,
        (_, ExitCause::Locked) => BUSY,
        (_, ExitCause::TrialOver | ExitCause::Check) => TRIAL_OVER,
        (_, ExitCause::Reboot) => REBOOT,
        (Plain, ExitCause::Unfinished | ExitCause::InDoubt) => UNFINISHED,
        // A refusal has its own code, except for faults of a file, a record, a file system or the program itself.
        (
            _,
            ExitCause::NoDatabase
            | ExitCause::ReadOnly
            | ExitCause::DamagedInput
            | ExitCause::DamagedRecord
            | ExitCause::Download
            | ExitCause::Settings
            | ExitCause::Internal
            | ExitCause::Command,
        ) => FAILED,
        (Refusal, _) => REFUSED,
        (Plain, ExitCause::Usage) => USAGE,
        (
            Plain,
            ExitCause::UntrustedRoot
            | ExitCause::NotApplicable
            | ExitCause::Restricted
            | ExitCause::Conflict
            | ExitCause::Edited
            | ExitCause::NativeChanged
            | ExitCause::Dependency
            | ExitCause::OnTrial
            | ExitCause::Signature
            | ExitCause::Exists
            | ExitCause::Declined,
        ) => REFUSED,
        (
            Plain,
            ExitCause::NoRights
            | ExitCause::UndoData
            | ExitCause::NotFound
            | ExitCause::Space
            | ExitCause::Script,
        ) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_the_code_of_its_kind() {
        // Plain, refused, found; a signal has a code of its own.
        let table = |cause| match cause {
            ExitCause::Ok | ExitCause::AlreadyApplied | ExitCause::Superseded => [0, 0, 0],
            ExitCause::Usage => [2, 3, 4],
            ExitCause::NoRights
            | ExitCause::UndoData
            | ExitCause::NotFound
            | ExitCause::Space
            | ExitCause::Script => [1, 3, 4],
            ExitCause::Settings
            | ExitCause::NoDatabase
            | ExitCause::ReadOnly
            | ExitCause::DamagedRecord
            | ExitCause::DamagedInput
            | ExitCause::Download
            | ExitCause::Internal
            | ExitCause::Command => [1, 1, 4],
            ExitCause::UntrustedRoot
            | ExitCause::NotApplicable
            | ExitCause::Restricted
            | ExitCause::Conflict
            | ExitCause::Edited
            | ExitCause::NativeChanged
            | ExitCause::Dependency
            | ExitCause::OnTrial
            | ExitCause::Signature
            | ExitCause::Exists
            | ExitCause::Declined => [3, 3, 4],
            ExitCause::Unknown | ExitCause::Missing | ExitCause::Attention => [4, 4, 4],
            ExitCause::Partly => [5, 5, 4],
            ExitCause::Locked => [6, 6, 4],
            ExitCause::TrialOver | ExitCause::Check => [7, 7, 4],
            ExitCause::Reboot => [8, 8, 4],
            // A patch that another tool left half applied is refused: it is no run of the root.
            ExitCause::Unfinished | ExitCause::InDoubt => [9, 3, 4],
            ExitCause::Signal => [143, 143, 4],
        };
        for cause in ExitCause::ALL.iter().copied() {
            let kinds = [ExitKind::Plain, ExitKind::Refusal, ExitKind::Finding];
            let codes = kinds.map(|kind| code(cause, kind, Some(143)));
            assert_eq!(codes, table(cause), "{cause:?}");
        }
    }

    #[test]
    fn every_code_is_described_at_its_place() {
        assert!(VERB_CODES.iter().enumerate().all(|(place, one)| usize::from(one.code) == place));
    }

    #[test]
    fn the_code_of_another_process_is_passed_on() {
        assert_eq!(code(ExitCause::Command, ExitKind::PassedOn(42), Some(42)), 42);
        assert_eq!(code(ExitCause::Signal, ExitKind::Plain, Some(3)), 130);
    }
}

//! The meaning of scripts' exit codes and output (pkgadd(1M), patchadd(1M)).

use super::ScriptEnd;

/// The meaning of the end of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitMeaning {
    /// Code 0: success.
    Ok,
    /// Code 1, any undefined code, any signal, or a timeout: the script failed, and so does the operation.
    Fatal,
    /// Code 2: something is not as it should be, but the operation continues.
    Warning,
    /// Code 3: the user, or a program that acts for the user, wants to stop.
    Interrupted,
    /// Code 4, and from checkinstall also 3 and 7 (an unreadable script): an administrator must decide first.
    Administration,
    /// Code 5: a user must answer first.
    Interaction,
}

/// Whether an installation calls for a reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RebootRequest {
    /// No reboot.
    #[default]
    None,
    /// A reboot after all packages: the code plus ten.
    AfterAll,
    /// A reboot right after this package: the code plus twenty.
    Immediate,
}

/// The outcome of a script: its meaning and its wish for a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptOutcome {
    /// The meaning of the exit code.
    pub meaning: ExitMeaning,
    /// The reboot the script asks for.
    pub reboot: RebootRequest,
}

impl ScriptOutcome {
    /// Interprets the end of a checkinstall script (`is_checkinstall`) or of any other script.
    pub fn of(ended: ScriptEnd, is_checkinstall: bool) -> Self {
        let (code, reboot) = match ended {
            ScriptEnd::Exited(code @ 10..=15) => (code - 10, RebootRequest::AfterAll),
            ScriptEnd::Exited(code @ 20..=25) => (code - 20, RebootRequest::Immediate),
            ScriptEnd::Exited(code) => (code, RebootRequest::None),
            ScriptEnd::Interrupted => (3, RebootRequest::None),
            ScriptEnd::Signalled(_) | ScriptEnd::TimedOut => (1, RebootRequest::None),
        };
        let suspends = is_checkinstall && matches!(ended, ScriptEnd::Exited(_));
        let meaning = match code {
            0 => ExitMeaning::Ok,
            2 => ExitMeaning::Warning,
            3 if suspends => ExitMeaning::Administration,
            3 => ExitMeaning::Interrupted,
            4 => ExitMeaning::Administration,
            5 => ExitMeaning::Interaction,
            7 if suspends && reboot == RebootRequest::None => ExitMeaning::Administration,
            _ => ExitMeaning::Fatal,
        };
        Self { meaning, reboot }
    }

    /// Tells whether the operation continues and is kept.
    pub fn commits(self) -> bool {
        matches!(self.meaning, ExitMeaning::Ok | ExitMeaning::Warning)
    }
}

/// A message from a patch's scripts to patchadd(1M): a line with a token, a number and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchMessage {
    /// The exit code of patchadd.
    pub number: u8,
    /// The text that patchadd prints.
    pub text: String,
}

/// The token that marks such a line.
const TOKEN: &str = "PaTcH_MsG ";

impl PatchMessage {
    /// Finds the last message in the output of scripts. Its text continues up to the next blank line or line of
    /// pkgadd itself, because puttext(1) folds it at about 70 columns.
    pub fn last_in(output: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(output);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().enumerate().rev().find_map(|(at, line)| {
            let (_, said) = line.split_once(TOKEN)?;
            let (number, first) = said.trim_start().split_once(' ').unwrap_or((said.trim(), ""));
            let rest = lines.iter().skip(at + 1).take_while(|line| continues(line));
            let words = std::iter::once(first).chain(rest.copied()).flat_map(str::split_whitespace);
            Some(Self { number: number.parse().ok()?, text: words.collect::<Vec<_>>().join(" ") })
        })
    }
}

/// Tells whether a line can continue a message.
fn continues(line: &str) -> bool {
    !line.trim().is_empty()
        && !line.starts_with("pkgadd:")
        && !line.starts_with("## ")
        && !line.contains(TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_meaning() {
        use ExitMeaning::{Administration, Fatal, Interaction, Interrupted, Ok, Warning};
        use RebootRequest::{AfterAll, Immediate, None};
        for (code, meaning, reboot, commits) in [
            (0, Ok, None, true),
            (1, Fatal, None, false),
            (2, Warning, None, true),
            (3, Interrupted, None, false),
            (4, Administration, None, false),
            (5, Interaction, None, false),
            (6, Fatal, None, false),
            (7, Fatal, None, false),
            (10, Ok, AfterAll, true),
            (11, Fatal, AfterAll, false),
            (12, Warning, AfterAll, true),
            (13, Interrupted, AfterAll, false),
            (16, Fatal, None, false),
            (20, Ok, Immediate, true),
            (22, Warning, Immediate, true),
            (25, Interaction, Immediate, false),
            (27, Fatal, None, false),
            (99, Fatal, None, false),
        ] {
            let outcome = ScriptOutcome::of(ScriptEnd::Exited(code), false);
            assert_eq!(
                (outcome, outcome.commits()),
                (ScriptOutcome { meaning, reboot }, commits),
                "code {code}"
            );
        }
    }

    #[test]
    fn checkinstall_suspends_where_others_are_interrupted() {
        let meaning = |ended| ScriptOutcome::of(ended, true).meaning;
        assert_eq!([3, 7].map(|code| meaning(ScriptEnd::Exited(code))), [ExitMeaning::Administration; 2]);
        assert_eq!(meaning(ScriptEnd::Exited(1)), ExitMeaning::Fatal);
        assert_eq!(meaning(ScriptEnd::Interrupted), ExitMeaning::Interrupted);
    }

    #[test]
    fn signals_and_the_end_of_time_are_failures() {
        for ended in [ScriptEnd::Signalled(9), ScriptEnd::TimedOut] {
            assert_eq!(
                ScriptOutcome::of(ended, false),
                ScriptOutcome { meaning: ExitMeaning::Fatal, reboot: RebootRequest::None }
            );
        }
    }

    #[test]
    fn the_last_message_counts_and_folded_lines_are_joined() {
        let output = b"## Executing checkinstall script.\n\
            PaTcH_MsG 2 an earlier one\n\
            checkinstall: PaTcH_MsG 6 ERROR: A later version of this patch is\n\
            applied.\n\
            \n\
            pkgadd: ERROR: checkinstall script did not complete successfully\n";
        let message = PatchMessage::last_in(output).unwrap();
        assert_eq!(
            (message.number, message.text.as_str()),
            (6, "ERROR: A later version of this patch is applied.")
        );
    }

    #[test]
    fn a_message_ends_where_pkgadd_speaks_and_noise_is_none() {
        let output = b"PaTcH_MsG 8 Version 2.0 is not installed.\npkgadd: ERROR: no\n";
        assert_eq!(PatchMessage::last_in(output).unwrap().text, "Version 2.0 is not installed.");
        for noise in [&b""[..], b"PaTcH_MsG many words", b"PaTcH_MsG 999 x", b"PaTcH_MsG\n"] {
            assert_eq!(PatchMessage::last_in(noise), None);
        }
    }
}

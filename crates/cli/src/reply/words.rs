//! Words that several answers share: sizes, recovery, reboots.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::surroundings::Output;
pub use crate::surroundings::recovery::recovery_sentence;
use patchadm_changeset::transaction::Recovered;
use patchadm_planning::plan::refusal::Wording;
pub use patchadm_rootfs::human;
use patchadm_svr4::package::control::truncated;

/// Of a value in a description, in characters: the packages of a large run are a long list, but the owner of a root can
/// write any text into its records.
pub const LONGEST_VALUE: usize = 20_000;

/// Returns a number of things: `1 object`, `2 objects`.
pub fn counted(count: impl Display, thing: &str) -> String {
    let count = count.to_string();
    if count == "1" { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

pub fn counted_patches(count: impl Display) -> String {
    let count = count.to_string();
    if count == "1" { "1 patch".to_owned() } else { format!("{count} patches") }
}

pub fn print_recovery(output: &mut Output, sentence: Option<&str>, notes: &[String]) -> io::Result<()> {
    let mut lines = sentence.into_iter().chain(notes.iter().map(String::as_str));
    lines.try_for_each(|line| output.note(line))
}

/// Notes about recovery, then those of the command.
pub fn with_recovery(found: &Recovered, notes: impl IntoIterator<Item = String>) -> Vec<String> {
    recovery_sentence(found).into_iter().chain(found.notes().iter().cloned()).chain(notes).collect()
}

pub fn print_notes(output: &mut Output, notes: &[String]) -> io::Result<()> {
    notes.iter().try_for_each(|note| output.note(note))
}

/// Returns a line of a description: the name, if it has one, and the value, cut if it is too long.
pub fn named_value(name: &str, value: &str) -> String {
    let colon = if name.is_empty() { ' ' } else { ':' };
    format!("{name:>12}{colon} {}", truncated(value, LONGEST_VALUE))
}

/// Returns the command that puts a root right after an interrupted run, to be typed anywhere.
pub fn recover_command(root: &Path) -> String {
    Wording::of_verbs(root).verb("recover").trim_matches('`').to_owned()
}

pub fn unfinished_sentence(run: &str, root: &Path) -> String {
    format!(
        "Run {run} was interrupted: this is the state of the root before it. Run `{}`.",
        recover_command(root)
    )
}

pub fn reboot_sentence(word: Option<&str>) -> Option<&'static str> {
    Some(match word? {
        "rebootimmediate" => "Reboot this machine now to put the patch into effect.",
        "rebootafter" => "Reboot this machine when convenient to put the patch into effect.",
        "reconfigimmediate" => "Do a reconfiguration reboot now to put the patch into effect.",
        _ => "Do a reconfiguration reboot when convenient to put the patch into effect.",
    })
}

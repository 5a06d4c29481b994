//! The help of verbs: options under headings, and those that `-h` leaves out.

use clap::{Arg, Command};

/// The headings of `--help` in order, with their options. All others are under `Options`.
const HEADINGS: [(&str, &[&str]); 9] = [
    (
        "Common",
        &[
            "dry-run",
            "yes",
            "diff",
            "check",
            "plan",
            "save-plan",
            "reboot-code",
            "exchange",
            "note",
            "wait",
            "root",
            "policy",
            "json",
            "quiet",
            "verbose",
            "color",
            "help",
            "version",
        ],
    ),
    (SELECTING, &["all-or-nothing", "allow-withdrawn", "no-requires", "with-dependents", "down-to", "adopt"]),
    ("Locally modified files", &["edited", "replace-edited", "keep-edited"]),
    ("Undo data", &["no-undo", "undo-dir", "undo-format"]),
    ("Trial", &["trial", "trial-reboots", "probe"]),
    (
        "Depot and network",
        &["depot", "xref", "offline", "cache", "ca", "proxy", "signature", "keys", "allow-unsigned"],
    ),
    ("Scripts and libraries", &["scripts", "script-timeout", "libs"]),
    ("Several roots", &["roots", "jobs"]),
    ("Privileges", &["as-owner", "trust-root"]),
];

/// For options that choose among patches. Options whose name means something else in other verbs name the heading
/// themselves.
pub const SELECTING: &str = "Selecting patches";

/// `-h` lists up to so many options in full.
const FEW: usize = 15;

/// Left out by `-h` if there are more than [`FEW`].
const RARE: [&str; 30] = [
    "reboot-code",
    "exchange",
    "note",
    "wait",
    "policy",
    "color",
    "version",
    "all-or-nothing",
    "allow-withdrawn",
    "no-requires",
    "exclude",
    "adopt",
    "refresh",
    "replace-edited",
    "keep-edited",
    "undo-dir",
    "undo-format",
    "trial-reboots",
    "offline",
    "cache",
    "ca",
    "proxy",
    "signature",
    "keys",
    "allow-unsigned",
    "scripts",
    "script-timeout",
    "libs",
    "jobs",
    "as-owner",
];

const FOR_EMERGENCIES: [&str; 6] =
    ["trust-root", "discard-journal", "keep-stage", "new-identity", "adopt-undo", "foreign"];

pub(super) fn arranged(command: &Command) -> Command {
    let is_long = command.get_opts().filter(|arg| !arg.is_hide_set()).count() > FEW;
    let mut args: Vec<Arg> = command.get_arguments().map(|arg| placed(arg.clone(), is_long)).collect();
    let is_divided = args.iter().any(|arg| rank(arg) > 1);
    args.sort_by_key(rank);
    let args = args.into_iter().map(|arg| if is_divided { arg } else { arg.help_heading(None) });
    let about = command.get_about().cloned();
    let groups: Vec<_> = command.get_groups().cloned().collect();
    // The caller names it.
    let arranged = Command::new("").args(args).groups(groups);
    let arranged = if let Some(about) = about { arranged.about(about) } else { arranged };
    match command.get_after_help().cloned() {
        Some(text) => arranged.after_help(text),
        None => arranged,
    }
}

fn placed(arg: Arg, is_long: bool) -> Arg {
    let Some(name) = arg.get_long().map(str::to_owned) else { return arg };
    let arg = match HEADINGS.iter().find(|(_, names)| names.contains(&&*name)) {
        Some((heading, _)) if arg.get_help_heading().is_none() => arg.help_heading(*heading),
        _ => arg,
    };
    let is_left_out = FOR_EMERGENCIES.contains(&&*name) || (is_long && RARE.contains(&&*name));
    arg.hide_short_help(is_left_out)
}

/// Returns the place of the heading of an option; 0 without one.
fn rank(arg: &Arg) -> usize {
    let heading = arg.get_help_heading();
    let place = HEADINGS.iter().position(|(name, _)| Some(*name) == heading);
    place.map_or(0, |place| place + 1)
}

/// For `-h` without headings and rare options, for `--help` complete.
pub(super) fn help_text(command: &Command, asked: &clap::Error) -> String {
    let leaves_out = command.get_arguments().any(Arg::is_hide_short_help_set);
    let is_brief = leaves_out && asked.render().to_string() == command.clone().render_help().to_string();
    let mut shown = if is_brief {
        command.clone().mut_args(|arg| arg.help_heading(None)).after_help("--help lists all options.")
    } else {
        command.clone().mut_args(|arg| arg.hide_short_help(false))
    };
    shown.render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_has_two_headings() {
        let mut names: Vec<&str> = HEADINGS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let number = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), number);
    }
}

//! `patchadm help`: the list of commands, and the options of one.

use std::fmt::Write as _;

use crate::arguments::suggest::{did_you_mean, similar};
use crate::arguments::synopsis::folded_synopsis;
use crate::arguments::{ColourOption, HelpOption, VersionOption, parse};
use crate::call::{Applet, AppletKind, Invocation, VerbGroup};
use crate::reply::text::fold::fold;
use crate::reply::{Reply, Stop};

/// How the program itself is called.
pub(crate) const USAGE: &str =
    "patchadm [OPTION...] [VERB [ARGUMENT...]]\npatchadm COMMAND [ARGUMENT...]\npatchadm help [VERB|COMMAND]";

const USAGE_OF_HELP: &str = "patchadm help [verb|command]";

/// Explain a verb or a classic command; without a name list all of them
#[derive(clap::Parser)]
struct HelpArgs {
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
    /// The verb or command
    #[arg(value_name = "VERB|COMMAND")]
    name: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: HelpArgs = parse(call, USAGE_OF_HELP)?;
    let Some(name) = args.name else {
        return Err(Stop::Help(overview(call.applets, call.surroundings.width)).into());
    };
    let Some(applet) = call.applets.iter().find(|applet| applet.is_listed() && applet.name == name) else {
        let message = unknown_command(&name, call.applets);
        return Err(Stop::Usage { message, usage: USAGE_OF_HELP }.into());
    };
    (call.name, call.program) = (applet.name, applet.program());
    call.arguments = vec!["--help".into()];
    (applet.run)(call)
}

/// Returns the list of commands.
pub(crate) fn overview(applets: &[Applet], width: usize) -> String {
    let about = env!("CARGO_PKG_DESCRIPTION");
    let mut text = String::new();
    for line in fold(about.as_bytes(), width + 1) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(&line));
    }
    let _ = write!(text, "\n{}", usage_text(USAGE, width));
    let groups = VerbGroup::ALL.map(|group| (group.heading(), AppletKind::Verb(group)));
    for (heading, kind) in groups.into_iter().chain([("Classic commands", AppletKind::Classic)]) {
        let _ = writeln!(text, "\n{heading}:");
        for applet in applets.iter().filter(|applet| applet.kind == kind) {
            let lines = fold(applet.about.as_bytes(), width.saturating_sub(COLUMN) + 1);
            for (at, line) in lines.iter().enumerate() {
                let name = if at == 0 { applet.name } else { "" };
                let _ = writeln!(text, "  {name:<11} {}", String::from_utf8_lossy(line));
            }
        }
    }
    text + "\n`patchadm` alone says how the root is.\n`patchadm help VERB` explains a verb, patchadm(8) all.\n"
}

/// Where the texts of the list begin.
const COLUMN: usize = 14;

/// `usage:` and the lines of a synopsis below each other.
pub(crate) fn usage_text(usage: &str, width: usize) -> String {
    format!("usage: {}\n", folded_synopsis(usage, width))
}

/// Words that people try, and the verbs that do what they mean.
const MEANT: [(&str, &str); 18] = [
    ("apply", "add"),
    ("backout", "remove"),
    ("check", "verify"),
    ("fsck", "verify"),
    ("info", "show"),
    ("install", "add"),
    ("libs", "shlibs"),
    ("log", "history"),
    ("ls", "list"),
    ("missing", "analyze"),
    ("outdated", "analyze"),
    ("revert", "undo"),
    ("rm", "remove"),
    ("rollback", "undo"),
    ("setup", "links"),
    ("undo-data", "space"),
    ("uninstall", "remove"),
    ("upgrade", "update"),
];

/// Commands that a slip of the finger must not suggest, because they change or delete something.
const NOT_BY_SPELLING: [&str; 18] = [
    "add",
    "adopt",
    "commit",
    "confirm",
    "installf",
    "patchadd",
    "patchrm",
    "pkgadd",
    "pkgrm",
    "promote",
    "publish",
    "recover",
    "remove",
    "removef",
    "repack",
    "undo",
    "undo-import",
    "update",
];

/// Returns the message about a name that is not a command.
pub(crate) fn unknown_command(name: &str, applets: &[Applet]) -> String {
    let listed = applets.iter().filter(|applet| applet.is_listed()).map(|applet| applet.name);
    let harmless = listed.filter(|listed| !NOT_BY_SPELLING.contains(listed));
    let by_meaning = MEANT.iter().find(|(word, _)| *word == name).map(|(_, meant)| *meant);
    let meant = by_meaning.or_else(|| similar(name, harmless));
    let meant = meant.map(|meant| format!("\n{}", did_you_mean(meant))).unwrap_or_default();
    format!("there is no command `{}`{meant}", name.escape_debug())
}

//! `help`: the list of commands, and the options of one.

use std::fmt::Write as _;

use super::schema;
use super::sibling::answer;
use crate::arguments::suggest::{did_you_mean, similar};
use crate::arguments::synopsis::folded_synopsis;
use crate::arguments::{ColourOption, HelpOption, VersionOption, parse};
use crate::call::{AppletKind, Invocation, Program, VerbGroup};
use crate::reply::text::fold::fold;
use crate::reply::{Reply, Stop};

pub(super) const USAGE_OF_HELP: &str = "patchadm help [--schema] [verb|command [action]]";

/// Explain a verb or a classic command; without a name list all of them
#[derive(clap::Parser)]
struct HelpArgs {
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
    /// Print the JSON Schema of the documents that the verb or command prints with `--json`
    #[arg(long, requires = "name")]
    schema: bool,
    /// The verb or command
    #[arg(value_name = "VERB|COMMAND")]
    name: Option<String>,
    /// The action of a verb that has several
    #[arg(value_name = "ACTION")]
    action: Option<String>,
}

/// Runs the verb.
pub fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: HelpArgs = parse(call, USAGE_OF_HELP)?;
    let Some(name) = args.name else {
        return Err(Stop::Help(overview(call.of, call.surroundings.width)).into());
    };
    if args.schema {
        let words: Vec<String> = std::iter::once(name).chain(args.action).collect();
        return Err(schema::answer(call, &words.join(" ")));
    }
    let Some(applet) = call.of.applets.iter().find(|applet| applet.is_listed() && applet.name == name) else {
        let message = unknown_command(call.of, &name);
        return Err(Stop::Usage { message, usage: USAGE_OF_HELP }.into());
    };
    (call.name, call.program) = (applet.name, applet.program(call.of.name));
    call.arguments = args.action.into_iter().map(Into::into).chain(["--help".into()]).collect();
    answer(applet, call)
}

/// Returns the list of commands.
pub fn overview(of: &Program, width: usize) -> String {
    let mut text = String::new();
    for line in fold(of.about.as_bytes(), width + 1) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(&line));
    }
    let _ = write!(text, "\n{}", usage_text(of.usage, width));
    let groups = VerbGroup::ALL.map(|group| (group.heading(), AppletKind::Verb(group)));
    for (heading, kind) in groups.into_iter().chain([("Classic commands", AppletKind::Classic)]) {
        if of.applets.iter().all(|applet| applet.kind != kind) {
            continue;
        }
        let _ = writeln!(text, "\n{heading}:");
        for applet in of.applets.iter().filter(|applet| applet.kind == kind) {
            let lines = fold(applet.about.as_bytes(), width.saturating_sub(COLUMN) + 1);
            for (at, line) in lines.iter().enumerate() {
                let name = if at == 0 { applet.name } else { "" };
                let _ = writeln!(text, "  {name:<11} {}", String::from_utf8_lossy(line));
            }
        }
    }
    text + of.ending
}

/// Where the texts of the list begin.
const COLUMN: usize = 14;

/// `usage:` and the lines of a synopsis below each other.
pub fn usage_text(usage: &str, width: usize) -> String {
    format!("usage: {}\n", folded_synopsis(usage, width))
}

/// Returns the message about a name that is not a command.
pub fn unknown_command(of: &Program, name: &str) -> String {
    let listed = of.applets.iter().filter(|applet| applet.is_listed()).map(|applet| applet.name);
    let harmless = listed.filter(|listed| !of.never_suggested.contains(listed));
    let by_meaning = of.meant.iter().find(|(word, _)| *word == name).map(|(_, meant)| *meant);
    let meant = by_meaning.or_else(|| similar(name, harmless));
    let meant = meant.map(|meant| format!("\n{}", did_you_mean(meant))).unwrap_or_default();
    format!("there is no command `{}`{meant}", name.escape_debug())
}

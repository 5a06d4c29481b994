use std::fmt::Write as _;

use super::sibling::run_here_or_become;
use crate::arguments::suggest::{did_you_mean, similar};
use crate::arguments::synopsis::folded_synopsis;
use crate::call::{Applet, AppletKind, Invocation, Program, Sibling, VerbGroup, Work};
use crate::reply::text::fold::fold;
use crate::reply::{Reply, Stop};

/// Prints the help of a verb or classic command.
///
/// # Errors
/// Always: the help as [`Stop::Help`], or the refusal of an unknown word.
pub fn help_of(call: &mut Invocation, name: &str, usage: &'static str) -> anyhow::Result<Reply> {
    let Some(applet) = call.of.applets.iter().find(|applet| applet.is_listed() && applet.name == name) else {
        let message = unknown_command(call.of, name);
        return Err(Stop::Usage { message, usage }.into());
    };
    (call.name, call.program) = (applet.name, applet.program(call.of.name));
    call.arguments.push("--help".into());
    run_here_or_become(applet, call)
}

pub fn overview(of: &Program, width: usize) -> String {
    let mut text = String::new();
    for line in fold(of.about.as_bytes(), width + 1) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(&line));
    }
    let _ = write!(text, "\n{}", usage_text(of.usage, width));
    for group in VerbGroup::ALL {
        let is_of_group =
            |applet: &&Applet| applet.kind == AppletKind::Verb(group) && matches!(applet.work, Work::Here(_));
        add_section(&mut text, group.heading(), of.applets.iter().filter(is_of_group), width);
    }
    let siblings = siblings(of);
    if siblings.is_empty() {
        add_section(&mut text, CLASSIC, classic_commands(of), width);
    } else {
        let _ = writeln!(text, "\nOther programs and commands:");
        for sibling in siblings {
            add_row(&mut text, sibling.name, PROGRAM_COLUMN, sibling.about, width);
        }
        let count = classic_commands(of).count();
        let classic = format!("{count} classic commands; `{} help classic` lists them", of.name);
        add_row(&mut text, "patchadd …", PROGRAM_COLUMN, &classic, width);
    }
    for line in fold(of.ending.as_bytes(), width + 1) {
        let _ = writeln!(text, "\n{}", String::from_utf8_lossy(&line));
    }
    text
}

pub fn overview_of_classic(of: &Program, width: usize) -> String {
    let mut text = String::new();
    add_section(&mut text, CLASSIC, classic_commands(of), width);
    text.trim_start().to_owned()
}

const CLASSIC: &str = "Classic commands";

fn classic_commands(of: &Program) -> impl Iterator<Item = &Applet> {
    of.applets.iter().filter(|applet| applet.kind == AppletKind::Classic)
}

fn siblings(of: &Program) -> Vec<&'static Sibling> {
    let mut siblings: Vec<&'static Sibling> = Vec::new();
    for applet in of.applets {
        match applet.work {
            Work::Beside(sibling) if siblings.iter().all(|known| known.name != sibling.name) => {
                siblings.push(sibling);
            }
            _ => {}
        }
    }
    siblings
}

fn add_section<'a>(
    text: &mut String,
    heading: &str,
    applets: impl Iterator<Item = &'a Applet>,
    width: usize,
) {
    let mut applets = applets.peekable();
    if applets.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "\n{heading}:");
    for applet in applets {
        add_row(text, applet.name, COLUMN, applet.about, width);
    }
}

fn add_row(text: &mut String, name: &str, column: usize, about: &str, width: usize) {
    for (at, line) in fold(about.as_bytes(), width.saturating_sub(column) + 1).iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        let _ = writeln!(text, "  {name:<0$} {1}", column.saturating_sub(3), String::from_utf8_lossy(line));
    }
}

/// Descriptions of commands and programs begin here.
const COLUMN: usize = 13;
const PROGRAM_COLUMN: usize = 18;

pub fn usage_text(usage: &str, width: usize) -> String {
    format!("usage: {}\n", folded_synopsis(usage, width))
}

pub fn unknown_command(of: &Program, name: &str) -> String {
    let listed = of.applets.iter().filter(|applet| applet.is_listed()).map(|applet| applet.name);
    let harmless = listed.clone().filter(|listed| !of.never_suggested.contains(listed));
    let by_meaning = of.meant.iter().find(|(word, _)| *word == name).map(|(_, meant)| (*meant).to_owned());
    // A beginning is no slip, and may suggest a command that changes something.
    let begun: Vec<&str> = listed.filter(|listed| name.len() > 1 && listed.starts_with(name)).collect();
    let begun = (!begun.is_empty()).then(|| begun.join("` or `"));
    let meant = by_meaning.or(begun).or_else(|| similar(name, harmless).map(str::to_owned));
    let meant = meant.map(|meant| format!("\n{}", did_you_mean(&meant))).unwrap_or_default();
    format!("there is no command `{}`{meant}", name.escape_debug())
}

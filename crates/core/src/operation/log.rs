//! The contents of the log of a run. Logs are also read at a terminal: names and texts of packages have their control
//! characters escaped as in printed output. Only the output of scripts is logged literally.

use std::fmt::{Display, Write as _};

use patchadm_planning::plan::{Action, Change, Plan};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::control::printable;
use patchadm_svr4::places;

pub(super) fn of_patch(plan: &Plan) -> Option<ObjectPath> {
    let id = plan.patches.first()?;
    places::patches().join(id.as_bytes()).ok()?.join(b"log").ok()
}

/// Returns the log of packages that were installed, or of an applied patch: every package with its paths, as pkgadd(1M)
/// would have listed them.
pub(super) fn of_installation(plan: &Plan) -> String {
    let mut text = String::new();
    for package in &plan.packages {
        let _ = writeln!(text, "\nProcessing package instance <{package}>\n");
        for change in plan.changes.iter().filter(|change| change.package == *package) {
            let _ = writeln!(text, "{}{}", change.path, marker(change));
        }
        let _ = writeln!(text, "\nInstallation of <{package}> was successful.");
    }
    for note in &plan.notes {
        let _ = writeln!(text, "NOTE: {note}");
    }
    escaped(&text)
}

fn marker(change: &Change) -> &'static str {
    use patchadm_planning::plan::Body;
    match &change.action {
        Action::Add(new) | Action::Replace(new) => match new.body {
            Body::Symlink(_) => " <symbolic link>",
            Body::Link(_) => " <linked pathname>",
            _ => "",
        },
        Action::Delete | Action::RemoveDirectory => " <removed>",
        Action::Attributes(_) => " <attribute change only>",
    }
}

/// Returns the log of a patch that was backed out.
pub(super) fn of_backout(plan: &Plan) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Backing out patch {}", plan.patches.join(" "));
    for change in &plan.changes {
        let _ = writeln!(text, "{}{}", change.path, marker(change));
    }
    for note in &plan.notes {
        let _ = writeln!(text, "NOTE: {note}");
    }
    escaped(&text)
}

/// Returns the log of a package that was removed.
pub(super) fn of_removal(plan: &Plan) -> String {
    let mut text = String::new();
    for package in &plan.packages {
        let _ = writeln!(text, "## Removing installed package instance <{package}>");
    }
    for change in plan.changes.iter().rev() {
        let _ = writeln!(text, "{}", change.path);
    }
    for note in &plan.notes {
        let _ = writeln!(text, "NOTE: {note}");
    }
    escaped(&text)
}

/// Returns the log of a call of installf(1M) or removef(1M): the lines of `contents` that it changed, as they are
/// afterwards.
pub(super) fn of_registration(plan: &Plan) -> String {
    let mut text = String::new();
    for (path, line) in &plan.contents {
        let line = line.as_ref().map(|line| String::from_utf8_lossy(&line.write()).into_owned());
        let _ = writeln!(text, "{}", line.unwrap_or_else(|| format!("{path} <removed>")));
    }
    escaped(&text)
}

/// Returns the heading for the output of scripts in a run that changed nothing: which run, and why.
pub(super) fn head(subject: &str, reason: impl Display) -> String {
    escaped(&format!("# {subject}: {reason}\n"))
}

fn escaped(text: &str) -> String {
    String::from_utf8_lossy(&printable(text.as_bytes())).into_owned()
}

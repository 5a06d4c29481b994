//! Contents of logs. Logs are read at terminals, so control characters of packages are escaped; only the output of
//! scripts is literal.

use std::fmt::{Display, Write as _};

use patchadm_planning::plan::{Action, Change, Plan};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::control::printable;
use patchadm_svr4::places;

pub(super) fn of_patch(plan: &Plan) -> Option<ObjectPath> {
    let id = plan.patches.first()?;
    places::patches().join(id.as_bytes()).ok()?.join(b"log").ok()
}

/// Lists every package with its paths, like pkgadd(1M).
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

/// Lists the changed lines of `contents`.
pub(super) fn of_registration(plan: &Plan) -> String {
    let mut text = String::new();
    for (path, line) in &plan.contents {
        let line = line.as_ref().map(|line| String::from_utf8_lossy(&line.write()).into_owned());
        let _ = writeln!(text, "{}", line.unwrap_or_else(|| format!("{path} <removed>")));
    }
    escaped(&text)
}

/// The heading for script output of a run that changed nothing.
pub(super) fn head(subject: &str, reason: impl Display) -> String {
    escaped(&format!("# {subject}: {reason}\n"))
}

fn escaped(text: &str) -> String {
    String::from_utf8_lossy(&printable(text.as_bytes())).into_owned()
}

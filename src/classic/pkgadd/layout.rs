//! Texts of pkgadd(1M) about one package, which scripts and people are used to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use patchadm_core::operation::packages::report::PlannedInstallation;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::script_schedule::steps::Portion;
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::{CheckAnswer, ConflictAnswer};
use patchadm_svr4::package::ObjectPath;

pub(super) fn heading(name: &str, device: &str, package: &PackageImage) -> String {
    let text = |name| package.params.text(name);
    format!(
        "\nProcessing package instance <{name}> from <{device}>\n\n{}({}) {}\n",
        text("NAME"),
        text("ARCH"),
        text("VERSION")
    )
}

/// Scripts search for the words `same architecture and version`.
pub(super) fn update_notice(instance: &str) -> String {
    format!(
        "\nPackage <{instance}> is installed already in the\nsame architecture and version, and is overwritten.\n\n"
    )
}

/// Warns about objects without a mode in the package, by their paths inside the root.
pub(super) fn usual_modes(installation: &PlannedInstallation) -> String {
    let mut text = String::new();
    for (path, mode) in &installation.usual_modes {
        let _ = writeln!(text, "WARNING: setting mode of <{path}> to default mode ({:o})", mode.bits());
    }
    text
}

pub(super) fn steps(installation: &PlannedInstallation, package: &PackageImage, root: &Root) -> String {
    let mut text = String::new();
    if let Some(basedir) = &installation.basedir {
        let _ = writeln!(text, "Using <{}> as the package base directory.", root.show(basedir));
    }
    text.push_str("## Processing package information.\n## Processing system information.\n");
    match installation.already {
        0 => {}
        1 => text.push_str("   1 package pathname is already properly installed.\n"),
        number => {
            let _ = writeln!(text, "   {number} package pathnames are already properly installed.");
        }
    }
    let admin = &installation.admin;
    let checks = [
        (
            admin.idepend != CheckAnswer::NoCheck && package.install.contains_key("depend"),
            "Verifying package dependencies.",
        ),
        (admin.space != CheckAnswer::NoCheck, "Verifying disk space requirements."),
        (
            admin.conflict != ConflictAnswer::NoCheck,
            "Checking for conflicts with packages already installed.",
        ),
        (admin.setuid != ConflictAnswer::NoCheck, "Checking for setuid/setgid programs."),
    ];
    for (_, step) in checks.iter().filter(|(is_made, _)| *is_made) {
        let _ = writeln!(text, "## {step}");
    }
    let _ = writeln!(text, "\nInstalling {} as <{}>\n", installation.name, installation.instance);
    text
}

pub(super) const PART: &str = "## Installing part 1 of 1.\n";

pub(super) fn verified(class: &str) -> String {
    format!("[ verifying class <{class}> ]\n")
}

pub(super) fn portions(
    installation: &PlannedInstallation,
    portions: &[Portion],
    batch: &Plan,
    root: &Root,
) -> String {
    let changes: BTreeMap<&ObjectPath, &Change> =
        batch.changes.iter().map(|change| (&change.path, &**change)).collect();
    let list = |text: &mut String, paths: &[ObjectPath]| {
        for change in paths.iter().filter_map(|path| changes.get(path)) {
            if let Some(marker) = marker(change, installation.implied.contains(&change.path)) {
                let _ = writeln!(text, "{}{marker}", root.show(&change.path));
            }
        }
    };
    let mut text = String::new();
    for portion in portions {
        list(&mut text, &portion.paths);
        if portion.is_complete {
            text.push_str(&verified(&portion.class));
        }
        list(&mut text, &portion.links);
    }
    text
}

/// Installed objects by class, each with its hard links last.
pub(super) fn paths(installation: &PlannedInstallation, root: &Root) -> String {
    let mut text = String::new();
    let mut classes: Vec<&str> = Vec::new();
    let listed: Vec<(&str, &Change, &'static str)> = installation
        .intended
        .plan
        .changes
        .iter()
        .filter_map(|change| {
            let implied = installation.implied.contains(&change.path);
            Some((class(installation, &change.path), &**change, marker(change, implied)?))
        })
        .collect();
    if listed.is_empty() {
        return "## Installation of part 1 of 1 is complete.\n".to_owned();
    }
    for (class, ..) in &listed {
        if !classes.contains(class) {
            classes.push(class);
        }
    }
    for class in classes {
        let of_class = |link: bool| {
            listed.iter().filter(move |(own, change, _)| *own == class && is_link(change) == link)
        };
        for (_, change, marker) in of_class(false) {
            let _ = writeln!(text, "{}{marker}", root.show(&change.path));
        }
        text.push_str(&verified(class));
        for (_, change, marker) in of_class(true) {
            let _ = writeln!(text, "{}{marker}", root.show(&change.path));
        }
    }
    text
}

fn class<'a>(installation: &'a PlannedInstallation, path: &ObjectPath) -> &'a str {
    let line = installation.intended.plan.contents.get(path).and_then(Option::as_ref);
    line.map_or("none", |line| line.object.class.as_str())
}

fn is_link(change: &Change) -> bool {
    matches!(&change.action, Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Link(_)))
}

/// The text after a path, or `None` for objects that pkgadd(1M) does not list.
fn marker(change: &Change, implied: bool) -> Option<&'static str> {
    match &change.action {
        Action::Add(new) | Action::Replace(new) => match new.body {
            Body::Member(_) | Body::CopyOf(_) => Some(""),
            Body::Symlink(_) => Some(" <symbolic link>"),
            Body::Link(_) => Some(" <linked pathname>"),
            Body::Directory if implied => Some(" <implied directory>"),
            Body::Directory | Body::Pipe | Body::Device { .. } => None,
        },
        Action::Attributes(_) => Some(" <attribute change only>"),
        Action::Delete | Action::RemoveDirectory => None,
    }
}

//! What pkgrm(1M) tells about a package that goes, class by class.

use std::fmt::Write as _;

use crate::cli::packages::{self, Package};
use crate::cli::questions;
use crate::cli::screen::Screen;
use crate::operation::packages::left_objects::{LeftObject, Stays};
use crate::operation::packages::observer::PackageObserver;
use crate::operation::packages::report::{Removal, Removed};
use crate::package::Params;
use crate::plan::refusal::Command;

/// The removal of packages.
pub(super) struct Removing;

/// What became of a package.
pub(super) fn package(removed: &Removed) -> Package<'_> {
    let plan = removed.removal.as_ref().map(|removal| &removal.intended.plan);
    Package { name: &removed.name, plan, result: &removed.result, ending: removed.ending }
}

/// What stands behind the path of an object.
fn marker(left: &LeftObject) -> &'static str {
    match left.stays {
        None => "",
        Some(Stays::Shared) => " <shared pathname not removed>",
        Some(Stays::NotEmpty) => " <non-empty directory not removed>",
        Some(Stays::MountPoint) => " <mount point not removed>",
    }
}

impl PackageObserver for Screen<'_, Removing> {
    fn removing(&mut self, name: &str, params: &Params) {
        let text = |name| params.text(name);
        self.step(&format!(
            "\nThe following package is currently installed:\n   {name}  {}\n   {:width$}  ({}) {}\n",
            text("NAME"),
            "",
            text("ARCH"),
            text("VERSION"),
            width = name.len()
        ));
    }

    fn removal_agreed(&mut self, removal: &Removal) {
        let name = &removal.name;
        self.step(&format!("\n## Removing installed package instance <{name}>\n"));
        if removal.checks_dependencies {
            self.step(&format!("## Verifying package <{name}> dependencies.\n"));
        }
        self.step("## Processing package information.\n");
    }

    fn class_left(&mut self, class: &str, objects: &[LeftObject]) {
        let mut text = format!("## Removing pathnames in class <{class}>\n");
        for left in objects {
            let _ = writeln!(text, "{}{}", self.root.show(&left.path), marker(left));
        }
        self.step(&text);
    }

    fn objects_gone(&mut self) {
        self.step("## Updating system information.\n");
    }

    fn removed(&mut self, removed: &Removed) {
        if self.outcome {
            packages::close(&mut self.output, Command::Pkgrm, "Removal of", &package(removed));
        }
    }

    fn agrees(&mut self, _: &str, questions: &[String]) -> bool {
        let help = "Answer y to remove the package, n to leave the system as it is.";
        questions::agreed(
            &mut self.output,
            questions,
            "\nDo you want to remove this package? [y,n,?,q] ",
            help,
        )
    }
}

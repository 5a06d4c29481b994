use std::fmt::Write as _;

use crate::classic::console::Console;
use patchadm_cli::reply::packages::{EndedPackage, print_ending};
use patchadm_cli::surroundings::questions;
use patchadm_core::operation::packages::report::{
    LeftObject, PackageObserver, PlannedRemoval, RemovedPackage, StayReason,
};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_svr4::package::Params;

pub(super) struct RemoveDetails;

pub(super) fn ended(removed: &RemovedPackage) -> EndedPackage<'_> {
    let plan = removed.removal.as_ref().map(|removal| &removal.intended.plan);
    let libraries = removed.removal.as_ref().and_then(|planned| planned.libraries.as_ref());
    EndedPackage { name: &removed.name, plan, result: &removed.result, ending: removed.ending, libraries }
}

fn marker(left: &LeftObject) -> &'static str {
    match left.stays {
        None => "",
        Some(StayReason::Shared) => " <shared pathname not removed>",
        Some(StayReason::NotEmpty) => " <non-empty directory not removed>",
        Some(StayReason::MountPoint) => " <mount point not removed>",
    }
}

impl PackageObserver for Console<'_, RemoveDetails> {
    fn removing(&mut self, name: &str, params: &Params) {
        let text = |name| params.text(name);
        self.print_step(&format!(
            "\nThe following package is currently installed:\n   {name}  {}\n   {:width$}  ({}) {}\n",
            text("NAME"),
            "",
            text("ARCH"),
            text("VERSION"),
            width = name.len()
        ));
    }

    fn removal_agreed(&mut self, removal: &PlannedRemoval) {
        let name = &removal.name;
        self.print_step(&format!("\n## Removing installed package instance <{name}>\n"));
        if removal.checks_dependencies {
            self.print_step(&format!("## Verifying package <{name}> dependencies.\n"));
        }
        self.print_step("## Processing package information.\n");
    }

    fn class_left(&mut self, class: &str, objects: &[LeftObject]) {
        let mut text = format!("## Removing pathnames in class <{class}>\n");
        for left in objects {
            let _ = writeln!(text, "{}{}", self.root.show(&left.path), marker(left));
        }
        self.print_step(&text);
    }

    fn objects_gone(&mut self) {
        self.print_step("## Updating system information.\n");
    }

    fn removed(&mut self, removed: &RemovedPackage) {
        if self.outcome {
            let wording = Wording::of_classic(self.root.prefix());
            print_ending(&mut self.output, (&wording, Command::Pkgrm), "Removal of", &ended(removed));
        }
    }

    fn agrees(&mut self, _: &str, questions: &[String]) -> bool {
        let help = "Answer y to remove the package, n to leave the system unchanged.";
        questions::agreed(
            &mut self.output,
            questions,
            "\nDo you want to remove this package? [y,n,?,q] ",
            help,
        )
    }
}

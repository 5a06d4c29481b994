use std::path::Path;

use super::layout;
use crate::classic::console::Console;
use patchadm_cli::reply::packages::{EndedPackage, print_ending};
use patchadm_cli::surroundings::questions;
use patchadm_core::operation::packages::report::{AddedPackage, PackageObserver, PlannedInstallation};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_planning::plan::script_schedule::steps::Portion;

pub(crate) struct AddDetails<'a> {
    pub(crate) device: &'a Path,
    pub(crate) copyright: bool,
    /// Name the vendor of a package without copyright text.
    pub(crate) vendor: bool,
}

pub(super) fn ended(added: &AddedPackage) -> EndedPackage<'_> {
    let plan = added.installation.as_ref().map(|installation| &installation.intended.plan);
    let libraries = added.installation.as_ref().and_then(|planned| planned.libraries.as_ref());
    EndedPackage { name: &added.name, plan, result: &added.result, ending: added.ending, libraries }
}

impl PackageObserver for Console<'_, AddDetails<'_>> {
    fn adding(&mut self, name: &str, package: &PackageImage) {
        if self.progress {
            let text = layout::heading(name, &self.details.device.display().to_string(), package);
            self.print_message(&text);
        }
        let copyright = package.install.get("copyright").filter(|_| self.details.copyright);
        if let Some(text) = copyright {
            let newline: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
            drop(self.output.print([text, newline].concat()));
        } else if self.progress && self.details.vendor {
            let vendor = package.params.text("VENDOR").into_owned();
            if !vendor.is_empty() {
                self.print_message(&format!("{vendor}\n"));
            }
        }
    }

    fn placed(&mut self, instance: &str, is_update: bool) {
        if is_update && self.outcome {
            self.print_message(&layout::update_notice(instance));
        }
    }

    fn installing(&mut self, installation: &PlannedInstallation, package: &PackageImage) {
        let text = layout::steps(installation, package, self.root);
        self.print_step(&text);
        if self.outcome {
            self.print_message(&layout::usual_modes(installation));
        }
        if !installation.has_scripts {
            self.print_step(layout::PART);
        }
    }

    fn objects_begin(&mut self) {
        self.print_step(layout::PART);
    }

    fn switched(&mut self, installation: &PlannedInstallation, portions: &[Portion], batch: &Plan) {
        let text = layout::portions(installation, portions, batch, self.root);
        self.print_step(&text);
    }

    fn class_done(&mut self, class: &str) {
        self.print_step(&layout::verified(class));
    }

    fn added(&mut self, added: &AddedPackage) {
        if !self.outcome {
            return;
        }
        if let (Some(installation), Ok(_)) = (&added.installation, &added.result)
            && !installation.has_scripts
        {
            let text = layout::paths(installation, self.root);
            self.print_step(&text);
        }
        let wording = Wording::of_classic(self.root.prefix());
        print_ending(&mut self.output, (&wording, Command::Pkgadd), "Installation of", &ended(added));
    }

    fn agrees(&mut self, name: &str, questions: &[String]) -> bool {
        let prompt = format!("\nDo you want to continue with the installation of <{name}> [y,n,?] ");
        let help = "Answer y to install the package anyway, n to leave the system unchanged.";
        questions::agreed(&mut self.output, questions, &prompt, help)
    }
}

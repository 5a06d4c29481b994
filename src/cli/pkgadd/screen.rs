//! What pkgadd(1M) tells about a package that comes.

use std::path::Path;

use super::layout;
use crate::cli::packages::{self, Package};
use crate::cli::questions;
use crate::cli::screen::Screen;
use crate::operation::packages::installation::Installation;
use crate::operation::packages::observer::PackageObserver;
use crate::operation::packages::report::Added;
use crate::plan::Plan;
use crate::plan::course::steps::Portion;
use crate::plan::refusal::Command;
use crate::source::PackageImage;

/// The installation of packages.
pub(in crate::cli) struct Adding<'a> {
    pub(in crate::cli) device: &'a Path,
    /// Whether copyright texts are printed.
    pub(in crate::cli) copyright: bool,
    /// Whether the vendor is named where no copyright text is printed.
    pub(in crate::cli) vendor: bool,
}

impl PackageObserver for Screen<'_, Adding<'_>> {
    fn adding(&mut self, name: &str, package: &PackageImage) {
        if self.progress {
            let text = layout::heading(name, &self.scene.device.display().to_string(), package);
            self.say(&text);
        }
        let copyright = package.install.get("copyright").filter(|_| self.scene.copyright);
        if let Some(text) = copyright {
            let newline: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
            drop(self.output.print([text, newline].concat()));
        } else if self.progress && self.scene.vendor {
            let vendor = package.params.text("VENDOR").into_owned();
            if !vendor.is_empty() {
                self.say(&format!("{vendor}\n"));
            }
        }
    }

    fn placed(&mut self, instance: &str, is_update: bool) {
        if is_update && self.outcome {
            self.say(&layout::update_notice(instance));
        }
    }

    fn installing(&mut self, installation: &Installation, package: &PackageImage) {
        let text = layout::steps(installation, package, self.root);
        self.step(&text);
        if self.outcome {
            self.say(&layout::usual_modes(installation));
        }
        if !installation.has_scripts {
            self.step(layout::PART);
        }
    }

    fn objects_begin(&mut self) {
        self.step(layout::PART);
    }

    fn switched(&mut self, installation: &Installation, portions: &[Portion], batch: &Plan) {
        let text = layout::portions(installation, portions, batch, self.root);
        self.step(&text);
    }

    fn class_done(&mut self, class: &str) {
        self.step(&layout::verified(class));
    }

    fn added(&mut self, added: &Added) {
        if !self.outcome {
            return;
        }
        if let (Some(installation), Ok(_)) = (&added.installation, &added.result)
            && !installation.has_scripts
        {
            let text = layout::paths(installation, self.root);
            self.step(&text);
        }
        let plan = added.installation.as_ref().map(|installation| &installation.intended.plan);
        let package = Package { name: &added.name, plan, result: &added.result, ending: added.ending };
        packages::close(&mut self.output, Command::Pkgadd, "Installation of", &package);
    }

    fn agrees(&mut self, name: &str, questions: &[String]) -> bool {
        let prompt = format!("\nDo you want to continue with the installation of <{name}> [y,n,?] ");
        let help = "Answer y to install the package although this was found, n to leave the system as it is.";
        questions::agreed(&mut self.output, questions, &prompt, help)
    }
}

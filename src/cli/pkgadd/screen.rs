//! Somebody before a terminal, or a script that reads what is printed: pkgadd(1M) tells them how it goes, and what the
//! packages' own scripts say.
//!
//! Messages of the command go to standard error. Scripts have both streams, as they come; where a JSON document is
//! wanted they have standard error alone.

use std::path::Path;

use super::layout;
use crate::cli::output::Output;
use crate::cli::packages::{self, Package};
use crate::cli::questions;
use crate::operation::add_package::Added;
use crate::operation::attendant::Attendant;
use crate::operation::installation::Installation;
use crate::operation::scripts::{Stream, Voice};
use crate::plan::Plan;
use crate::plan::course::Portion;
use crate::plan::refusal::Command;
use crate::root::Root;
use crate::source::PackageImage;

/// What is told, and to whom.
pub(in crate::cli) struct Screen<'a> {
    pub(in crate::cli) output: Output,
    pub(in crate::cli) root: &'a Root,
    pub(in crate::cli) device: &'a Path,
    /// Whether the steps are told.
    pub(in crate::cli) progress: bool,
    /// Whether the outcome is told.
    pub(in crate::cli) outcome: bool,
    /// Whether copyright texts are printed.
    pub(in crate::cli) copyright: bool,
    /// Whether the vendor is named where no copyright text is printed.
    pub(in crate::cli) vendor: bool,
}

impl Screen<'_> {
    /// Prints where standard error can be written to; nothing depends on it.
    fn say(&mut self, text: &str) {
        drop(self.output.complain(text));
    }

    fn step(&mut self, text: &str) {
        if self.progress {
            self.say(text);
        }
    }
}

impl Voice for Screen<'_> {
    fn executing(&mut self, script: &str) {
        self.step(&format!("## Executing {script} script.\n"));
    }

    fn heard(&mut self, stream: Stream, bytes: &[u8]) {
        // Where nobody reads any more, the script goes on nevertheless.
        match stream {
            Stream::Out if self.outcome => {
                drop(self.output.print(bytes));
                drop(self.output.flush());
            }
            Stream::Out | Stream::Err => drop(self.output.complain(bytes)),
        }
    }

    fn complains(&mut self, text: &str) {
        drop(self.output.error(text));
    }

    fn says(&mut self, text: &str) {
        if self.outcome {
            self.say(text);
        }
    }

    fn warns(&mut self, text: &str) {
        drop(self.output.warning(text));
    }
}

impl Attendant for Screen<'_> {
    fn adding(&mut self, name: &str, package: &PackageImage) {
        if self.progress {
            let text = layout::heading(name, &self.device.display().to_string(), package);
            self.say(&text);
        }
        let copyright = package.install.get("copyright").filter(|_| self.copyright);
        if let Some(text) = copyright {
            let newline: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
            drop(self.output.print([text, newline].concat()));
        } else if self.progress && self.vendor {
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

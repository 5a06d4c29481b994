//! `pkgchk -d`: packages that are not installed. A device is never changed, so `-f` has no effect.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::arguments::PkgchkArgs;
use super::document::{CheckDocument, ListDocument};
use patchadm_cli::reply::text::{finding, object};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop, failure};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::object_check::CheckScope;
use patchadm_core::operation::object_check::device::{DevicePackage, DeviceReport, check_device};
use patchadm_planning::plan::refusal::Command;

struct DeviceReply {
    report: DeviceReport,
    device: PathBuf,
    categories: Vec<String>,
    zone: Zone,
    /// List objects instead of checking them.
    long: bool,
    verbose: bool,
}

/// Exit 0 if every object agrees with its pkgmap, 1 if not or if there is no such package.
pub(super) fn run(args: &PkgchkArgs, device: &Path, scope: CheckScope, zone: Zone) -> anyhow::Result<Reply> {
    let aspects = (!args.long).then(|| args.aspects());
    let report = check_device(device, &scope, aspects).map_err(|failed| Stop::Refused {
        exit: failure::code(Command::Pkgadd, &failed),
        message: failed.to_string(),
    })?;
    let mut objects = report.packages.iter().flat_map(|package| &package.objects);
    let exit = if !report.missing.is_empty() || report.packages.is_empty() {
        Exit::failed(ExitCause::NotFound)
    } else if objects.all(|object| object.findings.is_empty()) {
        Exit::OK
    } else {
        Exit::failed(ExitCause::DamagedInput)
    };
    let (device, categories) = (device.to_owned(), scope.categories);
    let reply = DeviceReply { report, device, categories, zone, long: args.long, verbose: args.verbose };
    Ok(Reply::new(exit, reply))
}

impl Serialize for DeviceReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let DeviceReport { packages, missing, .. } = &self.report;
        if self.long {
            ListDocument::of_device(packages).serialize(serializer)
        } else {
            CheckDocument::of_device(packages, missing, self.zone).serialize(serializer)
        }
    }
}

impl CommandReport for DeviceReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let DeviceReport { packages, missing, .. } = &self.report;
        for word in missing {
            output.error(&format!("no package associated with <{word}>"))?;
        }
        if packages.is_empty() && missing.is_empty() {
            output.error(&format!("no package of category <{}> is on it", self.categories.join(",")))?;
        }
        for package in packages {
            if self.long {
                self.print_listing(output, package)?;
            } else {
                self.print_check(output, package)?;
            }
        }
        Ok(())
    }
}

impl DeviceReply {
    fn print_listing(&self, output: &mut Output, package: &DevicePackage) -> anyhow::Result<()> {
        for one in &package.objects {
            output.print(object::spooled(&one.object, &one.path.to_string(), &package.package, self.zone))?;
        }
        Ok(())
    }

    fn print_check(&self, output: &mut Output, package: &DevicePackage) -> anyhow::Result<()> {
        let form = if package.is_stream { "stream" } else { "directory" };
        let (name, from) = (&package.package, self.device.display());
        output.line(format!("Checking uninstalled {form} format package <{name}> from <{from}>"))?;
        output.line("## Checking control scripts.")?;
        output.line("## Checking package objects.")?;
        for one in &package.objects {
            let path = one.path.to_string();
            output.complain(finding::error(&one.findings, &path, self.zone))?;
            if self.verbose {
                output.complain(format!("{path}\n"))?;
            }
        }
        Ok(output.line("## Checking is complete.")?)
    }
}

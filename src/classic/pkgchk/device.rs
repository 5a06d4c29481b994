//! `pkgchk -d`: packages that are not installed yet. Nothing on a device is ever changed; `-f` has nothing to do there.

use std::path::Path;

use super::{Args, document};
use crate::applets::Invocation;
use crate::operation::check::Scope;
use crate::operation::check::device::{Delivered, check_device};
use crate::plan::refusal::Command;
use crate::reply::exit::{Exit, Stop};
use crate::reply::text::{finding, object};
use crate::reply::{failure, json};

/// Checks or lists what is asked for. Exit 0 if every object is what its pkgmap says, 1 if not or if there is no such
/// package.
pub(super) fn run(call: &mut Invocation, args: &Args, device: &Path, scope: &Scope) -> anyhow::Result<Exit> {
    let aspects = (!args.long).then(|| args.aspects());
    let report = check_device(device, scope, aspects).map_err(|failed| Stop::Refused {
        exit: failure::code(Command::Pkgadd, &failed),
        message: failed.to_string(),
    })?;
    let objects = || report.packages.iter().flat_map(|package| &package.objects);
    let is_clean = report.missing.is_empty() && objects().all(|object| object.findings.is_empty());
    let exit = if is_clean && !report.packages.is_empty() { Exit::OK } else { Exit::FAILED };
    if args.extensions.json {
        let text = if args.long {
            json::document("pkgchk", None, exit, document::List::of_device(&report.packages))?
        } else {
            let zone = call.surroundings.zone;
            let body = document::Body::of_device(&report.packages, report.missing, zone);
            json::document("pkgchk", None, exit, body)?
        };
        call.output.print(text)?;
        return Ok(exit);
    }
    for word in &report.missing {
        call.output.error(&format!("no package associated with <{word}>"))?;
    }
    if report.packages.is_empty() && report.missing.is_empty() {
        call.output.error(&format!("no package of category <{}> is on it", scope.categories.join(",")))?;
    }
    for package in &report.packages {
        if args.long {
            list(call, package)?;
        } else {
            tell(call, args, device, package)?;
        }
    }
    Ok(exit)
}

fn list(call: &mut Invocation, package: &Delivered) -> std::io::Result<()> {
    for one in &package.objects {
        let path = one.path.to_string();
        let text = object::spooled(&one.object, &path, &package.package, call.surroundings.zone);
        call.output.print(text)?;
    }
    Ok(())
}

fn tell(call: &mut Invocation, args: &Args, device: &Path, package: &Delivered) -> std::io::Result<()> {
    let form = if package.is_stream { "stream" } else { "directory" };
    let name = &package.package;
    let from = device.display();
    call.output.line(format!("Checking uninstalled {form} format package <{name}> from <{from}>"))?;
    call.output.line("## Checking control scripts.")?;
    call.output.line("## Checking package objects.")?;
    for one in &package.objects {
        let path = one.path.to_string();
        call.output.complain(finding::error(&one.findings, &path, call.surroundings.zone))?;
        if args.verbose {
            call.output.complain(format!("{path}\n"))?;
        }
    }
    call.output.line("## Checking is complete.")
}

//! pkginfo(1): lists installed or spooled packages.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use patchadm_cli::arguments::{Extensions, RootOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::advice::mending;
use patchadm_cli::reply::failure::must_have_records;
use patchadm_cli::reply::text::package::{extracted, long, short, status};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::queries::packages::{
    CorruptPackage, ObjectCounts, PackageListing, PackageSummary, installed_packages, spooled_packages,
};
use patchadm_core::operation::queries::select::{PackageCompleteness, PackageSelection, VersionPattern};
use patchadm_core::operation::session::is_new;

const USAGE: &str = "\
pkginfo [-q|-x|-l] [-p|-i] [-r] [-a arch] [-v version] [-c category]... [-R root] [pkginst...]
pkginfo [-q|-x|-l] [-a arch] [-v version] [-c category]... -d device [pkginst...]";

/// List installed or spooled packages
#[derive(clap::Parser)]
#[allow(clippy::struct_excessive_bools)] // one for each letter of the command line
struct PkginfoArgs {
    /// Print nothing; the exit code is the result
    #[arg(short, conflicts_with_all = ["extracted", "long"])]
    quiet: bool,
    /// Print name, architecture and version of each package
    #[arg(short = 'x', conflicts_with = "long")]
    extracted: bool,
    /// Print everything about each package
    #[arg(short)]
    long: bool,
    /// List only partly installed packages
    #[arg(short, conflicts_with = "complete")]
    partial: bool,
    /// List only completely installed packages
    #[arg(short = 'i')]
    complete: bool,
    /// Print the base directory of each package
    #[arg(short = 'r', conflicts_with_all = ["extracted", "long"])]
    relocation: bool,
    /// Print only the instance names
    #[arg(short = 'L', conflicts_with_all = ["extracted", "long", "relocation"])]
    instances: bool,
    /// Accepted for compatibility: pre-SVR4 packages are never listed
    #[arg(short = 'N')]
    _no_pre_svr4: bool,
    /// List only packages for this architecture
    #[arg(short, value_name = "ARCH")]
    arch: Option<String>,
    /// List only this version; ~VERSION includes compatible ones
    #[arg(short, value_name = "VERSION")]
    version_wanted: Option<String>,
    /// List only packages of these categories, separated by commas
    #[arg(short, value_name = "CATEGORY", value_delimiter = ',')]
    category: Vec<String>,
    /// List the packages in this directory, datastream or archive instead of the installed ones
    #[arg(short, value_name = "DEVICE", conflicts_with_all = ["partial", "complete"])]
    device: Option<PathBuf>,
    #[command(flatten)]
    root: RootOption,
    /// Packages: an instance, `PKG.*` for all instances of PKG, or `all`
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

/// Exit 0 if everything named was found, and at least one package; else 1. An empty list of all packages is no error.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkginfoArgs = parse(call, USAGE)?;
    let selection = args.selection();
    let (listing, root) = if let Some(device) = &args.device {
        (spooled_packages(device, &selection)?, None)
    } else {
        let root = args.root.open(call)?;
        let count = args.long || call.in_json;
        if !(args.asks_for_all() && !args.root.is_named(call) && is_new(&root)?) {
            must_have_records(&root, 1)?;
        }
        (installed_packages(call.surroundings.reader(&root), &selection, count)?, Some(root))
    };
    let found_all = listing.missing.is_empty() && listing.corrupt.is_empty();
    let exit = if !listing.corrupt.is_empty() {
        Exit::failed(ExitCause::DamagedRecord)
    } else if found_all && ((args.asks_for_all() && root.is_some()) || !listing.packages.is_empty()) {
        Exit::OK
    } else {
        Exit::failed(ExitCause::NotFound)
    };
    Ok(match root {
        Some(root) => Reply::about(&root, exit, PkginfoReport { args, listing }),
        None => Reply::new(exit, PkginfoReport { args, listing }),
    })
}

struct PkginfoReport {
    args: PkginfoArgs,
    listing: PackageListing,
}

impl CommandReport for PkginfoReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let Self { args, listing } = self;
        if args.quiet {
            return Ok(());
        }
        for package in &listing.packages {
            output.print(args.layout(package, listing.width))?;
        }
        for CorruptPackage { instance, reason, damage } in &listing.corrupt {
            let next = damage.as_ref().map(|damage| format!("\n{}", mending(damage))).unwrap_or_default();
            output.error(&format!("pkginfo file is corrupt or missing\n{instance}: {reason}{next}"))?;
        }
        for word in &listing.missing {
            let what = if args.partial {
                format!("No partial information for \"{word}\" was found")
            } else {
                format!("information for \"{word}\" was not found")
            };
            output.complain(format!("ERROR: {what}\n"))?;
        }
        Ok(())
    }
}

impl Serialize for PkginfoReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let PackageListing { packages, missing, corrupt, .. } = &self.listing;
        let document = PkginfoDocument {
            packages: packages.iter().map(PackageFields::of).collect(),
            missing,
            corrupt: corrupt.iter().map(|corrupt| corrupt.instance.as_str()).collect(),
        };
        document.serialize(serializer)
    }
}

impl PkginfoArgs {
    /// True for a list of all packages.
    fn asks_for_all(&self) -> bool {
        let is_narrow = self.partial || self.complete || self.arch.is_some() || self.version_wanted.is_some();
        !self.quiet && !is_narrow && self.category.is_empty() && self.packages.is_empty()
    }

    fn selection(&self) -> PackageSelection {
        let completeness = match (self.partial, self.complete) {
            (true, _) => Some(PackageCompleteness::Partial),
            (_, true) => Some(PackageCompleteness::Complete),
            _ => None,
        };
        PackageSelection {
            arch: self.arch.clone(),
            version: self.version_wanted.as_deref().map(VersionPattern::parse),
            categories: self.category.iter().map(|category| category.trim().to_owned()).collect(),
            completeness,
            ..PackageSelection::of(&self.packages)
        }
    }

    fn layout(&self, package: &PackageSummary, width: usize) -> Vec<u8> {
        if self.long {
            long(package)
        } else if self.extracted {
            extracted(package, width)
        } else if self.relocation {
            let base = package.params.get("BASEDIR").filter(|base| !base.is_empty());
            [base.unwrap_or(b"none"), b"\n"].concat()
        } else if self.instances {
            format!("{}\n", package.instance).into_bytes()
        } else {
            short(package, width)
        }
    }
}

#[derive(Serialize)]
struct PkginfoDocument<'a> {
    packages: Vec<PackageFields>,
    missing: &'a [String],
    corrupt: Vec<&'a str>,
}

#[derive(Serialize)]
struct PackageFields {
    instance: String,
    name: String,
    category: String,
    arch: String,
    version: String,
    basedir: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<ObjectCounts>,
}

impl PackageFields {
    fn of(package: &PackageSummary) -> Self {
        let text = |name| package.params.text(name).into_owned();
        Self {
            instance: package.instance.clone(),
            name: text("NAME"),
            category: text("CATEGORY"),
            arch: text("ARCH"),
            version: text("VERSION"),
            basedir: package.params.get("BASEDIR").map(|_| text("BASEDIR")),
            status: status(package.state),
            files: package.counts,
        }
    }
}

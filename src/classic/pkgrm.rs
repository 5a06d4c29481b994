//! pkgrm(1M): removes installed packages. Its own messages go to standard error.

use std::path::PathBuf;

use crate::as_owner::options::OwnerOptions;
use crate::classic::console::Console;
use console::{RemoveDetails, ended};
use patchadm_cli::arguments::{
    CategoryOption, Extensions, LibraryOptions, RootOption, ScriptTimeout, parse, script_settings,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::must_have_records;
use patchadm_cli::reply::packages::EndedPackages;
use patchadm_cli::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_core::operation::packages::remove::{RemoveRequest, remove_packages};
use patchadm_core::operation::queries::packages::installed_packages;
use patchadm_core::operation::queries::select::PackageSelection;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;

mod console;
mod spool;

const USAGE: &str = "\
pkgrm [-nvAM] [-a admin] [-R root] [-V vfstab] [--script-timeout duration] pkginst...|-Y category,...
pkgrm [-n] -s spool pkginst...";

/// Remove installed packages
#[derive(clap::Parser)]
struct PkgrmArgs {
    /// Use this admin file: a path, a name in var/sadm/install/admin, or none
    #[arg(short, value_name = "ADMIN")]
    admin: Option<PathBuf>,
    /// Accepted for compatibility: there are no remote copies
    #[arg(short = 'A')]
    _remote: bool,
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'M')]
    _no_mount: bool,
    /// Ask no questions, and print only the result
    #[arg(short)]
    non_interactive: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// Remove packages from the spool directory SPOOL instead of installed ones
    #[arg(short, value_name = "SPOOL", conflicts_with = "categories")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    /// Show every command of the packages' scripts, as sh -x does
    #[arg(short = 'v')]
    trace: bool,
    /// Accepted for compatibility: file systems of clients are never mounted
    #[arg(short = 'V', value_name = "VFSTAB")]
    _vfstab: Option<PathBuf>,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    script_timeout: ScriptTimeout,
    /// The packages: an instance, or PKG.* for all its instances; with -s all as well
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgrmArgs = parse(call, USAGE)?;
    if args.packages.is_empty() && args.category.categories.is_empty() {
        let message = "you must specify a category (-Y) or list of packages to remove".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let conversation = !args.non_interactive && !call.in_json && !args.owner.as_owner;
    if conversation && !call.surroundings.stdin_is_terminal {
        let message = "a removal has to be confirmed, and standard input is not a terminal\nuse -n to remove without being asked";
        return Err(
            Stop::Refused { exit: Exit::new(5, ExitCause::Restricted), message: message.to_owned() }.into()
        );
    }
    if let Some(spool) = &args.spool {
        return Ok(spool::run(call, spool, &args.packages, conversation));
    }
    let root = args.owner.open::<PkgrmArgs>(call, &args.root, Command::Pkgrm)?;
    let packages = match args.category.categories {
        categories if categories.is_empty() => args.packages,
        categories => of_categories(&root, categories)?,
    };
    let request = RemoveRequest {
        packages,
        admin: args.admin,
        conversation,
        scripts: script_settings(call, args.trace, args.script_timeout),
        shlibs: args.libraries.request(),
    };
    let mut console = Console::new(call, &root, !args.non_interactive, RemoveDetails);
    console.output.heedless();
    let outcome =
        call.change(&root, "pkgrm", None, |caller| remove_packages(&root, &request, caller, &mut console))?;
    call.output = console.output;
    Ok(EndedPackages {
        command: Command::Pkgrm,
        wording: Wording::of_classic(root.prefix()),
        outcome,
        package: ended,
    }
    .reply(&root))
}

fn of_categories(root: &Root, categories: Vec<String>) -> anyhow::Result<Vec<String>> {
    let refused =
        |cause, message: &str| Stop::Refused { exit: Exit::failed(cause), message: message.to_owned() };
    if categories.iter().any(|category| category.eq_ignore_ascii_case("system")) {
        let message = "Unable to remove packages that are part of the SYSTEM category with the -Y option.";
        return Err(refused(ExitCause::Restricted, message).into());
    }
    must_have_records(root, 1)?;
    let names = categories.join(",");
    let listing =
        installed_packages(root, &PackageSelection { categories, ..PackageSelection::default() }, false)?;
    if listing.packages.is_empty() {
        return Err(
            refused(ExitCause::NotFound, &format!("Category argument <{names}> cannot be found.")).into()
        );
    }
    Ok(listing.packages.into_iter().map(|package| package.instance).collect())
}

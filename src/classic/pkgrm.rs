//! pkgrm(1M): removes installed packages. Its own messages go to standard error.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::pkgtrans;
use crate::as_owner::options::OwnerOptions;
use crate::classic::console::Console;
use patchadm_cli::arguments::{
    CategoryOption, Extensions, LibraryOptions, RootOption, ScriptTimeout, parse, script_settings,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::must_have_records;
use patchadm_cli::reply::packages::{EndedPackage, EndedPackages, print_ending};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::{Output, questions};
use patchadm_core::operation::device;
use patchadm_core::operation::packages::remove::{RemoveRequest, remove_packages};
use patchadm_core::operation::packages::report::{
    LeftObject, LeftObjectReason, PackageObserver, PlannedRemoval, RemovedPackage,
};
use patchadm_core::operation::queries::packages::installed_packages;
use patchadm_core::operation::queries::select::PackageSelection;
use patchadm_core::operation::translate::remove_spooled;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};

const USAGE: &str = "\
pkgrm [-nvAM] [-a admin] [-R root] [-V vfstab] [--script-timeout duration] pkginst...|-Y category,...
pkgrm [-n] -s spool pkginst...";

/// Remove installed packages
#[derive(clap::Parser)]
struct PkgrmArgs {
    /// Use this admin file: a path, a name in var/sadm/install/admin, or `none` to use no admin file
    #[arg(short, value_name = "ADMIN")]
    admin: Option<PathBuf>,
    /// Accepted for compatibility: there are no remote copies
    #[arg(short = 'A')]
    _remote: bool,
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'M')]
    _no_mount: bool,
    /// Do not ask questions; print only the result
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
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'V', value_name = "VFSTAB")]
    _vfstab: Option<PathBuf>,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    script_timeout: ScriptTimeout,
    /// The packages: an instance, or `PKG.*` for all instances of PKG; with -s, `all` is also accepted
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
        let message = "a removal must be confirmed, but standard input is not a terminal\nuse -n to remove without confirmation";
        return Err(
            Stop::Refused { exit: Exit::new(5, ExitCause::Restricted), message: message.to_owned() }.into()
        );
    }
    if let Some(spool) = &args.spool {
        return Ok(remove_spooled_packages(call, spool, &args.packages, conversation));
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

struct RemoveDetails;

fn ended(removed: &RemovedPackage) -> EndedPackage<'_> {
    let plan = removed.removal.as_ref().map(|removal| &removal.intended.plan);
    let libraries = removed.removal.as_ref().and_then(|planned| planned.libraries.as_ref());
    EndedPackage { name: &removed.name, plan, result: &removed.result, ending: removed.ending, libraries }
}

fn marker(left: &LeftObject) -> &'static str {
    match left.stays {
        None => "",
        Some(LeftObjectReason::Shared) => " <shared pathname not removed>",
        Some(LeftObjectReason::NotEmpty) => " <non-empty directory not removed>",
        Some(LeftObjectReason::MountPoint) => " <mount point not removed>",
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

/// `pkgrm -s`: removes packages from a spool directory. `asks` confirms each removal.
fn remove_spooled_packages(call: &mut Invocation, spool: &Path, packages: &[String], asks: bool) -> Reply {
    let mut output = Output::new(call.program);
    let mut declined = false;
    let removed = remove_spooled(&device::named(spool), packages, &mut |inst: &PkgInst| {
        let agreed = !asks || agrees_to_spooled(&mut output, inst);
        declined |= !agreed;
        if agreed && !call.in_json {
            // Best effort.
            drop(output.complain(format!("Removing spooled package instance <{inst}>\n")));
        }
        agreed
    });
    let exit = match &removed {
        Err(error) => pkgtrans::code(error),
        Ok(_) if declined => Exit::new(3, ExitCause::Signal),
        Ok(_) => Exit::OK,
    };
    let error = removed.as_ref().err().map(ToString::to_string);
    let removed: Vec<String> = removed.iter().flatten().map(ToString::to_string).collect();
    Reply::new(exit, SpoolReport { result: exit.result(), error, removed })
}

fn agrees_to_spooled(output: &mut Output, inst: &PkgInst) -> bool {
    let spooled = [format!("The following package is currently spooled:\n   {inst}")];
    let help = "Answer y to remove the package, n to leave it in the directory.";
    questions::agreed(output, &spooled, "\nDo you want to remove this package? [y,n,?,q] ", help)
}

#[derive(Serialize)]
struct SpoolReport {
    result: ResultWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    removed: Vec<String>,
}

impl CommandReport for SpoolReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.error.iter().try_for_each(|error| output.error(error))?)
    }
}

//! pkgadd(1M): installs packages. Its own messages go to standard error.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::pkgtrans::transfer;
use crate::as_owner::options::OwnerOptions;
use crate::classic::console::Console;
use crate::classic::menu;
use patchadm_cli::arguments::{
    CategoryOption, Extensions, LibraryOptions, RootOption, ScriptTimeout, SecretText, inside, listed,
    object_path, parse, script_settings,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::packages::{EndedPackage, EndedPackages, print_ending};
use patchadm_cli::reply::{Reply, Stop};
use patchadm_cli::surroundings::questions;
use patchadm_core::operation::device::{self, SPOOL};
use patchadm_core::operation::packages::add::{AddRequest, add_packages};
use patchadm_core::operation::packages::report::{AddedPackage, PackageObserver, PlannedInstallation};
use patchadm_core::operation::translate::{ExistingPolicy, TransferDestination, TranslateRequest};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_planning::plan::script_schedule::steps::Portion;
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::{CheckAnswer, ConflictAnswer};
use patchadm_svr4::package::{ObjectPath, Params};

const USAGE: &str = "\
pkgadd [-nvSAGM] [-a admin] [-d device] [-R root] [-r response] [-V vfstab] [-k keystore] [-P passphrase]
    [-x proxy] [--replace-edited path] [--script-timeout duration] [--update] [pkginst...|-Y category,...]
pkgadd -s spool [-d device] [pkginst...|-Y category,...]";

/// Search path and administration directory recorded with packages, as the classic tools set them.
const RECORDED: [(&str, &str); 2] =
    [("PATH", "/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin"), ("OAMBASE", "/usr/sadm/sysadm")];

/// Install packages
#[derive(clap::Parser)]
struct PkgaddArgs {
    /// Use this admin file: a path, a name in var/sadm/install/admin, or `none` to use no admin file
    #[arg(short, value_name = "ADMIN")]
    admin: Option<PathBuf>,
    /// Accepted for compatibility: there are no remote copies
    #[arg(short = 'A')]
    _remote: bool,
    /// Read the packages from this directory, datastream or archive
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    /// Accepted for compatibility: there is only one zone
    #[arg(short = 'G')]
    _global: bool,
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
    /// Read the answers to the packages' questions from this file, or from a directory with a file for each package
    #[arg(short, value_name = "RESPONSE")]
    response: Option<PathBuf>,
    /// Do not print copyright texts
    #[arg(short = 'S')]
    silent: bool,
    /// Show every command of the packages' scripts, as sh -x does
    #[arg(short = 'v')]
    trace: bool,
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'V', value_name = "VFSTAB")]
    _vfstab: Option<PathBuf>,
    /// Accepted for compatibility: signatures are not checked
    #[arg(short = 'k', value_name = "KEYSTORE")]
    _keystore: Option<OsString>,
    /// Accepted for compatibility: signatures are not checked
    #[arg(short = 'P', value_name = "PASSPHRASE")]
    _passphrase: Option<SecretText>,
    /// Accepted for compatibility: nothing is fetched from a network
    #[arg(short = 'x', value_name = "PROXY")]
    _proxy: Option<OsString>,
    /// Replace this symbolic link to a directory with the directory of a package; repeatable
    #[arg(long = "replace-edited", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    overridden: Vec<ObjectPath>,
    /// Replace other versions of each package, older or newer
    #[arg(long, conflicts_with = "spool")]
    update: bool,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    script_timeout: ScriptTimeout,
    /// Put the packages into this directory instead of installing them
    #[arg(short, value_name = "SPOOL", conflicts_with = "non_interactive")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    /// The packages: an instance, `PKG.*` for all instances of PKG, or `all`
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgaddArgs = parse(call, USAGE)?;
    let conversation = !args.non_interactive && !call.in_json && call.surroundings.stdin_is_terminal;
    let device = args.device.unwrap_or_else(|| PathBuf::from(SPOOL));
    let mut packages = listed(&args.packages);
    let categories = args.category.categories;
    if packages.is_empty() && categories.is_empty() {
        let chosen = if conversation { menu::choose(&mut call.output, &device)? } else { None };
        let message = "no package specified; use `all` for every package of the device".to_owned();
        packages = chosen.ok_or(Stop::Usage { message, usage: USAGE })?;
    }
    if let Some(spool) = args.spool {
        return spool_packages(call, &spool, device, packages, categories);
    }
    let reads_input = scripts_read_input(call, &device);
    let root = args.owner.open::<PkgaddArgs>(call, &args.root, Command::Pkgadd)?;
    let request = AddRequest {
        device,
        packages,
        categories,
        admin: args.admin,
        response: args.response,
        environment: environment(call),
        overridden: inside(&root, &args.overridden),
        update: args.update,
        conversation,
        reads_input,
        silent: args.non_interactive || call.in_json,
        scripts: script_settings(call, args.trace, args.script_timeout),
        shlibs: args.libraries.request(),
    };
    let copyright = !args.silent && !call.in_json;
    let details = AddDetails { device: &request.device, copyright, vendor: !args.silent };
    let mut console = Console::new(call, &root, !args.non_interactive, details);
    console.output.heedless();
    let outcome =
        call.change(&root, "pkgadd", None, |caller| add_packages(&root, &request, caller, &mut console))?;
    call.output = console.output;
    Ok(EndedPackages {
        command: Command::Pkgadd,
        wording: Wording::of_classic(root.prefix()),
        outcome,
        package: ended,
    }
    .reply(&root))
}

/// True if request scripts read standard input: it is no terminal and has no packages.
pub(crate) fn scripts_read_input(call: &Invocation, device: &Path) -> bool {
    let input = rustix::fs::fstat(std::io::stdin()).ok();
    let is_device = input.is_none_or(|input| {
        device.metadata().is_ok_and(|seen| (seen.dev(), seen.ino()) == (input.st_dev, input.st_ino))
    });
    !call.surroundings.stdin_is_terminal && !is_device
}

pub(crate) fn environment(call: &Invocation) -> Params {
    let locale = call.surroundings.locale.iter();
    let locale = locale.map(|(name, value)| (name.clone(), value.clone().into_vec()));
    let fixed = RECORDED.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    locale.chain(fixed).collect()
}

pub(crate) struct AddDetails<'a> {
    pub(crate) device: &'a Path,
    pub(crate) copyright: bool,
    /// Name the vendor of a package without copyright text.
    pub(crate) vendor: bool,
}

fn ended(added: &AddedPackage) -> EndedPackage<'_> {
    let plan = added.installation.as_ref().map(|installation| &installation.intended.plan);
    let libraries = added.installation.as_ref().and_then(|planned| planned.libraries.as_ref());
    EndedPackage { name: &added.name, plan, result: &added.result, ending: added.ending, libraries }
}

impl PackageObserver for Console<'_, AddDetails<'_>> {
    fn adding(&mut self, name: &str, package: &PackageImage) {
        if self.progress {
            let text = heading(name, &self.details.device.display().to_string(), package);
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
            self.print_message(&update_notice(instance));
        }
    }

    fn installing(&mut self, installation: &PlannedInstallation, package: &PackageImage) {
        let text = step_lines(installation, package, self.root);
        self.print_step(&text);
        if self.outcome {
            self.print_message(&usual_modes(installation));
        }
        if !installation.has_scripts {
            self.print_step(PART);
        }
    }

    fn objects_begin(&mut self) {
        self.print_step(PART);
    }

    fn switched(&mut self, installation: &PlannedInstallation, portions: &[Portion], batch: &Plan) {
        let text = portion_lines(installation, portions, batch, self.root);
        self.print_step(&text);
    }

    fn class_done(&mut self, class: &str) {
        self.print_step(&verified_line(class));
    }

    fn added(&mut self, added: &AddedPackage) {
        if !self.outcome {
            return;
        }
        if let (Some(installation), Ok(_)) = (&added.installation, &added.result)
            && !installation.has_scripts
        {
            let text = path_lines(installation, self.root);
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

/// `pkgadd -s`: copies packages into a spool directory, with the reports and codes of pkgtrans(1).
fn spool_packages(
    call: &mut Invocation,
    spool: &Path,
    device: PathBuf,
    packages: Vec<String>,
    categories: Vec<String>,
) -> anyhow::Result<Reply> {
    let to = TransferDestination::Directory(device::named(spool));
    let existing = ExistingPolicy::Refuse;
    let request = TranslateRequest { to, device, packages, categories, existing, description_only: false };
    transfer(call, request)
}

fn heading(name: &str, device: &str, package: &PackageImage) -> String {
    let text = |name| package.params.text(name);
    format!(
        "\nProcessing package instance <{name}> from <{device}>\n\n{}({}) {}\n",
        text("NAME"),
        text("ARCH"),
        text("VERSION")
    )
}

/// Scripts search for the words `same architecture and version`.
fn update_notice(instance: &str) -> String {
    format!(
        "\nPackage <{instance}> is installed already in the\nsame architecture and version, and is overwritten.\n\n"
    )
}

/// Warns about objects without a mode in the package, by their paths inside the root.
fn usual_modes(installation: &PlannedInstallation) -> String {
    let mut text = String::new();
    for (path, mode) in &installation.usual_modes {
        let _ = writeln!(text, "WARNING: setting mode of <{path}> to default mode ({:o})", mode.bits());
    }
    text
}

fn step_lines(installation: &PlannedInstallation, package: &PackageImage, root: &Root) -> String {
    let mut text = String::new();
    if let Some(basedir) = &installation.basedir {
        let _ = writeln!(text, "Using <{}> as the package base directory.", root.show(basedir));
    }
    text.push_str("## Processing package information.\n## Processing system information.\n");
    match installation.already {
        0 => {}
        1 => text.push_str("   1 package pathname is already properly installed.\n"),
        number => {
            let _ = writeln!(text, "   {number} package pathnames are already properly installed.");
        }
    }
    let admin = &installation.admin;
    let checks = [
        (
            admin.idepend != CheckAnswer::NoCheck && package.install.contains_key("depend"),
            "Verifying package dependencies.",
        ),
        (admin.space != CheckAnswer::NoCheck, "Verifying disk space requirements."),
        (
            admin.conflict != ConflictAnswer::NoCheck,
            "Checking for conflicts with packages already installed.",
        ),
        (admin.setuid != ConflictAnswer::NoCheck, "Checking for setuid/setgid programs."),
    ];
    for (_, step) in checks.iter().filter(|(is_made, _)| *is_made) {
        let _ = writeln!(text, "## {step}");
    }
    let _ = writeln!(text, "\nInstalling {} as <{}>\n", installation.name, installation.instance);
    text
}

const PART: &str = "## Installing part 1 of 1.\n";

fn verified_line(class: &str) -> String {
    format!("[ verifying class <{class}> ]\n")
}

fn portion_lines(
    installation: &PlannedInstallation,
    portions: &[Portion],
    batch: &Plan,
    root: &Root,
) -> String {
    let changes: BTreeMap<&ObjectPath, &Change> =
        batch.changes.iter().map(|change| (&change.path, &**change)).collect();
    let list = |text: &mut String, paths: &[ObjectPath]| {
        for change in paths.iter().filter_map(|path| changes.get(path)) {
            if let Some(marker) = marker(change, installation.implied.contains(&change.path)) {
                let _ = writeln!(text, "{}{marker}", root.show(&change.path));
            }
        }
    };
    let mut text = String::new();
    for portion in portions {
        list(&mut text, &portion.paths);
        if portion.is_complete {
            text.push_str(&verified_line(&portion.class));
        }
        list(&mut text, &portion.links);
    }
    text
}

/// Installed objects by class, each with its hard links last.
fn path_lines(installation: &PlannedInstallation, root: &Root) -> String {
    let mut text = String::new();
    let mut classes: Vec<&str> = Vec::new();
    let listed: Vec<(&str, &Change, &'static str)> = installation
        .intended
        .plan
        .changes
        .iter()
        .filter_map(|change| {
            let implied = installation.implied.contains(&change.path);
            Some((class_of(installation, &change.path), &**change, marker(change, implied)?))
        })
        .collect();
    if listed.is_empty() {
        return "## Installation of part 1 of 1 is complete.\n".to_owned();
    }
    for (class, ..) in &listed {
        if !classes.contains(class) {
            classes.push(class);
        }
    }
    for class in classes {
        let of_class = |link: bool| {
            listed.iter().filter(move |(own, change, _)| *own == class && is_link(change) == link)
        };
        for (_, change, marker) in of_class(false) {
            let _ = writeln!(text, "{}{marker}", root.show(&change.path));
        }
        text.push_str(&verified_line(class));
        for (_, change, marker) in of_class(true) {
            let _ = writeln!(text, "{}{marker}", root.show(&change.path));
        }
    }
    text
}

fn class_of<'a>(installation: &'a PlannedInstallation, path: &ObjectPath) -> &'a str {
    let line = installation.intended.plan.contents.get(path).and_then(Option::as_ref);
    line.map_or("none", |line| line.object.class.as_str())
}

fn is_link(change: &Change) -> bool {
    matches!(&change.action, Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Link(_)))
}

/// The text after a path, or `None` for objects that pkgadd(1M) does not list.
fn marker(change: &Change, implied: bool) -> Option<&'static str> {
    match &change.action {
        Action::Add(new) | Action::Replace(new) => match new.body {
            Body::Member(_) | Body::CopyOf(_) => Some(""),
            Body::Symlink(_) => Some(" <symbolic link>"),
            Body::Link(_) => Some(" <linked pathname>"),
            Body::Directory if implied => Some(" <implied directory>"),
            Body::Directory | Body::Pipe | Body::Device { .. } => None,
        },
        Action::Attributes(_) => Some(" <attribute change only>"),
        Action::Delete | Action::RemoveDirectory => None,
    }
}

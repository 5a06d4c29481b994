//! `patchadm adopt`: registers software on disk as a package, without moving a byte; `--forget` unregisters it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::options::{DryRunOption, WaitOption};
use crate::as_owner::options::OwnerOptions;
use crate::classic::pkgadd::environment;
use patchadm_cli::arguments::paths::paths_in_root;
use patchadm_cli::arguments::{
    ColourOption, Extensions, PolicyOption, QuietOption, RootOption, inside, object_path, parse,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{change_or_plan_failed, hinted};
use patchadm_cli::reply::words::{counted, print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_core::operation::adopt::{
    AdoptRequest, AdoptSource, AdoptWishes, AdoptedOwner, SoftwareAdoptionReport, adopt_software,
    forget_software,
};
use patchadm_inputs::native::{NativeManager, NativeOrigin};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

mod all;
mod before_upgrade;
mod refresh;

const USAGE: &str = "\
patchadm [-R root] adopt --pkg pkg --pkg-version version --dir tree|--paths file [option...]
patchadm [-R root] adopt --dpkg name|--rpm name [option...]
patchadm [-R root] adopt --all [option...]
patchadm [-R root] adopt --refresh [pkg...] [--accept id] [option...]
patchadm [-R root] adopt --before-upgrade
patchadm [-R root] adopt --forget --pkg pkg [option...]";

const CONFLICT: Exit = Exit::of_verb(ExitCause::Dependency);

/// Register existing files or dpkg/rpm packages for patching
#[derive(clap::Parser)]
#[command(group = clap::ArgGroup::new("what").required(true))]
struct AdoptArgs {
    /// Set the name of the package [default: from the input]
    #[arg(long, value_name = "PKG")]
    pkg: Option<String>,
    /// Set the version of the package [default: from the input]
    #[arg(long, value_name = "VERSION")]
    pkg_version: Option<String>,
    /// Adopt everything in DIR, a directory in the root, as it is; only later edits are detected
    #[arg(long, value_name = "DIR", group = "what")]
    dir: Option<PathBuf>,
    /// Adopt the paths in FILE, one per line
    #[arg(long, value_name = "FILE", group = "what")]
    paths: Option<PathBuf>,
    /// Adopt the dpkg package NAME
    #[arg(long, value_name = "NAME", group = "what")]
    dpkg: Option<String>,
    /// Adopt the rpm package NAME
    #[arg(long, value_name = "NAME", group = "what")]
    rpm: Option<String>,
    /// Adopt all dpkg and rpm packages in one run
    #[arg(long, group = "what", conflicts_with_all = ["pkg", "pkg_version", "arch", "name", "basedir"])]
    all: bool,
    /// Update registrations to match dpkg or rpm [default: all adopted packages]
    #[arg(long, group = "what", conflicts_with_all = ["pkg", "pkg_version", "arch", "name", "basedir", "editable", "volatile", "exclude"])]
    refresh: bool,
    /// Show what an upgrade, read from standard input, would do to applied patches
    #[arg(long, group = "what", conflicts_with_all = ["pkg", "pkg_version", "arch", "name", "basedir", "editable", "volatile", "exclude"])]
    before_upgrade: bool,
    /// The word of version 0.1 for `--before-upgrade`, whose apt hook stops apt only for exit code 69.
    #[arg(skip)]
    foresee: bool,
    /// Accept that the fix in this patch is lost or will be lost; repeatable
    #[arg(long, value_name = "ID", requires = "refresh", action = clap::ArgAction::Append)]
    accept: Vec<String>,
    /// Called by the package manager: wait at most five seconds, print lost fixes and one line, and do not fail if the lock is held
    #[arg(long, requires = "refresh", hide = true)]
    from_hook: bool,
    /// The adopted packages to refresh
    #[arg(value_name = "PKGINST", requires = "refresh")]
    packages: Vec<String>,
    /// Unregister an adopted package; its files stay
    #[arg(long, group = "what", requires = "pkg", conflicts_with_all = ["pkg_version", "arch", "name", "basedir", "editable", "volatile", "exclude"])]
    forget: bool,
    /// Set the architecture of the package [default: from the input]
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Set the display name of the package (one line)
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Set the base directory of the package [default: from the input, else /]
    #[arg(long, value_name = "DIR", value_parser = object_path)]
    basedir: Option<ObjectPath>,
    /// Treat paths that match GLOB as files that administrators edit; repeatable
    #[arg(long, value_name = "GLOB", value_parser = glob, action = clap::ArgAction::Append)]
    editable: Vec<PathGlob>,
    /// Treat paths that match GLOB as files that programs change; repeatable
    #[arg(long, value_name = "GLOB", value_parser = glob, action = clap::ArgAction::Append)]
    volatile: Vec<PathGlob>,
    /// Leave out paths that match GLOB, and everything below them; repeatable
    #[arg(long, value_name = "GLOB", value_parser = glob, action = clap::ArgAction::Append)]
    exclude: Vec<PathGlob>,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _policy: PolicyOption,
    #[command(flatten)]
    _extensions: Extensions,
}

fn glob(text: &str) -> Result<PathGlob, String> {
    PathGlob::parse(text).map_err(|error| error.to_string())
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    // Version 0.1 called `--pkg-version` so. To print a version and adopt nothing would look like success.
    if call.arguments.len() > 1 && call.arguments.iter().any(|word| word == "--version") {
        let message = "the version of the package is given with --pkg-version".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    // No option of its own, which a usage error would name.
    let old_word = call.arguments.iter_mut().find(|word| *word == "--foresee");
    let foresee = old_word.map(|word| *word = "--before-upgrade".into()).is_some();
    let mut args: AdoptArgs = parse(call, USAGE)?;
    args.foresee = foresee;
    if args.refresh {
        return refresh::run(call, &args);
    }
    if args.before_upgrade {
        return before_upgrade::run(call, &args);
    }
    if args.all {
        return all::run(call, &mut args);
    }
    args.must_say_enough()?;
    let command = if args.forget { Command::Forget } else { Command::Adopt };
    let root = args.owner.open::<AdoptArgs>(call, &args.root, command)?;
    if !args.dry_run.dry_run {
        call.output.heedless();
    }
    let (wait, dry_run) = (args.wait.seconds, args.dry_run.dry_run);
    let editable: Vec<String> = args.editable.iter().map(|glob| glob.as_str().to_owned()).collect();
    let result = if let Some(package) = args.forgotten()? {
        call.change(&root, command.name(), wait, |caller| forget_software(&root, &package, dry_run, caller))?
    } else {
        let request = args.request(call, &root)?;
        call.change(&root, command.name(), wait, |caller| adopt_software(&root, &request, caller))?
    };
    let reply = match result {
        Ok(report) => {
            let way_on = report.only_owner.as_ref().map(|owner| way_on(&root, owner));
            AdoptReply { way_on, ..AdoptReply::of(command, report, (dry_run, editable.as_slice())) }
        }
        Err(failed) => return Err(change_or_plan_failed(&root, command, &failed, dry_run).into()),
    };
    Ok(Reply::about(&root, reply.exit, reply))
}

impl AdoptArgs {
    /// The root to refresh or to foresee for: for a hook the package manager's.
    fn native_root(&self, surroundings: &Surroundings) -> RootOption {
        let is_hook = self.from_hook || self.before_upgrade;
        if is_hook { self.root.of_package_manager(surroundings) } else { self.root.clone() }
    }

    /// Requires name and version for a tree or paths.
    fn must_say_enough(&self) -> Result<(), Stop> {
        let missing = match (&self.pkg, &self.pkg_version) {
            (None, _) => "--pkg",
            (_, None) => "--pkg-version",
            _ => return Ok(()),
        };
        let quoted = |path: &Path| Wording::quoted(&path.display().to_string());
        let bare = self.dir.as_ref().map(|tree| format!("--dir {}", quoted(tree)));
        let bare = bare.or_else(|| Some(format!("--paths {}", quoted(self.paths.as_ref()?))));
        let Some(bare) = bare else { return Ok(()) };
        let said = |word: Option<&str>, name: &str| word.map_or(name.to_owned(), Wording::quoted);
        let pkg = said(self.pkg.as_deref(), "PKG");
        let version = said(self.pkg_version.as_deref(), "VERSION");
        let wording = Wording::of_verbs(self.root.named().first().map_or(Path::new("/"), PathBuf::as_path));
        let why = "a directory or list of paths has no package name and version";
        let hint = wording.verb(&format!("adopt --pkg {pkg} --pkg-version {version} {bare}"));
        Err(Stop::Usage { message: hinted(&format!("{why}: {missing} is missing"), &hint), usage: USAGE })
    }

    fn forgotten(&self) -> Result<Option<PkgInst>, Stop> {
        let package = self.pkg.as_ref().filter(|_| self.forget).map(|pkg| PkgInst::new(pkg));
        package.transpose().map_err(|error| Stop::Usage { message: error.to_string(), usage: USAGE })
    }

    fn request(&mut self, call: &Invocation, root: &Root) -> Result<AdoptRequest, Stop> {
        let source = match (self.dir.take(), self.paths.take(), self.dpkg.take(), self.rpm.take()) {
            (Some(tree), ..) => AdoptSource::Tree(tree_inside(root, &tree)?),
            (_, Some(file), ..) => AdoptSource::Paths(file),
            (_, _, Some(name), _) => AdoptSource::Native(NativeManager::Dpkg, name),
            (.., rpm) => AdoptSource::Native(NativeManager::Rpm, rpm.unwrap_or_default()),
        };
        let mut wishes = self.wishes(call);
        if let Some(basedir) = self.basedir.take() {
            wishes.basedir = basedir;
        } else if let AdoptSource::Tree(top) = &source {
            wishes.basedir = top.clone();
        }
        Ok(AdoptRequest { source, wishes, dry_run: self.dry_run.dry_run })
    }

    fn wishes(&mut self, call: &Invocation) -> AdoptWishes {
        AdoptWishes {
            pkg: self.pkg.take(),
            version: self.pkg_version.take(),
            arch: self.arch.take(),
            name: self.name.take(),
            basedir: ObjectPath::root(),
            editable: std::mem::take(&mut self.editable),
            volatile: std::mem::take(&mut self.volatile),
            exclude: std::mem::take(&mut self.exclude),
            environment: environment(call),
        }
    }
}

/// Accepts a directory with or without the prefix of the root. A relative one that is not here starts at the root.
fn tree_inside(root: &Root, tree: &Path) -> Result<ObjectPath, Stop> {
    let bad = |reason: String| Stop::Usage { message: format!("{}: {reason}", tree.display()), usage: USAGE };
    let mut whole = std::path::absolute(tree).map_err(|error| bad(error.to_string()))?;
    if tree.is_relative() && !whole.starts_with(root.prefix()) && !has_dots(tree) {
        if !whole.is_dir() {
            let mut paths = paths_in_root(root, &[tree.to_owned()], USAGE)?;
            return Ok(paths.pop().unwrap_or_else(ObjectPath::root));
        }
        let is_inside = || Some(whole.canonicalize().ok()?.starts_with(root.prefix().canonicalize().ok()?));
        if is_inside() != Some(true) {
            return Err(bad("it is not in the root".to_owned()));
        }
    }
    if has_dots(&whole) {
        // As the kernel resolves it: a directory before `..` may be a link.
        let resolved = |path: &Path| path.canonicalize().map_err(|error| bad(error.to_string()));
        let (top, prefix) = (resolved(&whole)?, resolved(root.prefix())?);
        let beneath = top.strip_prefix(&prefix).map_err(|_| bad("it is not in the root".to_owned()))?;
        whole = root.prefix().join(beneath);
    }
    let path = ObjectPath::new(whole.as_os_str().as_bytes()).map_err(|error| bad(error.to_string()))?;
    let prefix = ObjectPath::new(root.prefix().as_os_str().as_bytes()).ok();
    if prefix.is_some_and(|prefix| prefix == path) {
        return Ok(ObjectPath::root());
    }
    let inside = inside(root, std::slice::from_ref(&path)).pop().unwrap_or_else(|| path.clone());
    if inside == path
        && whole.is_dir()
        && !root.prefix().join(whole.strip_prefix("/").unwrap_or(&whole)).is_dir()
    {
        return Err(bad(format!("it is not in the root {}", root.prefix().display())));
    }
    Ok(inside)
}

fn has_dots(path: &Path) -> bool {
    path.components().any(|component| component == Component::ParentDir)
}

/// Returns the command that makes a patch for the package, with the values that the patch must have.
fn build_command(params: &Params, editable: &[String]) -> String {
    let value = |name: &str| Wording::quoted(params.text(name).trim());
    let basedir = match params.text("BASEDIR").trim() {
        "" | "/" => String::new(),
        basedir => format!(" --basedir {}", Wording::quoted(basedir)),
    };
    let globs = editable.iter().map(|glob| format!(" --editable {}", Wording::quoted(glob)));
    let globs: String = globs.collect();
    let (pkg, arch, version) = (value("PKG"), value("ARCH"), value("VERSION"));
    format!(
        "patchadm build --pkg {pkg} --arch {arch} --base-version {version}{basedir}{globs} --id ID --synopsis TEXT --from OLD --to NEW -o PATCH"
    )
}

/// The outcome of an adoption, or of its end.
#[derive(Debug, Serialize)]
struct AdoptReply {
    result: ResultWord,
    changed: bool,
    package: String,
    objects: usize,
    directories_shared: usize,
    differing: Vec<String>,
    missing: Vec<String>,
    conflicts: Vec<ConflictEntry>,
    notes: Vec<String>,
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    forgets: bool,
    /// The command that makes a patch; packages of dpkg or rpm have these values themselves, single files do not.
    #[serde(skip)]
    build: Option<String>,
    /// Neither dpkg nor rpm records the files.
    #[serde(skip)]
    is_bare: bool,
    #[serde(skip)]
    is_plan: bool,
    /// The first step to take, if one adopted package owns all that is in the way.
    #[serde(skip)]
    way_on: Option<String>,
}

const MOST_CONFLICTS: usize = 10;

fn way_on(root: &Root, owner: &AdoptedOwner) -> String {
    let wording = Wording::of_verbs(root.prefix());
    let package = &owner.package;
    if owner.is_native {
        return format!(
            "{package} is adopted; {} registers its current files",
            wording.verb("adopt --refresh")
        );
    }
    let forget = wording.verb(&format!("adopt --forget --pkg {package}"));
    format!("{package} is adopted; to register its files as another package, first run {forget}")
}

#[derive(Debug, Serialize)]
struct ConflictEntry {
    path: String,
    owners: Vec<String>,
}

impl AdoptReply {
    fn of(command: Command, report: SoftwareAdoptionReport, (dry_run, editable): (bool, &[String])) -> Self {
        let has_conflicts = !report.conflicts.is_empty();
        let result = match report.receipt {
            Some(_) => ResultWord::Done,
            None if dry_run && !has_conflicts => ResultWord::Planned,
            None => ResultWord::Refused,
        };
        let is_adopted = command == Command::Adopt && report.receipt.is_some();
        let build = is_adopted.then(|| build_command(&report.params, editable));
        let is_bare = NativeOrigin::of(&report.params).is_none();
        let notes = with_recovery(&report.recovered, report.notes);
        let shown = |paths: &[ObjectPath]| paths.iter().map(ToString::to_string).collect();
        Self {
            result,
            changed: report.receipt.is_some(),
            package: report.package,
            objects: report.objects,
            directories_shared: report.directories_shared,
            differing: shown(&report.differing),
            missing: shown(&report.missing),
            conflicts: report
                .conflicts
                .iter()
                .map(|conflict| ConflictEntry {
                    path: conflict.path.to_string(),
                    owners: conflict.owners.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            notes,
            exit: if has_conflicts { CONFLICT } else { Exit::OK },
            forgets: command == Command::Forget,
            build,
            is_bare,
            is_plan: dry_run,
            way_on: None,
        }
    }

    fn sentence(&self) -> String {
        let Self { package, objects, directories_shared, .. } = self;
        let done = match (self.result == ResultWord::Planned, self.forgets) {
            (true, true) => format!("Package {package} would be unregistered; its files stay"),
            (true, false) => format!("Package {package} would be adopted"),
            (false, true) => format!("Unregistered package {package}; its files stay"),
            (false, false) => format!("Adopted package {package}"),
        };
        let objects = counted(objects, "object");
        let shared = match directories_shared {
            0 => String::new(),
            count => format!(", {count} of them directories that other packages have as well"),
        };
        format!("{done}: {objects}{shared}.")
    }
}

impl CommandReport for AdoptReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if !self.conflicts.is_empty() {
            let lines = self.conflicts.iter().take(MOST_CONFLICTS);
            let lines = lines.map(|one| format!("{} belongs to {}\n", one.path, one.owners.join(", ")));
            let more = self.conflicts.len().saturating_sub(MOST_CONFLICTS);
            let more = (more > 0).then(|| format!("and {more} more\n"));
            let lines: String = lines.chain(more).collect();
            let hint = self.way_on.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            let was_not = if self.is_plan { "would not be" } else { "was not" };
            output.error(&format!(
                "package {} {was_not} adopted: other packages own some of its objects\n{lines}nothing was changed{hint}",
                self.package
            ))?;
            return Ok(());
        }
        output.line(self.sentence())?;
        if let Some(build) = &self.build {
            if self.is_bare {
                output.line("Its current files count as unmodified; patchadm detects later edits.")?;
            }
            output.line(format!("hint: {build}"))?;
        }
        for (paths, what) in [(&self.differing, "differs from its record"), (&self.missing, "does not exist")]
        {
            for path in paths {
                output.line(format!("  {path} {what}"))?;
            }
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}

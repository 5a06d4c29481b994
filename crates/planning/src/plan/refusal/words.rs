//! The words of a refusal, and the sentence of the classic commands, which scripts match byte for byte.

use super::{Command, EditedAttribute, ObjectInUse, ObjectProblem, Reason, Refusal};
use patchadm_svr4::package::{ObjectPath, PkgInst};

impl Refusal {
    /// Returns the change that did not happen, without a full stop: `patch 100-01 was not applied`.
    pub fn what(&self) -> String {
        format!("{} was not {}", self.subject_with_kind(), self.command.participle())
    }

    /// Returns the change of a plan that would not happen: `patch 100-01 would not be applied`.
    pub fn what_of_plan(&self) -> String {
        format!("{} would not be {}", self.subject_with_kind(), self.command.participle())
    }

    fn subject_with_kind(&self) -> String {
        let subject = &self.subject;
        match self.command {
            Command::Patchadd | Command::Patchrm => format!("patch {subject}"),
            Command::Pkgadd | Command::Pkgrm | Command::Adopt | Command::AdoptRefresh | Command::Forget => {
                format!("package {subject}")
            }
            Command::Installf | Command::Removef => format!("the request for package {subject}"),
            Command::Repack | Command::UndoExport | Command::UndoImport | Command::Commit => {
                format!("undo data of patch {subject}")
            }
            Command::Undo if subject.is_empty() => "the run".to_owned(),
            Command::Undo | Command::Confirm => format!("run {subject}"),
            Command::Refresh => format!("stage {subject}"),
            Command::Promote => subject.clone(),
        }
    }

    /// Returns the reason, with ids, packages and paths, without a full stop.
    pub fn why(&self) -> String {
        self.reason.sentence()
    }

    /// With a line of its own for each of many files.
    pub fn why_in_lines(&self) -> String {
        match &*self.reason {
            Reason::Edited { paths, attributes, .. } => {
                let paths = paths.iter().map(ToString::to_string);
                let lines: Vec<String> = paths.chain(attributes.iter().map(ToString::to_string)).collect();
                let files = if lines.len() == 1 {
                    "1 file is".to_owned()
                } else {
                    format!("{} files are", lines.len())
                };
                format!("{files} modified locally\n{}", lines.join("\n"))
            }
            Reason::LibrariesLost(lost) => {
                let lines: Vec<String> = lost.iter().map(ToString::to_string).collect();
                format!("programs would lose libraries that they need\n{}", lines.join("\n"))
            }
            _ => self.why(),
        }
    }

    fn needs_option(&self) -> bool {
        let decided = matches!(
            *self.reason,
            Reason::Edited { .. } | Reason::KeepWithoutUndo(_) | Reason::UndoMismatch { .. }
        );
        decided && self.command == Command::Patchadd
    }

    fn classic_what(&self) -> String {
        let subject = &self.subject;
        match self.command {
            Command::Patchadd => format!("patch {subject} is not applied"),
            Command::Patchrm => format!("patch {subject} is not backed out"),
            Command::Pkgadd => format!("package {subject} is not installed"),
            Command::Pkgrm => format!("package {subject} is not removed"),
            Command::Installf => format!("nothing of package {subject} is registered"),
            Command::Removef => format!("no object of package {subject} is removed"),
            _ => self.what(),
        }
    }

    /// Returns the sentence of the classic commands after `ERROR: `; lines are separated by newlines. The line that
    /// ends every refusal (`Patchadd is terminating.`) is not in it. A list of objects in use stands without `ERROR: `.
    pub fn classic(&self) -> String {
        let id = &self.subject;
        match &*self.reason {
            Reason::AlreadyApplied(_) => format!("Patch {id} has already been applied."),
            Reason::LaterRevision(_) => format!("A later version of {id} has already been installed"),
            Reason::Obsoleted { by: Some(by), .. } if self.command == Command::Patchadd => {
                format!(
                    "This patch is obsoleted by patch {by} which has already\nbeen applied to this system."
                )
            }
            Reason::Required(needed) => {
                format!("Patch {id} requires patch {needed} or later, which is not applied.")
            }
            Reason::Incompatible { applied, .. } => {
                format!("Patch {id} is incompatible with applied patch {applied}.")
            }
            Reason::NotInstalled(_) | Reason::Unregistered { .. } => {
                format!("None of the packages of patch {id} is installed on this system.")
            }
            Reason::Restricted { restricted, package } => format!(
                "Patch {id} cannot be applied until restricted patch {restricted} is backed out (package {package})."
            ),
            Reason::NotApplied => format!("Patch {id} has not been applied."),
            Reason::InUse { objects, .. } => listed(objects),
            _ => {
                let sentence = format!("{}: {}.", self.classic_what(), self.why());
                let mut letters = sentence.chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                let page = if self.needs_option() { "\nSee patchadd(1M) for instructions" } else { "" };
                first.into_iter().chain(letters).chain(page.chars()).collect()
            }
        }
    }
}

impl Reason {
    /// Returns the reason with ids, packages and paths, without a full stop.
    pub fn sentence(&self) -> String {
        self.conflict().unwrap_or_else(|| self.obstacle())
    }

    /// Returns the question for the user, as a sentence without full stop; `None` if asking would not help.
    pub fn question(&self) -> Option<String> {
        let is_question = matches!(self, Self::Interaction { .. } | Self::InUse { is_question: true, .. });
        is_question.then(|| self.obstacle())
    }

    fn conflict(&self) -> Option<String> {
        Some(match self {
            Self::NotInstalled(packages) => {
                format!("none of its packages is installed in the required version: {}", packages.join(", "))
            }
            Self::Unregistered { packages, native } => unregistered(packages, native),
            Self::AlreadyApplied(packages) => format!("it is already applied to {}", list(packages)),
            Self::LaterRevision(later) => format!("the later revision {later} is applied"),
            Self::Obsoleted { by: Some(by), entry } => {
                format!("applied patch {by} obsoletes {entry}, which contains it")
            }
            Self::Obsoleted { by: None, entry } => {
                format!("PATCH_OBSOLETES has {entry}, which contains it")
            }
            Self::Restricted { restricted, package } => {
                format!("restricted patch {restricted} is applied to package {package}")
            }
            Self::Incompatible { applied, named, says_applied: true } => {
                format!("applied patch {applied} is incompatible with {named}")
            }
            Self::Incompatible { applied, named, .. } => {
                format!("it is incompatible with {named}, and {applied} is applied")
            }
            Self::Required(needed) => format!("it requires patch {needed} or later, which is not applied"),
            Self::UndoMismatch { package, kept } => {
                let (has, gets) = if *kept { ("with", "without it") } else { ("without", "with it") };
                format!(
                    "it is applied to package {package} {has} undo data and would be applied to the others {gets}"
                )
            }
            Self::NotApplied => "it is not applied".to_owned(),
            Self::Superseded(by) => format!("the later revision {by} is applied"),
            Self::ChangedLater { path, by: Some(by) } => {
                format!("patch {by}, which was applied later, changed {path} again")
            }
            Self::ChangedLater { path, by: None } => {
                format!("the record of {path} has changed since it was applied")
            }
            Self::NotHandedOn { path, by, why } => {
                format!("patch {by}, which was applied later, also changes {path}: {why}")
            }
            Self::UsedLater { path, by } => {
                format!("patch {by}, which was applied later, has objects below {path}")
            }
            Self::KeptPackage(name) => {
                format!("package {name}: this name is reserved for kept libraries")
            }
            Self::LibrariesLost(lost) => lost.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::SharedLater { by } => format!("the later patch {by} changes the same files"),
            Self::Needed { by, requirement } => format!("applied patch {by} requires {requirement}"),
            Self::InSet(reason) => reason.to_string(),
            Self::NotUndone(reason) => reason.to_string(),
            Self::Promotion(reason) => reason.to_string(),
            Self::Hook(reason) => reason.to_string(),
            _ => return None,
        })
    }

    fn obstacle(&self) -> String {
        match self {
            Self::BadPkginfo { package, reason } => format!("the pkginfo of package {package}: {reason}"),
            Self::BadInformation { package, file, reason } => {
                format!("the file {file} of package {package}: {reason}")
            }
            Self::NoWayBack(why) => format!("it could not be backed out afterwards: {}", why.sentence()),
            Self::Excluded => "the policy of this root excludes it".to_owned(),
            Self::BackoutDirectory(path) => format!("{} is not an absolute path", path.display()),
            Self::StaleSave(package) => {
                format!("package {package} has a save directory of this patch, which is not applied")
            }
            Self::Interactive => "it has to be applied by hand: its properties say `interactive`".to_owned(),
            Self::Zone { package, parameter, installed, delivered } => {
                format!("{parameter} of package {package} is <{delivered}>, but <{installed}> is installed")
            }
            Self::RecordsByScripts(package) => {
                format!("the scripts of package {package} keep the records of the patch themselves")
            }
            Self::ScriptForbidden { package, script, by_option } => {
                forbidden(package.as_deref(), script, *by_option)
            }
            Self::BasedirAnswered { installed, answered } => {
                format!("it is installed in {installed}, and the response demands {answered}")
            }
            Self::OtherBaseDirectory { package, installed, delivered } => format!(
                "it is made for the base directory {delivered}, package {package} is installed in {installed}, and none \
                 of its objects belongs to the package there"
            ),
            Self::Edited { paths, attributes, .. } => edited(paths, attributes),
            Self::KeepWithoutUndo(path) => {
                format!("the edited file {path} cannot be kept when no undo data is saved")
            }
            Self::Object { package, path, problem: ObjectProblem::NativeOwner { owner, manager } } => {
                format!("{path} belongs to {owner} ({manager}), and not to package {package}")
            }
            Self::Object { package, path, problem } => format!("package {package}, path {path}: {problem}"),
            Self::NoSpace { file_system, needed, free, inodes: true, .. } => {
                format!("{file_system} has room for {free} objects, {needed} are needed")
            }
            Self::NoSpace { file_system, needed, free, .. } => {
                format!("{file_system} has {} free, {} are needed", size(*free), size(*needed))
            }
            Self::ReadOnly(file_system) => format!("the file system {file_system} is read-only"),
            Self::PatchesApplied { package, patches } => {
                format!("patches are applied to package {package}: {patches}")
            }
            Self::NoSuchPackage => "there is no such package".to_owned(),
            Self::NothingToAsk => "package does not contain an interactive request script".to_owned(),
            Self::InUse { objects, .. } => {
                let said = |is_unowned: bool, rest: [&str; 2]| {
                    let objects = || objects.iter().filter(|object| object.is_unowned == is_unowned);
                    let paths = join(objects().map(|object| object.path.to_string()));
                    let rest = rest[usize::from(objects().count() > 1)];
                    (!paths.is_empty()).then(|| format!("{paths} {rest}"))
                };
                let used = [
                    "is already installed and is being used by another package",
                    "are already installed and are being used by another package",
                ];
                let unowned = ["is there and belongs to no package", "are there and belong to no package"];
                [said(false, used), said(true, unowned)].into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
            Self::BadId(reason)
            | Self::BadPatch(reason)
            | Self::ScriptsUnsafe(reason)
            | Self::BeyondScripts { what: reason, .. }
            | Self::Administration { found: reason, .. }
            | Self::Interaction { found: reason, .. } => reason.clone(),
            _ => self.remains(),
        }
    }

    fn remains(&self) -> String {
        match self {
            Self::Adopted { from, .. } => {
                format!("it was adopted from {from}, which owns its files")
            }
            Self::NativeChanged { package, change } => format!("package {package}: {change}"),
            Self::NotAdopted => "it was installed and not adopted".to_owned(),
            Self::Signal(signal) => format!("ended by signal {signal}"),
            Self::NoUndoData(package) => format!("there is no undo data for package {package}"),
            Self::Interrupted { package, is_put_aside: true } => format!(
                "applying it to package {package} was interrupted, and a later call restored the records of the package, but not its files: the records of the first call are in var/sadm/pkg/{package}/{package}, \
                 and there is no undo data for files that may have been replaced"
            ),
            Self::Interrupted { package, .. } => format!(
                "applying it to package {package} was interrupted: the package is locked by `!I-Lock!`, its \
                 records name the patch, and there is no undo data for files that may have been replaced"
            ),
            Self::OtherInterrupted { package, patch } => format!(
                "patch {patch} was left half applied to package {package}, as `!I-Lock!` shows, and the scripts of this one would remove that lock"
            ),
            Self::BadUndoData { package, reason } => format!("undo data of package {package}: {reason}"),
            _ => String::new(),
        }
    }
}

/// Returns a size in binary units, rounded up.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut tenths = bytes.saturating_mul(10).div_ceil(1024);
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.div_ceil(1024);
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

fn forbidden(package: Option<&str>, script: &str, by_option: bool) -> String {
    let whose = package.map_or_else(|| "it".to_owned(), |name| format!("package {name}"));
    let what = match script.strip_prefix("i.").or_else(|| script.strip_prefix("r.")) {
        Some(class) => format!("needs the script {script} of class {class}"),
        None => format!("has the script {script}"),
    };
    let who = if by_option { "--scripts refuse" } else { "the policy of this root" };
    format!("{whose} {what}, which {who} does not allow")
}

fn listed(objects: &[ObjectInUse]) -> String {
    let line = |object: &ObjectInUse| {
        let what = if object.attributes_only { " <attribute change only>" } else { "" };
        let mark = if object.is_unowned { "*" } else { " " };
        format!("\n{mark} {}{what}", object.path)
    };
    let lines: String = objects.iter().map(line).collect();
    let unowned = objects.iter().any(|object| object.is_unowned);
    let legend = "\n* - conflict with a file which does not belong to any package.";
    let legend = if unowned { legend } else { "" };
    format!(
        "The following files are already installed on the system and are being\nused by another package:{lines}{legend}"
    )
}

fn list(packages: &[PkgInst]) -> String {
    join(packages.iter().map(ToString::to_string))
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn edited(paths: &[ObjectPath], attributes: &[EditedAttribute]) -> String {
    let files = join(paths.iter().map(ToString::to_string));
    let attributes = join(attributes.iter().map(ToString::to_string));
    let both = [("edited since installation: ", files), ("attributes set locally: ", attributes)];
    let parts = both.into_iter().filter(|(_, list)| !list.is_empty());
    parts.map(|(word, list)| format!("{word}{list}")).collect::<Vec<_>>().join("; ")
}

fn unregistered(packages: &[String], native: &str) -> String {
    format!(
        "none of its packages is registered here: {}; {native} is installed, and was not adopted",
        packages.join(", ")
    )
}

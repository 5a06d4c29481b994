//! Exit codes and next steps for failures of making patches.

use std::path::{Path, PathBuf};

use patchadm_cli::reply::cause_of::{of_io, of_root};
use patchadm_cli::reply::failure::{problem_code, source_code};
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_inputs::sign::MANIFEST;
use patchadm_making::build::{AbiError, BuildError, PreviousError, SparseError};
use patchadm_making::delta::{DeltaError, SourceFailure};
use patchadm_making::release::{ReleaseError, ReleaseProblem};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::LockError;

/// True for a patch and for a package, unlike for a directory of patches and for a depot.
pub fn is_patch(path: &Path) -> bool {
    [MANIFEST, "patchinfo", "pkginfo", "pkgmap"].iter().any(|name| path.join(name).is_file())
}

/// Returns the directory that contains a file or directory.
pub fn directory_above(path: &Path) -> PathBuf {
    match (path.file_name(), path.parent()) {
        (Some(_), Some(parent)) if parent.as_os_str().is_empty() => PathBuf::from("."),
        (Some(_), Some(parent)) => parent.to_owned(),
        _ => path.join(".."),
    }
}

/// Exits as for an unreadable patch.
pub fn of_release(error: &ReleaseError) -> (Exit, &'static str) {
    let exit = match &error.problem {
        ReleaseProblem::Svr4(problem) => problem_code(Command::Patchadd, &error.path, problem),
        ReleaseProblem::NotFound => Exit::failed(ExitCause::NotFound),
        ReleaseProblem::NotDecompressed(_) => Exit::new(39, ExitCause::DamagedInput),
        _ => Exit::new(33, ExitCause::DamagedInput),
    };
    (exit, "specify a complete release: a directory, package or archive, or a directory of them")
}

/// For a named patch.
pub fn of_previous(error: &PreviousError) -> (Exit, &'static str) {
    let exit = match error {
        PreviousError::Source(error) => source_code(Command::Patchadd, error),
        PreviousError::Macros { .. } => Exit::new(28, ExitCause::DamagedInput),
        _ => Exit::new(33, ExitCause::DamagedInput),
    };
    (exit, "specify a patch that this program can read")
}

pub fn of_build(error: &BuildError) -> (Exit, &'static str) {
    match error {
        BuildError::Pair(_) => {
            let advice = "use the values of the installed package, as printed by `patchadm pkginfo -l -R ROOT PKG`; a directory adopted without `--arch` has `--arch all`";
            (Exit::failed(ExitCause::Usage), advice)
        }
        BuildError::Pattern(_) => (Exit::of_verb(ExitCause::Settings), "fix the pattern in the policy"),
        BuildError::Exists(_) | BuildError::Foreign(_) => {
            (Exit::of_verb(ExitCause::Exists), "choose another name, or replace a patch with `--force`")
        }
        BuildError::NoLaterRevision { .. } => {
            (Exit::of_verb(ExitCause::NotApplicable), "check `--id` and `--previous`")
        }
        BuildError::PreviousPackage { .. } => (
            Exit::of_verb(ExitCause::NotApplicable),
            "check `--arch` and `--base-version`; if the patch is for another version, leave out `--previous`",
        ),
        BuildError::NothingChanged { .. } => (Exit::of_verb(ExitCause::NotApplicable), ""),
        BuildError::NotRestricted { .. } => {
            (Exit::of_verb(ExitCause::Restricted), "choose another `--id`, or leave out `--restricted`")
        }
        BuildError::Overlap(_) => (
            Exit::of_verb(ExitCause::Dependency),
            "specify the other patch with `--requires` or `--obsoletes`",
        ),
        BuildError::AbiBreak(_) | BuildError::Abi(AbiError::Source(_)) => (
            Exit::of_verb(ExitCause::Dependency),
            "deliver the needed library too, or use `--allow-abi-break`",
        ),
        BuildError::Sparse(SparseError::Owner { .. }) => (
            Exit::of_verb(ExitCause::DamagedInput),
            "give all objects one with `--owner USER:GROUP`, or leave it out with `--exclude`",
        ),
        BuildError::Sparse(_) | BuildError::Path(_) | BuildError::Name(_) | BuildError::TooLarge { .. } => {
            (Exit::of_verb(ExitCause::DamagedInput), "fix the object, or leave it out with `--exclude`")
        }
        BuildError::Changed { .. } => {
            (Exit::of_verb(ExitCause::Edited), "build again when nobody is writing to the release")
        }
        BuildError::Read { error, .. } | BuildError::Abi(AbiError::Read { error, .. }) => {
            (Exit::new(33, of_io(error)), "check the named file")
        }
        BuildError::Write { error, .. } => (Exit::failed(of_io(error)), "check the output directory"),
        BuildError::Root(error) => (Exit::failed(of_root(error)), "check the output directory"),
        BuildError::Interrupted(signal) => (Exit::by_signal(*signal), "run it again"),
        _ => (Exit::failed(ExitCause::Internal), "check the output directory"),
    }
}

pub fn of_failure(failure: &SourceFailure) -> Exit {
    match failure {
        SourceFailure::Release(error) => of_release(error).0,
        SourceFailure::Build(error) => of_build(error).0,
        SourceFailure::Previous(error) => of_previous(error).0,
        SourceFailure::Work(error) => Exit::failed(of_root(error)),
        SourceFailure::Name(_) | SourceFailure::Base(_) | SourceFailure::BaseTaken { .. } => {
            Exit::of_verb(ExitCause::Settings)
        }
        SourceFailure::NotAsBuilt { .. } => Exit::of_verb(ExitCause::DamagedInput),
        SourceFailure::Changed(_) => Exit::of_verb(ExitCause::Edited),
        _ => Exit::of_verb(ExitCause::NotApplicable),
    }
}

/// Three lines: what did not happen, why, and the next step.
pub fn stop(error: &DeltaError) -> Stop {
    let (exit, next) = match error {
        DeltaError::Set(error) => (of_release(error).0, "name two directories of packages"),
        DeltaError::Work(error) | DeltaError::Lock(LockError::Root(error)) => {
            (Exit::failed(of_root(error)), "check the working directory")
        }
        DeltaError::Lock(LockError::Held { .. }) => (Exit::LOCKED, "try again when it has finished"),
        DeltaError::State { .. } => {
            (Exit::of_verb(ExitCause::DamagedInput), "restore it, or start with another working directory")
        }
        DeltaError::OtherBase { .. } | DeltaError::SameBase { .. } => (
            Exit::of_verb(ExitCause::Settings),
            "assign the source its own base with `--ids`, and never change it",
        ),
        DeltaError::UnknownSource(_) => (Exit::failed(ExitCause::NotFound), "specify an existing source"),
        DeltaError::Against(error) => of_previous(error),
        DeltaError::Interrupted(signal) => {
            (Exit::by_signal(*signal), "run it again; finished patches are kept")
        }
        _ => (Exit::failed(ExitCause::Internal), "check the working directory"),
    };
    Stop::Refused { exit, message: format!("not all patches were made\n{error}\nhint: {next}") }
}

//! Exit codes and next steps for failures of making patches.

use patchadm_cli::reply::cause_of::{of_io, of_root};
use patchadm_cli::reply::failure::{problem_code, source_code};
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_making::build::{AbiError, BuildError, PreviousError};
use patchadm_making::delta::{DeltaError, SourceFailure};
use patchadm_making::release::{ReleaseError, ReleaseProblem};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::LockError;

/// Exits as for an unreadable patch.
pub fn of_release(error: &ReleaseError) -> (Exit, &'static str) {
    let exit = match &error.problem {
        ReleaseProblem::Svr4(problem) => problem_code(Command::Patchadd, &error.path, problem),
        ReleaseProblem::NotFound => Exit::failed(ExitCause::NotFound),
        ReleaseProblem::NotDecompressed(_) => Exit::new(39, ExitCause::DamagedInput),
        _ => Exit::new(33, ExitCause::DamagedInput),
    };
    (exit, "Name a release that is whole: a tree, package, archive, or a directory of them.")
}

/// For a named patch.
pub fn of_previous(error: &PreviousError) -> (Exit, &'static str) {
    let exit = match error {
        PreviousError::Source(error) => source_code(Command::Patchadd, error),
        PreviousError::Macros { .. } => Exit::new(28, ExitCause::DamagedInput),
        _ => Exit::new(33, ExitCause::DamagedInput),
    };
    (exit, "Name a patch that this program can read.")
}

pub fn of_build(error: &BuildError) -> (Exit, &'static str) {
    match error {
        BuildError::Pair(_) => {
            let advice = "Use the values of the installed package: `patchadm pkginfo -l -R ROOT PKG` prints them. A tree that was \
                 adopted without --arch has --arch all.";
            (Exit::failed(ExitCause::Usage), advice)
        }
        BuildError::Pattern(_) => (Exit::of_verb(ExitCause::Settings), "Fix the pattern of the policy."),
        BuildError::Exists(_) | BuildError::Foreign(_) => {
            (Exit::of_verb(ExitCause::Exists), "Choose another name, or use --force for a patch.")
        }
        BuildError::NoLaterRevision { .. } | BuildError::PreviousPackage { .. } => {
            (Exit::of_verb(ExitCause::NotApplicable), "Look at --id, --previous and --base-version.")
        }
        BuildError::NothingChanged { .. } => {
            (Exit::of_verb(ExitCause::NotApplicable), "Nothing: there is no change to deliver.")
        }
        BuildError::NotRestricted { .. } => {
            (Exit::of_verb(ExitCause::Restricted), "Choose another --id, or leave out --restricted.")
        }
        BuildError::Overlap(_) => {
            (Exit::of_verb(ExitCause::Dependency), "Name the other patch with --requires or --obsoletes.")
        }
        BuildError::AbiBreak(_) | BuildError::Abi(AbiError::Source(_)) => {
            (Exit::of_verb(ExitCause::Dependency), "Deliver what is needed, or use --allow-abi-break.")
        }
        BuildError::Sparse(_) | BuildError::Path(_) | BuildError::Name(_) | BuildError::TooLarge { .. } => {
            (Exit::of_verb(ExitCause::DamagedInput), "Leave the object out with --exclude, or fix it.")
        }
        BuildError::Changed { .. } => {
            (Exit::of_verb(ExitCause::Edited), "Build again when nobody writes to the release.")
        }
        BuildError::Read { error, .. } | BuildError::Abi(AbiError::Read { error, .. }) => {
            (Exit::new(33, of_io(error)), "Look at the file that is named.")
        }
        BuildError::Write { error, .. } => {
            (Exit::failed(of_io(error)), "Look at the directory that is written to.")
        }
        BuildError::Root(error) => {
            (Exit::failed(of_root(error)), "Look at the directory that is written to.")
        }
        BuildError::Interrupted(signal) => (Exit::by_signal(*signal), "Run it again."),
        _ => (Exit::failed(ExitCause::Internal), "Look at the directory that is written to."),
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
        DeltaError::Set(error) => (of_release(error).0, "Name two directories of packages."),
        DeltaError::Work(error) | DeltaError::Lock(LockError::Root(error)) => {
            (Exit::failed(of_root(error)), "Look at the working directory.")
        }
        DeltaError::Lock(LockError::Held { .. }) => (Exit::LOCKED, "Try again when that one has ended."),
        DeltaError::State { .. } => (
            Exit::of_verb(ExitCause::DamagedInput),
            "Put back what it was, or begin with another working directory.",
        ),
        DeltaError::OtherBase { .. } | DeltaError::SameBase { .. } => {
            (Exit::of_verb(ExitCause::Settings), "Give the source a base of its own with --ids, for ever.")
        }
        DeltaError::UnknownSource(_) => (Exit::failed(ExitCause::NotFound), "Name a source that is there."),
        DeltaError::Against(error) => of_previous(error),
        DeltaError::Interrupted(signal) => {
            (Exit::by_signal(*signal), "Run it again: what is finished stays.")
        }
        _ => (Exit::failed(ExitCause::Internal), "Look at the working directory."),
    };
    Stop::Refused { exit, message: format!("not all patches were made\n{error}.\n{next}") }
}

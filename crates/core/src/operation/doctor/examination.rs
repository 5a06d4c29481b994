//! The input of the checks: the root, the caller, and facts that several checks need; and their output, findings.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::operation::failure::Failure;
use crate::operation::session::may_change;
use crate::operation::whose_root::{RootStanding, SaidOfOwner, standing};
use patchadm_changeset::records::OpenRun;
use patchadm_inputs::database::{RecordDamage, ViewError, open_run, policy};
use patchadm_inputs::http::HttpSettings;
use patchadm_inputs::policy::Policy;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::{Dir, Lock, LockHolder, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// The input of a diagnosis that only the command line knows.
pub struct DoctorRequest<'a> {
    /// The present moment.
    pub now: DateTime<Utc>,
    /// The directories of `PATH`, in their order.
    pub path: Vec<PathBuf>,
    /// The file of the running program, if the system tells.
    pub program: Option<&'a Path>,
    /// The names by which commands of the program are called, its own first.
    pub names: Vec<&'static str>,
    /// Certificates and proxies of the environment.
    pub http: HttpSettings,
    /// True if nothing is reached over a network.
    pub is_offline: bool,
    /// The damage of the records, if they were examined before.
    pub damage: Option<&'a [RecordDamage]>,
}

/// A root under examination.
pub(super) struct Examination<'a> {
    pub(super) root: &'a Root,
    pub(super) request: &'a DoctorRequest<'a>,
    /// The policy of the root, or its fault.
    pub(super) policy: Result<Policy, String>,
    /// The process that holds the lock.
    pub(super) holder: Result<Option<LockHolder>, RootError>,
    /// The run in progress, or a dead one.
    pub(super) run: Result<Option<OpenRun>, ViewError>,
    /// The user who would change the root, or the reason why the caller may not.
    pub(super) changes: Result<RootStanding, Failure>,
}

impl<'a> Examination<'a> {
    pub(super) fn of(root: &'a Root, request: &'a DoctorRequest<'a>) -> Self {
        Self {
            root,
            request,
            policy: policy::of_root(root).map_err(|error| error.to_string()),
            holder: Lock::holder(root),
            run: open_run(root),
            changes: who_changes(root),
        }
    }

    /// Returns the moment of the diagnosis; nothing is recorded, so its place does not count.
    pub(super) fn now(&self) -> Now {
        let utc = self.request.now.naive_utc();
        Now { utc, local: utc, host: String::new() }
    }

    pub(super) fn wording(&self) -> Wording {
        Wording::of_verbs(self.root.prefix())
    }

    /// Returns the directory in which something may be tried, or why nothing is.
    pub(super) fn place_of_trials(&self) -> Result<Dir, String> {
        let root = match &self.changes {
            Err(failure) => return Err(format!("not tried: {failure}")),
            // The caller touches nothing in it.
            Ok(RootStanding::Owner(_)) => {
                return Err("not tried: the root is changed as its owner".to_owned());
            }
            Ok(RootStanding::Caller(root)) => root,
        };
        if !matches!(&self.holder, Ok(None)) || !matches!(&self.run, Ok(None)) {
            return Err("not tried while a run is under way or unfinished".to_owned());
        }
        let place = places::own_directory();
        match directory_of(root, &place) {
            Ok(Some(dir)) => Ok(dir),
            Ok(None) => Err(format!("not tried: {} is made by the first run", self.root.show(&place))),
            Err(error) => Err(format!("not tried: {error}")),
        }
    }

    /// Opens a directory of the root, behind links as well; `None` if it does not exist.
    pub(super) fn directory(&self, path: &ObjectPath) -> Result<Option<Dir>, RootError> {
        directory_of(self.root, path)
    }

    pub(super) fn show(&self, path: &ObjectPath) -> String {
        if *path == ObjectPath::root() {
            self.root.prefix().display().to_string()
        } else {
            self.root.show(path)
        }
    }
}

fn directory_of(root: &Root, path: &ObjectPath) -> Result<Option<Dir>, RootError> {
    root.dir_if_there(&root.resolver().locate_dir(path)?)
}

fn who_changes(root: &Root) -> Result<RootStanding, Failure> {
    let host = root.elsewhere(Path::new("/"))?;
    let standing = standing(root.clone(), &host, SaidOfOwner::default())?;
    if let RootStanding::Caller(root) = &standing {
        may_change(root)?;
    }
    Ok(standing)
}

/// The state of what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    /// It works.
    Ok,
    /// It was not looked at or tried; the text says why.
    Unknown,
    /// It works, but something is slower, less exact or not possible here.
    Limited,
    /// Somebody has to do something.
    Attention,
}

impl FindingState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Limited, Self::Attention];

    /// Returns the word for it, which never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
            Self::Attention => "attention",
        }
    }
}

/// One finding of a diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check: a word that never changes, such as `lock`.
    pub what: &'static str,
    /// Its state.
    pub state: FindingState,
    /// The finding for a person: no capital letter at the beginning and no period at the end.
    pub text: String,
    /// The command that helps, ready to be typed; words in capitals are to be replaced.
    pub command: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, state: FindingState::Ok, text: text.into(), command: None }
    }

    /// Something that was not looked at or tried, with the reason.
    pub(super) fn unknown(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Unknown, ..Self::ok(what, text) }
    }

    pub(super) fn limited(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Limited, ..Self::ok(what, text) }
    }

    pub(super) fn attention(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Attention, ..Self::ok(what, text) }
    }

    pub(super) fn with_command(self, command: impl AsRef<str>) -> Self {
        Self { command: Some(command.as_ref().trim_matches('`').to_owned()), ..self }
    }
}

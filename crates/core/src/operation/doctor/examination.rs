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

/// Known to the command line only.
pub struct DoctorRequest<'a> {
    pub now: DateTime<Utc>,
    /// In order.
    pub path: Vec<PathBuf>,
    /// If the system tells.
    pub program: Option<&'a Path>,
    /// Names of commands, the program's own first.
    pub names: Vec<&'static str>,
    pub http: HttpSettings,
    pub is_offline: bool,
    /// Known damage, if the records were examined before.
    pub damage: Option<&'a [RecordDamage]>,
}

pub(super) struct Examination<'a> {
    pub(super) root: &'a Root,
    pub(super) request: &'a DoctorRequest<'a>,
    /// Or its defect.
    pub(super) policy: Result<Policy, String>,
    pub(super) holder: Result<Option<LockHolder>, RootError>,
    /// Active or dead.
    pub(super) run: Result<Option<OpenRun>, ViewError>,
    /// Who would change the root, or why the caller may not.
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

    /// Nothing is recorded, so the place does not count.
    pub(super) fn now(&self) -> Now {
        let utc = self.request.now.naive_utc();
        Now { utc, local: utc, host: String::new() }
    }

    pub(super) fn wording(&self) -> Wording {
        Wording::of_verbs(self.root.prefix())
    }

    /// Returns a directory for experiments, or why there is none.
    pub(super) fn place_of_trials(&self) -> Result<Dir, String> {
        let root = match &self.changes {
            Err(failure) => return Err(format!("not tried: {failure}")),
            // The caller touches nothing in it.
            Ok(RootStanding::Owner(_)) => {
                return Err("not tested: the root is changed as its owner".to_owned());
            }
            Ok(RootStanding::Caller(root)) => root,
        };
        if !matches!(&self.holder, Ok(None)) || !matches!(&self.run, Ok(None)) {
            return Err("not tested while a run is in progress or unfinished".to_owned());
        }
        let place = places::own_directory();
        match directory_of(root, &place) {
            Ok(Some(dir)) => Ok(dir),
            Ok(None) => {
                Err(format!("not tested: {} does not exist before the first run", self.root.show(&place)))
            }
            Err(error) => Err(format!("not tried: {error}")),
        }
    }

    /// Follows links; `None` if it does not exist.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    Ok,
    /// Not examined; the text says why.
    Unknown,
    /// It works, but something is slower, less exact or impossible.
    Limited,
    /// Somebody must act.
    Attention,
}

impl FindingState {
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Limited, Self::Attention];

    /// This word never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
            Self::Attention => "attention",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check, such as `lock`; stable.
    pub what: &'static str,
    pub state: FindingState,
    /// For a person: no initial capital, no final period.
    pub text: String,
    /// A helpful command; words in capitals are to be replaced.
    pub command: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, state: FindingState::Ok, text: text.into(), command: None }
    }

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

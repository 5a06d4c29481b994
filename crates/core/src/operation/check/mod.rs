//! `patchadm check`: what works for the caller on this root, and commands that help. Packages and patches: [`software`].
//!
//! ```text
//! RootCheckRequest ─► RootExamination (policy, lock, run, rights) ─► each of CHECKS ─► RootFinding, RootFinding, …
//! ```
//! Nothing is locked, recovered or repaired. File system features are tried with private files below
//! `var/sadm/patchadm`, only if the caller may change the root and nobody else does. Depots must answer within seconds.

mod depots;
mod machine;
mod root;
pub mod software;

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
pub struct RootCheckRequest<'a> {
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

struct RootExamination<'a> {
    root: &'a Root,
    request: &'a RootCheckRequest<'a>,
    /// Or its defect.
    policy: Result<Policy, String>,
    holder: Result<Option<LockHolder>, RootError>,
    /// Active or dead.
    run: Result<Option<OpenRun>, ViewError>,
    /// Who would change the root, or why the caller may not.
    changes: Result<RootStanding, Failure>,
}

impl<'a> RootExamination<'a> {
    fn of(root: &'a Root, request: &'a RootCheckRequest<'a>) -> Self {
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
    fn now(&self) -> Now {
        let utc = self.request.now.naive_utc();
        Now { utc, local: utc, host: String::new() }
    }

    fn wording(&self) -> Wording {
        Wording::of_verbs(self.root.prefix())
    }

    /// Returns a directory for experiments, or why there is none.
    fn place_of_trials(&self) -> Result<Dir, String> {
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
    fn directory(&self, path: &ObjectPath) -> Result<Option<Dir>, RootError> {
        directory_of(self.root, path)
    }

    fn show(&self, path: &ObjectPath) -> String {
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
pub struct RootFinding {
    /// Name of the check, such as `lock`; stable.
    pub what: &'static str,
    pub state: FindingState,
    /// For a person: no initial capital, no final period.
    pub text: String,
    /// A helpful command; words in capitals are to be replaced.
    pub command: Option<String>,
}

impl RootFinding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, state: FindingState::Ok, text: text.into(), command: None }
    }

    fn unknown(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Unknown, ..Self::ok(what, text) }
    }

    fn limited(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Limited, ..Self::ok(what, text) }
    }

    fn attention(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Attention, ..Self::ok(what, text) }
    }

    fn with_command(self, command: impl AsRef<str>) -> Self {
        Self { command: Some(command.as_ref().trim_matches('`').to_owned()), ..self }
    }
}

type Check = fn(&RootExamination<'_>) -> Vec<RootFinding>;

/// In the order of findings: system, root, records, trust, caller.
const CHECKS: [Check; 19] = [
    machine::openat2,
    machine::user_namespaces,
    root::rights,
    root::lock,
    root::policy,
    machine::exchange,
    machine::reflink,
    machine::journal,
    machine::birth_times,
    machine::undo_space,
    root::unfinished,
    root::identity,
    root::program,
    root::records,
    root::registrations,
    root::hooks,
    root::keys,
    depots::depots,
    machine::search_path,
];

pub fn check_root(root: &Root, request: &RootCheckRequest<'_>) -> Vec<RootFinding> {
    let examination = RootExamination::of(root, request);
    CHECKS.iter().flat_map(|check| check(&examination)).collect()
}

pub fn check_root_records(root: &Root, request: &RootCheckRequest<'_>) -> Vec<RootFinding> {
    let examination = RootExamination::of(root, request);
    [root::records, root::registrations].iter().flat_map(|check| check(&examination)).collect()
}

/// For a root that cannot be opened safely on this system; `None` for other errors.
pub fn finding_of_unopened(error: &RootError) -> Option<RootFinding> {
    matches!(error, RootError::NoOpenat2(_)).then(|| machine::without_openat2(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_kernel_without_openat2_is_a_finding_and_no_other_error_is() {
        let finding = finding_of_unopened(&RootError::NoOpenat2("/mnt".to_owned())).unwrap();
        assert_eq!((finding.what, finding.state), ("kernel", FindingState::Attention));
        assert!(finding.text.contains("Linux 5.6 or later"), "{}", finding.text);
        let missing = RootError::Call { action: "open", path: "/mnt".to_owned(), errno: Errno::NOENT };
        assert_eq!(finding_of_unopened(&missing), None);
    }

    #[test]
    fn the_states_have_the_order_of_their_gravity_and_words_of_their_own() {
        assert!(FindingState::ALL.is_sorted());
        let words = FindingState::ALL.map(FindingState::word);
        assert_eq!(words, ["ok", "unknown", "limited", "attention"]);
    }
}

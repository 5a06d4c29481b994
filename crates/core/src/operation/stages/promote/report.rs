//! The report of a promotion.

use std::collections::BTreeMap;

use crate::operation::changed_texts::ChangedTexts;
use crate::operation::content::new_bytes;
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::AfterRun;
use crate::operation::patches::in_use::UsingProcess;
use crate::operation::promotion_hooks::HookEnd;
use crate::operation::stages::completed_refresh::CompletedRefresh;
use crate::operation::trial::TrialOutcome;
use crate::three_way::Conflict;
use patchadm_changeset::transaction::{ExchangeReport, Receipt, Recovered};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::refusal::SetIdFile;
use patchadm_svr4::package::ObjectPath;

/// The actual or planned changes of a promotion.
#[derive(Debug)]
pub struct PromoteReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The id of the stage; `None` for a tree without identity.
    pub stage: Option<String>,
    /// The id of the promotion.
    pub id: String,
    /// The base that was compared with: `0`, the id of a promotion, or `None`.
    pub base: Option<String>,
    /// Whether no base was taken into account.
    pub two_way: bool,
    /// The changes of each promoted path, and of other directories that should be exchanged.
    pub paths: Vec<PathReport>,
    /// How the changes below each directory to be exchanged become visible, with the processes that stay in it.
    pub exchanges: Vec<ExchangeReport>,
    /// The paths that stay as they are on the live tree, or are skipped.
    pub kept: Vec<KeptPath>,
    /// The paths that both sides changed.
    pub conflicts: BTreeMap<ObjectPath, Conflict>,
    /// The packages of the promotion.
    pub packages: Vec<PackageReport>,
    /// The plan; `None` if there is nothing to do, or it was refused.
    pub plan: Option<Plan>,
    /// The texts of the files that change; only of a plan, where they are wanted.
    pub texts: ChangedTexts,
    /// The interrupted refresh of the stage that was completed first, or would be.
    pub refreshed: Option<CompletedRefresh>,
    /// The part of each patch in the run, the promotion last, if patches of the stage come; otherwise empty.
    pub portions: Vec<Plan>,
    /// The programs that run from, or have mapped, files that are replaced.
    pub in_use: Vec<UsingProcess>,
    /// The hooks that run before and after the promotion, and their outcomes.
    pub hooks: Vec<HookEnd>,
    /// The files with set-id bits or capabilities that come, get other bytes, or get such rights.
    pub set_id: Vec<SetIdFile>,
    /// The attributes of the stage that do not go live, because another user could have chosen them.
    pub withheld: Vec<WithheldObject>,
    /// The fingerprint of the input of the plan, if a plan file is made or compared.
    pub fingerprint: Option<String>,
    /// The report on libraries, if they were examined.
    pub libraries: Option<LibraryReport>,
    /// The receipt of the run, or the reason why there is none. A dry run, and one with nothing to do, has no receipt.
    pub result: Result<Option<Receipt>, Failure>,
    /// What followed on the run by the policy.
    pub after: AfterRun,
    /// The trial on which the run put the promotion, and what followed.
    pub trial: Option<TrialOutcome>,
    /// The reason why the caller could not carry out what was only planned.
    pub refused: Option<Failure>,
}

/// An object whose attributes do not all go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithheldObject {
    /// Its path.
    pub path: ObjectPath,
    /// The attributes that stay in the stage: at least one.
    pub attributes: Vec<WithheldAttribute>,
}

/// An attribute that could give somebody rights on the live tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithheldAttribute {
    /// User and group.
    Owner,
    /// Set-id bits.
    SetId,
    /// The right of group or others to write.
    Write,
    /// Other rights of group or others.
    Permissions,
    /// An access list.
    AccessList,
    /// File capabilities.
    Capabilities,
    /// Other extended attributes of the system.
    Others,
}

impl WithheldAttribute {
    /// Returns the word of JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::SetId => "set-id",
            Self::Write => "write",
            Self::Permissions => "permissions",
            Self::AccessList => "access-list",
            Self::Capabilities => "capabilities",
            Self::Others => "attributes",
        }
    }

    /// Returns the words of a text.
    pub fn words(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::SetId => "set-id bits",
            Self::Write => "write permission of group or others",
            Self::Permissions => "permissions of group or others",
            Self::AccessList => "access list",
            Self::Capabilities => "capabilities",
            Self::Others => "extended attributes of the system",
        }
    }
}

/// The way in which a path is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchWay {
    /// Name by name.
    Renames,
    /// All at once.
    Exchange,
    /// Nothing changes there.
    Nothing,
}

/// The changes of one promoted path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The path.
    pub path: ObjectPath,
    /// The way in which it is switched.
    pub way: SwitchWay,
    /// The reason why names are renamed one by one although an exchange was requested.
    pub reason: Option<String>,
    /// The objects of the live tree.
    pub live: usize,
    /// The objects that are added, directories apart.
    pub added: usize,
    /// The objects that get other content or another type.
    pub replaced: usize,
    /// The objects that get other attributes.
    pub attributes: usize,
    /// The objects that are deleted, directories apart.
    pub deleted: usize,
    /// The directories that are made.
    pub directories_made: usize,
    /// The directories that are removed.
    pub directories_removed: usize,
}

/// A path that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPath {
    /// The path.
    pub path: ObjectPath,
    /// The reason, as a word: `live-only`, `volatile`, `excluded`, `socket`, `mount`.
    pub reason: &'static str,
}

/// A package of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageReport {
    /// Its name.
    pub name: String,
    /// Whether the promotion makes it.
    pub is_new: bool,
    /// The number of its objects that change.
    pub objects: usize,
}

impl PromoteReport {
    /// Returns whether the root was changed.
    pub fn has_changed(&self) -> bool {
        matches!(self.result, Ok(Some(_)))
    }

    /// Returns the bytes of the files that come.
    pub fn bytes(&self) -> u64 {
        self.plan.as_ref().map_or(0, new_bytes)
    }
}

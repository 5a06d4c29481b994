//! The answer of `promote`, and of `stage status`, which shows its plan.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::exchange_entry::ExchangeEntry;
use super::exit::Exit;
use super::patch_entry::new_bytes;
use super::patches::{PatchFace, PatchesReport};
use patchadm_changeset::transaction::Receipt;
use patchadm_core::operation::changed_texts::texts_of_plan;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::ApplyReport;
use patchadm_core::operation::patches::outcome::PatchOutcome;
use patchadm_core::operation::promotion_hooks::HookEnd;
use patchadm_core::operation::running::UsingProcess;
use patchadm_core::operation::stages::ConflictingPath;
use patchadm_core::operation::stages::promote::{
    KeptPath, PackageReport, PathReport, PromoteReport, WithheldObject,
};
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::refusal::{Command, SetIdFile};
use patchadm_planning::plan::{Plan, SpaceNeed};
use patchadm_rootfs::Root;

#[derive(Debug, Serialize)]
pub struct PromotionAnswer {
    /// `None` for a tree without identity.
    pub stage: Option<String>,
    pub id: String,
    /// The base of the comparison.
    pub base: Option<String>,
    /// True if no base was used.
    pub two_way: bool,
    /// With the promotion as a patch.
    #[serde(flatten)]
    pub end: PatchesReport,
    /// For each promoted path, and for other directories to be exchanged.
    pub paths: Vec<PathReport>,
    /// Directories to be exchanged, for people.
    #[serde(skip)]
    pub exchanges: Vec<ExchangeEntry>,
    pub kept: Vec<KeptPath>,
    /// Paths that both sides changed.
    pub conflicts: Vec<ConflictingPath>,
    /// Files that get set-id bits or capabilities, or other bytes with these, and objects that get another owner.
    pub set_id: Vec<SetIdFile>,
    /// Attributes of the stage that do not go live.
    pub withheld: Vec<WithheldObject>,
    pub packages: Vec<PackageReport>,
    /// The size of new files.
    pub bytes: u64,
    /// On each file system.
    pub space: Vec<SpaceNeed>,
    pub in_use: Vec<UsingProcess>,
    /// The number of paths that an interrupted refresh still had to bring; it was completed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<usize>,
    /// The fingerprint of the plan's input, if a plan file is made or compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shlibs: Option<LibraryReport>,
    pub hooks: Vec<HookEnd>,
}

impl PromotionAnswer {
    /// Makes the report; the command began at `began`.
    pub fn of(root: &Root, report: PromoteReport, is_plan: bool, began: Instant) -> Self {
        let bytes = report.bytes();
        let PromoteReport { stage, id, base, two_way, .. } = &report;
        let (stage, id, base, two_way) = (stage.clone(), id.clone(), base.clone(), *two_way);
        let paths = report.paths.clone();
        let (kept, packages) = (report.kept.clone(), report.packages.clone());
        let conflicts = report.conflicts.clone();
        let (set_id, withheld) = (report.set_id.clone(), report.withheld.clone());
        let in_use = report.in_use.clone();
        let hooks = report.hooks.clone();
        let fingerprint = report.fingerprint.clone();
        let refreshed = report.refreshed.as_ref().map(|refresh| refresh.taken);
        let shlibs = report.libraries.clone();
        let space = report.plan.iter().flat_map(|plan| plan.space.iter().cloned());
        let space = space.collect();
        let end = PatchesReport::of(root, Command::Promote, Ok(applied(report)), PatchFace::Verb, began);
        let mut end = end.of_plan(is_plan);
        // The document has them among the promoted paths.
        let exchanges = std::mem::take(&mut end.paths);
        Self {
            stage,
            id,
            base,
            two_way,
            end,
            paths,
            exchanges,
            kept,
            conflicts,
            set_id,
            withheld,
            packages,
            bytes,
            space,
            in_use,
            refreshed,
            fingerprint,
            shlibs,
            hooks,
        }
    }

    pub fn exit(&self) -> Exit {
        self.end.exit
    }
}

/// Returns the sentence about an interrupted refresh that was completed first, or will be.
pub fn refreshed_sentence(count: usize, is_plan: bool) -> String {
    let paths = if count == 1 { "1 path".to_owned() } else { format!("{count} paths") };
    if is_plan {
        return format!(
            "a refresh of this stage was interrupted: a promotion completes it first ({paths} still to be refreshed), \
             and this is the plan after that"
        );
    }
    format!("a refresh of this stage was interrupted: it was completed first, {paths} refreshed")
}

/// In the form of an application, after the patches that it brings; `None` if there is nothing to do.
fn applied(report: PromoteReport) -> ApplyReport {
    let PromoteReport {
        recovered,
        id,
        plan,
        mut texts,
        portions,
        in_use,
        exchanges,
        trial,
        result,
        after,
        refused,
        ..
    } = report;
    let is_something = plan.is_some() || result.is_err();
    let mut portions = portions;
    let own = portions.pop().or(plan);
    let of_brought = |plan: Plan| {
        let texts = texts_of_plan(&plan, &mut texts);
        let own = match &result {
            Ok(receipt) => Ok(receipt.as_ref().map(|receipt| receipt_of(receipt, &plan))),
            Err(_) => Err(Failure::NotWithout(id.clone())),
        };
        let id = plan.patches.first().cloned().unwrap_or_default();
        PatchOutcome { texts, ..PatchOutcome::new(id, Some(plan), own) }
    };
    let mut patches: Vec<PatchOutcome> = portions.into_iter().map(of_brought).collect();
    if is_something {
        patches.push(PatchOutcome { in_use, texts, ..PatchOutcome::new(id, own, result) });
    }
    ApplyReport { recovered, patches, exchanges, after, trial, refused, ..ApplyReport::default() }
}

/// Returns the receipt of the run for a patch that it brought: its undo data came along.
fn receipt_of(run: &Receipt, plan: &Plan) -> Receipt {
    Receipt {
        run: run.run.clone(),
        bytes: new_bytes(plan),
        undo: BTreeMap::new(),
        exchanges: Vec::new(),
        notes: Vec::new(),
    }
}

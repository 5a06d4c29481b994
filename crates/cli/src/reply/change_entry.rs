use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::json::as_text;
use super::object_state::differences;
use super::unified_diff::text_difference;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_core::operation::changed_texts::{ChangedText, ChangedTexts};
use patchadm_planning::plan::states::{keeps_content, state_after, state_before};
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::{Digest, FileType};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// One object in a plan.
#[derive(Debug, Serialize)]
pub struct ChangeEntry {
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    pub action: &'static str,
    pub size: Option<u64>,
    /// `None` if nothing is there.
    before: Option<RecordedState>,
    /// `None` if nothing will be there.
    after: Option<RecordedState>,
    #[serde(skip)]
    keeps_content: bool,
    /// The text difference of a file whose bytes change, if it is wanted and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_shown: Option<String>,
}

impl ChangeEntry {
    /// `delivered` are digests of files whose bytes were read for the plan, `texts` texts of files.
    pub fn of_plan(plan: &Plan, delivered: &BTreeMap<ObjectPath, Digest>, texts: &ChangedTexts) -> Vec<Self> {
        let changes = || plan.changes.iter().map(Box::as_ref);
        let by_path: HashMap<&ObjectPath, &Change> = changes().map(|change| (&change.path, change)).collect();
        let of = |change: &Change| {
            let mut after = state_after(change, &by_path);
            let file = after.as_mut().filter(|after| after.kind == FileType::Regular && after.b3.is_none());
            if let Some((file, digest)) = file.zip(delivered.get(&change.path)) {
                file.b3 = Some(Box::new((*digest).into()));
            }
            let text = texts.get(&change.path);
            let diff = text.and_then(|text| {
                let ChangedText { before, after } = text.as_ref().ok()?;
                text_difference(&change.path.to_string(), before.as_deref(), after.as_deref())
            });
            let not_shown = text.and_then(|text| text.as_ref().err()).map(ToString::to_string);
            Self {
                package: change.package.clone(),
                path: change.path.clone(),
                action: action_word(&change.action),
                size: size_of(&change.action),
                before: state_before(change),
                after,
                keeps_content: keeps_content(change),
                diff,
                not_shown,
            }
        };
        changes().map(of).collect()
    }

    /// Names changes of the object with both values: target of a link, mode, owner, group, file capabilities, access
    /// control list.
    pub fn differences(&self) -> Vec<String> {
        differences(self.before.as_ref(), self.after.as_ref())
    }

    pub fn states(&self) -> (Option<RecordedState>, Option<RecordedState>) {
        (self.before.clone(), self.after.clone())
    }

    pub fn keeps_content(&self) -> bool {
        self.keeps_content
    }

    /// For people: a file whose bytes stay is not "replaced", and a link gets another target.
    pub fn shown_action(&self) -> &'static str {
        let is_link = |state: &Option<RecordedState>| {
            state.as_ref().is_some_and(|state| state.kind == FileType::Symlink)
        };
        match self.action {
            "replace" if is_link(&self.before) && is_link(&self.after) => "link",
            "replace" if self.keeps_content && !self.differences().is_empty() => "attributes",
            action => action,
        }
    }

    /// For people; `None` if no bytes come.
    pub fn shown_size(&self) -> Option<u64> {
        self.size.filter(|_| self.shown_action() == self.action)
    }
}

pub(super) fn action_word(action: &Action) -> &'static str {
    match action {
        Action::Add(_) => "add",
        Action::Replace(_) => "replace",
        Action::Delete => "delete",
        Action::Attributes(_) => "attributes",
        Action::RemoveDirectory => "remove-directory",
    }
}

pub(super) fn size_of(action: &Action) -> Option<u64> {
    match action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => Some(member.size),
            _ => None,
        },
        _ => None,
    }
}

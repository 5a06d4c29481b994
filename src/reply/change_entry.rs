//! An object of a plan, with what it is before and after.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::json::as_text;
use super::unified_diff::text_difference;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_core::operation::changed_texts::{ChangedText, ChangedTexts};
use patchadm_planning::plan::states::{state_after, state_before};
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, Digest, FileType};
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// One object in a plan.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeEntry {
    #[serde(serialize_with = "as_text")]
    pub(crate) package: PkgInst,
    #[serde(serialize_with = "as_text")]
    pub(crate) path: ObjectPath,
    pub(crate) action: &'static str,
    pub(crate) size: Option<u64>,
    /// What is there; `None` if nothing is.
    before: Option<RecordedState>,
    /// What will be there; `None` if nothing will be.
    after: Option<RecordedState>,
    /// The difference of the texts of a file whose bytes change, where it is wanted and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) diff: Option<String>,
    /// The reason why it is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_shown: Option<String>,
}

impl ChangeEntry {
    /// The objects of a plan. `delivered` are the digests of files whose bytes were read for it, `texts` the texts of files.
    pub(crate) fn of_plan(
        plan: &Plan,
        delivered: &BTreeMap<ObjectPath, Digest>,
        texts: &ChangedTexts,
    ) -> Vec<Self> {
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
                diff,
                not_shown,
            }
        };
        changes().map(of).collect()
    }

    /// Names each attribute of an object that becomes another one, with both values: mode, owner, group, file capabilities,
    /// access control list.
    pub(crate) fn attribute_changes(&self) -> Vec<String> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Vec::new() };
        let mut changes = Vec::new();
        if before.kind != after.kind {
            return changes;
        }
        if before.mode != after.mode {
            changes.push(format!("mode {:04o} -> {:04o}", before.mode, after.mode));
        }
        let numbers = [("owner", before.uid, after.uid), ("group", before.gid, after.gid)];
        for (word, before, after) in numbers.into_iter().filter(|(_, before, after)| before != after) {
            changes.push(format!("{word} {before} -> {after}"));
        }
        let (before, after) = (before.xattrs(), after.xattrs());
        for (key, word) in [(CAPABILITY, "file capabilities"), (ACCESS_LIST, "access control list")] {
            match (before.get(key), after.get(key)) {
                (None, Some(_)) => changes.push(format!("gets {word}")),
                (Some(_), None) => changes.push(format!("loses its {word}")),
                (Some(before), Some(after)) if before != after => changes.push(format!("gets other {word}")),
                _ => {}
            }
        }
        changes
    }
}

/// Returns the word for what happens to an object.
pub(super) fn action_word(action: &Action) -> &'static str {
    match action {
        Action::Add(_) => "add",
        Action::Replace(_) => "replace",
        Action::Delete => "delete",
        Action::Attributes(_) => "attributes",
        Action::RemoveDirectory => "remove-directory",
    }
}

/// Returns the bytes of a file that comes.
pub(super) fn size_of(action: &Action) -> Option<u64> {
    match action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => Some(member.size),
            _ => None,
        },
        _ => None,
    }
}

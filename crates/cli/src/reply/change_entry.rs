//! An object that a patch changes, and its states before and after.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::unified_diff::text_difference;
use super::words::human;
use patchadm_changeset::format::escaped::as_text;
use patchadm_changeset::format::manifest::{RecordedState, decode};
use patchadm_core::operation::changed_texts::{ChangedText, ChangedTexts};
use patchadm_planning::plan::states::{keeps_content, state_after, state_before};
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, Digest, FileType};
use patchadm_svr4::package::{ObjectPath, PkgInst, printable_name};

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

/// Enough digits of a digest to tell two versions apart.
const SHOWN_DIGITS: usize = 12;

/// Returns the state in words: type, size or target, mode, owner and group, the beginning of the digest.
pub fn state_words(state: Option<&RecordedState>) -> String {
    let Some(state) = state else { return "nothing".to_owned() };
    let mut words = vec![type_word(state.kind).to_owned()];
    if let Some(target) = &state.target {
        words.push(format!("to {}", printable_name(&decode(target))));
    }
    if let Some((major, minor)) = state.device {
        words.push(format!("{major},{minor}"));
    }
    words.extend(state.size.map(human));
    if state.kind != FileType::Symlink {
        words.push(format!("{:04o} {}:{}", state.mode, state.uid, state.gid));
    }
    let digest = state.b3.as_deref().map(ToString::to_string).unwrap_or_default();
    if let Some(digits) = digest.get(..SHOWN_DIGITS) {
        words.push(format!("b3 {digits}"));
    }
    if !state.xattrs.is_empty() {
        words.push(state.xattrs.keys().map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    words.join(", ")
}

/// Names changes of an object that keeps its type, except its bytes, with both values: target of a link, mode, owner,
/// group, file capabilities, access control list.
pub fn differences(before: Option<&RecordedState>, after: Option<&RecordedState>) -> Vec<String> {
    let (Some(before), Some(after)) = (before, after) else { return Vec::new() };
    let mut changes = Vec::new();
    if before.kind != after.kind {
        return changes;
    }
    if let (Some(old), Some(new)) = (&before.target, &after.target)
        && old != new
    {
        let shown = |target: &str| printable_name(&decode(target));
        changes.push(format!("link {} → {}", shown(old), shown(new)));
    }
    if before.mode != after.mode {
        changes.push(format!("mode {:04o} → {:04o}", before.mode, after.mode));
    }
    let numbers = [("owner", before.uid, after.uid), ("group", before.gid, after.gid)];
    for (word, before, after) in numbers.into_iter().filter(|(_, before, after)| before != after) {
        changes.push(format!("{word} {before} → {after}"));
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

/// After a colon, to follow a path; empty if there are none.
pub fn told_differences(before: Option<&RecordedState>, after: Option<&RecordedState>) -> String {
    let differences = differences(before, after);
    if differences.is_empty() { String::new() } else { format!(": {}", differences.join(", ")) }
}

fn type_word(kind: FileType) -> &'static str {
    match kind {
        FileType::Regular => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        FileType::Pipe => "named pipe",
        FileType::Socket => "socket",
        FileType::Block => "block device",
        FileType::Character => "character device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Timestamp;

    #[test]
    fn a_state_is_told_by_what_its_type_has() {
        let file = RecordedState {
            kind: FileType::Regular,
            mode: 0o4755,
            uid: 0,
            gid: 2,
            mtime: Timestamp::default(),
            size: Some(3),
            b3: Some(Box::new("0123456789abcdef".repeat(4).into())),
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            group: None,
        };
        assert_eq!(state_words(Some(&file)), "file, 3 bytes, 4755 0:2, b3 0123456789ab");
        let link = RecordedState {
            kind: FileType::Symlink,
            target: Some("a%20b".into()),
            size: None,
            b3: None,
            ..file
        };
        assert_eq!(state_words(Some(&link)), "link, to a b");
        assert_eq!(state_words(None), "nothing");
    }
}

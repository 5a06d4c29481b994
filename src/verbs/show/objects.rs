//! Objects of a patch for `show --files` and `show --diff`: changes by path, done or expected.

use serde::Serialize;

use patchadm_changeset::format::manifest::{RecordedState, decode};
use patchadm_cli::reply::change_entry::{ChangeEntry, differences, state_words};
use patchadm_cli::reply::unified_diff::{print_difference, unified_diff};
use patchadm_cli::reply::words::human;
use patchadm_cli::surroundings::{Output, Shade};
use patchadm_core::operation::changed_texts::{ChangedTexts, NotShown};
use patchadm_core::operation::patches::apply::DeliveredChanges;
use patchadm_core::operation::queries::patch_difference::{DifferingObject, LARGEST_COMPARED};
use patchadm_core::operation::queries::patch_objects::{ObjectAction, PatchedPackage};
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::{ObjectPath, printable_name};

#[derive(Debug, Serialize)]
pub(super) struct PackageObjects {
    package: String,
    objects: Vec<ShownObject>,
    /// True if the list is complete, with the change of each.
    known: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ShownObject {
    path: String,
    action: Option<&'static str>,
    was: Option<RecordedState>,
    became: Option<RecordedState>,
    /// Textual difference, with --diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip)]
    shown: String,
}

impl PackageObjects {
    /// Returns the objects that `is_wanted` selects.
    pub(super) fn of(root: &Root, package: PatchedPackage, is_wanted: &dyn Fn(&ObjectPath) -> bool) -> Self {
        let PatchedPackage { package, objects, known } = package;
        let wanted = objects.into_iter().filter(|object| is_wanted(&object.path));
        let objects = wanted.map(|object| ShownObject {
            shown: root.show(&object.path),
            path: object.path.to_string(),
            action: object.action.map(ObjectAction::word),
            was: object.was,
            became: object.became,
            diff: None,
            note: None,
        });
        Self { package: package.to_string(), objects: objects.collect(), known }
    }

    /// Done changes with textual differences.
    pub(super) fn of_differences(root: &Root, objects: Vec<DifferingObject>) -> Vec<Self> {
        grouped(objects.into_iter().map(|object| {
            let package = object.package.to_string();
            (package, ShownObject::of_difference(root, object))
        }))
    }

    pub(super) fn of_delivered(
        root: &Root,
        changes: &DeliveredChanges,
        is_wanted: &dyn Fn(&ObjectPath) -> bool,
    ) -> Vec<Self> {
        let DeliveredChanges { plan, delivered, texts } = changes;
        let entries = ChangeEntry::of_plan(plan, delivered, texts);
        grouped(
            entries
                .into_iter()
                .filter(|entry| is_wanted(&entry.path))
                .map(|entry| (entry.package.to_string(), ShownObject::of_change(root, entry, texts))),
        )
    }

    pub(super) fn remark(&self, id: &str) -> Option<String> {
        let names = if self.objects.is_empty() { "" } else { "; only these names are known" };
        let Self { package, known, .. } = self;
        (!known).then(|| {
            format!(
                "the changes of {id} to {package} are unknown{names}: its undo data was dropped, cannot be read by this caller, \
                 or was made by another tool"
            )
        })
    }

    /// Returns a heading, and the change of each object.
    pub(super) fn lines(&self, is_verbose: bool) -> impl Iterator<Item = String> + '_ {
        let heading = std::iter::once(format!("{}:", self.package));
        heading.chain(self.objects.iter().flat_map(move |object| object.lines(is_verbose)))
    }

    /// Prints textual differences, and a line for each object without one.
    pub(super) fn print_differences(&self, output: &mut Output) -> anyhow::Result<()> {
        self.objects.iter().try_for_each(|object| object.print_difference(output))
    }
}

/// In the order of packages.
fn grouped(objects: impl Iterator<Item = (String, ShownObject)>) -> Vec<PackageObjects> {
    let mut packages: Vec<PackageObjects> = Vec::new();
    for (package, object) in objects {
        match packages.iter_mut().find(|one| one.package == package) {
            Some(known) => known.objects.push(object),
            None => packages.push(PackageObjects { package, objects: vec![object], known: true }),
        }
    }
    packages
}

impl ShownObject {
    fn of_difference(root: &Root, object: DifferingObject) -> Self {
        let DifferingObject { path, action, before, after, content, .. } = object;
        let is_file = [&before, &after].into_iter().flatten().all(|state| state.kind == FileType::Regular);
        let is_large = [&before, &after]
            .into_iter()
            .flatten()
            .any(|state| state.size.is_some_and(|size| size > LARGEST_COMPARED));
        let is_edited = content.as_ref().is_some_and(|content| content.is_edited);
        let diff = content.and_then(|content| {
            let old = before.as_ref().map(|_| &*content.before);
            let new = after.as_ref().map(|_| &*content.after);
            unified_diff(&path.to_string(), old, new)
        });
        let note = match &diff {
            Some(_) if is_edited => Some("modified locally since: + is the current file".to_owned()),
            Some(_) => None,
            None if !is_file || action == ObjectAction::Attributes => None,
            None if is_large => Some(format!("not shown: larger than {}", human(LARGEST_COMPARED))),
            None => Some("not shown: not a text file, or the version of the patch is not saved".to_owned()),
        };
        Self {
            shown: root.show(&path),
            path: path.to_string(),
            action: Some(action.word()),
            was: before,
            became: after,
            diff: diff.filter(|diff| !diff.is_empty()),
            note,
        }
    }

    fn of_change(root: &Root, entry: ChangeEntry, texts: &ChangedTexts) -> Self {
        let not_shown = texts.get(&entry.path).and_then(|text| text.as_ref().err());
        let (was, became) = entry.states();
        Self {
            shown: root.show(&entry.path),
            path: entry.path.to_string(),
            action: Some(if entry.keeps_content() {
                ObjectAction::Attributes.word()
            } else {
                ObjectAction::between(was.as_ref(), became.as_ref()).word()
            }),
            diff: entry.diff,
            note: not_shown.map(|reason: &NotShown| format!("not shown: {reason}")),
            was,
            became,
        }
    }

    /// The word for the change, and each attribute with both values.
    fn words(&self) -> (&'static str, String) {
        let (was, became) = (self.was.as_ref(), self.became.as_ref());
        let mut details = differences(was, became);
        if let (None, Some(target)) = (was, became.and_then(|state| state.target.as_ref())) {
            details.push(format!("link → {}", printable_name(&decode(target))));
        }
        let details = if details.is_empty() { String::new() } else { format!(": {}", details.join(", ")) };
        match self.action {
            Some(word) if word == ObjectAction::Attributes.word() => ("changed", details),
            Some(word) => (word, details),
            None => ("?", details),
        }
    }

    fn lines(&self, is_verbose: bool) -> Vec<String> {
        let (word, details) = self.words();
        let mut lines = vec![format!("  {word:<9}  {}{details}", self.shown)];
        if is_verbose && self.action.is_some() {
            lines.push(format!("    was:    {}", state_words(self.was.as_ref())));
            lines.push(format!("    became: {}", state_words(self.became.as_ref())));
        }
        lines
    }

    fn print_difference(&self, output: &mut Output) -> anyhow::Result<()> {
        let (word, details) = self.words();
        if self.diff.is_none() || !details.is_empty() || self.note.is_some() {
            output.shaded(Some(Shade::Id), &self.shown)?;
            let note = self.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
            output.line(format!(": {word}{details}{note}"))?;
        }
        self.diff.iter().try_for_each(|diff| Ok(print_difference(output, diff)?))
    }
}

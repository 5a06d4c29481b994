//! Merges: edited files that a patch left in place, with its version beside them.

use std::sync::Arc;

use serde::Serialize;

use patchadm_changeset::format::escaped::{as_text, as_text_if_any};
use patchadm_core::operation::queries::runs::OpenMerge;
use patchadm_inputs::database::RecordView;
use patchadm_planning::plan::Merge;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Debug, Serialize)]
pub struct MergeEntry {
    path: String,
    beside: String,
    #[serde(serialize_with = "as_text")]
    patch: Arc<str>,
    /// Only if the run is over.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
    run: Option<Arc<str>>,
    #[serde(skip)]
    shown: String,
    #[serde(skip)]
    shown_beside: String,
    /// The file beside is the edited one.
    #[serde(skip)]
    is_of_edited: bool,
    /// The end of a run put it there.
    #[serde(skip)]
    is_put_aside: bool,
    /// Only the file beside is left.
    #[serde(skip)]
    is_alone: bool,
}

impl MergeEntry {
    pub fn of_plan(root: &Root, patch: &str, merges: &[Merge]) -> Vec<Self> {
        let patch: Arc<str> = patch.into();
        merges.iter().map(|merge| Self::new(root, merge, &patch, None)).collect()
    }

    pub fn of_open(root: &Root, merges: &[OpenMerge]) -> Vec<Self> {
        let of =
            |OpenMerge { merge, patch, run }: &OpenMerge| Self::new(root, merge, patch, Some(run.clone()));
        merges.iter().map(of).collect()
    }

    fn new(root: &Root, merge: &Merge, patch: &Arc<str>, run: Option<Arc<str>>) -> Self {
        let Merge { path, beside } = merge;
        let run_is_over = run.is_some();
        Self {
            path: path.to_string(),
            beside: beside.to_string(),
            patch: patch.clone(),
            run,
            shown: root.show(path),
            shown_beside: root.show(beside),
            is_of_edited: merge.is_of_edited(),
            is_put_aside: merge.ended_run().is_some(),
            is_alone: run_is_over && RecordView::live(root).look(path).is_ok_and(|found| found.is_none()),
        }
    }

    /// Returns true if a path, which may have other names, is the edited file or the one beside it.
    pub fn is_about(&self, path: &ObjectPath, names: &[ObjectPath]) -> bool {
        let mut names = std::iter::once(path).chain(names).map(ToString::to_string);
        names.any(|name| name == self.path || name == self.beside)
    }

    /// Returns true if the edited file stayed in place.
    pub fn is_of_kept(&self) -> bool {
        !self.is_of_edited
    }

    pub fn is_of(&self, patch: &str) -> bool {
        *self.patch == *patch
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn shown_beside(&self) -> &str {
        &self.shown_beside
    }

    pub fn sentence(&self) -> String {
        self.told("was", "is")
    }

    /// The same before the run.
    pub fn plan_sentence(&self) -> String {
        self.told("would be", "would be")
    }

    fn told(&self, was: &str, is: &str) -> String {
        let Self { shown, shown_beside, patch, .. } = self;
        if self.is_put_aside {
            return format!(
                "{shown} was changed by somebody else during a run; the version that it put aside is in {shown_beside}"
            );
        }
        if self.is_of_edited {
            return format!("{shown} was modified locally; that version {is} in {shown_beside}");
        }
        format!(
            "{shown} is modified locally and {was} kept; the version from patch {patch} {is} in {shown_beside}"
        )
    }

    /// Returns a command, and what it does for the merge.
    pub fn next_step(&self) -> (String, &'static str) {
        if self.is_alone {
            let show = format!("cat {}", Wording::quoted(&self.shown_beside));
            return (show, "shows what is left of a file that is gone; move or delete it");
        }
        (
            self.comparison(),
            "compares the versions; merge what you want into the former, then delete the latter",
        )
    }

    /// Returns the file that a list of merges names.
    pub fn listed(&self) -> &str {
        if self.is_alone { &self.shown_beside } else { &self.shown }
    }

    pub fn comparison(&self) -> String {
        format!("diff {} {}", Wording::quoted(&self.shown), Wording::quoted(&self.shown_beside))
    }
}

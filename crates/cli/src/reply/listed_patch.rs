use std::io;

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use crate::reply::kept_shlibs::KeptShlibs;
use crate::reply::removable::RemovableEntry;
use crate::reply::trial_standing::TrialStanding;
use crate::reply::undo::{UndoEntry, undo_in_brief};
use crate::surroundings::{Output, Shade, Zone};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::inspect::InspectedPatch;
use patchadm_inputs::format::overtaken::OvertakenState;
use patchadm_svr4::patch::PatchList;

/// Returns the date of a patch for people; as it is recorded if that does not tell the moment.
pub fn shown_date(date: Option<DateTime<FixedOffset>>, recorded: Option<&str>, zone: Zone) -> Option<String> {
    date.map(|date| zone.minute(date.to_utc())).or_else(|| recorded.map(str::to_owned))
}

/// An applied patch in the JSON documents of `list` and `show`.
#[derive(Debug, Serialize)]
pub struct AppliedPatchEntry {
    pub id: String,
    pub state: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// RFC 3339 with offset; null if the record does not determine the moment.
    pub date: Option<String>,
    pub date_text: Option<String>,
    /// The date for people; as it is recorded if that does not tell the moment.
    #[serde(skip)]
    pub shown_date: Option<String>,
    pub host: Option<String>,
    pub synopsis: Option<String>,
    pub packages: Vec<String>,
    pub obsoletes: Vec<String>,
    pub requires: Vec<String>,
    pub incompatibles: Vec<String>,
    pub fixes: Vec<String>,
    /// Only if the root recorded it.
    pub sha256: Option<String>,
    pub undo: Vec<UndoEntry>,
    pub removable: RemovableEntry,
    /// True if undo data and objects were read for `state`.
    pub checked: bool,
    /// The effect of a refresh on it, pending or done in part, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStanding>,
    /// The verdict at the time of application, if requested and in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    /// Old libraries kept because running programs still use them.
    #[serde(skip_serializing_if = "KeptShlibs::is_empty")]
    pub kept_shlibs: KeptShlibs,
}

impl AppliedPatchEntry {
    /// Returns the entry of a patch; its date is shown in this time zone.
    pub fn of(one: &InspectedPatch, zone: Zone) -> Self {
        let words = |list: &PatchList| list.iter().map(ToString::to_string).collect();
        Self {
            id: one.patch.id.to_string(),
            state: one.state.clone(),
            by: one.by.clone(),
            date: one.date.map(|date| date.to_rfc3339()),
            date_text: one.date_text.clone(),
            shown_date: shown_date(one.date, one.date_text.as_deref(), zone),
            host: one.host.clone(),
            synopsis: one.words.synopsis.clone(),
            packages: one.patch.packages.iter().map(ToString::to_string).collect(),
            obsoletes: words(&one.patch.obsoletes),
            requires: one.patch.requires.iter().map(ToString::to_string).collect(),
            incompatibles: words(&one.patch.incompatibles),
            fixes: one.fixes.fixes.to_strings(),
            sha256: one.fixes.sha256.clone(),
            undo: one.undo.iter().map(UndoEntry::from).collect(),
            removable: RemovableEntry::at_a_glance(&one.backout),
            checked: false,
            native: None,
            trial: None,
            signature: None,
            kept_shlibs: KeptShlibs::of(&one.kept),
        }
    }

    /// Adds the changes by dpkg or rpm. A patch that a refresh would end is not effective; one that lost its fix at
    /// some paths is partly so.
    #[must_use]
    pub fn beside(mut self, overview: &NativeOverview) -> Self {
        if let Some(end) = overview.would_end(&self.id) {
            self.state = vec![match end.state {
                OvertakenState::Contained => "contained",
                OvertakenState::Removed => "removed",
                _ => "lost",
            }];
            self.native = Some(end.told());
        } else if let Some(lost) = overview.partly_lost(&self.id) {
            self.state.push("partly-lost");
            self.native = Some(lost.told());
        } else if overview.partly.iter().any(|id| id.as_str() == self.id) {
            self.state.push("partly-overtaken");
        }
        self
    }

    /// Ignores a trial of other patches.
    #[must_use]
    pub fn on_trial(mut self, trial: Option<&TrialStanding>) -> Self {
        self.trial = trial.filter(|trial| trial.is_about(&self.id)).cloned();
        self
    }

    #[must_use]
    pub fn signed(self, signature: Option<SignatureRecord>) -> Self {
        Self { signature, ..self }
    }

    /// With the patch that causes it, or the change by dpkg or rpm.
    pub fn state_text(&self) -> String {
        if let Some(native) = &self.native {
            return native.clone();
        }
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let state = self.state.join(", ").replace("partly-overtaken", "partly overtaken");
        format!("{state}{by}")
    }

    /// Returns true if it stands, and lost its fix at some paths.
    pub fn is_partly_lost(&self) -> bool {
        self.state.contains(&"partly-lost")
    }

    /// Returns the state in words; of a patch that lost its fix at some paths, all that it is.
    pub fn state_or_states(&self) -> String {
        if self.is_partly_lost() { self.state.join(", ").replace('-', " ") } else { self.state_text() }
    }

    /// Returns the line of a list in which ids are this wide.
    pub fn line(&self, width: usize) -> String {
        self.parts(width).into_iter().map(|(_, text)| text).collect()
    }

    pub fn print(&self, output: &mut Output, width: usize) -> io::Result<()> {
        self.parts(width).into_iter().try_for_each(|(shade, text)| output.shaded(shade, text))?;
        output.line("")
    }

    /// Each part with the meaning of its colour.
    fn parts(&self, width: usize) -> [(Option<Shade>, String); 5] {
        let (state, undo) = (self.state_text(), undo_in_brief(&self.undo));
        let after_id = " ".repeat(width.saturating_sub(self.id.len()) + 2);
        let after_state = " ".repeat(24_usize.saturating_sub(state.chars().count()) + 2);
        let date = self.shown_date.as_deref().unwrap_or("no date recorded");
        [
            (Some(Shade::Id), self.id.clone()),
            (None, after_id),
            (self.shade(), state),
            (None, format!("{after_state}{date}  undo data: ")),
            (Shade::of_state(&undo), undo),
        ]
    }

    pub fn shade(&self) -> Option<Shade> {
        self.state.iter().find_map(|state| Shade::of_state(state))
    }
}

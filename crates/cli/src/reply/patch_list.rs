//! The patches of a root for `list`, and the document that `report` reads from many hosts.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::advice::damage_remark;
use super::failure::query_refused;
use super::json::DocumentHead;
use super::listed_patch::ListedPatch;
use super::overtaken::{NativeEntries, OvertakenEntry};
use super::package_entry::PackageEntry;
use super::trial_standing::TrialStanding;
use super::words::{print_notes, unfinished_sentence};
use super::{CommandReport, Exit, ExitTable};
use crate::call::Invocation;
use crate::surroundings::caller::now;
use crate::surroundings::{Output, Surroundings};
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::inspect::{InspectedPatch, Inspection, WantedWords, inspect};
use patchadm_core::operation::queries::runs::applied_signatures;
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::FixId;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    #[default]
    Id,
    Date,
}

#[derive(Clone, Debug)]
pub struct ListChoice {
    pub order: ListOrder,
    pub since: Option<DateTime<Utc>>,
    /// Only patches with this fix.
    pub fixes: Option<FixId>,
    pub is_verbose: bool,
    /// Full details, for a document or page.
    pub is_whole: bool,
    /// Lost fixes and stale registrations have an exit code of their own.
    pub is_check: bool,
}

#[derive(Debug, Serialize)]
pub struct ListReport {
    /// Node name.
    pub machine: String,
    pub at: String,
    pub version: &'static str,
    pub patches: Vec<ListedPatch>,
    /// True if the request left patches out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Only for a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<PackageEntry>>,
    /// The interrupted run. The output describes the root before it.
    pub unfinished: Option<String>,
    /// Patches that ended because dpkg or rpm changed their package.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overtaken: Vec<OvertakenEntry>,
    /// Patches whose loss was accepted; people are not told again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<OvertakenEntry>,
    #[serde(flatten)]
    pub native: NativeEntries,
    /// For people.
    #[serde(skip)]
    pub remarks: Vec<String>,
    #[serde(skip)]
    pub choice: ListChoice,
}

/// Returns the document that `list --json` prints about a root.
pub fn own_inventory(root: &Root, call: &Invocation) -> anyhow::Result<Vec<u8>> {
    let choice = ListChoice {
        order: ListOrder::Id,
        since: None,
        fixes: None,
        is_verbose: false,
        is_whole: true,
        is_check: false,
    };
    let report = ListReport::of(root, choice, &now(&call.surroundings), &call.surroundings)?;
    let head =
        DocumentHead { command: "list", root: Some(root.prefix()), exit: Exit::OK, table: ExitTable::Verbs };
    Ok(head.document(report).text()?)
}

impl ListChoice {
    /// Returns the patches that ended and are listed.
    fn wanted<'a>(&self, ended: impl Iterator<Item = &'a OvertakenPatch>) -> Vec<OvertakenEntry> {
        let wants = |one: &&OvertakenPatch| {
            self.fixes.as_ref().is_none_or(|id| one.fixes.iter().any(|fix| fix == id.as_str()))
        };
        ended.filter(wants).map(OvertakenEntry::of).collect()
    }
}

impl ListReport {
    pub fn of(
        root: &Root,
        choice: ListChoice,
        now: &Now,
        surroundings: &Surroundings,
    ) -> anyhow::Result<Self> {
        let words = if choice.is_verbose || choice.is_whole { WantedWords::All } else { WantedWords::None };
        let Inspection { patches, unfinished, lost_copies, damaged, has_native, packages, .. } =
            inspect(root, words).map_err(|failed| query_refused(root, &failed))?;
        let mut remarks: Vec<String> =
            unfinished.iter().map(|run| unfinished_sentence(run, root.prefix())).collect();
        remarks.extend(lost_copies.iter().map(damage_remark));
        // Only a whole list names packages.
        remarks.extend(damaged.iter().filter(|_| choice.is_whole).map(damage_remark));
        let mut patches: Vec<&InspectedPatch> = patches.iter().collect();
        if let Some(since) = choice.since {
            let undated = patches.iter().filter(|one| one.date.is_none()).count();
            if undated > 0 {
                remarks.push(format!("{undated} of the patches have no usable date; they are left out."));
            }
            patches.retain(|one| one.date.is_some_and(|date| date >= since));
        }
        if let Some(id) = &choice.fixes {
            patches.retain(|one| one.fixes.fixes.contains(id.as_str()));
        }
        if choice.order == ListOrder::Date {
            let moment = |one: &&InspectedPatch| one.date.map_or((true, None), |date| (false, Some(date)));
            patches.sort_by_key(moment);
        }
        let overview = NativeOverview::as_far_as_known(root, now, has_native);
        let packages = choice.is_whole.then(|| PackageEntry::all(root, &packages, &overview));
        let native = NativeEntries::of(&overview);
        remarks.extend(native.remarks());
        let trial = TrialStanding::of(root, surroundings).map_err(|failed| query_refused(root, &failed))?;
        let mut signatures = if choice.is_whole { applied_signatures(root) } else { BTreeMap::new() };
        let listed = |one: &InspectedPatch| {
            let patch = ListedPatch::of(one, surroundings.zone).beside(&overview).on_trial(trial.as_ref());
            patch.signed(signatures.remove(one.patch.id.as_str()))
        };
        let patches = patches.into_iter().map(listed).collect();
        Ok(Self {
            machine: surroundings.machine.node.clone(),
            at: surroundings.now.to_rfc3339_opts(SecondsFormat::Secs, true),
            version: env!("CARGO_PKG_VERSION"),
            patches,
            partial: choice.since.is_some() || choice.fixes.is_some(),
            packages,
            unfinished,
            // Partly lost patches are among the applied ones.
            overtaken: choice
                .wanted(overview.ended.iter().filter(|one| one.state != OvertakenState::PartlyLost)),
            accepted: choice.wanted(overview.accepted()),
            native,
            remarks,
            choice,
        })
    }

    pub fn exit(&self) -> Exit {
        if self.choice.is_check { self.native.checked(Exit::OK) } else { Exit::OK }
    }

    fn width(&self) -> usize {
        let ended = self.overtaken.iter().map(|one| one.id.len());
        self.patches.iter().map(|one| one.id.len()).chain(ended).max().unwrap_or_default()
    }

    /// Returns the lines below a patch: programs for which it is not in force; in longer lists also its synopsis,
    /// fixes, and where they are lost.
    fn lines_below(&self, one: &ListedPatch, width: usize) -> Vec<String> {
        let synopsis = one.synopsis.iter().filter(|_| self.choice.is_verbose);
        let fixes = (self.choice.is_verbose && !one.fixes.is_empty())
            .then(|| format!("fixes {}", one.fixes.join(", ")));
        let trial = one.trial.iter().map(|trial| &trial.sentence);
        let below = trial.chain(one.kept_shlibs.sentences()).chain(synopsis).chain(&fixes);
        let below = below.map(|line| format!("{:<width$}  {line}", ""));
        below.chain(self.native.lost_paths(&one.id).filter_map(|path| self.lost_at(path, width))).collect()
    }

    /// Returns the line about a path at which a fix is lost, in longer lists.
    fn lost_at(&self, path: &str, width: usize) -> Option<String> {
        self.choice.is_verbose.then(|| format!("{:<width$}  lost at {path}", ""))
    }

    /// Returns the lines of the patches, and those below them.
    pub fn lines(&self) -> Vec<String> {
        let width = self.width();
        let of = |one| std::iter::once(ListedPatch::line(one, width)).chain(self.lines_below(one, width));
        self.patches.iter().flat_map(of).chain(self.overtaken_lines(width)).collect()
    }

    fn overtaken_lines(&self, width: usize) -> Vec<String> {
        let of = |one: &OvertakenEntry| {
            let line = format!("{:<width$}  {}", one.id, one.told);
            let at: Vec<String> = one.paths.iter().filter_map(|path| self.lost_at(path, width)).collect();
            std::iter::once(line).chain(at)
        };
        self.overtaken.iter().flat_map(of).collect()
    }

    pub fn empty(&self) -> String {
        match &self.choice {
            ListChoice { fixes: Some(id), .. } => format!("No applied patch fixes {id}."),
            ListChoice { since: Some(_), .. } => "No patches were applied since then.".to_owned(),
            _ => "No patches are applied.".to_owned(),
        }
    }
}

impl CommandReport for ListReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.patches.is_empty() && self.overtaken.is_empty() {
            output.line(self.empty())?;
        }
        let width = self.width();
        for one in &self.patches {
            one.print(output, width)?;
            for line in self.lines_below(one, width) {
                output.line(line)?;
            }
        }
        self.overtaken_lines(width).into_iter().try_for_each(|line| output.line(line))?;
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.remarks)?)
    }
}

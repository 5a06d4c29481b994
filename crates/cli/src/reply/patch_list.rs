//! The patches of a root for `list`, and the document that `report` reads from many hosts.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde::Serialize;

use super::advice::damage_remark;
use super::failure::{self, query_refused};
use super::json::DocumentHead;
use super::overtaken::{NativeEntries, OvertakenEntry};
use super::shlibs;
use super::trial::TrialStanding;
use super::undo::undo_in_brief;
use super::words::{print_notes, unfinished_sentence};
use super::{CommandReport, Exit};
use crate::call::Invocation;
use crate::surroundings::caller::now;
use crate::surroundings::{Output, Shade, Surroundings, Zone};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::patches::undo_states::PackageUndo;
use patchadm_core::operation::queries::inspect::{InspectedPatch, Inspection, WantedWords, inspect};
use patchadm_core::operation::queries::runs::applied_signatures;
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::native::{Distribution, NATIVE_VERSION, NativeChange, NativeIdentity, package_url};
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::KeptLibrary;
use patchadm_planning::plan::refusal::{Command, Reason, Wording, of_native_change};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{FixId, PatchList};

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
    pub patches: Vec<AppliedPatchEntry>,
    /// True if the request left patches out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Only for a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<InstalledPackageEntry>>,
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
    let head = DocumentHead::of_verb("list", Some(root.prefix()), Exit::OK);
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
                let (have, are) = if undated == 1 { ("has", "it is") } else { ("have", "they are") };
                remarks.push(format!("{undated} of the patches {have} no usable date; {are} left out."));
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
        let packages = choice.is_whole.then(|| InstalledPackageEntry::all(root, &packages, &overview));
        let native = NativeEntries::of(root, &overview);
        remarks.extend(native.remarks());
        let trial = TrialStanding::of(root, surroundings).map_err(|failed| query_refused(root, &failed))?;
        let mut signatures = if choice.is_whole { applied_signatures(root) } else { BTreeMap::new() };
        let listed = |one: &InspectedPatch| {
            let patch =
                AppliedPatchEntry::of(one, surroundings.zone).beside(&overview).on_trial(trial.as_ref());
            patch.signed(signatures.remove(one.patch.id.as_str()).map(Arc::unwrap_or_clone))
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
    fn lines_below(&self, one: &AppliedPatchEntry, width: usize) -> Vec<String> {
        let synopsis = one.synopsis.iter().filter(|_| self.choice.is_verbose);
        let fixes = (self.choice.is_verbose && !one.fixes.is_empty())
            .then(|| format!("fixes {}", one.fixes.join(", ")));
        let trial = one.trial.iter().map(|trial| &trial.sentence);
        let kept = shlibs::sentences(&one.kept_shlibs);
        let below = trial.chain(&kept).chain(synopsis).chain(&fixes);
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
        let of =
            |one| std::iter::once(AppliedPatchEntry::line(one, width)).chain(self.lines_below(one, width));
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

/// An installed package in the document of `list`.
#[derive(Debug, Serialize)]
pub struct InstalledPackageEntry {
    package: String,
    name: Option<String>,
    version: String,
    arch: String,
    /// The manager that it was adopted from: `dpkg` or `rpm`.
    manager: Option<&'static str>,
    native: Option<NativeEntry>,
    /// The package URL, by which scanners know it.
    purl: String,
}

/// A package as its package manager knows it.
#[derive(Debug, Serialize)]
struct NativeEntry {
    name: String,
    version: String,
    arch: String,
}

impl InstalledPackageEntry {
    /// Gives a package that its manager upgraded since registration the present version.
    pub fn all(root: &Root, packages: &BTreeMap<PkgInst, Params>, overview: &NativeOverview) -> Vec<Self> {
        let distribution = Distribution::of(root);
        let entry = |(package, params): (&PkgInst, &Params)| match overview.changes.get(package) {
            Some(NativeChange::Upgraded { to, .. }) => {
                let mut now = params.clone();
                now.set(NATIVE_VERSION, to.as_str());
                Self::of(package, &now, distribution.as_ref())
            }
            _ => Self::of(package, params, distribution.as_ref()),
        };
        packages.iter().map(entry).collect()
    }

    fn of(package: &PkgInst, params: &Params, distribution: Option<&Distribution>) -> Self {
        let value = |name: &str| params.text(name).trim().to_owned();
        let native = NativeIdentity::of(params);
        Self {
            package: package.to_string(),
            name: Some(value("NAME")).filter(|name| !name.is_empty()),
            version: value("VERSION"),
            arch: value("ARCH"),
            manager: native.as_ref().map(|native| native.manager.name()),
            purl: package_url(package, params, distribution),
            native: native.map(|NativeIdentity { name, version, arch, .. }| NativeEntry {
                name,
                version,
                arch,
            }),
        }
    }
}

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
    pub undo: Vec<PackageUndo>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_shlibs: Vec<KeptLibrary>,
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
            undo: one.undo.clone(),
            removable: RemovableEntry::at_a_glance(&one.backout),
            checked: false,
            native: None,
            trial: None,
            signature: None,
            kept_shlibs: one.kept.clone(),
        }
    }

    /// Adds the changes by dpkg or rpm. A patch that a refresh would end is not effective; one that lost its fix at
    /// some paths is partly so; one whose package they have not finished with is uncertain.
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
        if overview.would_end(&self.id).is_none() && overview.uncertain(&self.packages).is_some() {
            self.state.push("uncertain");
        }
        // An overruled package is no reason for a refusal.
        let stale = overview.changes.iter().find(|(package, change)| {
            !matches!(change, NativeChange::Overruled { .. })
                && self.packages.iter().any(|name| name == package.as_str())
        });
        if let Some((package, change)) = stale.filter(|_| self.removable.now) {
            let (package, change) = (package.clone(), Box::new(change.clone()));
            let hint = of_native_change(&change, &Wording::default());
            let refusal = Reason::NativeChanged { package, change }.of(Command::Patchrm, &self.id);
            let refused = Err(Failure::Refused(Box::new(refusal)));
            self.removable = RemovableEntry { hint, ..RemovableEntry::at_a_glance(&refused) };
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

/// The answer to the question if `remove` would succeed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovableEntry {
    pub now: bool,
    /// The exit code of `remove`.
    pub code: u8,
    /// The applied patches that are in the way.
    pub blocked_by: Vec<String>,
    pub reason: Option<String>,
    /// True if undo data and objects were read for the answer; otherwise it relies on records and sizes.
    #[serde(skip)]
    pub checked: bool,
    /// The first step to take, without a root; usually empty.
    #[serde(skip)]
    pub hint: String,
}

impl RemovableEntry {
    /// After undo data and objects were read.
    pub fn checked(backout: &Result<(), Failure>) -> Self {
        let is_closed = matches!(backout, Err(failed) if failed.is_refused_access());
        Self { checked: !is_closed, ..Self::at_a_glance(backout) }
    }

    /// By records and sizes.
    pub fn at_a_glance(backout: &Result<(), Failure>) -> Self {
        let (checked, hint) = (false, String::new());
        let Err(failed) = backout else {
            let code = Exit::OK.code();
            return Self { now: true, code, blocked_by: Vec::new(), reason: None, checked, hint };
        };
        let in_the_way = match failed {
            Failure::Refused(refusal) => refusal.reason.stands_in_the_way(),
            _ => None,
        };
        Self {
            now: false,
            code: failure::verb_code(Command::Patchrm, failed).verb_code(),
            blocked_by: in_the_way.into_iter().collect(),
            reason: Some(failure::reason(failed)),
            checked,
            hint,
        }
    }

    pub fn words(&self) -> String {
        match &self.reason {
            None if self.checked => "can be removed".to_owned(),
            None => "can probably be removed; `check --contents` verifies it".to_owned(),
            Some(reason) => format!("cannot be removed: {reason}"),
        }
    }
}

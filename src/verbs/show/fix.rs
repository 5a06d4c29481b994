//! A fix such as CVE-2026-1234: its patch, its state, and depot patches with it.

use std::borrow::Cow;

use serde::Serialize;

use super::query::ShowQuery;
use patchadm_cli::reply::Stop;
use patchadm_cli::reply::depot_end::{depot_advice, depot_exit};
use patchadm_cli::reply::failure::{hinted, query_refused};
use patchadm_cli::reply::overtaken::{NativeEntries, OvertakenEntry};
use patchadm_cli::reply::patch_list::AppliedPatchEntry;
use patchadm_cli::reply::trial::TrialStanding;
use patchadm_cli::reply::words::named_value;
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::{now, with_signals};
use patchadm_core::operation::depots::{
    Depot, DepotError, DepotLocation, DepotProgress, FetchSession, open_depot,
};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::patches::apply::{SignatureRequest, demands};
use patchadm_core::operation::patches::overtaken::NativeOverview;
use patchadm_core::operation::queries::inspect::{WantedWords, inspect};
use patchadm_core::operation::queries::reasons::{FixReasons, fix_reasons};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::depot::DepotPatch;
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::{FixId, PatchId, Requirement};

/// Its depot no longer offers the patch.
const WITHDRAWN: &str = "withdrawn";

/// States in which an applied patch's changes are there.
const IN_FORCE: [&str; 4] = ["effective", "superseded", "obsoleted", "contained"];

/// The known state of the objects of an applied patch.
enum FixStanding {
    InForce,
    Gone,
    /// Why nothing is certain.
    Uncertain(String),
}

#[derive(Debug, Serialize)]
pub(super) struct FixAnswer {
    fix: String,
    /// By an applied patch, or by the native version that overtook one.
    fixed: bool,
    /// Why it may be gone although its patch is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    uncertain: Option<String>,
    brought: Vec<BroughtEntry>,
    /// Ended patches that had brought it.
    ended: Vec<OvertakenEntry>,
    /// Depot patches with it; null without a depot.
    offered: Option<Vec<OfferedEntry>>,
    #[serde(skip)]
    pub(super) remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BroughtEntry {
    id: String,
    state: Vec<&'static str>,
    told: String,
    date: Option<String>,
    date_text: Option<String>,
    run: Option<String>,
    packages: Vec<String>,
    sha256: Option<String>,
}

#[derive(Debug, Serialize)]
struct OfferedEntry {
    id: String,
    synopsis: String,
    /// A package that it is for is installed in the exact version.
    fits: bool,
}

impl FixAnswer {
    /// Returns an answer for a known fix or an obvious one; `None` for a patch id.
    pub(super) fn known(root: &Root, fix: &FixId, query: &ShowQuery) -> anyhow::Result<Option<Self>> {
        let reasons = fix_reasons(root, fix).map_err(|failed| query_refused(root, &failed))?;
        let is_like_cve = fix.is_cve() || fix.cve_fault().is_some();
        let is_here = !reasons.brought.is_empty() || !reasons.ended.is_empty();
        if !is_like_cve && (!is_here || reasons.is_known_patch) {
            return Ok(None);
        }
        let answer = Self::of(root, fix, reasons, query)?;
        if answer.fixed {
            return Ok(Some(answer));
        }
        let offered = offers(root, query, fix)?;
        let is_offered = offered.as_ref().is_some_and(|offered| !offered.is_empty());
        Ok((is_here || is_offered).then_some(Self { offered, ..answer }))
    }

    pub(super) fn offered(root: &Root, fix: &FixId, query: &ShowQuery) -> anyhow::Result<Option<Self>> {
        let offered = offers(root, query, fix)?.filter(|offered| !offered.is_empty());
        Ok(offered.map(|offered| Self {
            fix: fix.to_string(),
            fixed: false,
            uncertain: None,
            brought: Vec::new(),
            ended: Vec::new(),
            offered: Some(offered),
            remarks: Vec::new(),
        }))
    }

    fn of(root: &Root, fix: &FixId, reasons: FixReasons, query: &ShowQuery) -> anyhow::Result<Self> {
        let refused = |failed: Failure| query_refused(root, &failed);
        let inspection = inspect(root, WantedWords::None).map_err(refused)?;
        let overview =
            NativeOverview::as_far_as_known(root, &now(&query.surroundings), inspection.has_native);
        let trial =
            TrialStanding::of(root, &query.surroundings).map_err(|failed| query_refused(root, &failed))?;
        let listed = |id: &str| {
            let one = inspection.patches.iter().find(|one| one.patch.id.as_str() == id)?;
            let listed = AppliedPatchEntry::of(one, query.surroundings.zone);
            Some(listed.beside(&overview).on_trial(trial.as_ref()))
        };
        // A superseded patch has the fix only while the patch that replaced it is there.
        let last_of = |patch: &AppliedPatchEntry| {
            let (mut last, mut by) = (None, patch.by.clone());
            // The number of patches ends a circle.
            for _ in &inspection.patches {
                let Some(later) = by.as_deref().and_then(&listed) else { break };
                by.clone_from(&later.by);
                last = Some(later);
            }
            last
        };
        let (mut brought, mut standings) = (Vec::new(), Vec::new());
        for (id, run) in reasons.brought {
            let Some(patch) = listed(id.as_str()) else { continue };
            let last = last_of(&patch);
            standings.push(standing(last.as_ref().unwrap_or(&patch), &overview));
            brought.push(BroughtEntry::of(patch, run));
        }
        // The list says how a patch ended; the records know what the present version contains.
        let is_there = |one: &OvertakenPatch| {
            let id = PatchId::parse(&one.patch, &inspection.separator).ok();
            id.is_some_and(|id| inspection.applied.satisfies(&Requirement::One(id)).is_some())
        };
        let is_in_force = standings.iter().any(|one| matches!(one, FixStanding::InForce));
        let fixed = is_in_force || reasons.ended.iter().any(is_there);
        let doubt = standings.into_iter().find_map(|one| match one {
            FixStanding::Uncertain(why) => Some(why),
            FixStanding::InForce | FixStanding::Gone => None,
        });
        Ok(Self {
            fix: fix.to_string(),
            fixed,
            uncertain: doubt.filter(|_| !fixed),
            brought,
            ended: reasons.ended.iter().map(OvertakenEntry::of).collect(),
            offered: None,
            remarks: NativeEntries::of(root, &overview).remarks().collect(),
        })
    }

    fn verdict(&self) -> Cow<'static, str> {
        let is_of_depot = self.offered.as_ref().is_some_and(|offered| !offered.is_empty());
        match self {
            Self { fixed: true, .. } => "yes".into(),
            Self { uncertain: Some(why), .. } => format!("unknown: {why}").into(),
            Self { brought, ended, .. } if !brought.is_empty() || !ended.is_empty() => {
                "no: the fix is lost".into()
            }
            _ if is_of_depot => "no".into(),
            _ => "no, and no patch of the depot fixes it".into(),
        }
    }
}

fn standing(patch: &AppliedPatchEntry, overview: &NativeOverview) -> FixStanding {
    let is = |state: &str| patch.state.contains(&state);
    let is_accepted = || overview.accepted().any(|one| one.patch == patch.id);
    let is_there = patch.state.first().is_some_and(|state| IN_FORCE.contains(state));
    if !is_there || patch.is_partly_lost() || is("partly-overtaken") && is_accepted() {
        FixStanding::Gone
    } else if is("contained") {
        FixStanding::InForce
    } else if let Some(change) = overview.uncertain(&patch.packages) {
        FixStanding::Uncertain(change.to_string())
    } else if let Some(why) = &overview.unknown {
        FixStanding::Uncertain(why.clone())
    } else if is("partly-overtaken") {
        FixStanding::Uncertain(format!("{} was partly overwritten by dpkg or rpm", patch.id))
    } else {
        FixStanding::InForce
    }
}

impl BroughtEntry {
    fn of(listed: AppliedPatchEntry, run: Option<String>) -> Self {
        let since = listed.shown_date.as_ref().map(|date| format!(", since {date}")).unwrap_or_default();
        let by = run.as_ref().map(|run| format!(", by run {run}")).unwrap_or_default();
        let trial = listed.trial.as_ref().map(|_| ", on trial").unwrap_or_default();
        let told = format!("{}, {}{since}{by}{trial}", listed.id, listed.state_text());
        let AppliedPatchEntry { id, state, date, date_text, packages, sha256, .. } = listed;
        Self { id, state, told, date, date_text, run, packages, sha256 }
    }
}

/// Patches with the fix in the named depot, else the policy's; `None` without a depot.
fn offers(root: &Root, query: &ShowQuery, fix: &FixId) -> anyhow::Result<Option<Vec<OfferedEntry>>> {
    let refused = |failed: Failure| query_refused(root, &failed);
    let ground = RootAndPolicy::of(root).map_err(refused)?;
    let named = query.depot.clone().or_else(|| ground.policy.depot.clone().map(Into::into));
    let Some(named) = named else { return Ok(None) };
    let location = DepotLocation::parse(&named).map_err(|error| not_asked(&error))?;
    let demands = demands(&ground, &SignatureRequest::default()).map_err(refused)?;
    let progress = |_: DepotProgress<'_>| {};
    let depot: Result<Depot, DepotError> = with_signals(|interrupt| {
        let access = query.fetching.access(&query.surroundings, &ground.policy, None, interrupt, &progress);
        open_depot(&location, &demands, &FetchSession::new(access))
    })?;
    let depot = depot.map_err(|error| not_asked(&error))?;
    let installed = ground.packages().map_err(refused)?;
    let fits = |patch: &DepotPatch| {
        patch.packages.iter().any(|wanted| {
            installed.values().any(|installed| {
                let value = |name: &str| installed.params.text(name).trim().to_owned();
                (value("PKG"), value("ARCH"), value("VERSION"))
                    == (wanted.pkg.clone(), wanted.arch.clone(), wanted.version.clone())
            })
        })
    };
    let brings = |patch: &&DepotPatch| patch.fixes.iter().any(|id| id == fix.as_str());
    let offered = depot.index().patches().filter(brings).filter(|patch| !patch.has_flag(WITHDRAWN));
    let entry = |patch: &DepotPatch| OfferedEntry {
        id: patch.id.clone(),
        synopsis: patch.synopsis.clone(),
        fits: fits(patch),
    };
    Ok(Some(offered.map(entry).collect()))
}

/// Returns the end of a query for which the depot could not be read.
pub(super) fn not_asked(error: &DepotError) -> Stop {
    let message = hinted(&format!("the depot could not be read: {error}"), &depot_advice(error));
    Stop::Refused { exit: depot_exit(error), message }
}

impl OfferedEntry {
    fn words(&self) -> String {
        let synopsis = if self.synopsis.is_empty() { String::new() } else { format!(", {}", self.synopsis) };
        let fits = if self.fits { "" } else { " (for packages that are not installed in this version)" };
        format!("{}{synopsis}{fits}", self.id)
    }
}

impl FixAnswer {
    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.fix, self.verdict())
    }

    pub(super) fn text(&self) -> Vec<String> {
        let mut lines = vec![("Fix", self.fix.clone()), ("Fixed", self.verdict().into_owned())];
        lines.extend(self.brought.iter().map(|one| ("Fixed by", one.told.clone())));
        lines.extend(self.ended.iter().map(|one| ("Ended", format!("{}, {}", one.id, one.told))));
        lines.extend(self.offered.iter().flatten().map(|one| ("Offered by", one.words())));
        lines.iter().map(|(name, value)| named_value(name, value)).collect()
    }

    pub(super) fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.text().iter().try_for_each(|line| output.line(line))?)
    }
}

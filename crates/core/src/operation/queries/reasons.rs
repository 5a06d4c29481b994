//! Explains why a patch is applied or not, and which patches brought a fix.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::operation::failure::Failure;
use crate::operation::overtaken_list::{ended_in_root, overtaken_patches};
use crate::operation::queries::patch_objects::records;
use crate::operation::queries::runs::AppliedRuns;
use crate::operation::session::must_have_database;
use patchadm_changeset::format::escaped::{as_text, as_text_if_any};
use patchadm_inputs::database::{marker, policy, read_consistently};
use patchadm_inputs::format::overtaken::{OvertakenPatch, OvertakenState};
use patchadm_inputs::source::Image;
use patchadm_planning::plan::patch::validate::{named_version, same_version};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{
    AppliedPatches, FixId, FixRecord, PatchId, PatchMacros, PatchStanding, Requirement,
};

#[derive(Debug)]
pub struct PatchReasons {
    pub id: PatchId,
    /// If the history has it.
    pub run: Option<String>,
    /// Patches that required it, if the history says so.
    pub because: Vec<String>,
    /// `update` chose it, and nobody named it.
    pub is_chosen: bool,
    /// A deferred note of that run.
    pub note: Option<String>,
    /// From its record or the delivered patch.
    pub needs: Vec<PatchNeed>,
    /// Applied patches that require it.
    pub needed_by: Vec<PatchId>,
    /// Highest applied revision above it.
    pub superseded_by: Option<PatchId>,
    /// The applied patch that contains it.
    pub obsoleted_by: Option<PatchId>,
    /// Packages of a delivered patch, with fitting instances.
    pub packages: Vec<PackageFit>,
    /// Why it would not be applied, according to the records.
    pub standing: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatchNeed {
    #[serde(serialize_with = "as_text")]
    pub requirement: Requirement,
    /// The applied patch that meets it, or the contained one.
    #[serde(serialize_with = "as_text_if_any")]
    pub met_by: Option<PatchId>,
    /// The native package with a contained patch's fix, as `openssl 3.0.22-1 (dpkg)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contained_in: Option<String>,
}

impl fmt::Display for PatchNeed {
    /// The requirement with its state: `100-01 (applied)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requirement = self.requirement.to_string();
        match (&self.contained_in, &self.met_by) {
            (Some(package), _) => write!(f, "{requirement} (contained in {package})"),
            (None, None) => write!(f, "{requirement} (not applied)"),
            (None, Some(by)) if by.as_str() == requirement => write!(f, "{requirement} (applied)"),
            (None, Some(by)) => write!(f, "{requirement} (met by {by})"),
        }
    }
}

/// A package that a delivered patch is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageFit {
    /// `PKG (ARCH) VERSION`.
    pub wanted: String,
    /// An exact match.
    #[serde(serialize_with = "as_text_if_any")]
    pub instance: Option<PkgInst>,
    /// In the same form.
    #[serde(rename = "installed")]
    pub others: Vec<String>,
}

impl fmt::Display for PackageFit {
    /// The package with its state: `ACMEweb (i386) 1.0 (installed as ACMEweb)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.instance, self.others.as_slice()) {
            (Some(instance), _) => write!(f, "{} (installed as {instance})", self.wanted),
            (None, []) => write!(f, "{} (not installed)", self.wanted),
            (None, others) => write!(f, "{} (installed: {})", self.wanted, others.join(", ")),
        }
    }
}

/// Data beside the records.
#[derive(Clone, Copy, Debug)]
pub enum PatchAtHand<'a> {
    Nothing,
    Delivered(&'a Image),
    /// Requirements according to a depot's index.
    Offered(&'a [Requirement]),
}

/// `None` if the word is no id.
pub fn patch_reasons(
    root: &Root,
    id: &str,
    at_hand: PatchAtHand<'_>,
) -> Result<Option<PatchReasons>, Failure> {
    must_have_database(root)?;
    let separator = policy::of_root(root)?.separator;
    let Ok(id) = PatchId::parse(id, &separator) else { return Ok(None) };
    read_consistently(root, |view| {
        let (applied, params) = records(view, &separator)?;
        let ended = ended_in_root(root, params.iter(), &separator);
        let applied = ended.clone().beside(applied);
        let runs = AppliedRuns::of(view);
        let packages = match at_hand {
            PatchAtHand::Delivered(image) => fits(image, &params),
            PatchAtHand::Nothing | PatchAtHand::Offered(_) => Vec::new(),
        };
        let patch = applied.get(&id);
        let requirements: Vec<Requirement> = match (patch, at_hand) {
            (Some(patch), _) => patch.requires.iter().cloned().collect(),
            (None, PatchAtHand::Delivered(image)) => requirements(image, &separator),
            (None, PatchAtHand::Offered(needed)) => needed.to_vec(),
            (None, PatchAtHand::Nothing) => Vec::new(),
        };
        let need = |requirement: Requirement| {
            let met_by = applied.satisfies(&requirement).cloned();
            let contained = ended.contained.iter().find(|one| Some(&one.id) == met_by.as_ref());
            let by = contained.filter(|one| applied.get(&one.id).is_none()).map(|one| one.by.clone());
            PatchNeed { met_by, contained_in: by, requirement }
        };
        let line = patch.and_then(|_| runs.line(&id));
        let because = line.into_iter().filter_map(|line| line.because.get(id.as_str())).cloned();
        Ok(Some(PatchReasons {
            run: line.map(|line| line.run.clone()),
            is_chosen: patch.and_then(|_| runs.typed(&id)).is_some_and(|typed| is_chosen(typed, &id)),
            because: because.collect(),
            note: line.and_then(|line| line.note.clone()),
            needs: requirements.into_iter().map(need).collect(),
            needed_by: needed_by(&applied, &id),
            superseded_by: applied.later_revision(&id).cloned(),
            obsoleted_by: applied.obsoleted_by(&id).and_then(|found| found.by).cloned(),
            standing: standing(&applied, &id).map(|reason| reason.of(Command::Patchadd, &id).into()),
            packages,
            id: id.clone(),
        }))
    })
}

/// True for `update` with a command line that names neither the patch nor its base.
fn is_chosen(typed: &str, id: &PatchId) -> bool {
    let mut words = typed.split(' ');
    words.next() == Some("update") && words.all(|word| word != id.as_str() && word != id.base())
}

fn needed_by(applied: &AppliedPatches, id: &PatchId) -> Vec<PatchId> {
    let needs_it = |requirement: &Requirement| applied.satisfies(requirement) == Some(id);
    let users = applied.iter().filter(|patch| patch.id != *id && patch.requires.iter().any(needs_it));
    users.map(|patch| patch.id.clone()).collect()
}

fn standing(applied: &AppliedPatches, id: &PatchId) -> Option<Reason> {
    let packages = applied.get(id).map(|patch| patch.packages.clone()).unwrap_or_default();
    match applied.standing(id, &packages) {
        PatchStanding::Applied => Some(Reason::AlreadyApplied(packages)),
        PatchStanding::LaterRevision(later) => Some(Reason::LaterRevision(later.clone())),
        PatchStanding::Obsoleted(found) => {
            Some(Reason::Obsoleted { by: found.by.cloned(), entry: found.entry.clone() })
        }
        PatchStanding::PartlyApplied(_) | PatchStanding::New => None,
    }
}

/// Applying reports unreadable requirements.
fn requirements(image: &Image, separator: &str) -> Vec<Requirement> {
    let mut all: Vec<Requirement> = Vec::new();
    for package in &image.packages {
        let macros = PatchMacros::from_params(&package.params, separator).ok().flatten();
        for requirement in macros.iter().flat_map(|macros| &macros.requires) {
            if !all.contains(requirement) {
                all.push(requirement.clone());
            }
        }
    }
    all
}

fn fits(image: &Image, installed: &BTreeMap<PkgInst, Params>) -> Vec<PackageFit> {
    let fit = |wanted: &Params| {
        let instance = installed.iter().find(|(_, params)| same_version(params, wanted));
        let instance = instance.map(|(package, _)| package.clone());
        let alike = installed.iter().filter(|(_, params)| params.get("PKG") == wanted.get("PKG"));
        let others = alike.filter(|(package, _)| Some(*package) != instance.as_ref());
        PackageFit {
            wanted: named_version(wanted),
            others: others.map(|(_, params)| named_version(params)).collect(),
            instance,
        }
    };
    image.packages.iter().map(|package| fit(&package.params)).collect()
}

#[derive(Debug, Default)]
pub struct FixReasons {
    /// With the run, if the history has it.
    pub brought: Vec<(PatchId, Option<String>)>,
    /// Ended when dpkg or rpm changed their package, accepted losses included.
    pub ended: Vec<OvertakenPatch>,
    /// A patch with the fix's name, a later revision, or one that contains it is applied.
    pub is_known_patch: bool,
}

pub fn fix_reasons(root: &Root, fix: &FixId) -> Result<FixReasons, Failure> {
    must_have_database(root)?;
    let separator = policy::of_root(root)?.separator;
    let list = overtaken_patches(root, &marker(root)?.unwrap_or_default())?;
    let ended = |one: &OvertakenPatch| {
        one.state != OvertakenState::AcceptedBeforehand && one.fixes.iter().any(|id| id == fix.as_str())
    };
    let ended: Vec<OvertakenPatch> = list.patches.into_iter().filter(ended).collect();
    read_consistently(root, |view| {
        let (applied, params) = records(view, &separator)?;
        let brings = |id: &PatchId, packages: &[_]| {
            let params = packages.iter().filter_map(|package| params.get(package));
            FixRecord::from_params(id, params).fixes.contains(fix.as_str())
        };
        let patches = applied.iter().filter(|patch| brings(&patch.id, &patch.packages));
        let patches: Vec<PatchId> = patches.map(|patch| patch.id.clone()).collect();
        // Read the history only if needed.
        let runs = (!patches.is_empty()).then(|| AppliedRuns::of(view));
        let with_run = |id: PatchId| {
            let run = runs.as_ref().and_then(|runs| runs.of_patch(&id));
            (id, run)
        };
        let is_known_patch = PatchId::parse(fix.as_str(), &separator).is_ok_and(|id| {
            let packages = applied.get(&id).map(|patch| patch.packages.clone()).unwrap_or_default();
            !matches!(applied.standing(&id, &packages), PatchStanding::New)
        });
        let brought = patches.into_iter().map(with_run).collect();
        Ok(FixReasons { brought, ended: ended.clone(), is_known_patch })
    })
}

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};

use crate::operation::failure::Failure;
use crate::operation::libraries::PatchedRecords;
use crate::operation::patches::after_run::reboot_asked_by;
use crate::operation::patches::removable::removable;
use crate::operation::patches::undo_states::{PackageUndo, UndoOfPatches, UndoState, undo_states};
use crate::operation::queries::applied_patches::applied_date;
use crate::operation::record_damage;
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_inputs::database::agreement::lost_copies;
use patchadm_inputs::database::all::{self, PackageRecords};
use patchadm_inputs::database::survey::prefix;
use patchadm_inputs::database::{
    DatabaseError, RecordDamage, RecordView, identity_fault, installed, open_run, read_consistently,
};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{NativeOrigin, fixed_in_of};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::Image;
use patchadm_planning::plan::kept_libraries::KeptLibrary;
use patchadm_planning::plan::patch::interrupted::{Interrupted, interrupted};
use patchadm_rootfs::{Lock, Root, never};
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::format::readme;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, FixRecord, PatchId, PatchRecords, Superseded};
use patchadm_svr4::places;

#[derive(Debug)]
pub struct Inspection {
    /// Includes patches left half applied by a tool without recovery; in the order of listings.
    pub patches: Vec<InspectedPatch>,
    pub applied: AppliedPatches,
    /// An interrupted run; the report shows the state before it.
    pub unfinished: Option<String>,
    /// Packages without a copy of what was delivered, which stops nothing.
    pub lost_copies: Vec<RecordDamage>,
    /// Damaged packages without patches; not in `packages`, and stop nothing.
    pub damaged: Vec<RecordDamage>,
    /// A package was adopted from dpkg or rpm.
    pub has_native: bool,
    pub packages: BTreeMap<PkgInst, Params>,
    /// Between base and revision.
    pub separator: String,
}

#[derive(Debug)]
pub struct InspectedPatch {
    pub patch: AppliedPatch,
    /// `effective`, `superseded`, `obsoleted`, or `interrupted` (half applied by a tool without recovery); in addition,
    /// `restricted`.
    pub state: Vec<&'static str>,
    pub by: Option<String>,
    /// As recorded.
    pub date_text: Option<String>,
    /// If it can be determined.
    pub date: Option<DateTime<FixedOffset>>,
    pub host: Option<String>,
    /// Native versions with its fix, as it says.
    pub fixed_in: Option<String>,
    pub fixes: FixRecord,
    /// Empty if not requested.
    pub words: PatchWords,
    pub undo: Vec<PackageUndo>,
    /// Uses records, manifests and path lists; does not verify archives.
    pub backout: Result<(), Failure>,
    /// Old libraries that programs still load, according to the last run that looked; effective patches only.
    pub kept: Vec<KeptLibrary>,
}

/// Reading them costs file accesses.
#[derive(Clone, Copy, Debug)]
pub enum WantedWords<'a> {
    None,
    All,
    Of(&'a PatchId),
}

impl WantedWords<'_> {
    fn has(self, id: &PatchId) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Of(one) => one == id,
        }
    }
}

pub fn inspect(root: &Root, words: WantedWords<'_>) -> Result<Inspection, Failure> {
    must_have_database(root)?;
    let (policy, ground) = RootAndPolicy::as_far_as_known(root)?;
    let inspector = Inspector { ground: ground.as_ref(), policy: &policy, words };
    let (inspected, lost_copies, is_during_run) = read_consistently(root, |view| {
        if !view.is_during_run() {
            record_damage::must_agree(view, root.workers(), &never, |_| false)?;
        }
        let mut inspected = inspector.patches(view)?;
        if let Some(fault) = identity_fault(root)? {
            for one in &mut inspected.patches {
                one.backout = Err(fault.clone().into());
            }
        }
        Ok::<_, Failure>((inspected, lost_copies(view)?, view.is_during_run()))
    })?;
    let unfinished = if is_during_run { interrupted_run(root)? } else { None };
    let InspectedPatches { patches, applied, has_native, packages, damaged } = inspected;
    let separator = policy.separator;
    Ok(Inspection { patches, applied, unfinished, lost_copies, damaged, has_native, packages, separator })
}

fn has_no_patch(package: &PackageRecords<'_>) -> bool {
    let params = package.params().ok().flatten();
    params.is_some_and(|params| params.text("PATCHLIST").trim().is_empty())
}

/// Returns the open run unless a command is known to work on it.
pub fn interrupted_run(root: &Root) -> Result<Option<String>, Failure> {
    let is_at_work = Lock::is_held(root).unwrap_or(false);
    // The run may have ended meanwhile.
    Ok(open_run(root)?.filter(|_| !is_at_work).map(|run| run.name))
}

struct InspectedPatches {
    applied: AppliedPatches,
    patches: Vec<InspectedPatch>,
    has_native: bool,
    packages: BTreeMap<PkgInst, Params>,
    damaged: Vec<RecordDamage>,
}

struct Inspector<'a> {
    ground: Option<&'a RootAndPolicy>,
    policy: &'a Policy,
    words: WantedWords<'a>,
}

impl Inspector<'_> {
    fn patches(&self, view: &RecordView<'_>) -> Result<InspectedPatches, Failure> {
        let separator = &self.policy.separator;
        let root = view.root();
        let found = all::each(view, |package| {
            let inst = package.inst();
            let found = match installed::seen(package.view(), inst) {
                // A package without patches does not matter here.
                Err(DatabaseError::Damaged(damage)) if has_no_patch(package) => {
                    return Ok(Some(Err(*damage)));
                }
                found => found?,
            };
            let Some(found) = found else {
                // A directory without pkginfo is damage, unless a command is working on it.
                return package.params().map(|_| None);
            };
            package.must_list_patches(&found.params)?;
            let applied = installed::patch_records(root, inst, &found.params, separator)?;
            Ok::<_, DatabaseError>(Some(Ok((applied, (inst.clone(), found)))))
        })?;
        let (mut applied, mut packages, mut damaged) = (Vec::new(), BTreeMap::new(), Vec::new());
        for one in found {
            match one {
                Ok((records, (inst, installed))) => {
                    applied.push(records);
                    packages.insert(inst, installed);
                }
                Err(damage) => damaged.push(damage),
            }
        }
        let ended = self.ground.map(|ground| ground.ended_patches(&packages)).unwrap_or_default();
        let applied = ended.beside(AppliedPatches::new(applied));
        let has_native = packages.values().any(|installed| NativeOrigin::of(&installed.params).is_some());
        let of = |(package, installed)| interrupted(package, installed, separator);
        let half: Vec<Interrupted> = packages.iter().flat_map(of).collect();
        let put_aside = put_aside(view.root(), &packages, &half, separator)?;
        let kept =
            PatchedRecords { view, ground: self.ground, separator, packages: &packages, applied: &applied };
        let mut kept = kept.by_records()?;
        let mut undo = undo_states(view, self.ground, separator, &applied, &packages)?;
        let mut inventory = Inventory { packages, prefix: prefix(view.root()), ..Inventory::default() };
        let by = (&applied, half.as_slice());
        let mut backouts = removable(view, self.ground, self.policy, by, &mut inventory, &mut undo)?;
        let mut all = Vec::new();
        let is_only_aside = |patch: &&AppliedPatch| {
            applied.get(&patch.id).is_none() && half.iter().any(|half| half.patch == patch.id)
        };
        let aside = put_aside.iter().filter(is_only_aside).map(|patch| (&put_aside, patch));
        for (records, patch) in applied.iter().map(|patch| (&applied, patch)).chain(aside) {
            let half = half.iter().find(|half| half.patch == patch.id);
            let of_half = || half.map_or(Ok(()), |half| Err(half.refusal().into()));
            all.push(InspectedPatch {
                fixed_in: fixed_in(patch, &inventory.packages),
                fixes: fixes(patch, &inventory.packages),
                undo: undo_of(patch, &undo),
                kept: kept.remove(&patch.id).filter(|_| half.is_none()).unwrap_or_default(),
                backout: backouts.remove(&patch.id).unwrap_or_else(of_half),
                words: if self.words.has(&patch.id) {
                    kept_words(view, &patch.id)
                } else {
                    PatchWords::default()
                },
                ..self.by_records(records, patch, half.is_some())
            });
        }
        all.sort_by(|one, other| one.patch.id.cmp(&other.patch.id));
        let packages = inventory.packages.into_iter().map(|(package, installed)| (package, installed.params));
        Ok(InspectedPatches { applied, patches: all, has_native, packages: packages.collect(), damaged })
    }

    fn by_records(&self, all: &AppliedPatches, patch: &AppliedPatch, is_half: bool) -> InspectedPatch {
        let (mut state, by) = match all.superseded(&patch.id) {
            None if is_half => (vec!["interrupted"], None),
            None => (vec!["effective"], None),
            Some(Superseded::Revision(later)) => (vec!["superseded"], Some(later.to_string())),
            Some(Superseded::Obsoletion(by)) => (vec!["obsoleted"], by.by.map(ToString::to_string)),
        };
        if self.policy.is_restricted(patch.id.base()) {
            state.push("restricted");
        }
        let info = all.installed(&patch.id);
        InspectedPatch {
            patch: patch.clone(),
            state,
            by,
            date_text: info.map(|info| info.date.clone()).filter(|date| !date.is_empty()),
            date: info.and_then(|info| applied_date(&info.date)),
            host: info.map(|info| info.host.clone()),
            fixed_in: None,
            fixes: FixRecord::default(),
            words: PatchWords::default(),
            undo: Vec::new(),
            backout: Ok(()),
            kept: Vec::new(),
        }
    }
}

fn fixed_in(patch: &AppliedPatch, packages: &BTreeMap<PkgInst, Installed>) -> Option<String> {
    let installed = patch.packages.iter().filter_map(|package| packages.get(package));
    fixed_in_of(patch.id.as_str(), installed.map(|installed| &installed.params))
}

fn fixes(patch: &AppliedPatch, packages: &BTreeMap<PkgInst, Installed>) -> FixRecord {
    let installed = patch.packages.iter().filter_map(|package| packages.get(package));
    FixRecord::from_params(&patch.id, installed.map(|installed| &installed.params))
}

fn undo_of(patch: &AppliedPatch, undo: &UndoOfPatches) -> Vec<PackageUndo> {
    let of = |package: &PkgInst| match undo.get(&(patch.id.clone(), package.clone())) {
        Some(seen) => seen.undo.clone(),
        None => PackageUndo { package: package.clone(), state: UndoState::None, bytes: 0, path: None },
    };
    patch.packages.iter().map(of).collect()
}

/// Returns half-applied patches from records that were put aside.
fn put_aside(
    root: &Root,
    packages: &BTreeMap<PkgInst, Installed>,
    half: &[Interrupted],
    separator: &str,
) -> Result<AppliedPatches, Failure> {
    let of = |(package, installed): (&PkgInst, &Installed)| {
        let is_half = half.iter().any(|half| half.is_put_aside && half.package == *package);
        let params = installed.interruption.put_aside.as_ref().filter(|_| is_half)?;
        Some(installed::patch_records(root, package, params, separator))
    };
    let applied: Result<Vec<PatchRecords>, DatabaseError> = packages.iter().filter_map(of).collect();
    Ok(AppliedPatches::new(applied?))
}

/// 1 MiB.
const LARGEST: u64 = 1 << 20;

/// In characters.
const LONGEST_SYNOPSIS: usize = 500;

const SYNOPSIS: [&str; 2] = ["PATCH_SYNOPSIS", "SYNOPSIS"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchWords {
    /// In one line.
    pub synopsis: Option<String>,
    /// A word of `PATCH_PROPERTIES`.
    pub reboot: Option<&'static str>,
    /// A file exists that could request a reboot.
    pub is_told: bool,
}

pub(super) fn kept_words(view: &RecordView<'_>, id: &PatchId) -> PatchWords {
    let read = |name: String| {
        let path = places::patch(id).ok()?.join(name.as_bytes()).ok()?;
        view.read(&path, LARGEST).ok().flatten()
    };
    let patchinfo = read("patchinfo".to_owned()).and_then(|bytes| ParamFile::parse(&bytes).ok());
    let patchinfo = patchinfo.map(|file| PatchinfoFile::from_params(&file.params()));
    PatchWords::of(patchinfo.as_ref(), read(format!("README.{id}")).as_deref())
}

impl PatchWords {
    pub fn of_image(image: &Image) -> Self {
        Self::of(image.patchinfo.as_ref(), image.readme.as_ref().map(|(_, text)| text.as_slice()))
    }

    fn of(patchinfo: Option<&PatchinfoFile>, readme: Option<&[u8]>) -> Self {
        let of_readme = || in_one_line(&readme::field(readme?, "Synopsis")?);
        let of_patchinfo = || {
            let mut named = SYNOPSIS.iter().filter_map(|name| patchinfo?.other.get(name));
            named.find_map(|text| in_one_line(&String::from_utf8_lossy(text)))
        };
        Self {
            synopsis: of_readme().or_else(of_patchinfo),
            reboot: reboot_asked_by(patchinfo, readme),
            is_told: patchinfo.is_some() || readme.is_some(),
        }
    }
}

fn in_one_line(text: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| line.chars().take(LONGEST_SYNOPSIS).collect())
}

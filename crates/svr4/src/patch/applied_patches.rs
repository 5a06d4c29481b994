//! The patches applied to a root, and their relations. A patch provides itself and every lower revision, likewise each
//! patch that it obsoletes, and in turn the patches that those obsolete.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::OnceLock;

use crate::package::PkgInst;
use crate::patch::{InstalledInfo, PatchId, PatchInfo, PatchList, PatchRecords, Requirement, Requirements};

/// An applied patch, as recorded by all packages of the root together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedPatch {
    /// The patch's id, in the first spelling found.
    pub id: PatchId,
    /// The packages that the patch is applied to, in the order given.
    pub packages: Vec<PkgInst>,
    /// The patches that it obsoletes in any of these packages.
    pub obsoletes: PatchList,
    /// The patches that it requires in any of these packages.
    pub requires: Requirements,
    /// The patches that it is incompatible with in any of these packages.
    pub incompatibles: PatchList,
}

/// The applied patches of a root: the union over all its packages.
///
/// ```
/// use patchadm_svr4::package::{Params, PkgInst};
/// use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchRecords};
///
/// let pkginfo: Params = [("PATCHLIST", "900-01 900-02")].into_iter().collect();
/// let shop = PatchRecords::from_params(&PkgInst::new("ACMEshop")?, &pkginfo, PatchId::SEPARATOR)?;
/// let applied = AppliedPatches::new(vec![shop]);
/// assert!(applied.is_effective(&PatchId::new("900-02")?));
/// assert!(!applied.is_effective(&PatchId::new("900-01")?), "a later revision supersedes it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AppliedPatches {
    packages: Vec<PatchRecords>,
    /// Indices in `packages`.
    places: HashMap<PkgInst, usize>,
    patches: BTreeMap<PatchId, AppliedPatch>,
    /// Applied patches that name a revision of this base as incompatible.
    namers: BTreeMap<String, BTreeSet<PatchId>>,
    /// Explicitly obsoleted patches, with the applied patches that obsolete them.
    obsoleted: BTreeMap<PatchId, Vec<PatchId>>,
    /// Not applied, but the packages contain their changes.
    contained: BTreeSet<PatchId>,
    /// No longer applied, and their changes are gone from installed packages.
    lost: BTreeSet<PatchId>,
    /// Computed on first use: few patches require one that is not itself applied.
    provided: OnceLock<Provided>,
    /// Computed on first use, for the backouts of all patches together.
    reliance: OnceLock<Reliance>,
}

/// The explicit obsoletion of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obsoletion<'a> {
    /// The `PATCH_OBSOLETES` entry that covers the patch: the patch itself or a later revision of it.
    pub entry: &'a PatchId,
    /// The applied patch that obsoletes it, or `None` if no `PATCH_INFO` line explains the entry.
    pub by: Option<&'a PatchId>,
}

/// The reason an applied patch is no longer effective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Superseded<'a> {
    /// A later revision, which is applied.
    Revision(&'a PatchId),
    /// An explicit obsoletion.
    Obsoletion(Obsoletion<'a>),
}

/// The relation of an offered patch to the applied ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchStanding<'a> {
    /// The patch is new: no applied patch rules it out.
    New,
    /// The patch is applied to all packages that it patches.
    Applied,
    /// The patch is applied to some of the packages that it patches; these remain.
    PartlyApplied(Vec<PkgInst>),
    /// A later revision of the patch is applied.
    LaterRevision(&'a PatchId),
    /// An applied patch obsoletes the patch.
    Obsoleted(Obsoletion<'a>),
}

impl AppliedPatches {
    /// Combines the records of all packages of a root.
    pub fn new(packages: Vec<PatchRecords>) -> Self {
        let mut patches: BTreeMap<PatchId, AppliedPatch> = BTreeMap::new();
        for applied in &packages {
            for id in &applied.list {
                let patch = patches.entry(id.clone()).or_insert_with(|| AppliedPatch::new(id.clone()));
                patch.extend(applied, id);
            }
        }
        let places = packages.iter().enumerate().map(|(place, applied)| (applied.package.clone(), place));
        let places = places.collect();
        let mut obsoleted: BTreeMap<PatchId, Vec<PatchId>> = BTreeMap::new();
        for entry in packages.iter().flat_map(|applied| applied.obsoletes.ids()) {
            obsoleted.entry(entry.clone()).or_default();
        }
        for patch in patches.values() {
            for entry in &patch.obsoletes {
                if let Some(by) = obsoleted.get_mut(entry) {
                    by.push(patch.id.clone());
                }
            }
        }
        let mut namers = BTreeMap::new();
        for patch in patches.values() {
            add_namer(&mut namers, patch);
        }
        let (contained, lost, provided, reliance) = Default::default();
        Self { packages, places, patches, namers, obsoleted, contained, lost, provided, reliance }
    }

    /// Sets the patches that ended without a backout: `contained` ones still meet requirements, because the packages
    /// have their changes from elsewhere; the changes of `lost` ones are gone.
    #[must_use]
    pub fn with_ended(
        self,
        contained: impl IntoIterator<Item = PatchId>,
        lost: impl IntoIterator<Item = PatchId>,
    ) -> Self {
        let (contained, lost) = (contained.into_iter().collect(), lost.into_iter().collect());
        Self { contained, lost, reliance: OnceLock::new(), ..self }
    }

    /// Returns true if `id` or a later revision of it was applied, and its changes are gone from installed packages.
    pub fn is_lost(&self, id: &PatchId) -> bool {
        itself_or_later(&self.lost, id).is_some()
    }

    /// Records an application at the cost of one patch; the result equals [`new`](Self::new) with changed records.
    /// Returns false if the package is unknown or has the patch already.
    pub fn record_applied(&mut self, package: &PkgInst, id: &PatchId, installed: &InstalledInfo) -> bool {
        let place = self.places.get(package).copied();
        let Some(records) = place.and_then(|place| self.packages.get_mut(place)) else { return false };
        if !records.record_applied(id, installed.clone()) {
            return false;
        }
        let patch = self.combined(id);
        for entry in &installed.obsoletes {
            self.note_obsoletion(entry, &patch.id);
        }
        add_namer(&mut self.namers, &patch);
        self.patches.insert(patch.id.clone(), patch);
        self.forget_provided();
        true
    }

    /// Records a backout from all packages; the result equals [`new`](Self::new) with changed records. Returns false if
    /// the patch is not applied.
    pub fn record_backed_out(&mut self, id: &PatchId) -> bool {
        let Some(patch) = self.patches.remove(id) else { return false };
        for place in patch.packages.iter().filter_map(|package| self.places.get(package)) {
            if let Some(records) = self.packages.get_mut(*place) {
                records.record_backed_out(id);
            }
        }
        let own: HashSet<&PatchId> = patch.obsoletes.iter().collect();
        let counted = self.packages.iter().flat_map(|applied| applied.obsoletes.ids());
        let counted: HashSet<&PatchId> = counted.filter(|id| own.contains(id)).collect();
        for entry in &patch.obsoletes {
            match self.obsoleted.get_mut(entry) {
                Some(by) if counted.contains(entry) => by.retain(|other| other != id),
                _ => drop(self.obsoleted.remove(entry)),
            }
        }
        for word in &patch.incompatibles {
            self.namers.get_mut(word.base()).map(|namers| namers.remove(id));
        }
        self.forget_provided();
        true
    }

    fn forget_provided(&mut self) {
        self.provided = OnceLock::new();
        self.reliance = OnceLock::new();
    }

    fn combined(&self, id: &PatchId) -> AppliedPatch {
        let mut patch: Option<AppliedPatch> = None;
        for applied in &self.packages {
            let Some(spelled) = applied.list.iter().find(|other| *other == id) else { continue };
            patch.get_or_insert_with(|| AppliedPatch::new(spelled.clone())).extend(applied, spelled);
        }
        patch.unwrap_or_else(|| AppliedPatch::new(id.clone()))
    }

    /// `entry` has a count.
    fn note_obsoletion(&mut self, entry: &PatchId, by: &PatchId) {
        let Self { obsoleted, patches, .. } = self;
        let obsoleters = obsoleted.entry(entry.clone()).or_insert_with(|| {
            let others = patches.values().filter(|patch| patch.obsoletes.contains(entry));
            others.map(|patch| patch.id.clone()).collect()
        });
        if let Err(place) = obsoleters.binary_search(by) {
            obsoleters.insert(place, by.clone());
        }
    }

    /// Returns applied patches that exclude a revision of these bases, in listing order.
    pub(super) fn namers<'a>(&'a self, ids: impl Iterator<Item = &'a PatchId>) -> BTreeSet<&'a PatchId> {
        ids.filter_map(|id| self.namers.get(id.base())).flatten().collect()
    }

    /// Returns applied patches that match an entry of a list of incompatible patches.
    pub(super) fn meant_by(&self, word: &PatchId) -> impl Iterator<Item = &PatchId> {
        meant_by(&self.patches, word).map(|(id, _)| id)
    }

    /// Returns applied patches that obsolete a match, except for their own revisions as in [`PatchList::beyond`].
    pub(super) fn obsoleting_meant_by(&self, word: &PatchId) -> impl Iterator<Item = &PatchId> {
        meant_by(&self.obsoleted, word)
            .flat_map(|(entry, by)| by.iter().filter(move |by| !by.contains(entry)))
    }

    fn provided(&self) -> &Provided {
        self.provided.get_or_init(|| Provided::by(self.patches.keys(), &self.packages))
    }

    fn reliance(&self) -> &Reliance {
        self.reliance.get_or_init(|| Reliance::of(self))
    }

    /// Returns the records of each package.
    pub fn packages(&self) -> &[PatchRecords] {
        &self.packages
    }

    /// Returns the records of one package.
    pub fn records_of(&self, package: &PkgInst) -> Option<&PatchRecords> {
        self.packages.get(*self.places.get(package)?)
    }

    /// Returns the applied patches in the order of listings.
    pub fn iter(&self) -> impl Iterator<Item = &AppliedPatch> {
        self.patches.values()
    }

    /// Returns the record of `id`, if it is applied to any package.
    pub fn get(&self, id: &PatchId) -> Option<&AppliedPatch> {
        self.patches.get(id)
    }

    /// Returns the record of `id` in the first package that it is applied to and that has one.
    pub fn installed(&self, id: &PatchId) -> Option<&InstalledInfo> {
        let packages = self.get(id).into_iter().flat_map(|patch| &patch.packages);
        let mut records = packages.filter_map(|package| self.records_of(package));
        records.find_map(|applied| applied.infos.get(id)?.installed())
    }

    /// Returns true if `id` is applied to `package`.
    pub fn is_applied_to(&self, id: &PatchId, package: &PkgInst) -> bool {
        // A patch has its packages in the order of the records.
        let place = |package: &PkgInst| self.places.get(package);
        let is_at =
            |patch: &AppliedPatch| patch.packages.binary_search_by_key(&place(package), place).is_ok();
        place(package).is_some() && self.get(id).is_some_and(is_at)
    }

    /// Returns the highest applied revision above `id`.
    pub fn later_revision(&self, id: &PatchId) -> Option<&PatchId> {
        self.later_revisions(id).next_back()
    }

    fn later_revisions<'a>(&'a self, id: &PatchId) -> impl DoubleEndedIterator<Item = &'a PatchId> + use<'a> {
        let end = id.above_revisions();
        self.patches.range((Excluded(id), Included(&end))).map(|(other, _)| other)
    }

    /// Returns the explicit obsoletion that covers `id`, the nearest revision first. No patch obsoletes itself.
    pub fn obsoleted_by(&self, id: &PatchId) -> Option<Obsoletion<'_>> {
        let covering = self.obsoleted.range((Included(id), Unbounded));
        covering.take_while(|(entry, _)| entry.same_base(id)).find_map(|(entry, by)| {
            let other = by.iter().find(|by| *by != id);
            (other.is_some() || by.is_empty()).then_some(Obsoletion { entry, by: other })
        })
    }

    /// Returns why the applied patch `id` is not effective. A superseded patch must not be backed out by itself.
    pub fn superseded(&self, id: &PatchId) -> Option<Superseded<'_>> {
        let revision = self.later_revision(id).map(Superseded::Revision);
        revision.or_else(|| self.obsoleted_by(id).map(Superseded::Obsoletion))
    }

    /// Returns true if `id` is applied and neither a later revision nor an obsoletion supersedes it.
    pub fn is_effective(&self, id: &PatchId) -> bool {
        self.patches.contains_key(id) && self.superseded(id).is_none()
    }

    /// Returns the applied patches that nothing supersedes, in the order of listings.
    pub fn effective(&self) -> impl Iterator<Item = &AppliedPatch> {
        self.iter().filter(|patch| self.superseded(&patch.id).is_none())
    }

    /// Returns the relation of `id`, a patch for these packages, by the first refusal of patchadd(1M): applied, later
    /// revision, obsoleted. A later revision counts only if one of these packages records it: another package may be
    /// delivered with its maker's PATCHLIST.
    pub fn standing(&self, id: &PatchId, packages: &[PkgInst]) -> PatchStanding<'_> {
        let remaining: Vec<PkgInst> =
            packages.iter().filter(|package| !self.is_applied_to(id, package)).cloned().collect();
        let is_on_them = |other: &PatchId| {
            packages.is_empty() || packages.iter().any(|package| self.is_applied_to(other, package))
        };
        if remaining.is_empty() && !packages.is_empty() {
            PatchStanding::Applied
        } else if let Some(later) = self.later_revisions(id).rfind(|other| is_on_them(other)) {
            PatchStanding::LaterRevision(later)
        } else if let Some(obsoletion) = self.obsoleted_by(id) {
            PatchStanding::Obsoleted(obsoletion)
        } else if remaining.len() < packages.len() {
            PatchStanding::PartlyApplied(remaining)
        } else {
            PatchStanding::New
        }
    }

    /// Returns a restricted patch on one of `packages`: it keeps out every unrestricted patch. The root's policy
    /// decides which ids are restricted.
    pub fn restricted<'a>(
        &'a self,
        incoming: &PatchId,
        packages: &[PkgInst],
        is_restricted: impl Fn(&PatchId) -> bool,
    ) -> Option<(&'a PatchId, &'a PkgInst)> {
        if is_restricted(incoming) {
            return None;
        }
        let places: BTreeSet<usize> =
            packages.iter().filter_map(|package| self.places.get(package).copied()).collect();
        let concerned = places.into_iter().filter_map(|place| self.packages.get(place));
        concerned
            .flat_map(|applied| applied.list.iter().map(move |id| (id, &applied.package)))
            .find(|(id, _)| is_restricted(id))
    }
}

fn itself_or_later<'a>(ids: &'a BTreeSet<PatchId>, id: &PatchId) -> Option<&'a PatchId> {
    ids.range((Included(id), Unbounded)).next().filter(|other| other.same_base(id))
}

fn add_namer(namers: &mut BTreeMap<String, BTreeSet<PatchId>>, patch: &AppliedPatch) {
    for word in &patch.incompatibles {
        namers.entry(word.base().to_owned()).or_default().insert(patch.id.clone());
    }
}

/// Finds matches of an entry of a list of incompatible patches. Revision zero, the lowest, matches all.
fn meant_by<'a, T>(
    patches: &'a BTreeMap<PatchId, T>,
    word: &PatchId,
) -> impl Iterator<Item = (&'a PatchId, &'a T)> {
    patches.range((Included(word), Unbounded)).take_while(move |(id, _)| word.excludes(id))
}

impl AppliedPatch {
    fn new(id: PatchId) -> Self {
        let (packages, obsoletes, requires, incompatibles) = Default::default();
        Self { id, packages, obsoletes, requires, incompatibles }
    }

    fn extend(&mut self, applied: &PatchRecords, id: &PatchId) {
        self.packages.push(applied.package.clone());
        if let Some(installed) = applied.infos.get(id).and_then(PatchInfo::installed) {
            self.obsoletes.extend(installed.obsoletes.iter().cloned());
            self.requires.extend(installed.requires.iter().cloned());
            self.incompatibles.extend(installed.incompatibles.iter().cloned());
        }
    }
}

/// A requirement that no applied patch would meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetRequirement {
    /// The applied patch that has the requirement.
    pub patch: PatchId,
    /// The requirement itself.
    pub requirement: Requirement,
}

impl AppliedPatches {
    /// Returns the applied patch that provides `id`: itself, a later revision, or one that obsoletes such a revision,
    /// even through others. Without one, returns the contained patch that does.
    pub fn provides(&self, id: &PatchId) -> Option<&PatchId> {
        let itself = self.get(id).map(|patch| &patch.id);
        let applied = itself.or_else(|| self.later_revision(id)).or_else(|| self.provided().provider(id));
        applied.or_else(|| itself_or_later(&self.contained, id))
    }

    /// Returns the patch that meets `requirement`; of alternatives, the first that is met.
    pub fn satisfies(&self, requirement: &Requirement) -> Option<&PatchId> {
        requirement.ids().iter().find_map(|id| self.provides(id))
    }

    /// Returns requirements of effective patches that backing out `id` would break. Requirements that are unmet already
    /// do not count: the classic scripts record them without enforcing them.
    pub fn dependents_after_removal(&self, id: &PatchId) -> Vec<UnmetRequirement> {
        AfterBackout::of(self, id).unmet().collect()
    }

    /// Returns true if backing out `id` would break a requirement of an effective patch.
    pub fn is_needed(&self, id: &PatchId) -> bool {
        AfterBackout::of(self, id).unmet().next().is_some()
    }

    /// Returns requirements of patches effective in `after` that are met now and not then.
    pub fn unmet_after(&self, after: &Self) -> Vec<UnmetRequirement> {
        let mut unmet = Vec::new();
        for patch in after.effective() {
            for requirement in &patch.requires {
                if self.satisfies(requirement).is_some() && after.satisfies(requirement).is_none() {
                    unmet
                        .push(UnmetRequirement { patch: patch.id.clone(), requirement: requirement.clone() });
                }
            }
        }
        unmet
    }
}

/// By base: the highest provided revision, and its applied patch.
#[derive(Clone, Debug, Default)]
struct Provided(HashMap<String, (PatchId, PatchId)>);

impl Provided {
    /// Follows the obsoletions of `applied` patches, including records that still say `Installed:` without a PATCHLIST
    /// entry. An id is followed only if it raises the revision of its base, so the walk is finite.
    fn by<'a>(applied: impl Iterator<Item = &'a PatchId>, packages: &'a [PatchRecords]) -> Self {
        let claims = claims(packages);
        let mut reached: VecDeque<(&PatchId, &PatchId)> = applied.map(|id| (id, id)).collect();
        let mut highest: HashMap<&str, (&PatchId, &PatchId)> = HashMap::new();
        let mut followed = BTreeSet::new();
        while let Some((id, by)) = reached.pop_front() {
            if highest.get(id.base()).is_some_and(|(known, _)| known.contains(id)) {
                continue;
            }
            highest.insert(id.base(), (id, by));
            let contained =
                claims.range::<PatchId, _>(..=id).rev().take_while(|(other, _)| other.same_base(id));
            for (other, obsoleted) in contained {
                if !followed.insert(*other) {
                    break;
                }
                reached.extend(obsoleted.iter().map(|obsoleted| (*obsoleted, by)));
            }
        }
        let owned =
            |(base, (id, by)): (&str, (&PatchId, &PatchId))| (base.to_owned(), (id.clone(), by.clone()));
        Self(highest.into_iter().map(owned).collect())
    }

    fn provider(&self, id: &PatchId) -> Option<&PatchId> {
        self.0.get(id.base()).filter(|(highest, _)| highest.contains(id)).map(|(_, by)| by)
    }
}

/// A provided revision and an applied patch that provides it.
type Provision<'a> = (&'a PatchId, &'a PatchId);

/// The use of each patch by requirements. A file of records may have thousands of patches that need each other, so that
/// no question about one of them may take a look at all.
#[derive(Clone, Debug, Default)]
struct Reliance {
    /// By the patch that meets them: patches in the order of listings, with the places of their requirements.
    users: HashMap<PatchId, Vec<(PatchId, usize)>>,
    /// By base: the highest provided revision with its patch, and the highest one from another patch.
    provided: HashMap<String, Vec<(PatchId, PatchId)>>,
    /// The counts of each obsoleted patch, by the place of the package.
    counts: HashMap<PatchId, Vec<(usize, u32)>>,
}

/// The record of a patch in a package without a PATCHLIST entry for it: it stays in every backout.
#[derive(Default)]
struct LastingClaim<'a> {
    obsoletes: Vec<&'a PatchId>,
    /// At most two patches: after the backout of any patch, one of two others is there.
    followed_for: Vec<&'a PatchId>,
}

impl Reliance {
    fn of(all: &AppliedPatches) -> Self {
        let mut reliance = Self { provided: provided_twice(all), ..Self::default() };
        for patch in all.iter() {
            for (place, requirement) in patch.requires.iter().enumerate() {
                if let Some(by) = all.satisfies(requirement) {
                    reliance.users.entry(by.clone()).or_default().push((patch.id.clone(), place));
                }
            }
        }
        for (place, applied) in all.packages.iter().enumerate() {
            for (entry, count) in applied.obsoletes.iter() {
                reliance.counts.entry(entry.clone()).or_default().push((place, count));
            }
        }
        reliance
    }
}

/// Walks like [`Provided::by`], for two patches of each base. The obsoletions of an applied patch end with it, so they
/// are followed for no other patch.
fn provided_twice(all: &AppliedPatches) -> HashMap<String, Vec<(PatchId, PatchId)>> {
    let mut reached: VecDeque<Provision<'_>> = all.patches.keys().map(|id| (id, id)).collect();
    let mut lasting: BTreeMap<&PatchId, LastingClaim<'_>> = BTreeMap::new();
    for applied in &all.packages {
        let listed: HashSet<&PatchId> = applied.list.iter().collect();
        for (id, info) in &applied.infos {
            let Some(installed) = info.installed() else { continue };
            if listed.contains(id) {
                reached.extend(installed.obsoletes.iter().map(|obsoleted| (obsoleted, id)));
            } else {
                lasting.entry(id).or_default().obsoletes.extend(&installed.obsoletes);
            }
        }
    }
    let mut highest: HashMap<&str, [Option<Provision<'_>>; 2]> = HashMap::new();
    while let Some((id, by)) = reached.pop_front() {
        if !raises(highest.entry(id.base()).or_default(), (id, by)) {
            continue;
        }
        let contained =
            lasting.range_mut::<PatchId, _>(..=id).rev().take_while(|(other, _)| other.same_base(id));
        for (_, claim) in contained {
            if claim.followed_for.len() > 1 || claim.followed_for.contains(&by) {
                break;
            }
            claim.followed_for.push(by);
            reached.extend(claim.obsoletes.iter().map(|obsoleted| (*obsoleted, by)));
        }
    }
    let owned = |(id, by): Provision<'_>| (id.clone(), by.clone());
    let of_base = |(base, both): (&str, [Option<Provision<'_>>; 2])| {
        (base.to_owned(), both.into_iter().flatten().map(owned).collect())
    };
    highest.into_iter().map(of_base).collect()
}

/// Takes over a provision if no other two patches provide as much. Returns false if nothing changed.
fn raises<'a>([first, second]: &mut [Option<Provision<'a>>; 2], (id, by): Provision<'a>) -> bool {
    let is_covered = |known: &Option<Provision<'a>>| known.is_some_and(|(highest, _)| highest.contains(id));
    let is_first = first.is_some_and(|(_, known)| known == by);
    if is_covered(first) {
        if is_first || is_covered(second) {
            return false;
        }
        *second = Some((id, by));
    } else {
        if !is_first {
            *second = *first;
        }
        *first = Some((id, by));
    }
    true
}

/// The applied patches as the backout of one of them would leave them.
struct AfterBackout<'a> {
    before: &'a AppliedPatches,
    id: &'a PatchId,
    /// Entries of `PATCH_OBSOLETES` that the backout counts down, with the place of the package.
    lowered: OnceCell<HashSet<(usize, &'a PatchId)>>,
}

impl<'a> AfterBackout<'a> {
    fn of(before: &'a AppliedPatches, id: &'a PatchId) -> Self {
        Self { before, id, lowered: OnceCell::new() }
    }

    /// Requirements of effective patches that are met before, and not after. Only those that the patch meets can be: a
    /// patch that others provide does not depend on it.
    fn unmet(&self) -> impl Iterator<Item = UnmetRequirement> {
        let users = self.before.get(self.id).and_then(|_| self.before.reliance().users.get(self.id));
        users.into_iter().flatten().filter_map(move |(user, place)| {
            let patch = self.before.get(user).filter(|patch| patch.id != *self.id)?;
            let requirement = patch.requires.iter().nth(*place)?;
            let is_met = requirement.ids().iter().any(|needed| self.provides(needed));
            let is_broken = !is_met && !self.supersedes(&patch.id);
            is_broken.then(|| UnmetRequirement { patch: patch.id.clone(), requirement: requirement.clone() })
        })
    }

    fn provides(&self, needed: &PatchId) -> bool {
        let provided = self.before.reliance().provided.get(needed.base());
        let mut others = provided.into_iter().flatten().filter(|(_, by)| by != self.id);
        others.any(|(highest, _)| highest.contains(needed))
            || itself_or_later(&self.before.contained, needed).is_some()
    }

    fn supersedes(&self, patch: &PatchId) -> bool {
        if self.before.later_revisions(patch).rev().any(|later| later != self.id) {
            return true;
        }
        let covering = self.before.obsoleted.range((Included(patch), Unbounded));
        covering.take_while(|(entry, _)| entry.same_base(patch)).any(|(entry, by)| {
            if by.binary_search(self.id).is_ok() && !self.is_counted(entry) {
                return false;
            }
            by.iter().any(|by| by != self.id && by != patch) || by.iter().all(|by| by == self.id)
        })
    }

    fn is_counted(&self, entry: &PatchId) -> bool {
        let lowered = self.lowered.get_or_init(|| self.lowered());
        let mut counts = self.before.reliance().counts.get(entry).into_iter().flatten();
        counts.any(|(place, count)| *count > u32::from(lowered.contains(&(*place, entry))))
    }

    fn lowered(&self) -> HashSet<(usize, &'a PatchId)> {
        let (before, id) = (self.before, self.id);
        let packages = before.get(id).into_iter().flat_map(|patch| &patch.packages);
        let places = packages.filter_map(|package| before.places.get(package).copied());
        let of_place = move |place: usize| {
            let info = before.packages.get(place).and_then(|applied| applied.infos.get(id)?.installed());
            info.into_iter().flat_map(|info| &info.obsoletes).map(move |entry| (place, entry))
        };
        places.flat_map(of_place).collect()
    }
}

fn claims(packages: &[PatchRecords]) -> BTreeMap<&PatchId, Vec<&PatchId>> {
    let mut claims: BTreeMap<&PatchId, Vec<&PatchId>> = BTreeMap::new();
    for (id, info) in packages.iter().flat_map(|applied| &applied.infos) {
        if let Some(installed) = info.installed() {
            claims.entry(id).or_default().extend(&installed.obsoletes);
        }
    }
    claims
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::patch) fn id(text: &str) -> PatchId {
        PatchId::new(text).unwrap()
    }

    fn package(name: &str) -> PkgInst {
        PkgInst::new(name).unwrap()
    }

    /// Parses lines `PACKAGE id [obsoletes X…] [requires X…] [incompat X…]`, applied in order.
    pub(in crate::patch) fn root(lines: &[&str]) -> AppliedPatches {
        let mut packages: Vec<PatchRecords> = Vec::new();
        for line in lines {
            let [mut head, mut obsoletes, mut requires, mut incompat] = [const { String::new() }; 4];
            let mut part = &mut head;
            for word in line.split(' ') {
                match word {
                    "obsoletes" => part = &mut obsoletes,
                    "requires" => part = &mut requires,
                    "incompat" => part = &mut incompat,
                    word => part.extend([word, " "]),
                }
            }
            let (name, patch) = head.trim().split_once(' ').unwrap();
            let installed = InstalledInfo {
                obsoletes: PatchList::parse(&obsoletes, "-").unwrap(),
                requires: Requirements::parse(&requires, "-").unwrap(),
                incompatibles: PatchList::parse(&incompat, "-").unwrap(),
                ..InstalledInfo::default()
            };
            let name = package(name);
            if !packages.iter().any(|applied| applied.package == name) {
                packages.push(PatchRecords::new(name.clone()));
            }
            let applied = packages.iter_mut().find(|applied| applied.package == name).unwrap();
            assert!(applied.record_applied(&id(patch), installed), "{line}");
        }
        AppliedPatches::new(packages)
    }

    fn effective(root: &AppliedPatches) -> Vec<String> {
        root.effective().map(|patch| patch.id.to_string()).collect()
    }

    #[test]
    fn a_later_revision_supersedes_and_keeps_earlier_ones_out() {
        let mut packages = root(&["SUNWcsr 105181-03"]).packages;
        let csr = [package("SUNWcsr")];
        let at_03 = AppliedPatches::new(packages.clone());
        assert_eq!(at_03.standing(&id("105181-05"), &csr), PatchStanding::New);
        packages[0].record_applied(&id("105181-05"), InstalledInfo::default());
        let at_05 = AppliedPatches::new(packages.clone());
        assert_eq!(at_05.standing(&id("105181-04"), &csr), PatchStanding::LaterRevision(&id("105181-05")));
        assert_eq!(at_05.superseded(&id("105181-03")), Some(Superseded::Revision(&id("105181-05"))));
        assert_eq!(at_05.standing(&id("105181-05"), &csr), PatchStanding::Applied);
        assert_eq!(at_05.standing(&id("105181-03"), &csr), PatchStanding::Applied);
        assert_eq!(effective(&at_05), ["105181-05"]);
        packages[0].record_backed_out(&id("105181-05"));
        assert_eq!(effective(&AppliedPatches::new(packages)), ["105181-03"]);
    }

    #[test]
    fn a_later_revision_on_another_package_keeps_no_patch_out() {
        let root = root(&["ACMEother 900-02"]);
        let (both, web) = ([package("ACMEweb"), package("ACMEother")], [package("ACMEweb")]);
        assert_eq!(root.standing(&id("900-01"), &web), PatchStanding::New);
        assert_eq!(root.standing(&id("900-01"), &both), PatchStanding::LaterRevision(&id("900-02")));
    }

    #[test]
    fn a_package_added_later_remains_to_be_patched() {
        let root = root(&["ACMEa 900-01"]);
        assert_eq!(root.standing(&id("900-01"), &[package("ACMEa")]), PatchStanding::Applied);
        let both = [package("ACMEa"), package("ACMEb")];
        assert_eq!(root.standing(&id("900-1"), &both), PatchStanding::PartlyApplied(vec![package("ACMEb")]));
        assert_eq!(root.standing(&id("900-01"), &[]), PatchStanding::New);
    }

    #[test]
    fn leading_zeros_do_not_make_another_patch() {
        let root = root(&["SUNWcsr 105181-5"]);
        assert_eq!(root.standing(&id("105181-05"), &[package("SUNWcsr")]), PatchStanding::Applied);
        assert!(root.is_applied_to(&id("105181-05"), &package("SUNWcsr")));
        assert_eq!(root.get(&id("105181-05")).unwrap().id.as_str(), "105181-5");
    }

    #[test]
    fn an_obsoleted_patch_names_the_entry_and_its_obsoleter() {
        let root = root(&["P 100-01", "P 200-01 obsoletes 100-02 101-03"]);
        let expected = Obsoletion { entry: &id("100-02"), by: Some(&id("200-01")) };
        assert_eq!(root.superseded(&id("100-01")), Some(Superseded::Obsoletion(expected)));
        assert_eq!(root.standing(&id("100-02"), &[package("P")]), PatchStanding::Obsoleted(expected));
        assert_eq!(root.standing(&id("100-03"), &[package("P")]), PatchStanding::New);
        assert_eq!(
            root.standing(&id("101-3"), &[package("Q")]),
            PatchStanding::Obsoleted(Obsoletion { entry: &id("101-03"), by: Some(&id("200-01")) })
        );
        assert_eq!(effective(&root), ["200-01"]);
    }

    #[test]
    fn a_patch_does_not_obsolete_itself() {
        let selfish = root(&["P 200-02 obsoletes 200-01 200-02"]);
        assert_eq!(effective(&selfish), ["200-02"]);
        assert!(selfish.obsoleted_by(&id("200-01")).is_some());
    }

    #[test]
    fn an_obsoletion_that_no_record_explains_still_counts() {
        let mut packages = root(&["P 100-01"]).packages;
        packages[0].obsoletes.count_up(&PatchList::parse("100-05", "-").unwrap());
        let root = AppliedPatches::new(packages);
        let expected = Obsoletion { entry: &id("100-05"), by: None };
        assert_eq!(root.obsoleted_by(&id("100-01")), Some(expected));
    }

    #[test]
    fn a_restricted_patch_keeps_ordinary_ones_off_its_packages() {
        let root = root(&["SUNWnfsckr 147441-26", "SUNWnfsckr IDR148363-26", "SUNWcsr 147441-26"]);
        let is_restricted = |id: &PatchId| id.base().starts_with("IDR");
        let (nfs, csr) = (package("SUNWnfsckr"), package("SUNWcsr"));
        let ask = |patch: &str, packages: &[PkgInst]| {
            root.restricted(&id(patch), packages, is_restricted)
                .map(|(id, package)| format!("{id} on {package}"))
        };
        assert_eq!(
            ask("147441-27", &[csr.clone(), nfs.clone()]).as_deref(),
            Some("IDR148363-26 on SUNWnfsckr")
        );
        assert_eq!(ask("147441-27", &[csr]), None);
        assert_eq!(ask("IDR999999-01", std::slice::from_ref(&nfs)), None);
        let mut packages = root.clone().packages;
        packages[0].record_backed_out(&id("IDR148363-26"));
        let without = AppliedPatches::new(packages);
        assert_eq!(without.restricted(&id("147441-27"), &[nfs], is_restricted), None);
    }

    #[test]
    fn a_listing_has_each_patch_once_with_all_its_packages_and_lists() {
        let root = root(&["B 900-02 requires 1-1", "B 99-01", "A 900-02 obsoletes 7-7 requires 1-1 2-1"]);
        let shown: Vec<String> = root
            .iter()
            .map(|patch| {
                format!("{} {:?} {} {}", patch.id, patch.packages.len(), patch.obsoletes, patch.requires)
            })
            .collect();
        assert_eq!(shown, ["99-01 1  ", "900-02 2 7-7 1-1 2-1"]);
    }

    impl AppliedPatches {
        /// True if a new value of these records is equal.
        fn is_as_read(&self, packages: &[PatchRecords]) -> bool {
            let read = Self::new(packages.to_vec());
            let namers = |all: &Self| -> Vec<(String, BTreeSet<PatchId>)> {
                all.namers.clone().into_iter().filter(|(_, ids)| !ids.is_empty()).collect()
            };
            self.packages == read.packages
                && self.patches == read.patches
                && self.obsoleted == read.obsoleted
                && namers(self) == namers(&read)
        }
    }

    proptest! {
        #[test]
        fn a_patch_recorded_later_is_related_as_if_it_had_been_read(
            applied in prop::collection::vec(
                ("[A-C]", "[1-3]-0?[1-3]", prop::collection::vec("[1-4]-[1-3]", 0..3), prop::option::of("[1-3]-[0-3]")), 1..12),
            counted in prop::collection::vec("[1-4]-[1-3]", 0..2),
            gone in prop::collection::vec("[1-3]-[1-3]", 0..4),
        ) {
            let mut packages: Vec<PatchRecords> = ["A", "B", "C"].map(|name| PatchRecords::new(package(name))).into();
            packages[0].obsoletes.count_up(&PatchList::parse(&counted.join(" "), "-").unwrap());
            let mut known = AppliedPatches::new(packages.clone());
            for (name, patch, obsoletes, requires) in applied {
                let installed = InstalledInfo {
                    obsoletes: PatchList::parse(&obsoletes.join(" "), "-").unwrap(),
                    requires: Requirements::parse(requires.as_deref().unwrap_or_default(), "-").unwrap(),
                    incompatibles: PatchList::parse(requires.as_deref().unwrap_or_default(), "-").unwrap(),
                    ..InstalledInfo::default()
                };
                let records = packages.iter_mut().find(|records| records.package == package(&name)).unwrap();
                let is_new = records.record_applied(&id(&patch), installed.clone());
                prop_assert_eq!(known.record_applied(&package(&name), &id(&patch), &installed), is_new);
                prop_assert!(known.is_as_read(&packages));
            }
            for patch in gone {
                let changed = packages.iter_mut().filter_map(|records| records.record_backed_out(&id(&patch)).then_some(()));
                prop_assert_eq!(known.record_backed_out(&id(&patch)), changed.count() > 0);
                prop_assert!(known.is_as_read(&packages));
            }
        }
    }
}

#[cfg(test)]
mod provision_tests {
    use super::*;
    use crate::patch::applied_patches::tests::{id, root};
    use crate::patch::{InstalledInfo, PatchList, Requirements};
    use proptest::prelude::*;

    fn provider(root: &AppliedPatches, requirement: &str) -> Option<String> {
        let requirements = Requirements::parse(requirement, "-").unwrap();
        root.satisfies(requirements.iter().next().unwrap()).map(ToString::to_string)
    }

    fn misses(root: &AppliedPatches, removed: &str) -> Vec<String> {
        let unmet = root.dependents_after_removal(&id(removed));
        unmet.iter().map(|unmet| format!("{} needs {}", unmet.patch, unmet.requirement)).collect()
    }

    #[test]
    fn a_patch_provides_itself_and_lower_revisions() {
        let root = root(&["P 650-03"]);
        assert_eq!(provider(&root, "650-03").as_deref(), Some("650-03"));
        assert_eq!(provider(&root, "650-1").as_deref(), Some("650-03"));
        assert_eq!(provider(&root, "650-04"), None);
        assert_eq!(provider(&root, "( 999-01 | 650-02 )").as_deref(), Some("650-03"));
        assert_eq!(provider(&root, "( 999-01 | 650-04 )"), None);
    }

    #[test]
    fn an_obsoleting_patch_provides_what_it_contains() {
        assert_eq!(provider(&root(&["P 680-01 obsoletes 650-04"]), "650-03").as_deref(), Some("680-01"));
        assert_eq!(provider(&root(&["P 680-01 obsoletes 650-02"]), "650-03"), None);
    }

    #[test]
    fn obsoletion_is_followed_through_the_chain() {
        let chain = root(&["P 30-01 obsoletes 20-01", "P 20-02 obsoletes 10-05"]);
        assert_eq!(provider(&chain, "10-04").as_deref(), Some("20-02"));
        let cumulative = root(&["P 20-01 obsoletes 10-05", "P 40-01 obsoletes 20-07"]);
        assert_eq!(provider(&cumulative, "20-06").as_deref(), Some("40-01"));
        assert_eq!(provider(&cumulative, "10-05").as_deref(), Some("20-01"));
    }

    #[test]
    fn a_patch_that_only_its_record_remembers_is_a_link_of_the_chain() {
        let mut packages = root(&["P 20-02 obsoletes 10-05", "P 30-01 obsoletes 20-03"]).packages;
        packages[0].list = PatchList::parse("30-01", "-").unwrap();
        assert_eq!(provider(&AppliedPatches::new(packages.clone()), "10-04").as_deref(), Some("30-01"));
        packages[0].list = PatchList::new();
        assert_eq!(provider(&AppliedPatches::new(packages), "10-04"), None);
    }

    #[test]
    fn patches_that_obsolete_each_other_do_not_hang_anything() {
        let circle = root(&["P 10-01 obsoletes 20-09", "P 20-01 obsoletes 30-01", "P 30-02 obsoletes 10-09"]);
        for patch in ["10-09", "20-09", "30-02"] {
            assert!(provider(&circle, patch).is_some(), "{patch}");
        }
        assert_eq!(provider(&circle, "30-03"), None);
        assert!(circle.dependents_after_removal(&id("10-01")).is_empty());
    }

    #[test]
    fn a_needed_patch_is_missed_when_it_goes() {
        let only = root(&["P 650-03", "P 700-02 requires 650-03"]);
        assert_eq!(misses(&only, "650-03"), ["700-02 needs 650-03"]);
        assert!(misses(&only, "700-02").is_empty());
        let twice = root(&["P 650-03", "Q 650-04", "P 700-02 requires 650-03"]);
        assert!(misses(&twice, "650-03").is_empty() && misses(&twice, "650-04").is_empty());
        let replaced = root(&["P 650-03", "P 680-01 obsoletes 650-04", "P 700-02 requires 650-03"]);
        assert!(misses(&replaced, "650-03").is_empty());
    }

    /// The number of looks at patches and their requirements that a backout takes.
    fn looks(root: &AppliedPatches, id: &PatchId) -> usize {
        root.reliance().users.get(id).map_or(0, Vec::len)
    }

    #[test]
    fn a_long_chain_of_patches_takes_one_look_for_each() {
        let mut packages = root(&["P 1-01"]).packages;
        for number in 2..30_000 {
            let requires = Requirements::parse(&format!("{}-01", number - 1), "-").unwrap();
            let info = InstalledInfo { requires, ..InstalledInfo::default() };
            packages[0].infos.insert(id(&format!("{number}-01")), PatchInfo::Installed(info));
        }
        packages[0].list = (1..30_000).map(|number| id(&format!("{number}-01"))).collect();
        let root = AppliedPatches::new(packages);
        let ids: Vec<PatchId> = root.iter().map(|patch| patch.id.clone()).collect();
        assert_eq!(ids.iter().map(|id| looks(&root, id)).max(), Some(1));
        assert_eq!(ids.iter().filter(|id| root.is_needed(id)).count(), 29_998);
        assert_eq!(misses(&root, "17-01"), ["18-01 needs 17-01"]);
    }

    #[test]
    fn revisions_of_one_base_are_superseded_by_the_highest() {
        let mut packages = root(&["P 1-01"]).packages;
        packages[0].list = (1..=50_000).map(|revision| id(&format!("1-{revision}"))).collect();
        let root = AppliedPatches::new(packages);
        assert_eq!(root.effective().count(), 1);
        assert_eq!(root.later_revision(&id("1-1")), Some(&id("1-50000")));
        assert_eq!(root.later_revision(&id("1-50000")), None);
    }

    #[test]
    fn only_what_this_backout_breaks_is_reported() {
        let never_met = root(&["P 100-01", "P 700-02 requires 999-01"]);
        assert!(misses(&never_met, "100-01").is_empty());
        let superseded = root(&["P 650-03", "P 700-02 requires 650-03", "P 700-03"]);
        assert!(misses(&superseded, "650-03").is_empty());
        let comes_back = root(&["P 700-01 requires 650-03", "P 700-02 obsoletes 650-03"]);
        assert_eq!(misses(&comes_back, "700-02"), ["700-01 needs 650-03"]);
    }

    #[test]
    fn a_contained_patch_meets_requirements_without_being_applied() {
        let root = root(&["P 700-02 requires 650-03", "P 680-01"]);
        assert_eq!(provider(&root, "650-03"), None);
        let root = root.with_ended([id("650-04"), id("680-02")], [id("660-02")]);
        assert_eq!(provider(&root, "650-03").as_deref(), Some("650-04"));
        assert_eq!(provider(&root, "650-05"), None);
        assert_eq!(provider(&root, "64-01"), None);
        assert_eq!(provider(&root, "680-01").as_deref(), Some("680-01"), "what is applied comes first");
        assert!(misses(&root, "680-01").is_empty() && root.get(&id("650-04")).is_none());
        assert!(root.is_lost(&id("660-01")) && !root.is_lost(&id("660-03")) && !root.is_lost(&id("650-03")));
        let lost = root.clone().with_ended([], [id("650-04")]);
        let unmet: Vec<_> =
            root.unmet_after(&lost).into_iter().map(|unmet| unmet.patch.to_string()).collect();
        assert_eq!(unmet, ["700-02"]);
    }

    #[test]
    fn an_earlier_patch_of_the_same_run_provides_too() {
        let mut packages: Vec<PatchRecords> = root(&["P 100-01"]).packages;
        packages[0].record_applied(&id("650-03"), InstalledInfo::default());
        assert!(AppliedPatches::new(packages).provides(&id("650-02")).is_some());
    }

    proptest! {
        #[test]
        fn a_backout_breaks_what_is_unmet_in_the_records_after_it(
            applied in prop::collection::vec(
                (
                    "[A-C]",
                    "[1-4]-[1-3]",
                    prop::collection::vec("[1-5]-[1-3]", 0..3),
                    prop::option::of("[1-5]-[1-3]( [1-5]-[1-3])?|\\( [1-5]-[1-3] \\| [1-5]-[1-3] \\)"),
                ),
                1..14,
            ),
            unlisted in prop::collection::vec(("[A-C]", "[1-4]-[1-3]"), 0..3),
            counted in prop::collection::vec("[1-4]-[1-3]", 0..2),
            contained in prop::collection::vec("[1-5]-[1-2]", 0..2),
        ) {
            let lines: Vec<String> = applied
                .iter()
                .enumerate()
                .filter(|(at, one)| !applied[..*at].iter().any(|other| (&other.0, &other.1) == (&one.0, &one.1)))
                .map(|(_, (package, patch, obsoletes, _))| {
                    let obsoletes = obsoletes.join(" ");
                    let obsoletes = if obsoletes.is_empty() { obsoletes } else { format!(" obsoletes {obsoletes}") };
                    format!("{package} {patch}{obsoletes}")
                })
                .collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let mut packages = root(&lines).packages;
            for (package, patch, _, requires) in &applied {
                let records = packages.iter_mut().find(|records| records.package.as_str() == package).unwrap();
                if let Some(PatchInfo::Installed(info)) = records.infos.get_mut(&id(patch)) {
                    info.requires = Requirements::parse(requires.as_deref().unwrap_or_default(), "-").unwrap();
                }
            }
            for (package, patch) in &unlisted {
                if let Some(records) = packages.iter_mut().find(|records| records.package.as_str() == package) {
                    records.list.remove(&id(patch));
                }
            }
            packages[0].obsoletes.count_up(&PatchList::parse(&counted.join(" "), "-").unwrap());
            let root = AppliedPatches::new(packages).with_ended(contained.iter().map(|one| id(one)), []);
            for patch in root.iter() {
                let mut after = root.clone();
                after.record_backed_out(&patch.id);
                let unmet = root.unmet_after(&after);
                prop_assert_eq!(root.is_needed(&patch.id), !unmet.is_empty());
                prop_assert_eq!(root.dependents_after_removal(&patch.id), unmet);
            }
        }

        #[test]
        fn what_is_applied_or_obsoleted_by_an_applied_patch_is_provided(
            lines in prop::collection::btree_map("[1-4]-[1-4]", prop::collection::vec("[1-5]-[1-5]", 1..4), 1..8),
        ) {
            let lines: Vec<String> =
                lines.iter().map(|(patch, list)| format!("P {patch} obsoletes {}", list.join(" "))).collect();
            let root = root(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            for patch in root.iter() {
                prop_assert_eq!(root.provides(&patch.id), Some(&patch.id));
                for obsoleted in &patch.obsoletes {
                    let by = root.provides(obsoleted);
                    prop_assert!(by.is_some_and(|by| root.get(by).is_some()), "{}", obsoleted);
                }
            }
            prop_assert!(root.provides(&id("5-6")).is_none());
        }
    }
}

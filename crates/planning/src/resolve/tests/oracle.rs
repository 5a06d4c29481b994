//! All sets and orders of a small world, tried one by one: the reachable results, independent of any
//! strategy.
//!
//! Written from the rules alone; neither the resolver nor its indexes are used.

use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchList, PatchStanding, Requirement};

use super::world::World;
use crate::resolve::Offer;
use patchadm_inputs::policy::Policy;

/// A set of offers, one bit for each.
pub(super) type Set = u8;

/// A world with the answers to all questions about pairs.
pub(super) struct Oracle<'w> {
    world: &'w World,
    /// Offers that may go in as far as the root, the request and the policy go.
    pub(super) open: Set,
    /// Offers with a package that is installed and that are not in force yet.
    pub(super) applicable: Set,
    pub(super) named: Set,
    /// For each offer those that contain it.
    containers: Vec<Set>,
    /// For each offer those that must not come after it because it is restricted.
    restricted: Vec<Set>,
    /// For each offer and each open requirement those that meet it.
    pub(super) needs: Vec<Vec<Set>>,
    /// For each offer those that it, or that, names.
    enemies: Vec<Set>,
    /// For each offer those that contain a patch which it names.
    contains_enemy: Vec<Set>,
    /// For each offer the applied patches that are enemies, each with those that end it.
    applied_enemies: Vec<Vec<Set>>,
    /// Which sets can be reached by applying one patch after another.
    pub(super) reachable: Vec<bool>,
}

impl<'w> Oracle<'w> {
    pub(super) fn of(world: &'w World) -> Self {
        let offers = &world.offers;
        let of_all = |question: &dyn Fn(&Offer, &Offer) -> bool| -> Vec<Set> {
            let row = |one: &Offer| set(offers, |other| other.id != one.id && question(one, other));
            offers.iter().map(row).collect()
        };
        let shares = |one: &Offer, other: &Offer| {
            let mut packages = one.packages.iter().filter(|package| package.pkg != "X");
            packages.any(|package| other.packages.contains(package))
        };
        let policy = &world.policy;
        let is_restricted = |offer: &Offer| policy.is_restricted(offer.id.base());
        let mut oracle = Self {
            world,
            open: set(offers, |offer| is_open(world, offer)),
            applicable: set(offers, |offer| is_applicable(world, offer)),
            named: set(offers, |offer| named(world, offer).is_some()),
            containers: of_all(&|one, other| contains(other, &one.id)),
            restricted: of_all(&|one, other| {
                !is_restricted(one) && is_restricted(other) && shares(one, other)
            }),
            needs: offers.iter().map(|offer| needs(world, offer)).collect(),
            enemies: of_all(&|one, other| {
                names(one, &other.id) || names(other, &one.id) || names_contained(other, one)
            }),
            contains_enemy: of_all(&|one, other| names_contained(one, other)),
            applied_enemies: offers.iter().map(|offer| applied_enemies(world, offer)).collect(),
            reachable: vec![false; 1 << offers.len()],
        };
        oracle.reachable[0] = true;
        for set in 1..oracle.reachable.len() {
            let set = u8::try_from(set).unwrap();
            let came_last = |at: &usize| {
                let before = set & !(1 << at);
                set & (1 << at) != 0 && oracle.reachable[before as usize] && oracle.may_come(*at, before)
            };
            oracle.reachable[set as usize] = (0..offers.len()).any(|at| came_last(&at));
        }
        oracle
    }

    /// Returns true if a patch can be applied when those `before` are.
    fn may_come(&self, at: usize, before: Set) -> bool {
        let is_effective = |other: usize| self.containers[other] & before == 0;
        let mut members = (0..self.world.offers.len()).filter(|other| before & (1 << other) != 0);
        self.open & (1 << at) != 0
            && self.containers[at] & before == 0
            && self.restricted[at] & before == 0
            && self.needs[at].iter().all(|providers| providers & before != 0)
            && self.contains_enemy[at] & before == 0
            && !members.any(|other| self.enemies[at] & (1 << other) != 0 && is_effective(other))
            && self.applied_enemies[at].iter().all(|enders| enders & before != 0)
    }

    /// Returns true if `added` is what `root` needs, and what that needs: each meets a requirement of another
    /// one of them, or ends what one of them cannot be together with. `all` are the patches of the set.
    pub(super) fn is_grounded(&self, root: usize, added: Set, all: Set) -> bool {
        let mut reached: Set = 1 << root;
        loop {
            let mut next = reached;
            for at in (0..self.world.offers.len()).filter(|at| reached & (1 << at) != 0) {
                for providers in self.needs[at].iter().chain(&self.applied_enemies[at]) {
                    next |= providers & added;
                }
                for other in (0..self.world.offers.len()).filter(|other| all & (1 << other) != 0) {
                    let are_enemies = (self.enemies[at] | self.contains_enemy[at]) & (1 << other) != 0;
                    if are_enemies {
                        next |= (self.containers[other] | self.containers[at]) & added;
                    }
                }
            }
            if next == reached {
                return reached & added == added;
            }
            reached = next;
        }
    }

    /// Returns the named patches that are not contained in another named one that may go in, directly or
    /// through others; of a circle the first.
    pub(super) fn displaced(&self) -> Set {
        let offers = &self.world.offers;
        let above = |at: usize| -> Set {
            let mut reached = self.containers[at] & self.named;
            loop {
                let more = (0..offers.len())
                    .filter(|other| reached & (1 << other) != 0)
                    .fold(reached, |all, other| all | self.containers[other] & self.named);
                if more == reached {
                    return reached & !(1 << at);
                }
                reached = more;
            }
        };
        let is_displaced = |at: usize| {
            (0..offers.len()).any(|other| {
                let stays = offers[at].id < offers[other].id && above(other) & (1 << at) != 0;
                above(at) & self.open & (1 << other) != 0 && !stays
            })
        };
        (0..offers.len()).filter(|at| is_displaced(*at)).fold(0, |all, at| all | 1 << at)
    }
}

fn set(offers: &[Offer], is_in: impl Fn(&Offer) -> bool) -> Set {
    offers.iter().enumerate().filter(|(_, offer)| is_in(offer)).fold(0, |set, (at, _)| set | 1 << at)
}

fn contains(one: &Offer, id: &PatchId) -> bool {
    one.id.is_later_than(id) || one.obsoletes.iter().any(|entry| entry.contains(id))
}

fn provides(one: &Offer, id: &PatchId) -> bool {
    one.id == *id || contains(one, id)
}

fn names(one: &Offer, id: &PatchId) -> bool {
    one.incompatibles.iter().any(|word| excludes(word, id))
}

fn names_contained(one: &Offer, other: &Offer) -> bool {
    said_of_others(&other.id, &other.obsoletes).any(|entry| names(one, entry))
}

/// Returns the patches that a patch says it contains, except itself and its own earlier revisions, which say
/// nothing new.
fn said_of_others<'a>(own: &'a PatchId, obsoletes: &'a PatchList) -> impl Iterator<Item = &'a PatchId> {
    obsoletes.iter().filter(move |entry| !(entry.base() == own.base() && *entry <= own))
}

fn excludes(word: &PatchId, id: &PatchId) -> bool {
    word == id || word.same_base(id) && word.revision().bytes().all(|digit| digit == b'0')
}

fn is_installed(offer: &Offer) -> bool {
    offer.packages.iter().any(|package| package.pkg != "X")
}

/// Returns true if it was named with its revision, false if without, and `None` if it was not named.
fn named(world: &World, offer: &Offer) -> Option<bool> {
    let is_excluded = |offer: &Offer| is_excluded(world, offer);
    let is_current = || {
        let all = || world.offers.iter().filter(|other| other.id.same_base(&offer.id));
        let free = || all().filter(|other| !other.is_withdrawn && !is_excluded(other));
        let rest = || all().filter(|other| world.request.named.is_some() || !is_excluded(other));
        let highest = free().map(|other| &other.id).max().or_else(|| rest().map(|other| &other.id).max());
        highest == Some(&offer.id)
    };
    match &world.request.named {
        None => is_current().then_some(false),
        Some(words) if words.iter().any(|word| PatchId::new(word).is_ok_and(|id| id == offer.id)) => {
            Some(true)
        }
        Some(words) => (words.iter().any(|word| word == offer.id.base()) && is_current()).then_some(false),
    }
}

fn is_excluded(world: &World, offer: &Offer) -> bool {
    world.request.exclude.iter().any(|word| PatchId::new(word).is_ok_and(|id| id == offer.id))
}

fn packages(offer: &Offer) -> Vec<patchadm_svr4::package::PkgInst> {
    let here = offer.packages.iter().filter(|package| package.pkg != "X");
    here.map(|package| patchadm_svr4::package::PkgInst::new(&package.pkg).unwrap()).collect()
}

fn is_applicable(world: &World, offer: &Offer) -> bool {
    let standing = world.applied.standing(&offer.id, &packages(offer));
    is_installed(offer) && matches!(standing, PatchStanding::New | PatchStanding::PartlyApplied(_))
}

fn is_open(world: &World, offer: &Offer) -> bool {
    let named = named(world, offer);
    let policy: &Policy = &world.policy;
    let is_restricted = |id: &PatchId| policy.is_restricted(id.base());
    is_applicable(world, offer)
        && !is_excluded(world, offer)
        && (!offer.is_withdrawn || world.request.withdrawn && named == Some(true))
        && (named.is_some() || !is_restricted(&offer.id))
        && world.applied.restricted(&offer.id, &packages(offer), is_restricted).is_none()
        && !applied_contains_enemy(world, offer)
}

/// Returns true if an applied patch obsoletes one that the offer names.
fn applied_contains_enemy(world: &World, offer: &Offer) -> bool {
    let mut others = world.applied.iter().filter(|applied| applied.id != offer.id);
    others.any(|applied| said_of_others(&applied.id, &applied.obsoletes).any(|entry| names(offer, entry)))
}

fn needs(world: &World, offer: &Offer) -> Vec<Set> {
    let is_met = |requirement: &Requirement| {
        let mut ids = requirement.ids().iter();
        world.applied.satisfies(requirement).is_some()
            || ids.any(|id| provides(offer, id) || is_void(world, id))
    };
    let open = offer.requires.iter().filter(|requirement| !is_met(requirement));
    let providers = |requirement: &Requirement| {
        set(&world.offers, |other| requirement.ids().iter().any(|id| provides(other, id)))
    };
    open.map(providers).collect()
}

/// Returns true if a patch is offered, and no fitting revision is for this root.
fn is_void(world: &World, id: &PatchId) -> bool {
    let fitting: Vec<&Offer> = world.offers.iter().filter(|offer| offer.id.contains(id)).collect();
    !fitting.is_empty() && fitting.iter().all(|offer| !is_installed(offer))
}

fn applied_enemies(world: &World, offer: &Offer) -> Vec<Set> {
    let applied: &AppliedPatches = &world.applied;
    let is_enemy = |patch: &&patchadm_svr4::patch::AppliedPatch| {
        let mut contained = std::iter::once(&offer.id).chain(said_of_others(&offer.id, &offer.obsoletes));
        let says = contained.any(|id| patch.incompatibles.iter().any(|word| excludes(word, id)));
        patch.id != offer.id && (says || names(offer, &patch.id))
    };
    let enemies = applied.effective().filter(is_enemy);
    enemies
        .map(|enemy| {
            set(&world.offers, |other| {
                other.id != offer.id && other.id != enemy.id && contains(other, &enemy.id)
            })
        })
        .collect()
}

//! Random worlds of up to eight patches: each answer obeys every rule, takes no patch needlessly, and refuses
//! no patch that could go in.

use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchStanding};

use super::oracle::{Oracle, Set};
use super::world::{Random, World, record};
use crate::plan::refusal::{Reason, SetReason};
use crate::resolve::{Offer, Resolution, SetOutcome};

const SAMPLE: u64 = 2_000;
const WHOLE: u64 = 1_000_000;

#[test]
fn every_answer_is_one_that_a_search_through_all_sets_and_orders_finds() {
    let is_whole = std::env::var_os("PATCHADM_TESTS").is_some_and(|value| value == "whole");
    let (mut planned, mut refused, mut pulled) = (0, 0, 0);
    for seed in 0..if is_whole { WHOLE } else { SAMPLE } {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let world = random.world();
        let resolution = world.resolve();
        let shown = || format!("world {seed}: {}\n{:#?}", shown(&world), world.lines());
        let is_named = |place: usize| resolution.verdicts.iter().any(|one| one.offer == Some(place));
        let oracle = Oracle::of(&world);
        for place in members(oracle.named) {
            assert!(is_named(place), "{}: no verdict on {}", shown(), world.offers[place].id);
        }
        obeys_all_rules(&world, &resolution, &shown);
        takes_nothing_without_need(&oracle, &resolution, &shown);
        refuses_nothing_without_reason(&world, &oracle, &resolution, &shown);
        does_not_depend_on_the_order(&world, &mut random, &shown);
        planned += resolution.planned().count();
        pulled += resolution.planned().filter(|verdict| !verdict.is_named).count();
        refused += resolution.verdicts.len() - resolution.planned().count();
    }
    assert!(
        planned > 500 && refused > 500 && pulled > 50,
        "{planned} planned, {refused} not, {pulled} pulled in"
    );
}

fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..8).filter(move |place| set & (1 << place) != 0)
}

fn taken(resolution: &Resolution) -> Set {
    resolution.planned().filter_map(|verdict| verdict.offer).fold(0, |set, place| set | 1 << place)
}

/// Applies the patches of the answer one by one, and checks each against the rules for planning a single
/// patch.
fn obeys_all_rules(world: &World, resolution: &Resolution, shown: &dyn Fn() -> String) {
    let mut packages = world.applied.packages().to_vec();
    for verdict in resolution.planned() {
        let offer = &world.offers[verdict.offer.unwrap()];
        let now = AppliedPatches::new(packages.clone());
        let own: Vec<_> = packages
            .iter()
            .map(|records| records.package.clone())
            .filter(|package| offer.packages.iter().any(|one| one.pkg == package.as_str()))
            .collect();
        assert!(!own.is_empty(), "{}: {} is not applicable", shown(), offer.id);
        let standing = now.standing(&offer.id, &own);
        let is_new = matches!(standing, PatchStanding::New | PatchStanding::PartlyApplied(_));
        assert!(is_new, "{}: {}: {standing:?}", shown(), offer.id);
        let is_restricted = |id: &PatchId| world.policy.is_restricted(id.base());
        assert_eq!(now.restricted(&offer.id, &own, is_restricted), None, "{}: {}", shown(), offer.id);
        let conflict = now.incompatible_with(&offer.id, &offer.obsoletes, &offer.incompatibles);
        assert_eq!(conflict, None, "{}: {}", shown(), offer.id);
        for requirement in &offer.requires {
            let mut ids = requirement.ids().iter();
            let itself = |id: &PatchId| {
                offer.id.contains(id) || offer.obsoletes.iter().any(|contained| contained.contains(id))
            };
            let not_here = |id: &PatchId| {
                let is_here = |other: &Offer| other.packages.iter().any(|package| package.pkg != "X");
                world.offers.iter().any(|other| other.id.contains(id) && !is_here(other))
            };
            let is_met = now.satisfies(requirement).is_some() || ids.any(|id| itself(id) || not_here(id));
            assert!(is_met, "{}: {} needs {requirement}", shown(), offer.id);
        }
        record(&mut packages, offer);
    }
}

fn takes_nothing_without_need(oracle: &Oracle<'_>, resolution: &Resolution, shown: &dyn Fn() -> String) {
    let taken = taken(resolution);
    assert!(oracle.reachable[taken as usize], "{}: no order", shown());
    for verdict in resolution.planned().filter(|verdict| !verdict.is_named) {
        let place = verdict.offer.unwrap();
        let without = taken & !(1 << place);
        assert!(!oracle.reachable[without as usize], "{}: {} is not needed", shown(), verdict.id);
        assert!(!verdict.because.is_empty(), "{}: {} is pulled in for nobody", shown(), verdict.id);
    }
}

fn refuses_nothing_without_reason(
    world: &World,
    oracle: &Oracle<'_>,
    resolution: &Resolution,
    shown: &dyn Fn() -> String,
) {
    let taken = taken(resolution);
    let mut is_refused = false;
    let sets = || (0..=Set::MAX).take(oracle.reachable.len()).filter(|set| oracle.reachable[*set as usize]);
    for verdict in &resolution.verdicts {
        let Some(place) = verdict.offer else { continue };
        match &verdict.outcome {
            SetOutcome::Planned => {}
            SetOutcome::LeftOut(Reason::InSet(SetReason::LaterInSet(by) | SetReason::ContainedInSet(by))) => {
                let by = world.offers.iter().position(|offer| offer.id == *by).unwrap();
                assert!(taken & (1 << by) != 0, "{}: {} gives way to nothing", shown(), verdict.id);
            }
            SetOutcome::LeftOut(_) if oracle.applicable & (1 << place) == 0 => {}
            SetOutcome::LeftOut(reason) => {
                assert_ne!(*reason, Reason::InSet(SetReason::TooManyRequirements), "{}", shown());
                is_refused = true;
                if world.request.all_or_nothing {
                    continue;
                }
                let with = taken | 1 << place;
                let fitting =
                    sets().find(|set| set & with == with && oracle.is_grounded(place, set & !taken, *set));
                assert_eq!(fitting, None, "{}: {} could go in", shown(), verdict.id);
            }
            SetOutcome::NotTried(_) => is_refused = true,
        }
    }
    if world.request.all_or_nothing && is_refused {
        let all = oracle.named & oracle.applicable & !oracle.displaced();
        let fitting = sets().find(|set| set & all == all);
        assert_eq!(fitting, None, "{}: all could go in", shown());
        assert_eq!(taken, 0, "{}: all or nothing", shown());
    }
}

fn does_not_depend_on_the_order(world: &World, random: &mut Random, shown: &dyn Fn() -> String) {
    let mut other = world.clone();
    other.offers = random.shuffled(&world.offers);
    other.request.named = world.request.named.as_ref().map(|words| random.shuffled(words));
    assert_eq!(world.lines(), other.lines(), "{}", shown());
}

fn shown(world: &World) -> String {
    let lines = |offers: Vec<String>| offers.join("\n  ");
    let offered = world.offers.iter().map(|offer| offer.content.clone()).collect();
    let applied = world.applied.iter().map(|patch| format!("{patch:?}")).collect();
    format!("{:?}\n  {}\napplied:\n  {}", world.request, lines(offered), lines(applied))
}

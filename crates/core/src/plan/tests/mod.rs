//! Stories about planners: small roots, small patches, and what the plan makes of them. A plan is carried out on the
//! inventory itself ([`world`]), so that one step of a story stands on the one before.

mod apply;
mod back_out;
mod course;
mod install;
mod installf;
mod linked;
mod links;
mod middle_refusals;
mod parameters;
mod parcel;
mod random;
mod redone;
mod removal;
mod rules;
mod scripts;
mod snapshot;
mod together;
mod update;
mod world;
mod world_links;
mod world_records;

use parcel::{Parcel, patch};
use world::World;

use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The stories that a suite plays of so many: a sample, in the whole suite (`PATCHADM_TESTS=whole`) all, and whatever
/// `PATCHADM_STORIES=FROM-TO` says.
fn stories_of((sample, all): (u32, u32)) -> std::ops::Range<u32> {
    let is_whole = std::env::var_os("PATCHADM_TESTS").is_some_and(|value| value == "whole");
    let said = std::env::var("PATCHADM_STORIES").ok();
    let said = said.as_deref().and_then(|text| text.split_once('-'));
    match said.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?))) {
        Some((from, to)) => from..to,
        None => 0..if is_whole { all } else { sample },
    }
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text.as_bytes()).unwrap()
}

fn package(name: &str) -> PkgInst {
    PkgInst::new(name).unwrap()
}

fn id(text: &str) -> PatchId {
    PatchId::new(text).unwrap()
}

//! Stories about planners: small roots, small patches, and what the plan makes of them. A plan is carried out
//! on the inventory itself ([`world`]), so that one step of a story stands on the one before.

mod apply;
mod back_out;
mod course;
mod ended;
mod install;
mod installf;
mod linked;
mod links;
mod local_attributes;
mod middle_refusals;
mod parameters;
mod parcel;
mod random;
mod random_stories;
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
use random_stories::{figures, play_stories};
use world::World;

use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text.as_bytes()).unwrap()
}

fn package(name: &str) -> PkgInst {
    PkgInst::new(name).unwrap()
}

fn id(text: &str) -> PatchId {
    PatchId::new(text).unwrap()
}

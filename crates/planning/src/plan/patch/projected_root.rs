//! The root as the patches of a run leave it: what the next patch of the same run is planned against.
//!
//! Nothing is done yet, so what is there is computed: from the survey, made once for all patches, and from the plans.
//! Only what a plan touches is written anew. What cannot be computed exactly, or where a survey of the next patch alone
//! would see other things, ends the run before that patch (`obstacles`): it is then
//! surveyed and planned after the commit, as a run of its own would be.

mod objects;
mod obstacles;
mod records;

pub(in crate::plan) use objects::has_same_bytes;

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_rootfs::{Digest, Live, Timestamp};
use patchadm_svr4::package::ObjectPath;

use crate::plan::Plan;

/// What a patch leaves of objects that it delivers, by path.
pub type MadeObjects = BTreeMap<ObjectPath, Live>;

/// The root after some patches of a run.
#[derive(Debug)]
pub struct ProjectedRoot {
    /// What the next patch is planned against.
    pub inventory: Inventory,
    /// What was surveyed.
    surveyed: Touched,
    /// When the run is.
    when: Timestamp,
    /// How many patches there are so far.
    patches: usize,
    /// Objects that were made so far, by an inode number that no object has.
    numbered: u64,
    /// Paths whose objects the run has changed.
    changed: BTreeSet<ObjectPath>,
    /// Paths that the run has put something at.
    made: BTreeSet<ObjectPath>,
    /// Paths of which it is not known exactly what is there.
    uncertain: BTreeSet<ObjectPath>,
    /// Paths that manifests name and whose objects stay.
    mentioned: BTreeSet<ObjectPath>,
    /// Directories that go, come, or become something else: at or below them nothing more can be said.
    closed: BTreeSet<ObjectPath>,
    /// Symbolic links that come, go, or turn: below them nothing more can be said.
    turned: BTreeSet<ObjectPath>,
    /// Where the changed paths are on the disk.
    places: BTreeMap<ObjectPath, ObjectPath>,
    /// Whether directories or symbolic links were made or removed, so that paths may lead elsewhere.
    reshaped: bool,
    /// Whether accounts may be others by then.
    accounts: bool,
    /// What the run needs on each file system, in bytes and objects.
    needs: BTreeMap<String, (u64, u64)>,
}

impl ProjectedRoot {
    /// The root before the first patch: `inventory` is the survey of `surveyed`, `when` the time of the run.
    pub fn new(mut inventory: Inventory, surveyed: Touched, when: Timestamp) -> Self {
        inventory.find_names();
        Self {
            inventory,
            surveyed,
            when,
            patches: 0,
            numbered: 0,
            changed: BTreeSet::new(),
            made: BTreeSet::new(),
            uncertain: BTreeSet::new(),
            mentioned: BTreeSet::new(),
            closed: BTreeSet::new(),
            turned: BTreeSet::new(),
            places: BTreeMap::new(),
            reshaped: false,
            accounts: false,
            needs: BTreeMap::new(),
        }
    }

    /// Goes on to the root after a patch; what it has made. `digests` are those of delivered files that later patches
    /// touch.
    pub fn go_on(&mut self, plan: &Plan, digests: &BTreeMap<ObjectPath, Digest>) -> MadeObjects {
        self.patches += 1;
        let needs = self.needs_with(plan);
        self.needs.extend(needs.into_iter().map(|need| (need.file_system, (need.bytes, need.inodes))));
        self.close(plan);
        let made = self.objects(plan, digests);
        for (path, line) in &plan.contents {
            match line {
                Some(line) => drop(self.inventory.lines.insert(path.clone(), (**line).clone())),
                None => drop(self.inventory.lines.remove(path)),
            }
            self.inventory.name_changed(path);
        }
        self.manifests(plan);
        for record in &plan.records {
            self.record(record);
        }
        made
    }

    /// What the undo archives of the patch will say to those who read them before the next one.
    fn manifests(&mut self, plan: &Plan) {
        let patch = plan.patches.first().cloned().unwrap_or_default();
        for record in plan.undo.iter().flat_map(|undo| &undo.manifest.objects) {
            let Some(path) = record.object_path() else { continue };
            if !self.changed.contains(&path) {
                self.mentioned.insert(path.clone());
            }
            if record.is_listed() && self.inventory.physical.contains_key(&path) {
                let patches = self.inventory.patched_by.entry(path).or_default();
                if !patches.contains(&patch) {
                    patches.push(patch.clone());
                }
            }
        }
    }
}

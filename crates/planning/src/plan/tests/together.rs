//! Several patches as one run: each is planned against the result of the one before, and they are carried out
//! at once. They leave the root, the records and the undo archives of single runs.

use proptest::prelude::*;

use super::random::{all, parcel_of};
use super::world::{World, applied, now};
use super::*;
use crate::plan::concern::touched_by_patch;
use crate::plan::patch::apply::apply;
use crate::plan::patch::combine::{Single, combine_plans};
use crate::plan::patch::projected_root::{MadeObjects, ProjectedRoot};
use crate::plan::{Action, Body, Plan, RecordChange};
use patchadm_inputs::inventory::Touched;
use patchadm_rootfs::{Digest, LiveKind, never};
use patchadm_svr4::format::params;

/// A run in the making, beside the world that single runs make.
struct Both {
    ahead: ProjectedRoot,
    begin: World,
    single: World,
    taken: Vec<(Plan, MadeObjects, Parcel)>,
}

impl Both {
    fn of(world: World, patches: &[&Parcel]) -> Self {
        let mut surveyed = Touched::default();
        for parcel in patches {
            let touched = touched_by_patch(&parcel.image, "x", &world.inventory.packages);
            surveyed.paths.extend(touched.paths);
            surveyed.not_directories.extend(touched.not_directories);
            surveyed.packages.extend(touched.packages);
        }
        let mut surveyed_world = world.clone();
        surveyed_world.remember();
        let mut inventory = surveyed_world.inventory;
        inventory.physical.extend(surveyed.paths.iter().map(|path| (path.clone(), path.clone())));
        let ahead = ProjectedRoot::new(inventory, surveyed, now().timestamp());
        Self { ahead, begin: world.clone(), single: world, taken: Vec::new() }
    }

    /// Returns one that has taken all patches.
    fn taken(world: World, patches: &[&Parcel]) -> Self {
        let mut both = Self::of(world, patches);
        for parcel in patches {
            assert!(both.take(parcel));
        }
        both
    }

    /// Plans a patch both ways. Returns true if it can be part of the run. Both ways must refuse the same patches.
    fn take(&mut self, parcel: &Parcel) -> bool {
        let mut touched = touched_by_patch(&parcel.image, "x", &self.ahead.inventory.packages);
        touched.paths.remove(&path("/var/sadm/patch/x"));
        if self.ahead.ends_before(&touched) {
            return false;
        }
        let single = self.single.plan(parcel);
        let world = &self.single;
        self.ahead.inventory.identical.clone_from(&world.inventory.identical);
        let inventory = &self.ahead.inventory;
        let records = applied(inventory);
        let planned = apply(
            &parcel.image,
            inventory,
            records.as_ref().map_err(Clone::clone),
            &world.policy,
            &world.options,
            &now(),
            &never,
        );
        let (single, plan) = match (single, planned) {
            (Err(one), Err(other)) => {
                assert_eq!(one.why(), other.why());
                return true;
            }
            (Ok(one), Ok(other)) => (one, other.plan),
            (one, other) => panic!("{:?} and {:?}", one.err(), other.err()),
        };
        if self.ahead.ends_with(&touched, &plan) {
            return false;
        }
        assert_same(&archives_of(&single), &archives_of(&plan));
        assert_same(&single.records, &plan.records);
        assert_eq!(single.contents, plan.contents);
        assert_eq!(single.notes, plan.notes);
        let digests = digests(&plan, parcel);
        let made = self.ahead.go_on(&plan, &digests);
        self.single.carry_out(&single, parcel);
        self.taken.push((plan, made, parcel.clone()));
        true
    }

    /// Returns one plan with the effects of all of them, each of one package.
    fn plan(&self) -> Plan {
        let taken = self.taken.iter().enumerate();
        let singles = taken.map(|(packages, (plan, made, _))| Single { plan, made, packages });
        combine_plans(&singles.collect::<Vec<_>>()).unwrap()
    }

    /// Does everything at once, and compares.
    fn compare(mut self) {
        let mut delivered = Parcel::empty("all");
        let mut singles = Vec::new();
        for (plan, made, parcel) in &self.taken {
            let packages = delivered.image.packages.len();
            let bytes = parcel.bytes.iter();
            delivered
                .bytes
                .extend(bytes.map(|((index, at), bytes)| ((index + packages, at.clone()), bytes.clone())));
            delivered.image.packages.extend(parcel.image.packages.iter().cloned());
            singles.push(Single { plan, made, packages });
        }
        let Some(plan) = combine_plans(&singles) else { return };
        assert!(plan.changes.windows(2).all(|two| two[0].path < two[1].path));
        self.begin.carry_out(&plan, &delivered);
        assert_eq!(self.begin.tree(), self.single.tree());
        assert_eq!(self.begin.contents(), self.single.contents());
        assert_same(&records_of(&self.begin), &records_of(&self.single));
        let archives = |world: &World| {
            let stored = world.archives.iter();
            stored
                .map(|(name, one)| format!("{name:?} {:#?}", (&one.manifest, &one.records, &one.bytes)))
                .collect::<Vec<_>>()
        };
        assert_same(&archives(&self.begin), &archives(&self.single));
    }
}

/// Returns the undo archives of a plan, without the order in which a table has the names of parameters.
fn archives_of(plan: &Plan) -> Vec<String> {
    let archive = |undo: &crate::plan::UndoArchive| {
        let parameters = String::from_utf8_lossy(&params::write(&undo.pkginfo)).into_owned();
        let rest = (&undo.saved, &undo.deletes, &undo.records, &undo.manifest, &undo.scripts);
        format!("{} {parameters} {rest:#?}", undo.patch)
    };
    plan.undo.iter().map(archive).collect()
}

/// Returns the records of all packages.
fn records_of(world: &World) -> Vec<String> {
    let packages = world.inventory.packages.iter();
    let record = packages.map(|(name, installed)| {
        let parameters = String::from_utf8_lossy(&params::write(&installed.params)).into_owned();
        format!("{name} {parameters} {:#?}", (&installed.saves, &installed.records, &installed.directories))
    });
    record.collect()
}

/// Compares the debug output of two values line by line, and shows the first difference.
#[track_caller]
fn assert_same<T: std::fmt::Debug>(one: &T, other: &T) {
    let [one, other] = [one, other].map(|value| format!("{value:#?}").replace("\\n", "\n"));
    let lines = one.lines().zip(other.lines()).enumerate();
    let first = lines.filter(|(_, (one, other))| one != other).map(|(line, _)| line).next();
    if one != other {
        let around = |text: &str| -> Vec<String> {
            let from = first.unwrap_or_default().saturating_sub(12);
            text.lines().skip(from).take(16).map(|line| line.trim().to_owned()).collect()
        };
        assert_eq!(around(&one), around(&other));
        panic!("one is longer");
    }
}

fn digests(plan: &Plan, parcel: &Parcel) -> std::collections::BTreeMap<ObjectPath, Digest> {
    let digest = |change: &crate::plan::Change| match &change.action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Member(member) => {
                let bytes = &parcel.bytes[&(member.package, member.path.clone())];
                let LiveKind::Regular { b3, .. } = world::regular(bytes) else { return None };
                Some((change.path.clone(), b3))
            }
            _ => None,
        },
        _ => None,
    };
    plan.changes.iter().map(Box::as_ref).filter_map(digest).collect()
}

/// Runs all patches as one run, and returns how many were taken or refused before one ended it.
fn run(world: World, patches: &[&Parcel]) -> usize {
    let mut both = Both::of(world, patches);
    let taken = patches.iter().take_while(|parcel| both.take(parcel)).count();
    both.compare();
    taken
}

fn base() -> World {
    World::new()
        .with(&patch("base", "").file("bin/httpd", "one").file("bin/tool", "tool").symlink("now", "a"))
}

#[test]
fn a_file_that_three_patches_replace_is_switched_once_and_saved_three_times() {
    let patches =
        ["900-01", "900-02", "900-03"].map(|id| patch(id, "").file("bin/httpd", &format!("httpd of {id}")));
    assert_eq!(run(base(), &patches.each_ref()), 3);
    let both = Both::taken(base(), &patches.each_ref());
    let plan = both.plan();
    assert_eq!((plan.changes.len(), plan.undo.len(), plan.versions.len()), (1, 3, 2));
    assert!(plan.undo[0].passing.is_empty());
    let saved = plan.undo[2].passing.values().copied().collect::<Vec<_>>();
    assert_eq!(saved, [Some(1)]);
}

#[test]
fn what_comes_and_goes_leaves_nothing_and_what_goes_and_comes_is_replaced() {
    let patches = [
        patch("900-01", "").file("new", "new").deletes("bin/tool"),
        patch("901-01", "").deletes("new").file("bin/tool", "again"),
    ];
    let both = Both::taken(base(), &patches.each_ref());
    let plan = both.plan();
    let [change] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    assert_eq!(change.path, path("/opt/web/bin/tool"));
    assert!(matches!(change.action, Action::Replace(_)));
    both.compare();
}

#[test]
fn an_archive_that_the_same_run_makes_obsolete_gets_its_last_name_at_once() {
    let patches = [
        patch("900-01", "").file("bin/httpd", "two"),
        patch("901-01", "SUNW_OBSOLETES=900-01").file("bin/httpd", "three"),
    ];
    let both = Both::taken(base(), &patches.each_ref());
    let plan = both.plan();
    let names: Vec<String> = plan
        .records
        .iter()
        .filter_map(|record| match record {
            RecordChange::AddTree { path, files } => {
                let names = files.iter().map(|file| String::from_utf8_lossy(&file.name).into_owned());
                Some(format!("{path}: {}", names.collect::<Vec<_>>().join(" ")))
            }
            RecordChange::Move { .. } => panic!("{record:?}"),
            _ => None,
        })
        .collect();
    assert!(
        names.contains(&"/var/sadm/pkg/ACMEweb/save/900-01: obsolete.gz obsoleted_by".to_owned()),
        "{names:?}"
    );
    assert!(names.contains(&"/var/sadm/pkg/ACMEweb/save/901-01: undo.gz".to_owned()), "{names:?}");
    both.compare();
}

#[test]
fn a_name_of_a_file_that_the_run_has_linked_and_what_is_below_a_new_link_end_it() {
    let linked = patch("900-01", "").link("bin/other", "/opt/web/bin/httpd");
    let after = patch("901-01", "").file("bin/httpd", "two");
    assert_eq!(run(base(), &[&linked, &after]), 1);
    let link = patch("900-01", "").symlink("lib", "bin");
    let below = patch("901-01", "").file("lib/x", "x");
    assert_eq!(run(base(), &[&link, &below]), 1);
    let accounts = patch("900-01", "").file("/etc/passwd", "root:x:0:0:::\n");
    assert_eq!(run(base(), &[&accounts, &after]), 1);
}

#[test]
fn a_directory_that_a_patch_changes_and_a_later_one_deletes_ends_the_run() {
    let base = World::new().with(&patch("base", "").file("d/sub/z", "z"));
    let changed = patch("900-01", "").object("d", "d 0755 root bin", None, None).deletes("d/sub");
    let deleted = patch("901-01", "").deletes("d").deletes("d/sub").deletes("d/sub/z");
    assert_eq!(run(base, &[&changed, &deleted]), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_patches_together_are_what_they_are_one_by_one(
        base in all(),
        patches in prop::collection::vec((all(), 0u8..4), 2..6),
    ) {
        let base = parcel_of("base", "", &base);
        let Some(world) = World::new().if_installed(&base) else { return Ok(()) };
        let patches: Vec<Parcel> = patches
            .iter()
            .enumerate()
            .map(|(place, (said, kind))| {
                let id = if *kind == 0 { format!("900-0{}", place + 1) } else { format!("{}00-01", place + 1) };
                let obsoletes = if *kind == 1 { "SUNW_OBSOLETES=100-01" } else { "" };
                parcel_of(&id, &format!("SUNW_PATCHID={id} {obsoletes}"), said)
            })
            .collect();
        run(world, &patches.iter().collect::<Vec<_>>());
    }
}

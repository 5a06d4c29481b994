//! The object part of the journal is in a separate file: for the owner, bound by the header, gone with the next run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::ground::Ground;
use super::table::Stopped;
use super::world::{RUN, World};
use crate::format::journal::{JournalError, RunOutcome, SECTOR, checked_line, parse_head};
use crate::transaction::Recovered;
use crate::transaction::TransactionError;
use crate::transaction::error::Cause;
use crate::transaction::recover;
use crate::transaction::recover::recovery::next_run;
use patchadm_rootfs::{Door, Lock};

const OWN: &str = "var/sadm/patchadm";

fn ops(run: &str) -> String {
    format!("{OWN}/ops-{run}")
}

fn recovered(world: &World) -> Result<Recovered, TransactionError> {
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", super::world::in_a_moment).unwrap();
    recover(&root, &lock)
}

/// Returns the names of our own files that begin with `ops-`.
fn all_ops(world: &World) -> Vec<String> {
    let names = fs::read_dir(world.path(OWN)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("ops-"));
    names
}

#[test]
fn only_the_owner_may_read_what_a_run_did_to_objects() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let mode = |path: &str| fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&format!("{OWN}/journal")), mode(&ops(RUN))), (0o644, 0o600));
    let journal = fs::read_to_string(world.path(&format!("{OWN}/journal"))).unwrap();
    for private in ["/opt/web", "successfully installed", "undo.gz"] {
        assert!(!journal.contains(private), "{private}");
    }
    assert!(journal.contains("/var/sadm/pkg/ACMEweb/pkginfo"));
    assert!(fs::read_to_string(world.path(&ops(RUN))).unwrap().contains("/opt/web/bin/httpd"));
}

#[test]
fn the_file_with_the_ops_goes_when_the_next_run_has_published() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    assert_eq!(all_ops(&world), [format!("ops-{RUN}")]);
    fs::write(world.path(&ops("7-00000000000000aa")), "of a run that was never published").unwrap();
    world.recover();
    assert_eq!(all_ops(&world), [format!("ops-{RUN}")]);

    // The first attempt is a run of its own there.
    let world = World::new();
    let receipt = world.run_plan(&Ground::Apart.plan(&world), Ground::Apart.open_door(), &|| None).unwrap();
    assert_eq!(receipt.run, "2-00000000000000aa");
    assert_eq!(all_ops(&world), ["ops-2-00000000000000aa"]);
}

#[test]
fn a_run_of_which_the_ops_are_lost_is_damage_while_it_has_no_outcome() {
    type Damage = fn(&World);
    let damages: [Damage; 3] = [
        |world| fs::remove_file(world.path(&ops(RUN))).unwrap(),
        |world| fs::write(world.path(&ops(RUN)), "").unwrap(),
        |world| {
            let mut bytes = fs::read(world.path(&ops(RUN))).unwrap();
            bytes[100] ^= 1;
            fs::write(world.path(&ops(RUN)), bytes).unwrap();
        },
    ];
    for damage in damages {
        let stopped = Stopped::new();
        damage(&stopped.world);
        let before = stopped.world.picture();
        let error = recovered(&stopped.world).unwrap_err();
        assert!(matches!(error.cause, Cause::Journal { reason: JournalError::Ops(_), .. }), "{error}");
        assert_eq!(stopped.world.picture(), before);

        // With an outcome, the run is finished as far as possible without them.
        stopped.world.recover_without_ops(RunOutcome::RolledBack);
    }
}

impl World {
    fn recover_without_ops(&self, outcome: RunOutcome) {
        let place = self.path(&format!("{OWN}/journal"));
        let mut bytes = fs::read(&place).unwrap();
        let (sector, offset) = crate::format::journal::outcome_sector(outcome);
        let offset = usize::try_from(offset).unwrap();
        bytes[offset..offset + SECTOR].copy_from_slice(&sector);
        fs::write(&place, bytes).unwrap();
        let Ok(Recovered::RolledBack { notes, .. }) = recovered(self) else { panic!("not finished") };
        assert!(notes.iter().any(|note| note.contains("is lost or damaged")), "{notes:?}");
        assert_eq!(fs::read_dir(self.path(&format!("{OWN}/stage"))).unwrap().count(), 0);
        assert_eq!(recovered(self).unwrap(), Recovered::Nothing);
    }
}

#[test]
fn an_unfinished_run_of_an_earlier_version_is_told_and_nothing_is_touched() {
    for outcome in [None, Some(RunOutcome::RolledBack), Some(RunOutcome::Commit)] {
        let stopped = Stopped::new();
        as_version_3(&stopped.world, outcome, false);
        let before = stopped.world.picture();
        let error = recovered(&stopped.world).unwrap_err();
        assert!(matches!(error.cause, Cause::Journal { reason: JournalError::Earlier(3), .. }), "{error}");
        assert_eq!(stopped.world.picture(), before);
    }
}

#[test]
fn a_run_of_an_earlier_version_that_is_tidied_up_is_followed_by_the_next() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let (_, marker) = next_run(&world.root(Door::default()), 0xaa).unwrap();
    as_version_3(&world, Some(RunOutcome::Commit), true);
    assert_eq!(recovered(&world).unwrap(), Recovered::Nothing);
    let (next, the_same) = next_run(&world.root(Door::default()), 0xaa).unwrap();
    assert_eq!((next.to_string().as_str(), the_same), ("2-00000000000000aa", marker));
}

/// Writes the header of the journal as in version 3, and the outcome of its run.
fn as_version_3(world: &World, outcome: Option<RunOutcome>, is_done: bool) {
    let place = world.path(&format!("{OWN}/journal"));
    let mut bytes = fs::read(&place).unwrap();
    let header = parse_head(&bytes).unwrap().header;
    let header = serde_json::json!({
        "version": 3, "run": header.run, "command": header.command, "root": header.root, "lines": header.lines,
        "sha256": "0".repeat(64), "db": header.db, "ops": header.ops, "ops_sha256": "0".repeat(64),
    });
    let mut sector = checked_line(&header);
    sector.pop();
    sector.resize(SECTOR - 1, b' ');
    sector.push(b'\n');
    let outcome = outcome.map(crate::format::journal::outcome_sector);
    let done = is_done.then(|| crate::format::journal::done_sector(false));
    for (sector, at) in [(sector, 0)].into_iter().chain(outcome).chain(done) {
        let at = usize::try_from(at).unwrap();
        bytes[at..at + SECTOR].copy_from_slice(&sector);
    }
    fs::write(&place, bytes).unwrap();
}

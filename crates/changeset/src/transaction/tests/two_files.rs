//! What the journal says of objects is in a file of its own: for the owner, bound by the header, gone with the next run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sha2::Digest as _;

use super::ground::Ground;
use super::table::Stopped;
use super::world::{RUN, World, files_of};
use crate::format::journal::{
    HEAD, JournalEntry, JournalError, RunOutcome, SECTOR, checked_line, parse_head,
};
use crate::transaction::{Cause, Recovered, TransactionError, recover};
use patchadm_rootfs::Digest;
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

/// The names of our own files that begin with `ops-`.
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

    // The first try is a run of its own there.
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

        // With an outcome it is finished, as far as that goes without them.
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
fn an_unfinished_run_of_an_earlier_program_is_rolled_back() {
    for ground in [Ground::Usual, Ground::NoExchange] {
        let stopped = Stopped::on(ground);
        let before = stopped.world.picture();
        for version in [1, 2] {
            as_earlier(&stopped, version);
            let head = parse_head(&fs::read(stopped.world.path(&format!("{OWN}/journal"))).unwrap()).unwrap();
            assert!(head.is_open() && !head.is_split());
        }
        let recovered = stopped.world.recover_with(ground.open_door());
        assert!(matches!(recovered, Recovered::RolledBack { .. }));
        assert_eq!(stopped.world.picture(), before);
        let history = fs::read_to_string(stopped.world.path(&format!("{OWN}/history"))).unwrap();
        assert!(history.contains("rolled-back"), "{history}");
    }
}

/// Writes the journal of a run as one file, as the versions before 3 had it.
fn as_earlier(stopped: &Stopped, version: u32) {
    let journal = stopped.journal.clone();
    let mut lines: Vec<u8> =
        journal.domains.iter().cloned().map(JournalEntry::Domain).flat_map(|e| checked_line(&e)).collect();
    lines.extend(journal.archives.iter().cloned().map(JournalEntry::Archive).flat_map(|e| checked_line(&e)));
    lines.extend(checked_line(&JournalEntry::RunRecord(journal.run_record.clone())));
    let (records, objects): (Vec<_>, Vec<_>) = journal.ops.iter().cloned().partition(|op| op.db);
    let op = |op| checked_line(&JournalEntry::Op(Box::new(op)));
    lines.extend(records.into_iter().flat_map(op));
    let db = lines.len();
    lines.extend(objects.into_iter().flat_map(op));
    let header = serde_json::json!({
        "version": version, "run": RUN, "command": "patchadd", "root": journal.head.header.root,
        "lines": lines.len(), "sha256": Digest(sha2::Sha256::digest(&lines).into()).to_string(), "db": db,
    });
    let mut bytes = checked_line(&header);
    bytes.pop();
    bytes.resize(SECTOR - 1, b' ');
    bytes.push(b'\n');
    bytes.extend_from_slice(&files_of(stopped.journal.clone()).journal[SECTOR..HEAD]);
    bytes.extend(lines);
    fs::write(stopped.world.path(&format!("{OWN}/journal")), bytes).unwrap();
    let _ = fs::remove_file(stopped.world.path(&ops(RUN)));
}

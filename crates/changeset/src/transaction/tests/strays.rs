//! Stages on another file system that belong to no run of the journal: after a restored `/var`, or a run that never
//! got as far as its publication.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::ground::Ground;
use super::world::{World, at};
use crate::format::journal::{Domain, Journal, JournalEntry, JournalHeader, Op, OpKind};
use crate::format::run::Run;
use crate::transaction::Recovered;
use crate::transaction::error::Cause;
use crate::transaction::recover;
use patchadm_rootfs::{Door, Lock};
use patchadm_svr4::package::ObjectPath;

/// Returns a world whose journal says that run 1 is done, with a stage of run `number` in `.patchadm` of its top
/// directory. The stage has its own copy of a journal, whose one target is `/opt/web/bin/httpd`.
fn with_stray(number: u64, copy: bool) -> (World, ObjectPath) {
    with_stray_of(number, copy, |op| op.path == at("/opt/web/bin/httpd"))
}

/// Returns the same world with the `wanted` targets.
fn with_stray_of(number: u64, copy: bool, wanted: impl Fn(&Op) -> bool) -> (World, ObjectPath) {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let journal = world.journal();
    let run = Run { number, nonce: 7 }.to_string();
    let stage = at(&format!("/.patchadm/{run}"));
    for dir in ["o", "db"] {
        fs::create_dir_all(world.path(&format!(".patchadm/{run}/{dir}"))).unwrap();
    }
    fs::write(world.path(&format!(".patchadm/{run}/marker")), format!("{run} 1\n")).unwrap();
    if copy {
        let top = at("/");
        let ops = journal.ops.iter().filter(|op| wanted(op));
        let first = at(&format!("/var/sadm/patchadm/stage/{run}"));
        let domains = [(at("/var"), first), (top, stage.clone())];
        let mut entries: Vec<JournalEntry> =
            domains.map(|(top, stage)| JournalEntry::Domain(Domain { top, stage, lacks: Vec::new() })).into();
        entries.extend(ops.map(|op| JournalEntry::Op(Box::new(Op { domain: 1, undo: None, ..op.clone() }))));
        let mut header = journal.head.header.clone();
        header.run = run.clone();
        let files = Journal::to_files(header, &entries).unwrap();
        fs::write(world.path(&format!(".patchadm/{run}/ops-{run}")), files.ops).unwrap();
        fs::write(world.path(&format!(".patchadm/{run}/journal")), files.journal).unwrap();
    }
    (world, stage)
}

/// Rewrites the copy of the journal in a stray stage with another header.
fn with_header(world: &World, stage: &ObjectPath, change: impl FnOnce(&mut JournalHeader)) {
    let place = world.path(&stage.to_string()[1..]);
    let ops = place.join(format!("ops-{}", place.file_name().unwrap().to_str().unwrap()));
    let bytes = fs::read(place.join("journal")).unwrap();
    let journal = Journal::parse(&bytes, Some(&fs::read(&ops).unwrap())).unwrap();
    let mut header = journal.head.header;
    change(&mut header);
    let domains = journal.domains.into_iter().map(JournalEntry::Domain);
    let changes = journal.ops.into_iter().map(|op| JournalEntry::Op(Box::new(op)));
    let files = Journal::to_files(header, domains.chain(changes)).unwrap();
    fs::write(ops, files.ops).unwrap();
    fs::write(place.join("journal"), files.journal).unwrap();
}

/// Recovers: the stage is skipped with a note that contains `words`, and stays.
fn stays(world: &World, stage: &ObjectPath, words: &str) {
    let Recovered::PassedOver { notes } = world.recover() else { panic!("nothing was passed over") };
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains(&stage.to_string()) && note.contains(words), "{note}");
    assert!(world.path(&stage.to_string()[1..]).exists());
}

#[test]
fn a_stage_of_another_root_is_neither_believed_nor_removed() {
    let (world, stage) = with_stray(9, true);
    with_header(&world, &stage, |header| header.root = "00000000000000bb".to_owned());
    stays(&world, &stage, "is a stage of the root 00000000000000bb");
}

#[test]
fn a_stage_without_the_marker_of_its_run_is_neither_believed_nor_removed() {
    for marker in ["8-0000000000000007 1\n", "9-0000000000000007 one\n", "", "9-0000"] {
        let (world, stage) = with_stray(9, true);
        fs::write(world.path(&format!("{}/marker", &stage.to_string()[1..])), marker).unwrap();
        stays(&world, &stage, "does not have the marker of its run");
    }
}

#[test]
fn a_stage_whose_marker_the_power_cut_tore_was_never_published_and_is_removed() {
    for marker in ["", "9-0000", "9-0000000000000007 1", "\0\0\0"] {
        let (world, stage) = with_stray(9, false);
        fs::write(world.path(&format!("{}/marker", &stage.to_string()[1..])), marker).unwrap();
        assert_eq!(world.recover(), Recovered::Nothing, "{marker:?}");
        assert!(!world.path(".patchadm").exists());
    }
}

#[test]
fn of_many_things_among_the_stages_a_few_are_named() {
    let (world, _) = with_stray(1, true);
    for number in 0..9 {
        fs::write(world.path(&format!(".patchadm/{number}")), "").unwrap();
    }
    let Recovered::PassedOver { notes } = world.recover() else { panic!("nothing was passed over") };
    assert_eq!(notes.len(), 5, "{notes:?}");
    assert!(notes[4].starts_with("5 more in "), "{notes:?}");
    assert!(notes[4].ends_with("/.patchadm are left unchanged"), "{notes:?}");
}

#[test]
fn a_stage_of_an_earlier_run_is_finished_and_removed() {
    let (world, _) = with_stray(1, true);
    assert_eq!(world.recover(), Recovered::Nothing);
    assert!(!world.path(".patchadm").exists());
}

#[test]
fn a_stage_of_a_later_run_that_switched_nothing_is_removed() {
    let (world, _) = with_stray(9, false);
    world.recover();
    assert!(!world.path(".patchadm").exists());

    let (world, _) = with_stray(9, true);
    fs::write(world.path("opt/web/bin/httpd"), "neither old nor new, and longer").unwrap();
    fs::rename(world.path("opt/web/bin/httpd"), world.path("opt/web/bin/other")).unwrap();
    world.recover();
    assert!(!world.path(".patchadm").exists());
}

#[test]
fn an_object_that_gets_other_attributes_tells_by_them() {
    let mut before = Vec::new();
    let (world, _) = with_stray_of(9, true, |op| op.kind == OpKind::Attr);
    let journal = world.journal();
    for op in journal.ops.iter().filter(|op| op.kind == OpKind::Attr) {
        before.push((world.path(&op.path.to_string()[1..]), op.old.as_ref().unwrap().mode));
    }
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", |_| false).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(matches!(error.cause, Cause::LaterStage { .. }), "{error}");
    drop(lock);

    assert_eq!(before.len(), 2, "a directory and a file");
    for (path, mode) in before {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    world.recover();
    assert!(!world.path(".patchadm").exists());
}

#[test]
fn a_stage_of_a_later_run_that_has_switched_stops_everything() {
    let (world, stage) = with_stray(9, true);
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", |_| false).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(matches!(error.cause, Cause::LaterStage { .. }), "{error}");
    assert!(error.to_string().contains(&stage.to_string()), "{error}");
    assert!(world.path(".patchadm").exists());
}

/// Gives the copy of the journal in a stray stage the name that it has until it is durable; if `damaged`, its first
/// sector is not as written.
fn not_durable_yet(world: &World, stage: &ObjectPath, damaged: bool) {
    let place = world.path(&stage.to_string()[1..]);
    let mut bytes = fs::read(place.join("journal")).unwrap();
    if damaged {
        bytes[..512].fill(0);
    }
    fs::write(place.join("journal.new"), bytes).unwrap();
    fs::remove_file(place.join("journal")).unwrap();
    let ops = format!("ops-{}", place.file_name().unwrap().display());
    fs::rename(place.join(&ops), place.join(ops + ".new")).unwrap();
}

#[test]
fn a_stage_whose_copy_of_the_journal_the_power_cut_tore_never_switched() {
    let (world, stage) = with_stray(9, true);
    not_durable_yet(&world, &stage, true);
    world.recover();
    assert!(!world.path(".patchadm").exists());
}

#[test]
fn a_stage_has_switched_although_the_last_name_of_its_copy_of_the_journal_was_lost() {
    let (world, stage) = with_stray(9, true);
    not_durable_yet(&world, &stage, false);
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", |_| false).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(matches!(error.cause, Cause::LaterStage { .. }), "{error}");
}

#[test]
fn a_damaged_copy_of_a_journal_that_was_durable_stops_everything() {
    let (world, stage) = with_stray(9, true);
    let copy = world.path(&stage.join(b"journal").unwrap().to_string()[1..]);
    let mut bytes = fs::read(&copy).unwrap();
    bytes[..512].fill(0);
    fs::write(&copy, bytes).unwrap();
    let root = world.root(Door::default());
    let lock = Lock::take(&root, "recover", |_| false).unwrap();
    let error = recover(&root, &lock).unwrap_err();
    assert!(matches!(error.cause, Cause::Journal { .. }), "{error}");
    assert!(copy.exists());
}

#[test]
fn a_directory_that_nothing_can_be_renamed_into_becomes_a_domain_of_its_own_in_a_second_try() {
    let world = World::new();
    let receipt = world.run_plan(&Ground::Apart.plan(&world), Ground::Apart.open_door(), &|| None).unwrap();
    assert_eq!((receipt.run.as_str(), receipt.notes), ("2-00000000000000aa", Vec::new()));
    let journal = world.journal();
    let places: Vec<_> = journal.domains.iter().map(|domain| domain.stage.to_string()).collect();
    let stage = "/var/sadm/patchadm/stage/2-00000000000000aa";
    assert_eq!(places, [stage, "/opt/web/bin/.patchadm-2-00000000000000aa"]);
    assert_eq!(fs::read_dir(world.path("opt/web/bin")).unwrap().count(), 1, "the stage is gone");
    let history = fs::read_to_string(world.path("var/sadm/patchadm/history")).unwrap();
    assert!(history.contains("rolled-back") && history.lines().count() == 2, "{history}");
}

#[test]
fn a_directory_that_others_may_write_cannot_hold_a_stage() {
    if !rustix::process::geteuid().is_root() {
        return crate::skipped("a directory that others may write: only root cares");
    }
    let world = World::new();
    fs::set_permissions(world.path("opt/web/bin"), fs::Permissions::from_mode(0o777)).unwrap();
    let before = world.picture();
    let error = world.run_plan(&Ground::Apart.plan(&world), Ground::Apart.open_door(), &|| None).unwrap_err();
    assert!(error.to_string().contains("/opt/web/bin: is writable by others"), "{error}");
    assert_eq!(world.picture(), before);
}

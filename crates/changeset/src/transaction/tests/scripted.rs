//! Runs with procedure scripts: regardless of what a script does and where the run is stopped, everything is as before
//! or as after.

mod grounds;
mod rewound;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::super::{
    Phase, ProtectedObject, ProtectedPaths, Receipt, Recovered, RootCondition, RunSettings, RunWatch,
    ScriptRecorder as _, ScriptedRun, TransactionError, recover, unfinished_script,
};
use super::ground::Ground;
use super::world::{Files, World, at, in_a_moment};
use crate::format::journal::{RunRecord, ScriptProcess};
use crate::plan::AttributeChange;
use crate::plan::{Plan, RecordChange};
use crate::records::{RecordView, read_consistently};
use crate::transaction::error::Cause;
use patchadm_rootfs::Timestamp;
use patchadm_rootfs::{Door, Lock};
use patchadm_svr4::package::Mode;

/// The changes that a script makes.
type Script = fn(&World);

fn process() -> ScriptProcess {
    let boot_id = "0b7b6a05-43b3-4a2c-8f3b-9a1d5f1c2e60".to_owned();
    ScriptProcess { name: "postinstall".to_owned(), group: 4711, boot_id, start_time: 7 }
}

/// Returns the paths of the plan, those below a directory that it replaces, and the records. `edited` is of a type that
/// administrators edit.
fn held(edited: &str) -> ProtectedPaths {
    let paths = [
        "/opt/web/bin",
        "/opt/web/bin/httpd",
        "/opt/web/bin/httpd2",
        "/opt/web/empty",
        "/opt/web/flat",
        "/opt/web/flat/leaf",
        "/opt/web/gone",
        "/opt/web/libw.so",
        "/opt/web/new",
        "/opt/web/new/tool",
        "/opt/web/staying",
        "/opt/web/tree",
        "/opt/web/tree/sub",
        "/opt/web/tree/sub/leaf",
    ];
    let object = |path: &&str| ProtectedObject { path: at(path), editable: *path == edited };
    ProtectedPaths {
        objects: paths.iter().map(object).collect(),
        trees: vec![at("/var/sadm/pkg/ACMEweb"), at("/var/sadm/patch/100-01")],
        files: vec![at("/var/sadm/install/contents")],
    }
}

/// Splits a plan: the records come first, before any script; the objects later.
fn batches(plan: Plan) -> [Plan; 2] {
    let records = Plan { changes: Vec::new(), ..plan.clone() };
    let objects =
        Plan { records: Vec::new(), contents: std::collections::BTreeMap::new(), undo: Vec::new(), ..plan };
    [records, objects]
}

/// Begins a run and hands it on.
fn begun<T>(
    world: &World,
    door: Door,
    edited: &str,
    work: impl FnOnce(ScriptedRun<'_>) -> Result<T, TransactionError>,
) -> Result<T, TransactionError> {
    let root = world.root(door);
    let lock = Lock::take(&root, "patchadd", in_a_moment).unwrap();
    let run_record = RunRecord { command: "patchadd".to_owned(), ..RunRecord::default() };
    let watch = RunWatch { interrupt: &|| None, progress: &|_| {} };
    let settings = RunSettings {
        run_record: &run_record,
        marker: "0123456789abcdef",
        exchanges: &[],
        nonce: 0xaa,
        watch,
        elapsed: &|| 7,
        ledgers: &super::NoLedgers,
        before_publishing: &|_| Ok(()),
        when_switched: &|_| Ok(()),
    };
    work(ScriptedRun::begin(&root, &lock, "patchadd", &held(edited), settings)?)
}

/// Carries out a run with one script between its two batches, and one after them; `rude` holds their actions.
fn run(world: &World, door: Door, rude: [Script; 2]) -> Result<Receipt, TransactionError> {
    run_on(Ground::Usual, world, door, rude)
}

fn run_on(ground: Ground, world: &World, door: Door, rude: [Script; 2]) -> Result<Receipt, TransactionError> {
    begun(world, door, "", |mut run| match steps(ground, world, &mut run, rude) {
        Ok(()) => run.commit(),
        Err(cause) => Err(run.roll_back(Phase::Switch, cause)),
    })
}

fn steps(ground: Ground, world: &World, run: &mut ScriptedRun<'_>, rude: [Script; 2]) -> Result<(), Cause> {
    let [records, _] = batches(ground.plan(world));
    run.log(b"## Executing preinstall script.\n")?;
    run.switch(&records, &mut Files)?;
    run.script_begins(&process())?;
    rude[0](world);
    run.script_ended()?;
    // The second batch is made from the state that the script left.
    let [_, objects] = batches(ground.plan(world));
    run.switch(&objects, &mut Files)?;
    run.script_begins(&process())?;
    rude[1](world);
    run.script_ended()?;
    let mtime = Some(Timestamp::whole(1_700_000_000));
    let settled = AttributeChange { mode: Some(Mode::of(0o555)), mtime, ..AttributeChange::default() };
    run.set_attributes_after_script(&[(at("/opt/web/new/tool"), settled)])
}

fn harmless(_: &World) {}

/// Writes in place, replaces, retargets, removes, changes a mode: everything that a second batch can still cope with.
fn before_the_objects(world: &World) {
    world.file("opt/web/bin/httpd", "written in place");
    fs::remove_file(world.path("opt/web/gone")).unwrap();
    world.file("opt/web/gone", "replaced\n");
    fs::remove_file(world.path("opt/web/libw.so")).unwrap();
    symlink("elsewhere", world.path("opt/web/libw.so")).unwrap();
    fs::set_permissions(world.path("opt/web/flat"), fs::Permissions::from_mode(0o600)).unwrap();
    world.file("var/sadm/pkg/ACMEweb/save/100-01/more", "more");
}

fn after_the_objects(world: &World) {
    fs::remove_dir_all(world.path("opt/web/bin")).unwrap();
    world.file("opt/web/new/tool", "edited by the script");
    world.file("opt/web/gone", "it is back\n");
    fs::remove_dir_all(world.path("opt/web/flat")).unwrap();
    symlink("tree", world.path("opt/web/flat")).unwrap();
    fs::remove_dir_all(world.path("var/sadm/pkg/ACMEweb")).unwrap();
    world.file("var/sadm/install/contents", "nothing\n");
}

const RUDE: [Script; 2] = [before_the_objects, after_the_objects];

fn counted(rude: [Script; 2]) -> usize {
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let door = Door::watched(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    run(&World::new(), door, rude).unwrap();
    counter.load(Ordering::Relaxed)
}

fn failing_from(number: usize, once: bool, errno: Errno) -> Door {
    let counter = AtomicUsize::new(0);
    Door::watched(move |_| match counter.fetch_add(1, Ordering::Relaxed) {
        count if count < number || (once && count > number) => Ok(()),
        _ => Err(errno),
    })
}

/// Carries out a run whose last batch removes the directory of a package, together with objects that a script has put
/// into it.
fn removal(world: &World, door: Door) -> Result<Receipt, TransactionError> {
    begun(world, door, "", |mut run| {
        let [records, _] = batches(world.plan());
        let batch = |record| Plan { records: vec![record], undo: Vec::new(), ..records.clone() };
        let lock = RecordChange::Write {
            path: at("/var/sadm/pkg/ACMEweb/!R-Lock!"),
            bytes: Vec::new(),
            mode: Mode::of(0o644),
            mtime: None,
        };
        let steps = || {
            run.switch(&batch(lock), &mut Files)?;
            run.script_begins(&process())?;
            world.file("var/sadm/pkg/ACMEweb/left", "by a script");
            run.script_ended()?;
            run.switch(&batch(RecordChange::RemoveTree(at("/var/sadm/pkg/ACMEweb"))), &mut Files)
        };
        match steps() {
            Ok(()) => run.commit(),
            Err(cause) => Err(run.roll_back(Phase::Switch, cause)),
        }
    })
}

#[test]
fn a_package_whose_records_go_in_the_last_batch_is_there_whole_or_gone_whole() {
    let committed = World::new();
    let receipt = removal(&committed, Door::default()).unwrap();
    assert_eq!(receipt.notes, Vec::<String>::new());
    assert!(!committed.path("var/sadm/pkg/ACMEweb").exists());
    let after = committed.picture();
    let mut seen = [0, 0];
    for number in (0..).step_by(3) {
        let world = World::new();
        let before = world.picture();
        let done = removal(&world, failing_from(number, false, Errno::IO));
        world.recover();
        let now = world.picture();
        assert!(now == after || now == before, "stopped at {number}: {now:#?}");
        seen[usize::from(now == after)] += 1;
        if done.is_ok_and(|receipt| receipt.notes.is_empty()) {
            break;
        }
    }
    assert!(seen[0] > 20 && seen[1] > 0, "{seen:?}");
}

#[test]
fn a_run_with_scripts_commits_what_its_batches_and_scripts_made() {
    let world = World::new();
    let receipt = run(&world, Door::default(), [before_the_objects, harmless]).unwrap();
    assert_eq!(receipt.notes, Vec::<String>::new());
    let after = world.picture();
    let is = |path: &str| after.get(path).cloned().unwrap_or_default();
    assert!(is("opt/web/bin/httpd").contains("\"bin/httpd\""));
    assert!(is("opt/web/new/tool").starts_with("100555"), "settled");
    assert!(is("opt/web/flat/leaf").contains("\"flat/leaf\""));
    assert!(!after.contains_key("opt/web/gone") && !after.contains_key("opt/web/empty"));
    assert!(is("var/sadm/install/contents").contains("/opt/web/new d none"));
    assert!(is("var/sadm/pkg/ACMEweb/save/100-01/more").contains("more"), "the script's own record");
    assert!(fs::read_to_string(world.path("var/sadm/patchadm/log")).unwrap().contains("preinstall"));
    assert_eq!(fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap().count(), 0);
    assert_eq!(world.recover(), Recovered::Nothing);
}

#[test]
fn whatever_scripts_did_a_failure_puts_everything_back() {
    let world = World::new();
    let before = world.picture();
    begun(&world, Door::default(), "", |mut run| {
        steps(Ground::Usual, &world, &mut run, RUDE).unwrap();
        let error = run.roll_back(Phase::Switch, Cause::Changed("the script failed".to_owned()));
        assert_eq!(error.left, RootCondition::RolledBack, "{error}");
        assert_eq!(world.picture(), before);
        Ok(())
    })
    .unwrap();
    assert_eq!(world.recover(), Recovered::Nothing);
}

#[test]
fn stopped_before_any_of_its_changes_a_run_with_scripts_is_all_or_nothing_after_recovery() {
    let polite: [Script; 2] = [before_the_objects, harmless];
    for (rude, stride) in [(RUDE, 1), (polite, 7)] {
        let total = counted(rude);
        assert!(total > 200, "only {total} changes: is the door passed?");
        let committed = World::new();
        run(&committed, Door::default(), rude).unwrap();
        let after = committed.picture();
        let mut seen = [0, 0];
        for number in (0..total).step_by(stride) {
            let world = World::new();
            let before = world.picture();
            let _ = run(&world, failing_from(number, false, Errno::IO), rude);
            let recovered = world.recover();
            let now = world.picture();
            let is_after = now == after;
            assert!(is_after || now == before, "stopped at {number} of {total}: {recovered:?}: {now:#?}");
            seen[usize::from(is_after)] += 1;
            assert_eq!(world.recover(), Recovered::Nothing, "recovered twice, stopped at {number}");
        }
        assert!(seen[0] > 20 && seen[1] > 0, "{seen:?}");
    }
}

#[test]
fn a_change_that_fails_in_a_run_with_scripts_leaves_what_the_error_says() {
    let total = counted(RUDE);
    for number in 0..total {
        let world = World::new();
        let before = world.picture();
        match run(&world, failing_from(number, true, Errno::NOSPC), RUDE).map_err(|error| error.left) {
            Ok(_) | Err(RootCondition::InDoubt) => {}
            Err(RootCondition::Unchanged | RootCondition::RolledBack) => {
                assert_eq!(world.picture(), before, "at {number}");
            }
            Err(RootCondition::Unfinished(what)) => panic!("at {number}: {what:?}"),
        }
        world.recover();
    }
}

#[test]
fn recovery_of_a_run_with_scripts_may_be_stopped_anywhere_and_begun_again() {
    let total = counted(RUDE);
    for stopped in [total / 2, total - 60] {
        let world = World::new();
        let before = world.picture();
        let _ = run(&world, failing_from(stopped, false, Errno::IO), RUDE);
        for number in 0..60 {
            let root = world.root(failing_from(number, false, Errno::IO));
            let lock = Lock::take(&root, "recover", in_a_moment).unwrap();
            let _ = recover(&root, &lock);
        }
        world.recover();
        assert_eq!(world.picture(), before);
    }
}

#[test]
fn while_scripts_run_readers_see_the_records_of_before_and_recovery_knows_which_script_to_end() {
    let world = World::new();
    let contents = fs::read(world.path("var/sadm/install/contents")).unwrap();
    begun(&world, Door::default(), "", |mut run| {
        let [records, _] = batches(world.plan());
        run.switch(&records, &mut Files).unwrap();
        run.script_begins(&process()).unwrap();
        assert!(
            fs::read_to_string(world.path("var/sadm/pkg/ACMEweb/pkginfo")).unwrap().contains("PATCHLIST")
        );
        let root = world.root(Door::default());
        read_consistently(&root, |view: &RecordView<'_>| {
            let pkginfo = view.read(&at("/var/sadm/pkg/ACMEweb/pkginfo"), 4096)?.unwrap();
            assert_eq!(pkginfo, b"PKG=ACMEweb\nVERSION=1\n");
            assert_eq!(view.read(&at("/var/sadm/install/contents"), 1 << 20)?.unwrap(), contents);
            assert_eq!(view.list(&at("/var/sadm/pkg/ACMEweb"))?.unwrap(), [b"pkginfo"]);
            assert_eq!(view.list(&at("/var/sadm/patch/100-01"))?, None);
            Ok::<(), crate::records::ViewError>(())
        })
        .unwrap();
        let unfinished = unfinished_script(&root).unwrap().unwrap();
        assert_eq!(unfinished, (run.name(), process()));
        run.script_ended().unwrap();
        assert_eq!(unfinished_script(&root).unwrap(), None);
        Ok(())
    })
    .unwrap();
    assert!(matches!(world.recover(), Recovered::RolledBack { .. }));
}

#[test]
fn what_an_administrator_edits_between_scripts_is_kept_beside_the_old_file() {
    let world = World::new();
    begun(&world, Door::default(), "", |mut run| {
        run.script_begins(&process()).unwrap();
        run.script_ended().unwrap();
        let name = run.name();
        fs::write(world.path("opt/web/gone"), "by the administrator\n").unwrap();
        let error = run.roll_back(Phase::Switch, Cause::Interrupted(15));
        assert_eq!(error.left, RootCondition::RolledBack);
        assert_eq!(fs::read_to_string(world.path("opt/web/gone")).unwrap(), "gone\n");
        let kept = fs::read_to_string(world.path(&format!("opt/web/gone.edited-{name}"))).unwrap();
        assert_eq!(kept, "by the administrator\n");
        Ok(())
    })
    .unwrap();
}

#[test]
fn two_names_of_one_file_of_which_one_was_replaced_are_one_file_again() {
    let world = World::new();
    fs::hard_link(world.path("opt/web/bin/httpd"), world.path("opt/web/bin/httpd2")).unwrap();
    begun(&world, Door::default(), "", |mut run| {
        run.script_begins(&process()).unwrap();
        fs::remove_file(world.path("opt/web/bin/httpd")).unwrap();
        fs::write(world.path("opt/web/bin/httpd"), "another file").unwrap();
        run.script_ended().unwrap();
        let error = run.roll_back(Phase::Switch, Cause::Interrupted(15));
        assert_eq!(error.left, RootCondition::RolledBack, "{error}");
        let [one, two] = ["/opt/web/bin/httpd", "/opt/web/bin/httpd2"].map(|path| world.live(path).unwrap());
        assert_eq!(one.inode, two.inode);
        assert_eq!(fs::read_to_string(world.path("opt/web/bin/httpd")).unwrap(), "old httpd");
        Ok(())
    })
    .unwrap();
}

#[test]
fn two_names_of_one_file_are_two_names_of_one_file_again() {
    let world = World::new();
    fs::hard_link(world.path("opt/web/bin/httpd"), world.path("opt/web/bin/httpd2")).unwrap();
    begun(&world, Door::default(), "", |mut run| {
        run.script_begins(&process()).unwrap();
        fs::remove_file(world.path("opt/web/bin/httpd")).unwrap();
        fs::write(world.path("opt/web/bin/httpd2"), "through the other name").unwrap();
        run.script_ended().unwrap();
        let error = run.roll_back(Phase::Switch, Cause::Interrupted(15));
        assert_eq!(error.left, RootCondition::RolledBack, "{error}");
        let [one, two] = ["/opt/web/bin/httpd", "/opt/web/bin/httpd2"].map(|path| world.live(path).unwrap());
        assert_eq!(one.inode, two.inode);
        assert_eq!(fs::read_to_string(world.path("opt/web/bin/httpd")).unwrap(), "old httpd");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_file_that_administrators_edit_is_kept_when_a_run_dies_while_a_script_runs() {
    let world = World::new();
    begun(&world, Door::default(), "/opt/web/gone", |mut run| {
        run.script_begins(&process()).unwrap();
        fs::write(world.path("opt/web/gone"), "by the script or by somebody else\n").unwrap();
        fs::write(world.path("opt/web/flat"), "by the script, most likely\n").unwrap();
        Ok(())
    })
    .unwrap();
    assert!(matches!(world.recover(), Recovered::RolledBack { notes, .. } if notes.len() == 1));
    assert_eq!(fs::read_to_string(world.path("opt/web/gone")).unwrap(), "gone\n");
    assert_eq!(fs::read_to_string(world.path("opt/web/flat")).unwrap(), "a file\n");
    assert!(world.path("opt/web/gone.edited-1-00000000000000aa").exists());
}

#[test]
fn a_batch_that_touches_what_is_not_held_is_refused_before_it_changes_anything() {
    let world = World::new();
    let before = world.picture();
    begun(&world, Door::default(), "", |mut run| {
        let [_, mut objects] = batches(world.plan());
        let mut other = objects.changes.remove(0);
        other.path = at("/opt/web/elsewhere");
        other.old = None;
        other.action = crate::plan::Action::Add(crate::plan::NewObject {
            body: crate::plan::Body::Directory,
            mode: Mode::of(0o755),
            uid: 0,
            gid: 0,
            mtime: None,
            xattrs: crate::plan::NewXattrs::Inherited,
        });
        objects.changes = vec![other];
        let cause = run.switch(&objects, &mut Files).unwrap_err();
        assert!(cause.to_string().contains("elsewhere is not held"), "{cause}");
        assert_eq!(run.roll_back(Phase::Switch, cause).left, RootCondition::RolledBack);
        Ok(())
    })
    .unwrap();
    assert_eq!(world.picture(), before);
}

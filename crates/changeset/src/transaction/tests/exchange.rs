//! Changes that become visible at once: the effects of a run with an exchanged directory, and the obstacles to it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::io::Errno;

use super::world::{World, at};
use crate::format::journal::OpKind;
use crate::transaction::ExchangeReport;
use crate::transaction::ExchangeWay;
use crate::transaction::Receipt;
use crate::transaction::error::Cause;
use crate::transaction::foresee_exchanges;
use patchadm_rootfs::{ChangeCall, Door};

/// Returns the only directory that a run reports.
fn only(receipt: &Receipt) -> &ExchangeReport {
    let [report] = receipt.exchanges.as_slice() else { panic!("{:?}", receipt.exchanges) };
    report
}

fn exchanged(world: &World) -> Receipt {
    world.exchange(&["/opt/web"]);
    world.run(Door::default()).unwrap()
}

#[test]
fn an_exchanged_directory_is_what_renames_would_have_made_of_it() {
    let [renamed, world] = [World::new(), World::new()];
    renamed.run(Door::default()).unwrap();
    let receipt = exchanged(&world);
    assert_eq!(only(&receipt).way, ExchangeWay::Exchange);
    assert_eq!(receipt.notes, Vec::<String>::new());
    assert_eq!(world.picture(), renamed.picture());
    let journal = world.journal();
    let objects: Vec<_> =
        journal.ops.iter().filter(|op| !op.db).map(|op| (op.kind, op.path.clone())).collect();
    assert_eq!(objects, [(OpKind::Tree, at("/opt/web"))]);
    let stages = fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap().count();
    assert_eq!(stages, 0, "the stage is dropped");
}

#[test]
fn what_does_not_change_is_the_same_file_as_before_with_as_many_names() {
    let world = World::new();
    let kept = |world: &World| {
        ["one", "two"].map(|name| {
            let meta = fs::metadata(world.path(&format!("opt/web/kept/{name}"))).unwrap();
            (meta.ino(), meta.nlink())
        })
    };
    let directory = |world: &World| fs::metadata(world.path("opt/web/kept")).unwrap();
    fs::set_permissions(world.path("opt/web/kept"), fs::Permissions::from_mode(0o2751)).unwrap();
    let (before, before_dir) = (kept(&world), directory(&world));
    exchanged(&world);
    assert_eq!(kept(&world), before);
    let after_dir = directory(&world);
    assert_ne!(after_dir.ino(), before_dir.ino());
    assert_eq!((after_dir.mode(), after_dir.mtime_nsec()), (before_dir.mode(), before_dir.mtime_nsec()));
}

#[test]
fn an_object_that_only_gets_other_attributes_is_another_one() {
    let world = World::new();
    let inode = || fs::metadata(world.path("opt/web/staying")).unwrap().ino();
    let before = inode();
    exchanged(&world);
    assert_ne!(inode(), before);
    assert_eq!(fs::metadata(world.path("opt/web/staying")).unwrap().mode() & 0o7777, 0o4750);
    let world = World::new();
    fs::hard_link(world.path("opt/web/staying"), world.path("opt/elsewhere")).unwrap();
    world.exchange(&["/opt/web"]);
    let error = world.run(Door::default()).unwrap_err().to_string();
    assert!(error.contains("/opt/web/staying gets different attributes, but has names elsewhere"), "{error}");
    let modes =
        ["opt/web/staying", "opt/elsewhere"].map(|path| fs::metadata(world.path(path)).unwrap().mode());
    assert_eq!(modes.map(|mode| mode & 0o7777), [0o4755; 2]);
}

#[test]
fn a_file_that_cannot_be_linked_refuses_the_run() {
    let world = World::new();
    world.exchange(&["/opt/web"]);
    let before = world.picture();
    let door = Door::watched(|step| {
        let is_link = step.call == ChangeCall::MakeLink && step.path.to_string().contains("/o/tree.");
        if is_link { Err(Errno::PERM) } else { Ok(()) }
    });
    let error = world.run(door).unwrap_err();
    assert!(matches!(error.cause, Cause::NoExchange(_)), "{error}");
    let error = error.to_string();
    assert!(error.contains("/opt/web: its changes cannot become visible atomically: "), "{error}");
    assert!(error.contains("make the link") && error.contains("Operation not permitted"), "{error}");
    assert_eq!(world.picture(), before);
}

#[test]
fn an_exchange_that_the_file_system_refuses_at_last_rolls_the_run_back() {
    let world = World::new();
    world.exchange(&["/opt/web"]);
    let before = world.picture();
    let door = Door::watched(|step| {
        let is_tree = step.call == ChangeCall::Exchange && step.path.to_string().ends_with("/o/tree.0");
        if is_tree { Err(Errno::XDEV) } else { Ok(()) }
    });
    let error = world.run(door).unwrap_err();
    assert!(matches!(error.cause, Cause::NoExchange(_)), "{error}");
    assert_eq!(world.picture(), before);
}

#[test]
fn a_directory_in_which_nothing_changes_is_left_alone() {
    let world = World::new();
    fs::create_dir(world.path("srv")).unwrap();
    world.exchange(&["/srv", "/opt"]);
    let receipt = world.run(Door::default()).unwrap();
    let ways: Vec<_> = receipt.exchanges.iter().map(|report| report.way).collect();
    assert_eq!(ways, [ExchangeWay::Nothing, ExchangeWay::Exchange]);
}

#[test]
fn several_directories_are_exchanged_in_the_order_in_which_they_are_named() {
    let [renamed, world] = [World::new(), World::new()];
    renamed.run(Door::default()).unwrap();
    world.exchange(&["/opt/web/kept", "/opt/web/bin"]);
    world.run(Door::default()).unwrap();
    assert_eq!(world.picture(), renamed.picture());
    let trees = world.journal();
    let trees: Vec<_> =
        trees.ops.iter().filter(|op| op.kind == OpKind::Tree).map(|op| op.path.clone()).collect();
    assert_eq!(trees, [at("/opt/web/bin")]);
}

/// Returns why `/opt` or another directory cannot be exchanged, before a run and in it.
fn refusal(world: &World, directory: &str) -> String {
    let root = world.root(Door::default());
    world.exchange(&[directory]);
    let foreseen = foresee_exchanges(&root, &world.plan(), &[at(directory)], false).unwrap_err();
    let cause = world.run(Door::default()).unwrap_err().cause;
    assert_eq!(foreseen.to_string(), cause.to_string());
    match cause {
        Cause::NoExchange(refusal) => refusal.reason,
        other => panic!("{other}"),
    }
}

#[test]
fn what_holds_the_records_or_a_stage_is_not_exchanged() {
    let world = World::new();
    assert_eq!(refusal(&world, "/"), "it is the root directory");
    let world = World::new();
    fs::create_dir_all(world.path("opt/var")).unwrap();
    fs::rename(world.path("var/sadm"), world.path("opt/var/sadm")).unwrap();
    std::os::unix::fs::symlink("../opt/var/sadm", world.path("var/sadm")).unwrap();
    let reason = refusal(&world, "/opt");
    assert!(reason.starts_with("it holds ") && reason.ends_with("/var/sadm"), "{reason}");
    let world = World::new();
    fs::create_dir_all(world.path("opt/web/jail/.patchadm-stage")).unwrap();
    let reason = refusal(&world, "/opt/web");
    assert!(reason.ends_with("/opt/web/jail/.patchadm-stage belongs to a stage"), "{reason}");
}

#[test]
fn a_plan_is_foreseen_to_be_carried_out_at_once() {
    let world = World::new();
    let root = world.root(Door::default());
    let before = world.picture();
    let foreseen = foresee_exchanges(&root, &world.plan(), &[at("/opt/web")], false).unwrap();
    assert_eq!(foreseen[0].way, ExchangeWay::Exchange);
    assert_eq!(world.picture(), before);
}

/// A foreign change to the directory.
type Meddle = fn(&Path);

#[test]
fn what_somebody_does_to_the_old_directory_before_the_commit_rolls_the_run_back() {
    let meddles: [(&str, Meddle); 6] = [
        ("made", |web| fs::write(web.join("kept/three"), "theirs").unwrap()),
        ("made in a directory of the run", |web| fs::write(web.join("bin/theirs"), "theirs").unwrap()),
        ("removed", |web| fs::remove_file(web.join("kept/one")).unwrap()),
        ("replaced", |web| {
            fs::write(web.join("kept/new"), "theirs").unwrap();
            fs::rename(web.join("kept/new"), web.join("kept/one")).unwrap();
        }),
        ("edited", |web| fs::write(web.join("bin/httpd"), "theirs").unwrap()),
        ("attributes", |web| {
            fs::set_permissions(web.join("kept"), fs::Permissions::from_mode(0o711)).unwrap();
        }),
    ];
    for (what, meddle) in meddles {
        let world = World::new();
        world.exchange(&["/opt/web"]);
        let web = world.path("opt/web");
        let meddled = std::sync::atomic::AtomicBool::new(false);
        let door = Door::watched(move |step| {
            let is_it = step.call == ChangeCall::Exchange && step.path.to_string().ends_with("/o/tree.0");
            if is_it && !meddled.swap(true, std::sync::atomic::Ordering::Relaxed) {
                meddle(&web);
            }
            Ok(())
        });
        let plan = world.plan();
        let error = world.run_plan(&plan, door, &|| None).unwrap_err();
        assert!(matches!(error.cause, Cause::Changed(_) | Cause::Appeared(_)), "{what}: {error}");
        let fresh = World::new();
        meddle(&fresh.path("opt/web"));
        let without_times = |world: &World| {
            let mut picture = world.picture();
            for shown in picture.values_mut() {
                *shown = shown.rsplit_once(' ').map(|(shown, _)| shown.to_owned()).unwrap_or_default();
            }
            picture
        };
        assert_eq!(without_times(&world), without_times(&fresh), "{what}");
    }
}

#[test]
fn what_somebody_puts_into_a_directory_that_goes_is_found_in_the_one_that_stays() {
    let world = World::new();
    world.exchange(&["/opt/web"]);
    let stage = world.path("var/sadm/patchadm/stage/1-00000000000000aa/o/tree.0");
    let done = std::sync::atomic::AtomicBool::new(false);
    // A process with its working directory in the old tree, after the commit and in the middle of the drop.
    let door = Door::watched(move |step| {
        let is_dropped = step.call == ChangeCall::Unlink && step.path.to_string().contains("/o/taken.0.");
        if is_dropped && !done.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let write = |path: &str, text: &str| fs::write(stage.join(path), text).unwrap();
            write("kept/new", "theirs: new");
            fs::create_dir(stage.join("kept/dir")).unwrap();
            write("kept/dir/deep", "theirs: deep");
            write("empty/late", "theirs: in a directory that goes");
            fs::create_dir(stage.join("new")).unwrap();
            write("new/more", "theirs: beside what the run has made");
            write("new/tool", "theirs: where the run has made something");
            write("kept/moved", "theirs: renamed over a file that stays");
            fs::rename(stage.join("kept/moved"), stage.join("kept/two")).unwrap();
        }
        Ok(())
    });
    let receipt = world.run_plan(&world.plan(), door, &|| None).unwrap();
    let text = |path: &str| fs::read_to_string(world.path(path)).unwrap();
    assert_eq!(text("opt/web/kept/new"), "theirs: new");
    assert_eq!(text("opt/web/kept/dir/deep"), "theirs: deep");
    assert_eq!(text("opt/web/empty/late"), "theirs: in a directory that goes");
    assert_eq!(text("opt/web/new/more"), "theirs: beside what the run has made");
    assert_eq!(text("opt/web/new/tool"), "new/tool");
    assert_eq!(
        text("opt/web/new/tool.edited-1-00000000000000aa"),
        "theirs: where the run has made something"
    );
    assert_eq!(text("opt/web/kept/two"), "kept\n");
    let kept = text("opt/web/kept/two.edited-1-00000000000000aa");
    assert_eq!(kept, "theirs: renamed over a file that stays");
    assert!(receipt.notes.iter().any(|note| note.contains("two.edited-")), "{:?}", receipt.notes);
    assert_eq!(fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap().count(), 0);
}

/// Returns a world with a run that died right after the exchange of `/opt/web`, and the directory in the stage.
fn died_behind_exchange() -> (World, std::path::PathBuf) {
    let world = World::new();
    world.exchange(&["/opt/web"]);
    let is_dead = std::sync::atomic::AtomicBool::new(false);
    let exchanged = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = exchanged.clone();
    let door = Door::watched(move |_| {
        if seen.load(std::sync::atomic::Ordering::Relaxed) {
            is_dead.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        if is_dead.load(std::sync::atomic::Ordering::Relaxed) { Err(Errno::IO) } else { Ok(()) }
    });
    let door = door.witnessed(move |step, made| {
        if step.call == ChangeCall::Exchange && step.path.to_string().ends_with("/o/tree.0") && made.is_ok() {
            exchanged.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    world.run_plan(&world.plan(), door, &|| None).unwrap_err();
    assert!(world.journal().head.is_open());
    let staged = world.path("var/sadm/patchadm/stage/1-00000000000000aa/o/tree.0");
    (world, staged)
}

/// Returns the existing objects, without foreign ones beside `/opt/web`.
fn without_kept(world: &World) -> std::collections::BTreeMap<String, String> {
    let mut picture = world.picture();
    picture.retain(|path, _| !path.contains(".edited-"));
    picture
}

fn try_recover(world: &World) -> Result<crate::transaction::Recovered, Cause> {
    let root = world.root(Door::default());
    let lock = patchadm_rootfs::Lock::take(&root, "recover", super::world::in_a_moment).unwrap();
    crate::transaction::recover(&root, &lock).map_err(|error| error.cause)
}

#[test]
fn a_run_that_died_behind_the_exchange_goes_back_whatever_became_of_the_directory() {
    let before = World::new().picture();
    let meddles: [(&str, Meddle); 4] = [
        ("as it was left", |_| {}),
        ("the new directory is gone", |web| fs::rename(web, web.with_file_name("taken")).unwrap()),
        ("another directory has its place", |web| {
            fs::rename(web, web.with_file_name("taken")).unwrap();
            fs::create_dir(web).unwrap();
            fs::write(web.join("theirs"), "theirs").unwrap();
        }),
        ("somebody works in the new directory", |web| {
            fs::write(web.join("kept/theirs"), "theirs").unwrap();
            fs::write(web.join("new/theirs"), "theirs").unwrap();
        }),
    ];
    for (what, meddle) in meddles {
        let (world, _) = died_behind_exchange();
        meddle(&world.path("opt/web"));
        try_recover(&world).unwrap();
        let mut after = without_kept(&world);
        let _ = fs::remove_dir_all(world.path("opt/taken"));
        after.retain(|path, _| !path.starts_with("opt/taken"));
        let theirs: Vec<String> = after
            .keys()
            .filter(|path| path.ends_with("theirs") || path.ends_with("web/new"))
            .cloned()
            .collect();
        after.retain(|path, _| !theirs.contains(path));
        assert_eq!(after, before, "{what}");
        match what {
            "another directory has its place" => {
                let kept = world.path("opt/web.edited-1-00000000000000aa/theirs");
                assert_eq!(fs::read_to_string(kept).unwrap(), "theirs");
            }
            "somebody works in the new directory" => {
                assert_eq!(theirs, ["opt/web/kept/theirs", "opt/web/new", "opt/web/new/theirs"]);
            }
            _ => assert_eq!(theirs, Vec::<String>::new(), "{what}"),
        }
        assert_eq!(try_recover(&world).unwrap(), crate::transaction::Recovered::Nothing, "{what}");
    }
}

#[test]
fn an_old_directory_that_is_lost_and_a_damaged_list_stop_recovery() {
    let (world, staged) = died_behind_exchange();
    fs::rename(&staged, world.path("opt/lost")).unwrap();
    let picture = world.picture();
    let error = try_recover(&world).unwrap_err();
    assert!(matches!(error, Cause::TreeLost(_)), "{error}");
    assert!(error.to_string().contains("/opt/web: the directory that was there before the run"), "{error}");
    fs::rename(world.path("opt/lost"), &staged).unwrap();
    assert_ne!(world.picture(), picture);
    try_recover(&world).unwrap();
    assert_eq!(world.picture(), World::new().picture());

    let (world, staged) = died_behind_exchange();
    let list = staged.parent().unwrap().with_file_name("tree.0");
    let text = fs::read_to_string(&list).unwrap();
    let picture = world.picture();
    for damage in [text.replacen("kept/one", "../../../etc", 1), text[..text.len() / 2].to_owned()] {
        fs::write(&list, damage).unwrap();
        let error = try_recover(&world).unwrap_err();
        assert!(error.to_string().contains("the field list of the change of /opt/web"), "{error}");
        assert_eq!(world.picture(), picture, "nothing is touched");
    }
    fs::write(&list, text).unwrap();
    try_recover(&world).unwrap();
    assert_eq!(world.picture(), World::new().picture());
}

#[test]
fn a_replaced_program_loses_its_set_id_bits_and_one_that_stays_keeps_them() {
    let world = World::new();
    fs::set_permissions(world.path("opt/web/kept/one"), fs::Permissions::from_mode(0o4755)).unwrap();
    let held = fs::File::open(world.path("opt/web/bin/httpd")).unwrap();
    assert_eq!(held.metadata().unwrap().mode() & 0o7777, 0o4755);
    exchanged(&world);
    assert_eq!(held.metadata().unwrap().mode() & 0o7777, 0o755);
    let kept =
        ["one", "two"].map(|name| fs::metadata(world.path(&format!("opt/web/kept/{name}"))).unwrap().mode());
    assert_eq!(kept.map(|mode| mode & 0o7777), [0o4755; 2]);
}

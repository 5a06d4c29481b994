//! A run does all or nothing, wherever it is stopped: these tests stop it everywhere.

mod attempts;
mod crash;
mod delivered;
mod exchange;
mod ground;
mod lies;
mod meddling;
mod rebuilt;
mod scripted;
mod set_id;
mod stamp;
mod stored;
mod strays;
mod table;
mod told;
mod two_files;
mod versions;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use super::Phase;
use super::ProgressEvent;
use super::RootCondition;
use super::RunActivity;
use super::RunWatch;
use crate::transaction::error::Cause;
use ground::Ground;
use patchadm_rootfs::Door;
use world::{World, at, new_object, package};

#[test]
fn a_run_changes_everything_that_its_plan_says_and_nothing_else() {
    let world = World::new();
    let before = world.picture();
    let receipt = world.run(Door::default()).unwrap();
    assert_eq!(receipt.notes, Vec::<String>::new());
    let after = world.picture();
    let is = |path: &str| after.get(path).cloned().unwrap_or_default();
    assert!(is("opt/web/bin/httpd").contains("\"bin/httpd\""));
    assert!(is("opt/web/libw.so").contains("-> libw.so.2"));
    assert!(is("opt/web/tree").contains("\"tree\""), "a directory became a file");
    assert!(is("opt/web/flat/leaf").contains("\"flat/leaf\""), "a file became a directory");
    assert!(is("opt/web/bin").starts_with("40700"));
    assert!(!after.contains_key("opt/web/gone") && !after.contains_key("opt/web/empty"));
    assert!(is("var/sadm/install/contents").contains("/opt/web/new d none"));
    assert!(after.contains_key("var/sadm/pkg/ACMEweb/save/100-01/undo.b3"));
    assert!(is("var/sadm/patch/100-01/log").contains("successfully installed"));
    let same = world.live("/opt/web/bin/httpd").unwrap().inode;
    assert_eq!(world.live("/opt/web/bin/httpd2").unwrap().inode, same, "two names of one file");
    assert_ne!(before, after);
    let stages = std::fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap().count();
    assert_eq!(stages, 0, "the stage is dropped");
    assert_eq!(world.recover(), super::Recovered::Nothing);
}

#[test]
fn what_somebody_else_changes_after_the_plan_was_made_is_kept_and_the_run_is_given_up() {
    type Meddle = fn(&World);
    let meddles: [(&str, Meddle); 4] = [
        ("a file is edited", |world| world.file("opt/web/bin/httpd", "by the administrator")),
        ("a file is replaced", |world| {
            std::fs::remove_file(world.path("opt/web/gone")).unwrap();
            world.file("opt/web/gone", "another");
        }),
        ("a file appears", |world| world.file("opt/web/new", "in the way")),
        ("a file vanishes", |world| std::fs::remove_file(world.path("opt/web/gone")).unwrap()),
    ];
    for (what, meddle) in meddles {
        let world = World::new();
        let plan = world.plan();
        meddle(&world);
        let before = world.picture();
        let error = world.run_plan(&plan, Door::default(), &|| None).unwrap_err();
        assert!(matches!(error.cause, Cause::Changed(_) | Cause::Appeared(_)), "{what}: {error}");
        assert_eq!(world.picture(), before, "{what}");
    }
}

#[test]
fn a_source_with_other_bytes_than_its_pkgmap_says_changes_nothing() {
    let world = World::new();
    let before = world.picture();
    let mut plan = world.plan();
    for change in &mut plan.changes {
        if let crate::plan::Action::Replace(crate::plan::NewObject {
            body: crate::plan::Body::Member(member),
            ..
        }) = &mut change.action
        {
            member.cksum = 1;
        }
    }
    let error = world.run_plan(&plan, Door::default(), &|| None).unwrap_err();
    assert_eq!((error.phase, error.left), (Phase::Stage, RootCondition::Unchanged));
    assert!(error.cause.to_string().contains("/opt/web/bin/httpd: file cksum <1>"));
    assert_eq!(world.picture(), before);
}

#[test]
fn a_signal_before_the_commit_leaves_everything_as_before() {
    for patience in 0..40 {
        let world = World::new();
        let before = world.picture();
        let asked = AtomicU32::new(0);
        let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= patience).then_some(15);
        match world.run_plan(&world.plan(), Door::default(), &interrupt) {
            Ok(_) => assert!(asked.load(Ordering::Relaxed) <= patience, "the signal was not seen"),
            Err(error) => {
                assert!(matches!(error.cause, Cause::Interrupted(15)), "{error}");
                assert_eq!(world.picture(), before, "asked {patience} times");
                assert_eq!(world.recover(), super::Recovered::Nothing);
            }
        }
    }
}

#[test]
fn a_signal_ends_the_copy_of_a_file_that_would_take_hours() {
    let world = World::new();
    std::fs::File::create(world.path("opt/web/sparse")).unwrap().set_len(1 << 40).unwrap();
    let mut plan = world.plan();
    let body = crate::plan::Body::CopyOf(at("/opt/web/sparse"));
    plan.changes.push(Box::new(crate::plan::Change {
        package: package(),
        path: at("/opt/web/zz-copy"),
        action: crate::plan::Action::Add(new_object(body, 0o644)),
        old: None,
    }));
    let asked = AtomicU32::new(0);
    let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) > 1_000).then_some(15);
    let error = world.run_plan(&plan, Door::default(), &interrupt).unwrap_err();
    assert!(matches!(error.cause, Cause::Interrupted(15)), "{error}");
    assert_eq!((error.phase, error.left), (Phase::Stage, RootCondition::Unchanged));
}

#[test]
fn what_is_told_of_a_run_adds_up_to_what_was_announced() {
    let world = World::new();
    let told = Mutex::new(Vec::new());
    let progress = |event| match event {
        ProgressEvent::Begins(doing, units) => told.lock().unwrap().push((doing, units, 0)),
        ProgressEvent::Commits | ProgressEvent::Ends => {}
        ProgressEvent::Advances(units) => told.lock().unwrap().last_mut().unwrap().2 += units,
    };
    let watch = RunWatch { interrupt: &|| None, progress: &progress };
    world.run_watched(&world.plan(), Door::default(), watch).unwrap();
    let told = told.into_inner().unwrap();
    let doing: Vec<RunActivity> = told.iter().map(|(doing, _, _)| *doing).collect();
    assert_eq!(doing, [RunActivity::Staging, RunActivity::Saving, RunActivity::Switching]);
    for (doing, announced, done) in told {
        assert!(announced > 0 && announced == done, "{doing:?}: {done} of {announced}");
    }
}

#[test]
fn a_file_system_that_can_do_less_gets_the_same_result() {
    for ground in Ground::POOR {
        let [usual, poor] = [Ground::Usual, ground].map(|how| {
            let world = World::new();
            let receipt = world.run_plan(&ground.plan(&world), how.open_door(), &|| None).unwrap();
            assert_eq!(receipt.notes, Vec::<String>::new(), "{ground:?}");
            let stages = std::fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap().count();
            assert_eq!(stages, 0, "{ground:?}");
            world.picture()
        });
        assert_eq!(poor, usual, "{ground:?}");
    }
}

#[test]
fn a_change_of_type_that_no_rename_can_make_at_once_is_refused_before_anything_is_staged() {
    for (path, reason) in
        [("/opt/web/flat", "would become a directory"), ("/opt/web/tree", "than a directory")]
    {
        let world = World::new();
        let before = world.picture();
        let mut plan = world.plan();
        plan.changes.retain(|change| change.path == at(path) || change.path.is_below(&at(path)));
        let error = world.run_plan(&plan, Ground::NoExchange.open_door(), &|| None).unwrap_err();
        assert!(error.to_string().contains(&format!("{path}: would become")), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!((error.phase, error.left), (Phase::Prepare, RootCondition::Unchanged));
        assert_eq!(world.picture(), before);
    }
}

#[test]
fn a_file_system_on_which_somebody_elses_object_could_be_lost_is_refused_before_anything_is_staged() {
    let world = World::new();
    let before = world.picture();
    let door = Door::watched(|step| match step.call {
        patchadm_rootfs::ChangeCall::Move => Err(Errno::INVAL),
        patchadm_rootfs::ChangeCall::MakeLink => Err(Errno::PERM),
        _ => Ok(()),
    });
    let error = world.run(door).unwrap_err();
    assert!(error.to_string().contains("can neither link a file nor"), "{error}");
    assert_eq!(world.picture(), before);
}

#[test]
fn that_directories_are_gone_is_durable_before_the_journal_says_done() {
    use patchadm_rootfs::ChangeCall;
    let calls = std::sync::Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let door = Door::default().witnessed(move |step, _| {
        noted.lock().unwrap().push((step.call, step.path.to_string()));
    });
    World::new().run(door).unwrap();
    let calls = calls.lock().unwrap();
    let gone = (ChangeCall::RemoveDirectory, "/opt/web/empty".to_owned());
    let gone = calls.iter().position(|call| *call == gone).unwrap();
    let marks = |(call, path): &(ChangeCall, String)| {
        *call == ChangeCall::OpenWrite && path == "/var/sadm/patchadm/journal"
    };
    let done = gone + calls[gone..].iter().position(marks).unwrap();
    assert!(calls[gone..done].iter().any(|(call, _)| *call == ChangeCall::SyncFileSystem), "{calls:?}");
}

#[test]
fn an_unsorted_database_is_sorted_on_the_next_change() {
    let world = World::new();
    let text = std::fs::read_to_string(world.path("var/sadm/install/contents")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(0, 2);
    world.file("var/sadm/install/contents", &(lines.join("\n") + "\n"));
    world.run(Door::default()).unwrap();
    let merged = std::fs::read_to_string(world.path("var/sadm/install/contents")).unwrap();
    let paths: Vec<_> = merged.lines().filter(|l| !l.starts_with('#')).collect();
    assert!(paths.is_sorted(), "{merged}");
    assert!(world.live(&at("/opt/web/new").to_string()).is_some());
}

#[test]
fn a_record_is_never_made_where_a_link_leads_to_nothing_and_always_where_it_leads_to_a_directory() {
    let linked = |target_is_there: bool| {
        let world = World::new();
        let plan = world.plan();
        let (pkg, moved) = (world.path("var/sadm/pkg"), world.path("opt/pkg"));
        std::fs::rename(&pkg, &moved).unwrap();
        std::os::unix::fs::symlink("/opt/pkg", &pkg).unwrap();
        if !target_is_there {
            std::fs::rename(&moved, world.path("opt/away")).unwrap();
        }
        let before = world.picture();
        let result = world.run_plan(&plan, Door::default(), &|| None);
        (result, before == world.picture())
    };
    let (result, is_unchanged) = linked(false);
    assert!(matches!(result.unwrap_err().cause, Cause::Changed(path) if path.ends_with("/var/sadm/pkg")));
    assert!(is_unchanged);
    assert!(linked(true).0.is_ok());
}

/// A layer above that keeps no ledgers.
#[derive(Debug)]
pub(super) struct NoLedgers;

impl crate::transaction::settings::Ledgers for NoLedgers {
    fn draft<'p>(
        &self,
        _root: &patchadm_rootfs::Root,
        _plan: &crate::plan::Plan,
        _change: &'p crate::plan::LedgerChange,
    ) -> Result<Option<Box<dyn crate::transaction::settings::LedgerDraft + 'p>>, Cause> {
        Ok(None)
    }
}

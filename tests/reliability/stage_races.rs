//! Root works on stages whose surroundings belong to somebody else: the directory above a stage is exchanged with
//! another one in a tight loop, and directories in a stage that belong to a user change places at the worst moment.
//! Root refreshes, enters and makes the stage that it has checked, and nothing gets to any other place.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use patchadm_core::operation::stages::StageError;
use patchadm_core::operation::stages::refresh::{RefreshRequest, refresh_stage};
use patchadm_rootfs::{ChangeCall, Door, Root};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::canary::Canary;
use super::stories::with_caller;
use super::{figures, sample_or_whole};
use crate::everyman::NOBODY;
use crate::scenario::{Scenario, is_root};
use crate::stage_enter::StagedRoot;
use crate::stage_rights::{give, root_with_set_id_program, set_mode};
use crate::tree::Tree;

/// Exit codes that are no accident.
const ENDS: [i32; 6] = [0, 1, 3, 4, 5, 125];

fn exchange(here: &Path, there: &Path) -> bool {
    renameat_with(CWD, here, CWD, there, RenameFlags::EXCHANGE).is_ok()
}

/// Exchanges two names again and again while `work` runs, and puts them right. Returns its result, and the number of
/// exchanges.
fn exchanging<T>(here: &Path, there: &Path, work: impl FnOnce() -> T) -> (T, u64) {
    let stop = AtomicBool::new(false);
    let (done, count) = thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                count += u64::from(exchange(here, there));
            }
            count
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        (done, swapping.join().unwrap())
    });
    if count % 2 == 1 {
        assert!(exchange(here, there));
    }
    (done, count)
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// A directory of a user beside the root, in which root has a stage and the user a copy of it.
fn stage_below_a_user(live: &Scenario) {
    fs::create_dir(live.beside("open")).unwrap();
    chown(live.beside("open"), Some(NOBODY), Some(NOBODY)).unwrap();
    live.run("stage new open/web -R @ROOT@ --path usr/pkg").ok();
    copied(&live.beside("open/web"), &live.beside("open/other"));
}

in_parts!(root_refreshes_the_stage_that_it_has_judged_while_somebody_exchanges_the_directory, refresh, 2);

/// Plays a part of the refreshes.
fn refresh(_: usize, parts: usize) {
    if !is_root() {
        return crate::skipped("root_refreshes_the_stage…: another user is needed");
    }
    let live = root_with_set_id_program();
    stage_below_a_user(&live);
    let outside = live.beside("outside");
    fs::create_dir_all(outside.join("usr/pkg/bin")).unwrap();
    symlink(&outside, live.beside("open/other/.patchadm-stage/refresh")).unwrap();
    give(&live.beside("open/other"), NOBODY);
    let theirs = |live: &Scenario| Tree::of(&live.beside("open/other"), &[]);
    let (before, mut canary) = (theirs(&live), Canary::watch(&outside));
    let (trials, mut swaps, mut refreshed) = (sample_or_whole(60, 1500) / parts as u64, 0, 0);
    for number in 0..trials {
        live.file("/usr/pkg/bin/tool", format!("tool {number}\n"));
        live.mode("/usr/pkg/bin/tool", 0o755);
        let (run, count) = exchanging(&live.beside("open/web"), &live.beside("open/other"), || {
            live.run("stage refresh open/web -R @ROOT@")
        });
        assert!(ENDS.contains(&run.code), "{run:?}");
        assert_eq!((canary.events(), canary.changes()), (vec![], vec![]), "{run:?}");
        assert!(theirs(&live) == before, "{run:?}\n{}", before.difference(&theirs(&live)));
        swaps += count;
        refreshed += u64::from(run.code == 0);
        live.run("stage refresh open/web -R @ROOT@").ok();
        let brought = fs::read_to_string(live.beside("open/web/usr/pkg/bin/tool")).unwrap();
        assert_eq!(brought, format!("tool {number}\n"));
    }
    let told = [("refreshes", trials), ("of them done", refreshed), ("exchanges", swaps), ("escapes", 0)];
    figures("stage-races-refresh", &told);
}

#[test]
fn root_enters_the_stage_that_it_has_judged_while_somebody_exchanges_the_directory() {
    let test = "root_enters_the_stage…";
    let Some(staged) = StagedRoot::for_caller(test).filter(|_| is_root()) else {
        return crate::skipped(&format!("{test}: another user is needed"));
    };
    let (stage, other) = (staged.stage(), staged.scenario.beside("theirs/other"));
    chown(staged.scenario.beside("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    copied(&stage, &other);
    fs::write(other.join("opt/web/bin/httpd"), "theirs\n").unwrap();
    give(&other, NOBODY);
    let (trials, mut swaps, mut entered) = (sample_or_whole(40, 1000), 0, 0);
    for view in ["root", "stage"].into_iter().cycle().take(usize::try_from(trials).unwrap()) {
        let view = format!("--view {view}");
        let work = || staged.enter(&view, &["cat", "/opt/web/bin/httpd"]);
        let (run, count) = exchanging(&stage, &other, work);
        assert!(ENDS.contains(&run.code), "{run:?}");
        assert!(["", "staged\n"].contains(&run.stdout.as_str()), "{run:?}");
        swaps += count;
        entered += u64::from(run.code == 0);
    }
    let told = [("entries", trials), ("of them done", entered), ("exchanges", swaps), ("escapes", 0)];
    figures("stage-races-enter", &told);
}

#[test]
fn root_makes_a_stage_in_the_directory_that_it_made_while_somebody_exchanges_it() {
    if !is_root() {
        return crate::skipped("root_makes_a_stage…: another user is needed");
    }
    let live = root_with_set_id_program();
    let (outside, open) = (live.beside("outside"), live.beside("open"));
    for directory in [&outside, &open] {
        fs::create_dir(directory).unwrap();
        chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut canary = Canary::watch(&outside);
    let (trials, mut swaps, mut made) = (sample_or_whole(60, 1500), 0, 0);
    for _ in 0..trials {
        let (here, there) = (open.join("web"), open.join("other"));
        symlink(&outside, &there).unwrap();
        let line = "stage new open/web -R @ROOT@ --path usr/pkg";
        let (run, count) = exchanging(&here, &there, || live.run(line));
        assert!(ENDS.contains(&run.code), "{run:?}");
        assert_eq!((canary.events(), canary.changes()), (vec![], vec![]), "{run:?}");
        swaps += count;
        made += u64::from(run.code == 0);
        fs::remove_file(&there).unwrap();
        if here.exists() {
            fs::remove_dir_all(&here).unwrap();
        }
        fs::remove_file(live.at("/var/sadm/patchadm/stages")).unwrap_or_default();
    }
    let told = [("stages", trials), ("of them done", made), ("exchanges", swaps), ("escapes", 0)];
    figures("stage-races-new", &told);
}

/// A user who owns a directory of the live tree owns it in the stage of root, too.
#[test]
fn nothing_comes_into_a_directory_that_its_user_has_put_there_since_the_decision() {
    if !is_root() {
        return crate::skipped("nothing_comes_into_a_directory…: another user is needed");
    }
    let live = root_with_set_id_program();
    live.directory("/usr/pkg/home/private");
    chown(live.at("/usr/pkg/home"), Some(NOBODY), Some(NOBODY)).unwrap();
    set_mode(&live.at("/usr/pkg/home/private"), 0o700);
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let home = live.beside("web/usr/pkg/home");
    let theirs = live.beside("web/usr/pkg/home/mine");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    let inode = fs::metadata(&theirs).unwrap().ino();
    live.file("/usr/pkg/home/private/key", "secret\n");
    live.file("/usr/pkg/home/private/more/key", "secret\n");
    let is_done = Arc::new(AtomicBool::new(false));
    let once = is_done.clone();
    let place = home.clone();
    let door = Door::watched(move |step| {
        // The first copy is made, so everything is decided.
        let is_copy = step.call == ChangeCall::Create && step.path.as_bytes().ends_with(b"/key");
        if is_copy && !once.swap(true, Ordering::Relaxed) {
            assert!(exchange(&place.join("private"), &place.join("mine")));
        }
        Ok(())
    });
    let root = Root::open_with(&live.root(), door).unwrap();
    let request = RefreshRequest { stage: live.beside("web").into_os_string(), ..RefreshRequest::default() };
    let refreshed = with_caller(|caller| refresh_stage(&root, &request, caller));
    assert!(is_done.load(Ordering::Relaxed), "it was never exchanged");
    assert!(matches!(refreshed, Err(StageError::Changing(_))), "{refreshed:?}");
    let now = home.join("private");
    assert_eq!(fs::metadata(&now).unwrap().ino(), inode);
    assert_eq!(fs::read_dir(&now).unwrap().count(), 0, "nothing came into the user's directory");
    // Once the directories are put right, the refresh completes.
    assert!(exchange(&home.join("private"), &home.join("mine")));
    live.run("stage refresh web -R @ROOT@").ok();
    assert_eq!(fs::read_to_string(home.join("private/more/key")).unwrap(), "secret\n");
}

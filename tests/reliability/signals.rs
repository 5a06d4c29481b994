//! Signals: the first one rolls a run back, more of them change nothing about that, and after the commit none has an
//! effect. A report that nobody reads does not end a command either.

use std::io::pipe;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::packages::Package;
use crate::reliability::killed::{ADD, REMOVE, Trials, journal, strays};
use crate::reliability::{figures, sample_or_whole};
use crate::scenario::Scenario;

const SIGNALS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// Starts a command and waits until its journal is published, or it has ended.
fn switching(stage: &Scenario, line: &str, at: &Path) -> Child {
    let last = journal(at).map(|(run, _)| run);
    let mut child = stage.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let is_published = || journal(at).is_some_and(|(run, open)| open && Some(&run) != last.as_ref());
    while child.try_wait().unwrap().is_none() && !is_published() {
        thread::sleep(Duration::from_micros(100));
    }
    child
}

/// Sends signals of each kind in turn until the command has ended. Returns its status, and the number of signals.
fn pester(mut child: Child, first: usize) -> (ExitStatus, usize) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    for sent in 0.. {
        // A process that has not been waited for keeps its number, even if it has ended.
        if let Some(status) = child.try_wait().unwrap() {
            return (status, sent);
        }
        assert!(sent < 100_000, "it does not end");
        kill_process(pid, SIGNALS[(first + sent) % SIGNALS.len()]).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    unreachable!()
}

#[test]
fn more_signals_do_not_break_a_rollback() {
    let mut trials = Trials::new(0x5eed_0011);
    let journal = trials.journal();
    let (mut rolled_back, mut most) = (0_u64, 0);
    let enough = sample_or_whole(4, 60);
    for trial in 0..1200 {
        if rolled_back == enough {
            break;
        }
        let was = trials.applied;
        let child = switching(&trials.stage, if was { REMOVE } else { ADD }, &journal);
        let (status, sent) = pester(child, trial);
        trials.applied = trials.is_applied(&format!("trial {trial}"));
        assert_eq!(strays(&trials.stage), Vec::<String>::new(), "trial {trial}");
        assert_eq!(trials.stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
        if trials.applied == was {
            let codes = SIGNALS.map(|signal| Some(128 + signal.as_raw()));
            assert!(codes.contains(&status.code()), "trial {trial}, {sent} signals: {status:?}");
            rolled_back += 1;
            most = most.max(sent);
        } else {
            assert_eq!((status.code(), status.signal()), (Some(0), None), "trial {trial}");
        }
    }
    assert_eq!(rolled_back, enough, "signals come too late");
    assert!(most > 2, "no rollback took a second signal");
    figures("signals", &[("rollbacks under fire", rolled_back), ("third states", 0)]);
}

#[test]
fn pkgadd_and_pkgrm_are_rolled_back_by_a_signal_and_end_with_3() {
    let stage = Scenario::new();
    let at = stage.at("/var/sadm/patchadm/journal");
    let mut package = Package::new("ACMEweb");
    for number in 0..400 {
        package = package.file(&format!("share/{number:04}"), 0o644, format!("{number}\n"));
    }
    package.write(&stage.beside("spool"));
    let (add, remove) = ("pkgadd -n -R @ROOT@ -d spool ACMEweb", "pkgrm -n -R @ROOT@ ACMEweb");
    let state = || (stage.tree(), stage.lines());
    let absent = state();
    assert_eq!(stage.run(add).code, 0);
    let present = state();
    stage.run(remove);
    assert!(state() == absent && absent != present);
    let (mut is_there, mut rolled_back) = (false, [false, false]);
    for trial in 0..100 {
        if rolled_back == [true, true] {
            return;
        }
        // Gives both commands their turn.
        if is_there != rolled_back[0] {
            stage.run(if is_there { remove } else { add });
            is_there = !is_there;
        }
        let (status, _) = pester(switching(&stage, if is_there { remove } else { add }, &at), trial);
        let as_before = state() == if is_there { present.clone() } else { absent.clone() };
        if as_before {
            assert_eq!(status.code(), Some(3), "trial {trial}: {status:?}");
            rolled_back[usize::from(is_there)] = true;
        } else {
            assert!(state() == if is_there { absent.clone() } else { present.clone() }, "a third state");
            assert_eq!(status.code(), Some(0), "trial {trial}");
            is_there = !is_there;
        }
        assert_eq!(strays(&stage), Vec::<String>::new());
    }
    panic!("signals come too late: {rolled_back:?}");
}

#[test]
fn what_was_changed_is_told_by_the_code_when_nobody_reads_the_report() {
    let trials = Trials::new(0x5eed_0012);
    let without_reader = |line: &str| {
        // The reader is gone before the command begins: otherwise a short report would fit into the pipe.
        let (reader, report) = pipe().unwrap();
        drop(reader);
        trials.stage.command(line).stdout(report).stderr(Stdio::null()).status().unwrap().code()
    };
    for (line, is_applied) in [(ADD, true), (REMOVE, false)] {
        assert_eq!(without_reader(line), Some(0), "{line}");
        assert_eq!(trials.is_applied(line), is_applied);
        let refused = trials.stage.run(line).code;
        assert!(refused != 0);
        assert_eq!(without_reader(line), Some(refused), "{line}");
    }
    assert_eq!(without_reader("showrev -p -R @ROOT@"), Some(141), "a query has done nothing that counts");
}

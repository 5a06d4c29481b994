//! Commands under injected errors: the phase of the run in which each change happens, read from the disk rather than
//! from the program's output, and the exit code and message with which the command ends.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use patchadm_changeset::format::journal::{JournalEntry, Op, OpKind, RunOutcome, parse_head};
use patchadm_cli::reply::failure;
use patchadm_planning::plan::refusal;
use patchadm_rootfs::{ChangeCall, Door, RootChange};
use rustix::io::Errno;

use crate::reliability::stories::{Command, OUTSIDE, Story, Trial};

/// The phase of a run in which a change happens, as far as exit codes distinguish phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// History and logs are opened to check that they record the previous run, or the cache of library data is written.
    /// The run itself has not begun.
    LookingBack,
    /// New objects are written beside their destinations, or room is made for them.
    Staging,
    /// Old objects are saved.
    Saving,
    /// Records are written beside their destinations, everything is made durable, and the journal gets its name.
    Recording,
    /// The journal has its name.
    Switching,
    /// The outcome is written.
    Committing,
    /// The outcome is written and durable.
    Finishing,
}

/// A change that a command makes.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) call: ChangeCall,
    /// The path, with `RUN` in place of the name of the run.
    pub(crate) path: String,
    pub(crate) moment: Moment,
    /// Number of runs that had been committed before.
    pub(crate) committed: usize,
}

/// State of a root's journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Journal {
    Closed,
    Open,
    Committed,
}

fn journal(root: &Path) -> Journal {
    let bytes = fs::read(root.join("var/sadm/patchadm/journal")).unwrap_or_default();
    match bytes.get(..4096).map(parse_head) {
        Some(Ok(head)) if head.is_open() => Journal::Open,
        Some(Ok(head)) if !head.done && head.outcome == Some(RunOutcome::Commit) => Journal::Committed,
        _ => Journal::Closed,
    }
}

/// Names that contain a run: the text before it and the text after it.
const NAMES_OF_RUN: [(&str, &str); 5] =
    [("", ""), ("ops-", ""), ("ops-", ".new"), ("undo-", ".gz"), ("undo.", ".tmp")];

/// Prefix of the temporary name of the cache of library data.
const ELF_CACHE: &str = ".elf-cache-";

/// True if the path is the temporary name of the cache of library data.
pub(crate) fn is_elf_cache(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(ELF_CACHE))
}

/// Replaces the name of a run by `RUN`, and the directory beside a root by `BESIDE`: both names are random.
fn without_run(path: &str) -> String {
    // Undo directories inside a root have the same name.
    let outside = path.split_once(&format!("/{OUTSIDE}/"));
    let path = match outside.filter(|(above, _)| !above.ends_with("patchadm")) {
        Some((_, below)) => format!("/BESIDE/{OUTSIDE}/{below}"),
        None => path.to_owned(),
    };
    let is_nonce = |word: &str| word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_run = |part: &str| match part.split_once('-') {
        Some((number, nonce)) => is_nonce(nonce) && number.bytes().all(|byte| byte.is_ascii_digit()),
        None => false,
    };
    let part = |part: &str| {
        if part.starts_with(".patchadm-stage-") {
            return ".patchadm-stage-NAME".to_owned();
        }
        if part.starts_with(ELF_CACHE) {
            return format!("{ELF_CACHE}NAME");
        }
        let run = |(before, after): &&(&str, &str)| {
            part.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(is_run)
        };
        let form = NAMES_OF_RUN.iter().find(run);
        form.map_or_else(|| part.to_owned(), |(before, after)| format!("{before}RUN{after}"))
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The changes that a command makes when nothing goes wrong, in order.
pub(crate) fn course(story: &Story) -> Vec<Change> {
    let trial = Trial::of(story);
    let (noted, root) = (Arc::new(Mutex::new(Vec::new())), trial.root());
    let notes = noted.clone();
    let door = Door::watched(move |step| {
        notes.lock().unwrap().push((step.call, without_run(&step.path.to_string()), journal(&root)));
        Ok(())
    });
    trial.perform(&story.whole, door).unwrap_or_else(|error| panic!("{}: {error}", story.name));
    let noted = std::mem::take(&mut *noted.lock().unwrap());
    let rewritten = rewritten_archives(&trial.root());
    let is_journal = |path: &str| path == "/var/sadm/patchadm/journal";
    let (mut changes, mut committed): (Vec<Change>, usize) = (Vec::new(), 0);
    for (number, (call, path, journal)) in noted.iter().enumerate() {
        let was = changes.last().map(|change| change.moment);
        let moment = match journal {
            Journal::Closed if is_looking_back(*call, path) => Moment::LookingBack,
            Journal::Closed
                if is_saved(&noted, number) || rewritten.iter().any(|file| path.ends_with(file)) =>
            {
                Moment::Saving
            }
            // Data that a stage keeps for the next promotion, written when its run is over.
            Journal::Closed if was == Some(Moment::Finishing) && path.starts_with("/.patchadm-stage/") => {
                Moment::Finishing
            }
            Journal::Closed if is_staged(*call, path) => Moment::Staging,
            Journal::Closed => Moment::Recording,
            Journal::Open => Moment::Switching,
            Journal::Committed if is_journal(path) && was == Some(Moment::Switching) => {
                // The previous change wrote the outcome; this one makes it durable.
                assert_eq!((*call, changes[number - 1].call), (ChangeCall::Sync, ChangeCall::Write));
                changes[number - 1].moment = Moment::Committing;
                Moment::Committing
            }
            Journal::Committed => Moment::Finishing,
        };
        if was == Some(Moment::Finishing) && moment != Moment::Finishing {
            committed += 1;
        }
        changes.push(Change { call: *call, path: path.clone(), moment, committed });
    }
    changes
}

/// The staged files that replaced undo archives in the last run of a root, and the manifests that remain of archives
/// that were given up.
fn rewritten_archives(root: &Path) -> Vec<String> {
    let journal = fs::read(root.join("var/sadm/patchadm/journal")).unwrap_or_default();
    // After the sectors, each line is a checksum and its payload.
    let lines = journal.get(4096..).unwrap_or_default().split(|byte| *byte == b'\n');
    let entries = lines.filter_map(|line| serde_json::from_slice(line.get(9..)?).ok());
    let is_rewritten = |op: &Op| {
        let path = op.path.to_string();
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_archive = ["undo", "obsolete"].iter().any(|stem| {
            name.strip_prefix(stem)
                .is_some_and(|suffix| ["", ".gz", ".Z", ".zst", ".xz", ".files"].contains(&suffix))
        });
        // Undo data in another form has another name.
        let is_written = matches!(op.kind, OpKind::Replace | OpKind::Add);
        is_written && is_archive || path.ends_with("/manifest.gz")
    };
    let rewritten = entries.filter_map(|entry| match entry {
        JournalEntry::Op(op) if is_rewritten(&op) => Some(format!("/RUN/{}", op.stage)),
        _ => None,
    });
    rewritten.collect()
}

/// True if a change opens history or a log, or writes the cache of library data. Before a commit, history and logs are
/// opened only by the next run, to complete the previous one.
fn is_looking_back(call: ChangeCall, path: &str) -> bool {
    call == ChangeCall::OpenWrite && (path.ends_with("/history") || path.ends_with("/log"))
        || is_elf_cache(path)
}

/// True if a change belongs to a directory of records that gets an undo archive, or to one beside the root. The archive
/// is written first, then its digest; if the digest comes first, both came from a stage and are copied like any record.
fn is_saved(noted: &[(ChangeCall, String, Journal)], number: usize) -> bool {
    // An old file that cannot stay is copied.
    if noted[number].1.starts_with("/BESIDE/") || noted[number].1.contains("/RUN/o/copy-") {
        return true;
    }
    let Some((_, rest)) = noted[number].1.split_once("/RUN/db/") else { return false };
    let staged = format!("/RUN/db/{}/undo", rest.split('/').next().unwrap());
    // Only the changes of the same run: between two runs the journal was seen in another state.
    let same = |(_, _, journal): &&(ChangeCall, String, Journal)| *journal == Journal::Closed;
    let (before, after) = noted.split_at(number);
    let begun = before.iter().rev().take_while(same).collect::<Vec<_>>().into_iter().rev();
    let mut run = begun.chain(after.iter().take_while(same));
    run.find(|(_, path, _)| path.contains(&staged)).is_some_and(|(_, path, _)| !path.ends_with("/undo.b3"))
}

fn is_staged(call: ChangeCall, path: &str) -> bool {
    // The file is created before the first stage, and the journal's copies are written with it.
    if path.ends_with("/patchadm/journal.new") {
        return matches!(call, ChangeCall::Create | ChangeCall::Unlink);
    }
    let in_stage = path.split_once("/stage/RUN/").map(|(_, name)| name);
    if in_stage.is_some_and(|name| name.starts_with("journal") || name.starts_with("ops-")) {
        return false;
    }
    let is_record = path.contains("/RUN/db/") && !path.contains("/RUN/db/held");
    let is_of_stage = path.contains("/stage/RUN") || path.ends_with("/patchadm") || path.ends_with("/stage");
    is_of_stage && !is_record && !matches!(call, ChangeCall::SyncFileSystem | ChangeCall::Sync)
}

/// A door that lets `number` changes through and then answers `errno`: once, or always.
///
/// The failed change is recorded, because its number does not identify it: undo data contains random names, so
/// compressing it may take one write more or less.
pub(crate) fn failing(number: usize, errno: Errno, always: bool) -> (Door, Met) {
    let (passed, met) = (Mutex::new(0), Met::default());
    let keep = met.clone();
    let door = Door::watched(move |step: &RootChange<'_>| {
        let mut passed = passed.lock().unwrap();
        *passed += 1;
        if *passed == number + 1 {
            *keep.lock().unwrap() = Some((step.call, without_run(&step.path.to_string())));
        }
        if *passed == number + 1 || always && *passed > number { Err(errno) } else { Ok(()) }
    });
    (door, met)
}

/// The change that failed first.
pub(crate) type Met = Arc<Mutex<Option<(ChangeCall, String)>>>;

/// The change of the course that failed: the nearest one of the same kind.
pub(crate) fn met_change(changes: &[Change], number: usize, met: &Met) -> Result<Change, String> {
    let Some((call, path)) = met.lock().unwrap().clone() else {
        return Err("nothing failed".to_owned());
    };
    let like = changes.iter().enumerate().filter(|(_, change)| change.call == call && change.path == path);
    let nearest = like.min_by_key(|(at, _)| at.abs_diff(number)).map(|(_, change)| change.clone());
    nearest.ok_or_else(|| format!("the course has no {call:?} of {path}"))
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: u8,
    /// The output: the classic message of a failure, or the notes of a success.
    pub(crate) text: String,
}

/// The command whose exit codes apply.
pub(crate) fn program(command: &Command) -> refusal::Command {
    match command {
        Command::Apply { .. } | Command::ApplyAdopting(_) | Command::ApplyOnTrial(_) => {
            refusal::Command::Patchadd
        }
        Command::Confirm | Command::Expire => refusal::Command::Confirm,
        Command::BackOut(_) | Command::BackOutByScripts(_) | Command::Undo => refusal::Command::Patchrm,
        Command::Add { .. } | Command::Update { .. } | Command::Repair(_) => refusal::Command::Pkgadd,
        Command::Remove(_) => refusal::Command::Pkgrm,
        Command::Adopt { .. } | Command::AdoptAll => refusal::Command::Adopt,
        Command::Refresh => refusal::Command::AdoptRefresh,
        Command::Forget(_) => refusal::Command::Forget,
        Command::Commit(_) => refusal::Command::Commit,
        Command::Repack(..) => refusal::Command::Repack,
        Command::UndoExport(_) => refusal::Command::UndoExport,
        Command::UndoImport(_) => refusal::Command::UndoImport,
        Command::Promote => refusal::Command::Promote,
        Command::Exchange(_, inner) => program(inner),
    }
}

/// Performs the command through a door.
pub(crate) fn attempt(trial: &Trial, command: &Command, door: Door) -> Ended {
    match trial.perform(command, door) {
        Ok(notes) => Ended { code: 0, text: notes.join("\n") },
        Err(failed) => {
            let program = program(command);
            let text = failure::classic(Path::new("/"), program, None, &failed);
            Ended { code: failure::code(program, &failed).code(), text }
        }
    }
}

/// The exit code with which a command ends when a change fails.
pub(crate) fn expected_code(command: &Command, moment: Moment, errno: Errno) -> u8 {
    if let Command::Exchange(_, inner) = command {
        return expected_code(inner, moment, errno);
    }
    let is_full = matches!(errno, Errno::NOSPC | Errno::DQUOT);
    let by = |patchadd, patchrm| match command {
        Command::Apply { .. }
        | Command::ApplyAdopting(_)
        | Command::ApplyOnTrial(_)
        | Command::Adopt { .. }
        | Command::AdoptAll
        | Command::Refresh
        | Command::Forget(_)
        | Command::Promote => patchadd,
        Command::BackOut(_)
        | Command::BackOutByScripts(_)
        | Command::Undo
        | Command::Confirm
        | Command::Expire
        | Command::Commit(_)
        | Command::Repack(..)
        | Command::UndoExport(_)
        | Command::UndoImport(_) => patchrm,
        Command::Add { .. }
        | Command::Update { .. }
        | Command::Remove(_)
        | Command::Repair(_)
        | Command::Exchange(..) => 1,
    };
    match moment {
        _ if errno == Errno::INTR => 0,
        // The trial is stuck: the code only tells whether the file system is full.
        Moment::Staging | Moment::Saving | Moment::Recording | Moment::Switching
            if matches!(command, Command::Expire) =>
        {
            if is_full {
                18
            } else {
                4
            }
        }
        Moment::Staging | Moment::Saving | Moment::Recording | Moment::Switching
            if is_full
                && matches!(
                    command,
                    Command::Repack(..) | Command::UndoExport(_) | Command::UndoImport(_)
                ) =>
        {
            7
        }
        Moment::Staging if is_full => by(18, 20),
        // An imported archive is copied like any record.
        Moment::Saving if matches!(command, Command::UndoImport(_)) => 5,
        Moment::Saving => by(4, 7),
        Moment::Staging | Moment::Recording | Moment::Switching => by(5, 5),
        Moment::Committing => 65,
        Moment::LookingBack | Moment::Finishing => 0,
    }
}

/// The sentence that describes the state of the root after a single error.
pub(crate) fn expected_state(moment: Moment) -> &'static str {
    match moment {
        Moment::Staging | Moment::Saving | Moment::Recording => "Nothing was changed.",
        Moment::Switching => "The changes that had begun were undone: everything is as before.",
        Moment::Committing => "It is unknown whether the change is durable.\nRun `patchadm recover`.",
        Moment::LookingBack | Moment::Finishing => "",
    }
}

/// The operating system's message for an error.
pub(crate) fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap().to_owned()
}

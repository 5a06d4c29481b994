//! A command that meets errors: where in its course each change stands, read from the disk and not from what the
//! program says, and the exit code and words with which it ends.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use patchadm_changeset::format::journal::{JournalEntry, Op, OpKind, RunOutcome, parse_head};
use patchadm_cli::reply::failure;
use patchadm_planning::plan::refusal;
use patchadm_rootfs::{ChangeCall, Door, RootChange};
use rustix::io::Errno;

use crate::reliability::stories::{Command, OUTSIDE, Story, Trial};

/// Where a change stands in the course of a run, as far as codes tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// History and logs are opened, to see whether they have what the run before did, or the cache of what is known of
    /// libraries is written. The run itself has not begun.
    LookingBack,
    /// New objects are written beside their places, or room is made for them.
    Staging,
    /// Old objects are saved.
    Saving,
    /// Records are written beside their places, everything is made durable, the journal gets its name.
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
    /// Its path, with `RUN` for the run.
    pub(crate) path: String,
    pub(crate) moment: Moment,
    /// How many runs had been committed before.
    pub(crate) committed: usize,
}

/// What the journal of a root says.
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

/// The names that have a run in them: what stands before it and behind it.
const NAMES_OF_RUN: [(&str, &str); 5] =
    [("", ""), ("ops-", ""), ("ops-", ".new"), ("undo-", ".gz"), ("undo.", ".tmp")];

/// The first part of the name that the cache of what is known of libraries has until it is whole.
const ELF_CACHE: &str = ".elf-cache-";

/// Tells whether a path is that of the cache of what is known of libraries, before it is whole.
pub(crate) fn is_elf_cache(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(ELF_CACHE))
}

/// The path with `RUN` for what has the form of a run, and `BESIDE` for the directory beside a root: both have random
/// names.
fn without_run(path: &str) -> String {
    // Undo directories of a root have the same name.
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

/// The changes that a command makes when nothing goes wrong, in their order.
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
            // What a stage keeps for the next promotion, when its run is over.
            Journal::Closed if was == Some(Moment::Finishing) && path.starts_with("/.patchadm-stage/") => {
                Moment::Finishing
            }
            Journal::Closed if is_staged(*call, path) => Moment::Staging,
            Journal::Closed => Moment::Recording,
            Journal::Open => Moment::Switching,
            Journal::Committed if is_journal(path) && was == Some(Moment::Switching) => {
                // The one before wrote the outcome, this makes it durable.
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

/// The staged files that took the places of undo archives in the last run of a root, and the manifests that stay of those
/// that were given up.
fn rewritten_archives(root: &Path) -> Vec<String> {
    let journal = fs::read(root.join("var/sadm/patchadm/journal")).unwrap_or_default();
    // Behind the sectors each line is a checksum and what it is of.
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

/// Whether a change opens history or a log, which before a commit only the next run does, for the one before it; or writes
/// the cache of what is known of libraries.
fn is_looking_back(call: ChangeCall, path: &str) -> bool {
    call == ChangeCall::OpenWrite && (path.ends_with("/history") || path.ends_with("/log"))
        || is_elf_cache(path)
}

/// Whether a change belongs to a directory of records that gets an undo archive, or to one beside the root. The archive is
/// written first, then its digest; where the digest comes first, both came from a stage and are copied like any record.
fn is_saved(noted: &[(ChangeCall, String, Journal)], number: usize) -> bool {
    // An old file that cannot stay is copied.
    if noted[number].1.starts_with("/BESIDE/") || noted[number].1.contains("/RUN/o/copy-") {
        return true;
    }
    let Some((_, rest)) = noted[number].1.split_once("/RUN/db/") else { return false };
    let staged = format!("/RUN/db/{}/undo", rest.split('/').next().unwrap());
    // Those of the same run: of another one the journal was seen in between.
    let same = |(_, _, journal): &&(ChangeCall, String, Journal)| *journal == Journal::Closed;
    let (before, after) = noted.split_at(number);
    let begun = before.iter().rev().take_while(same).collect::<Vec<_>>().into_iter().rev();
    let mut run = begun.chain(after.iter().take_while(same));
    run.find(|(_, path, _)| path.contains(&staged)).is_some_and(|(_, path, _)| !path.ends_with("/undo.b3"))
}

fn is_staged(call: ChangeCall, path: &str) -> bool {
    // Its place is made before the first stage, and its copies are written with it.
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

/// A door through which so many changes pass, then `errno` is the answer: once, or always.
///
/// What is met is kept: compressed undo data, in which random names are, takes a write more or less.
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

/// Which change of the course that was: the nearest one of the same kind.
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
    /// What it said: of a failure the words of the classic command, of a success its notes.
    pub(crate) text: String,
}

/// Which command it is, for its codes.
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

/// Does it, through a door.
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

/// The code with which a command ends when a change fails.
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
        // The trial is stuck: nothing is known of the reason but whether there is room.
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
        // An archive that comes back is copied as any record is.
        Moment::Saving if matches!(command, Command::UndoImport(_)) => 5,
        Moment::Saving => by(4, 7),
        Moment::Staging | Moment::Recording | Moment::Switching => by(5, 5),
        Moment::Committing => 65,
        Moment::LookingBack | Moment::Finishing => 0,
    }
}

/// The sentence that says what the root is like after a single error.
pub(crate) fn expected_state(moment: Moment) -> &'static str {
    match moment {
        Moment::Staging | Moment::Saving | Moment::Recording => "Nothing was changed.",
        Moment::Switching => "The changes that had begun were undone: everything is as before.",
        Moment::Committing => "It is unknown whether the change is durable.\nRun `patchadm recover`.",
        Moment::LookingBack | Moment::Finishing => "",
    }
}

/// What the system says of an error.
pub(crate) fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap().to_owned()
}

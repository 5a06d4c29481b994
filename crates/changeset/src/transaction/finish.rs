//! What comes after the outcome: directories that became empty go, the run is told of, the stage is dropped.
//!
//! Everything here may fail or be cut and be done again; a failure is a note, never another outcome.

use std::path::Path;

use rustix::io::Errno;

use super::dirs::Dirs;
use super::error::Cause;
use super::hands::Hands;
use super::identity::is_same_inode;
use super::journal_file;
use super::notes;
use super::outside::{Ending, HostDirectories, unpublished_name};
use super::set_id::take_bits;
use super::sites::{drop_objects, drop_stages, make_own_directory};
use crate::format::history;
use crate::format::journal::{Journal, Op, OpKind, Outcome};
use crate::outside::Outside;
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, FileType, Lock, Root, WritableFile};

/// Finishes a run whose outcome is written. Notes say what could not be done.
pub(super) fn finish(
    root: &Root,
    journal: &Journal,
    outcome: Outcome,
    hands: Option<Hands<'_>>,
    duration_ms: Option<u64>,
    named: &Outside<'_>,
) -> Vec<String> {
    let (mut notes, plain) = hands.map(|hands| (hands.notes, hands.plain)).unwrap_or_default();
    let outside = outside(root, journal, outcome, named).map(|stay| notes.extend(stay));
    // As long as what is dropped has a name that leads to it.
    let bits = take_bits(root, journal, outcome, &plain);
    let (told, unsynced) = match tell_and_drop_objects(root, journal, outcome, duration_ms) {
        Ok(unsynced) => (Ok(()), unsynced),
        Err(cause) => (Err(cause), Vec::new()),
    };
    let dropped = drop_stages(root, journal.domains.iter()).map(|mut stay| notes.append(&mut stay));
    let earlier = journal_file::remove_earlier(root, &journal.head.header.run);
    let done = [outside, bits, told, dropped, earlier];
    notes.extend(done.into_iter().filter_map(Result::err).map(|cause| cause.to_string()));
    // A stage may have been in one of the directories that go now.
    let emptied = if empties(journal, outcome) { empty_out(root, journal, unsynced) } else { Ok(Vec::new()) };
    match emptied {
        Ok(mut stay) => {
            notes.append(&mut stay);
            notes.extend(journal_file::mark_done(root).err().map(|cause| cause.to_string()));
        }
        // The end of the journal stays open, so that the next command removes them.
        Err(cause) => notes.push(cause.to_string()),
    }
    notes
}

/// Whether directories are to be removed that became empty.
fn empties(journal: &Journal, outcome: Outcome) -> bool {
    outcome == Outcome::Commit && journal.ops.iter().any(|op| op.kind == OpKind::Rmdir)
}

/// Tells of the run, which is to wait for the disk, while another thread removes the staged objects, which is work.
/// Where directories are to be removed, their sync is for both: what it has to make durable is the answer.
fn tell_and_drop_objects(
    root: &Root,
    journal: &Journal,
    outcome: Outcome,
    duration_ms: Option<u64>,
) -> Result<Vec<Appended>, Cause> {
    let tell = || {
        let told = tell(root, journal, outcome, duration_ms)?;
        // What scripts said is nowhere else than in the stage, which is dropped before the directories go.
        if empties(journal, outcome) && !told.is_from_stage {
            return Ok(told.places);
        }
        told.places.iter().try_for_each(Appended::sync).map(|()| Vec::new())
    };
    if root.workers() < 2 {
        return tell();
    }
    std::thread::scope(|scope| {
        // What it leaves is removed with the stages, and that tells of an error.
        let dropping =
            scope.spawn(|| journal.domains.iter().try_for_each(|domain| drop_objects(root, domain)));
        let told = tell();
        let _ = dropping.join();
        told
    })
}

/// Removes what became empty, durably, as is what was told before: once the journal says `done`, nobody would do it
/// again.
fn empty_out(root: &Root, journal: &Journal, mut told: Vec<Appended>) -> Result<Vec<String>, Cause> {
    let stay = remove_directories(root, journal)?;
    for domain in &journal.domains {
        // A directory that was a domain of its own may have gone with the rest: the domain above it has the change.
        if let Some(top) = root.dir_if_there(&domain.top)? {
            top.sync_file_system()?;
            let seen = top.itself()?;
            told.retain(|place| place.on != (seen.mount, seen.file_system));
        }
    }
    told.iter().try_for_each(Appended::sync)?;
    Ok(stay)
}

/// Removes the directories that the run empties, the deepest first; what is not empty stays. Notes say what stays. That
/// the file system does not take it is an error.
pub(super) fn remove_directories(root: &Root, journal: &Journal) -> Result<Vec<String>, Cause> {
    let mut dirs = Dirs::new(root);
    let mut ops: Vec<&Op> = journal.ops.iter().filter(|op| op.kind == OpKind::Rmdir).collect();
    ops.sort_by(|a, b| b.path.cmp(&a.path));
    let mut notes = Vec::new();
    for op in ops {
        match remove_directory(&mut dirs, op) {
            Ok(true) => {}
            Ok(false) => notes.push(format!("{} is not empty and stays", root.show(&op.path))),
            Err(Cause::Root(error)) if is_of_the_moment(error.errno()) => return Err(error.into()),
            Err(cause) => notes.push(cause.to_string()),
        }
    }
    Ok(notes)
}

/// Whether an error says something about the file system or the process as it is now, not about a directory.
fn is_of_the_moment(errno: Option<Errno>) -> bool {
    use Errno as E;
    matches!(errno, Some(E::IO | E::ROFS | E::NOSPC | E::DQUOT | E::MFILE | E::NFILE | E::NOMEM))
}

fn remove_directory(dirs: &mut Dirs, op: &Op) -> Result<bool, Cause> {
    let Some(parent) = dirs.parent(&op.path)? else { return Ok(true) };
    match parent.look(op.path.name())? {
        None => Ok(true),
        Some(seen) => match &op.old {
            Some(old)
                if seen.file_type == FileType::Directory && is_same_inode(&parent, &seen, old.inode)? =>
            {
                Ok(parent.remove_dir(op.path.name())?)
            }
            _ => Ok(false),
        },
    }
}

/// Archives outside the root: after a rollback the new one goes, after a commit the one that was used up. Notes say what
/// stays there.
fn outside(
    root: &Root,
    journal: &Journal,
    outcome: Outcome,
    outside: &Outside<'_>,
) -> Result<Vec<String>, Cause> {
    let ending = Ending { root, journal, outside };
    let mut notes = Vec::new();
    for archive in &journal.archives {
        let path = match outcome {
            Outcome::RolledBack => &archive.outside,
            Outcome::Commit => &archive.discard,
        };
        if let Some(path) = path {
            notes.extend(ending.remove(archive, path)?);
        }
    }
    Ok(notes)
}

/// Removes the unpublished form of an archive outside the root: the run was given up before its journal was.
pub(super) fn remove_unpublished(root: &Root, archive: &Path, run: &str) -> Result<(), Cause> {
    let Some(directories) = HostDirectories::open(root, archive)? else { return Ok(()) };
    directories.package.remove(&unpublished_name(run))?;
    directories.remove_emptied()
}

/// What was told of a run.
#[derive(Default)]
struct Told {
    /// Where; nothing is durable yet.
    places: Vec<Appended>,
    /// Whether a part of it was in the stage only.
    is_from_stage: bool,
}

/// One line for each patch to the history of the root, the texts to the logs.
fn tell(root: &Root, journal: &Journal, outcome: Outcome, duration_ms: Option<u64>) -> Result<Told, Cause> {
    let story = &journal.story;
    if story.command.is_empty() {
        return Ok(Told::default());
    }
    let run = &journal.head.header.run;
    let line = |patches: &[String], packages: &[String]| {
        let entry = history::Entry {
            run: run.clone(),
            time: story.time.clone(),
            user: story.user.clone(),
            command: story.command.clone(),
            patches: patches.to_vec(),
            result: if outcome == Outcome::Commit { "done" } else { "rolled-back" }.to_owned(),
            packages: packages.to_vec(),
            duration: duration_ms.unwrap_or_default(),
            trusted: root.is_trusted(),
        };
        entry.line()
    };
    let mut lines = line(&story.patches, &story.packages);
    lines.extend(story.others.iter().flat_map(|other| line(&other.patches, &other.packages)));
    let own = make_own_directory(root)?;
    let mut written = vec![append(&own, b"history", run, &lines)?];
    let stage = journal.domains.first().map(|domain| root.dir_if_there(&domain.stage)).transpose()?.flatten();
    let told = stage.map(|stage| notes::log(&stage)).transpose()?.unwrap_or_default();
    let is_from_stage = !told.is_empty();
    let mut texts = vec![(story.log.as_ref(), [story.text.as_bytes(), &told].concat())];
    texts.extend(story.others.iter().map(|other| (other.log.as_ref(), other.text.as_bytes().to_vec())));
    let title = format!("# run {run}\n");
    let mut rest = Vec::new();
    for (log, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        let place = match (log, outcome) {
            (Some(log), Outcome::Commit) => directory_of(root, log)?,
            _ => None,
        };
        match place {
            Some((dir, name)) => {
                let log = append(&dir, &name, run, &[title.as_bytes(), &text].concat())?;
                log.add_to(&mut written);
            }
            None => rest.extend(text),
        }
    }
    if !rest.is_empty() {
        append(&own, b"log", run, &[title.as_bytes(), &rest].concat())?.add_to(&mut written);
    }
    Ok(Told { places: written, is_from_stage })
}

/// The directory of a log, if it is there, and the name of the log in it.
fn directory_of(root: &Root, log: &ObjectPath) -> Result<Option<(Dir, Vec<u8>)>, Cause> {
    let physical = root.resolver().locate(log)?;
    let parent = physical.parent().unwrap_or_else(ObjectPath::root);
    Ok(root.dir_if_there(&parent)?.map(|dir| (dir, physical.name().to_vec())))
}

/// Adds to the log of a root what happened without a run: before one could begin. The caller has the lock of the root.
pub fn log_without_run(root: &Root, _lock: &Lock, text: &[u8]) -> Result<(), Cause> {
    let file = make_own_directory(root)?.open_or_create(b"log", Mode::of(0o644))?;
    let size = file.size()?;
    // A line that a power cut left torn must not run into this one.
    let is_torn = size > 0 && file.get_at(size - 1, 1)? != b"\n";
    let newline: &[u8] = if is_torn { b"\n" } else { b"" };
    Ok(file.put_at(&[newline, text].concat(), size)?)
}

/// A directory with a file that was appended to.
struct Appended {
    dir: Dir,
    /// The mount and the file system that it is on.
    on: (u64, (u32, u32)),
}

impl Appended {
    /// Adds it to those that are to be made durable, unless the sync of another one does that, too.
    fn add_to(self, all: &mut Vec<Self>) {
        if all.iter().all(|other| other.on != self.on) {
            all.push(self);
        }
    }

    /// Makes it durable: once the journal says `done` nobody would write it again. File, name and directory are in it
    /// together.
    fn sync(&self) -> Result<(), Cause> {
        Ok(self.dir.sync_file_system()?)
    }
}

/// Appends a text that names the run, unless the end of the file names it already. A torn last line is cut first.
fn append(dir: &Dir, name: &[u8], run: &str, text: &[u8]) -> Result<Appended, Cause> {
    let mut file = dir.open_or_create(name, Mode::of(0o644))?;
    write_once(&mut file, run, text)?;
    let seen = dir.itself()?;
    Ok(Appended { dir: dir.again()?, on: (seen.mount, seen.file_system) })
}

/// Where the line begins that a text ends in.
fn line_start(text: &[u8]) -> usize {
    text.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1)
}

fn write_once(file: &mut WritableFile, run: &str, text: &[u8]) -> Result<(), Cause> {
    let size = file.size()?;
    let window = (1 << 16) + 2 * text.len();
    let tail_at = size.saturating_sub(window as u64);
    let tail = file.get_at(tail_at, window)?;
    let lines = |text: &[u8]| text.split(|&b| b == b'\n').count();
    let named = tail.windows(run.len()).position(|window| window == run.as_bytes());
    let begun = named.map(|named| line_start(tail.get(..named).unwrap_or_default()));
    let whole = match begun {
        Some(begun) if lines(tail.get(begun..).unwrap_or_default()) >= lines(text) => return Ok(()),
        // A power cut tore what has several lines between two of them.
        Some(begun) => begun,
        None => line_start(&tail),
    };
    file.set_size(if tail_at > 0 && whole == 0 { size } else { tail_at + whole as u64 })?;
    Ok(file.put(text)?)
}

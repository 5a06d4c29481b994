use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::namespaces::namespaces_forbidden;
use crate::operation::check::{RootExamination, RootFinding};
use patchadm_inputs::database::policy;
use patchadm_rootfs::{Dir, FreeSpace, ObjectStatus, Result, RootError, human_free};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// openat2(2), without which no root can be opened.
pub(super) fn openat2(_: &RootExamination<'_>) -> Vec<RootFinding> {
    vec![RootFinding::ok("kernel", "openat2 available")]
}

/// For a root that could not be opened without openat2(2).
pub(super) fn without_openat2(error: &RootError) -> RootFinding {
    RootFinding::attention("kernel", error.to_string())
}

/// `stage enter` and the confinement of scripts need namespaces. Reads settings; tries nothing.
pub(super) fn user_namespaces(_: &RootExamination<'_>) -> Vec<RootFinding> {
    const WHAT: &str = "user-namespaces";
    vec![match namespaces_forbidden() {
        None => RootFinding::ok(WHAT, "allowed on this machine"),
        Some(reason) => RootFinding::limited(WHAT, format!("`stage enter` is not possible: {reason}")),
    }]
}

const DIRECTORIES: [&str; 6] = ["/", "/etc", "/usr", "/opt", "/var", "/home"];

/// File systems that order changes of names so that they survive a power cut.
const ORDERED: [&str; 12] =
    ["ext3", "ext4", "xfs", "btrfs", "zfs", "jfs", "f2fs", "bcachefs", "reiserfs", "nilfs2", "ubifs", "gfs2"];

const UNORDERED: [&str; 8] = ["ext2", "vfat", "msdos", "exfat", "minix", "tmpfs", "ramfs", "hfsplus"];

struct SeenFileSystem {
    path: String,
    /// Empty if the mount table does not tell.
    kind: String,
    status: ObjectStatus,
    is_supported: bool,
}

pub(super) fn journal(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    vec![found(examination, "journal", |seen| {
        let without: Vec<&SeenFileSystem> = those(seen, |one| UNORDERED.contains(&one.kind.as_str()));
        let other = those(seen, |one| !ORDERED.contains(&one.kind.as_str()));
        let unsupported = those(seen, |one| !one.is_supported);
        if !unsupported.is_empty() {
            let text = format!(
                "patchadm does not change files on this kind of file system: {}",
                listed(&unsupported)
            );
            return RootFinding::limited("journal", text);
        }
        if !without.is_empty() {
            let text = format!(
                "no journal, so a power cut may leave a mix of old and new files: {}",
                listed(&without)
            );
            return RootFinding::limited("journal", text);
        }
        if !other.is_empty() {
            let text = format!("unknown behavior after a power cut: {}", listed(&other));
            return RootFinding::unknown("journal", text);
        }
        RootFinding::ok("journal", listed(&seen.iter().collect::<Vec<_>>()))
    })]
}

pub(super) fn birth_times(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    vec![found(examination, "birth-time", |seen| {
        let without = those(seen, |one| one.status.inode.born.is_none());
        if without.is_empty() {
            return RootFinding::ok("birth-time", "birth times are available");
        }
        let text = format!("no birth times, so more objects must be read: {}", listed(&without));
        RootFinding::limited("birth-time", text)
    })]
}

fn found(
    examination: &RootExamination<'_>,
    what: &'static str,
    judge: impl FnOnce(&[SeenFileSystem]) -> RootFinding,
) -> RootFinding {
    match seen(examination) {
        Ok(seen) => judge(&seen),
        Err(error) => RootFinding::unknown(what, error.to_string()),
    }
}

fn those(seen: &[SeenFileSystem], is_meant: impl Fn(&SeenFileSystem) -> bool) -> Vec<&SeenFileSystem> {
    seen.iter().filter(|one| is_meant(one)).collect()
}

fn listed(seen: &[&SeenFileSystem]) -> String {
    let each = seen.iter().map(|one| match one.kind.as_str() {
        "" => one.path.clone(),
        kind => format!("{} ({kind})", one.path),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn seen(examination: &RootExamination<'_>) -> Result<Vec<SeenFileSystem>> {
    let mut seen: Vec<SeenFileSystem> = Vec::new();
    let named = DIRECTORIES.iter().filter_map(|path| ObjectPath::new(path.as_bytes()).ok());
    for path in named.chain([places::own_directory()]) {
        let Some(directory) = examination.directory(&path)? else { continue };
        let status = directory.itself()?;
        if seen.iter().any(|one| one.status.file_system == status.file_system) {
            continue;
        }
        let kind = directory.file_system_type()?.unwrap_or_default();
        let is_supported = directory.unsupported()?.is_none();
        seen.push(SeenFileSystem { path: examination.show(&path), kind, status, is_supported });
    }
    Ok(seen)
}

const PROGRAM: &str = "patchadm-check";

const BLOCK: usize = 1 << 12;

/// Tries renameat2(2) with `RENAME_EXCHANGE`.
pub(super) fn exchange(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let no = "atomic exchange of names is not available: objects are replaced in two steps, and directories cannot be exchanged or replaced by other types";
    vec![tried(examination, "exchange", ("atomic exchange of names is available", no), |dir, a, b| match dir
        .exchange(a, dir, b)
    {
        Err(error) if is_not_there(&error) => Ok(false),
        other => other.map(|()| true),
    })]
}

/// Tries ioctl(2) with `FICLONE`.
pub(super) fn reflink(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let no = "files cannot share blocks: stages and scripted runs copy whole files";
    vec![tried(examination, "reflink", ("copied files share blocks", no), |dir, a, _| {
        let (clone, file) = dir.create_private(PROGRAM)?;
        let is_shared = dir.open_regular(a).and_then(|source| file.clone_of(&source));
        dir.remove(&clone)?;
        is_shared
    })]
}

fn tried(
    examination: &RootExamination<'_>,
    what: &'static str,
    (yes, no): (&str, &str),
    work: impl FnOnce(&Dir, &[u8], &[u8]) -> Result<bool>,
) -> RootFinding {
    let place = match examination.place_of_trials() {
        Ok(place) => place,
        Err(reason) => return RootFinding::unknown(what, reason),
    };
    match with_two_files(&place, work) {
        Ok(true) => RootFinding::ok(what, yes),
        Ok(false) => RootFinding::limited(what, no),
        Err(error) => RootFinding::attention(what, format!("the trial failed: {error}")),
    }
}

fn with_two_files(dir: &Dir, work: impl FnOnce(&Dir, &[u8], &[u8]) -> Result<bool>) -> Result<bool> {
    dir.remove_leftovers(PROGRAM)?;
    let (a, mut first) = dir.create_private(PROGRAM)?;
    let written = first.put(&[0; BLOCK]);
    let done = written.and_then(|()| {
        let (b, _second) = dir.create_private(PROGRAM)?;
        let done = work(dir, &a, &b);
        dir.remove(&b).and(done)
    });
    dir.remove(&a).and(done)
}

fn is_not_there(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Too little for any patch: bytes and objects.
const TOO_LITTLE: (u64, u64) = (16 << 20, 100);

/// Too little for a large patch.
const LITTLE: (u64, u64) = (256 << 20, 1000);

/// An early warning: each plan checks its own room.
pub(super) fn undo_space(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let Ok(settings) = &examination.policy else {
        return vec![RootFinding::unknown("space", "the policy does not say where undo data is kept")];
    };
    let (shown, place) = match &settings.undo_dir {
        Some(directory) => (directory.display().to_string(), outside(examination, directory)),
        None => (examination.root.show(&places::packages()), records(examination)),
    };
    vec![match place.and_then(|place| place.map(|place| place.space()).transpose()) {
        Ok(Some(space)) => judged(&shown, space, examination),
        Ok(None) if settings.undo_dir.is_some() => {
            RootFinding::attention("space", format!("undo data is kept in {shown}, which does not exist"))
        }
        Ok(None) => RootFinding::unknown("space", format!("{shown} does not exist")),
        Err(error) if error.is_refused_access() => RootFinding::unknown("space", error.to_string()),
        Err(error) => RootFinding::attention("space", error.to_string()),
    }]
}

/// Inside the root if its own policy names the directory to the superuser, else on the host.
fn outside(examination: &RootExamination<'_>, directory: &Path) -> Result<Option<Dir>> {
    let root = examination.root;
    if root.is_bounded() && !root.is_system() && !policy::is_of_caller(root) {
        let path = ObjectPath::new(directory.as_os_str().as_bytes());
        return path.map_or(Ok(None), |path| examination.directory(&path));
    }
    match Dir::of_host(directory) {
        Err(error) if error.is_not_found() => Ok(None),
        opened => opened.map(Some),
    }
}

fn records(examination: &RootExamination<'_>) -> Result<Option<Dir>> {
    examination.directory(&places::packages())
}

fn judged(
    shown: &str,
    FreeSpace { bytes, inodes, .. }: FreeSpace,
    examination: &RootExamination<'_>,
) -> RootFinding {
    let is_below = |(least, objects)| bytes < least || inodes.is_some_and(|free| free < objects);
    let objects = inodes.filter(|free| *free < LITTLE.1);
    let objects = objects.map(|free| format!(" and {free} objects")).unwrap_or_default();
    let text = format!("{}{objects} free for undo data in {shown}", human_free(bytes));
    let superseded = examination.wording().verb("undo-data drop --superseded");
    match (is_below(TOO_LITTLE), is_below(LITTLE)) {
        (true, _) => RootFinding::attention("space", text).with_command(superseded),
        (_, true) => RootFinding::limited("space", text).with_command(superseded),
        _ => RootFinding::ok("space", text),
    }
}

const OWN_NAME: &str = "patchadm";

struct OtherProgram {
    name: &'static str,
    file: PathBuf,
}

/// Does `PATH` lead to this program under each command's name? A missing name is no fault: `patchadm NAME` works, too.
pub(super) fn search_path(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let request = examination.request;
    let Some(own) = request.program.and_then(identity) else {
        return vec![RootFinding::unknown("path", "the path of this program is unknown")];
    };
    let first = |name: &'static str| Some((name, first_of(&request.path, name)?));
    let found: Vec<(&'static str, PathBuf)> = request.names.iter().copied().filter_map(first).collect();
    let others: Vec<OtherProgram> = found
        .iter()
        .filter(|(_, file)| identity(file) != Some(own))
        .map(|(name, file)| OtherProgram { name, file: file.clone() })
        .collect();
    if others.is_empty() {
        let is_found = |name: &&str| found.iter().any(|(found, _)| found == name);
        let missing = request.names.iter().filter(|name| **name != OWN_NAME && !is_found(name)).count();
        let text = match missing {
            0 => "all classic commands are in PATH".to_owned(),
            1 => "1 classic command is not in PATH, and need not be: `patchadm NAME` runs it".to_owned(),
            number => format!(
                "{number} classic commands are not in PATH, and need not be: `patchadm NAME` runs them"
            ),
        };
        return vec![RootFinding::ok("path", text)];
    }
    others.iter().map(of_other).collect()
}

fn of_other(OtherProgram { name, file }: &OtherProgram) -> RootFinding {
    let text =
        format!("{name} is another program, {}: a directory of links comes first in PATH", file.display());
    RootFinding::attention("path", text).with_command("patchadm setup links DIR")
}

fn first_of(path: &[PathBuf], name: &str) -> Option<PathBuf> {
    let files = path.iter().map(|directory| directory.join(name));
    files.into_iter().find(|file| {
        fs::metadata(file).is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
    })
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|seen| (seen.dev(), seen.ino()))
}

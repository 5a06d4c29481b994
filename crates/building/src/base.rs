//! The base of all sandboxes: programs and libraries of the host, or a directory with a whole system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use patchadm_bulk_values::conf::{BuildBase, BuildIdentity, Configuration};
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_rootfs::{CAPABILITY, Dir, FileType, Interrupt, Lock, LockError, ObjectStatus, RootError};
use patchadm_svr4::package::Mode;

use crate::command_run::output_digest;
use crate::ids::{NOBODY, SandboxIds, range_of};
use crate::sandbox::{BuildUser, HostAccounts, LayerKind, lay_out_host_base, make_temporary_directories};
use crate::space::WritableSpace;
use crate::task::place::{remove_all, remove_within_time};
use crate::tree_copy::{TreeKind, TreeWalk, copy_tree, go_on_unless_interrupted, is_gone};
use crate::work::{PROGRAM, build_directory, host_path, made, made_private};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseLayer {
    pub layer: PathBuf,
    pub mounted: Vec<PathBuf>,
    pub kind: LayerKind,
    /// Ids of the users and groups of its sandboxes.
    pub ids: SandboxIds,
    /// Remarks if it was just made.
    pub notes: Vec<String>,
}

/// The reason why a base cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum BuildBaseError {
    /// A call, or a lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its copy would take space that builds need.
    #[error("the base {} cannot be copied: {room}: free space, or specify another build_dir", .base.display())]
    NoRoom {
        base: PathBuf,
        /// Says how much space is missing.
        room: RootError,
    },
}

impl From<RootError> for BuildBaseError {
    fn from(error: RootError) -> Self {
        Self::Lock(error.into())
    }
}

/// Records in `build_dir` how layers become trees on this machine.
const KIND_FILE: &[u8] = b"layers";

/// Layers of bases in `build_dir`, for the owner only: they hold world-writable directories and set-id programs.
pub(crate) const BASES: &str = "bases";

/// Prefix of copies of a base, for sandboxes whose ids do not own the base.
pub(crate) const COPY: &str = "copy";

/// Prefix of layers with mount points for paths of the host.
const PLACES_OF_HOST: &str = "base";

pub(crate) const USED_COPY: &[u8] = b"base.copy";

const KINDS: [(&[u8], LayerKind); 2] = [(b"overlay\n", LayerKind::Overlay), (b"copy\n", LayerKind::Copy)];

pub(crate) const PLACES: [&str; 9] =
    ["tree", "driver", "packages", "distfiles", "work", "out", "proc", "dev", ".program"];

/// Lays out a host base in `build_dir`, or copies a base with other owners there, until a signal comes.
pub fn base_layer(
    conf: &Configuration,
    (ids, user): (SandboxIds, BuildUser),
    digest: &str,
    interrupt: Interrupt<'_>,
) -> Result<BaseLayer, BuildBaseError> {
    let kind = known_layer_kind(&conf.build_dir)?.unwrap_or_default();
    let accounts = match &conf.base {
        BuildBase::Host(_) => HostAccounts::of_this_machine(),
        BuildBase::Directory(_) => HostAccounts::default(),
    };
    let name = match (&conf.base, ids) {
        (BuildBase::Directory(_), SandboxIds::Range(range)) => name_of(COPY, &format!("{digest} {range}")),
        (BuildBase::Directory(path), _) => {
            return Ok(BaseLayer { layer: path.clone(), mounted: Vec::new(), kind, ids, notes: Vec::new() });
        }
        // Other ids or host paths need another layer.
        (BuildBase::Host(paths), _) => {
            name_of(PLACES_OF_HOST, &format!("{paths:?} {ids:?} {user:?} {accounts:?} with /tmp"))
        }
    };
    let above = build_directory(&conf.build_dir)?;
    let _lock = Lock::take_file(&above, b"base.lock", PROGRAM, |_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        true
    })?;
    close_open_layers(&above)?;
    let bases = made_private(&above, BASES.as_bytes())?;
    let path_of_bases = conf.build_dir.join(BASES);
    let mut notes = Vec::new();
    if bases.look(name.as_bytes())?.is_none() {
        let new = format!("{name}.new");
        remove_all(&bases, new.as_bytes())?;
        let dir = made(&bases, new.as_bytes())?;
        let path = path_of_bases.join(&new);
        let laid_out = lay_out_layer(conf, (&dir, &path), (ids, user), &accounts, interrupt);
        if laid_out.is_err() {
            // The next call removes the rest.
            let _ = remove_within_time(&bases, new.as_bytes(), &AtomicBool::new(true));
        }
        notes = laid_out?;
        bases.move_to(new.as_bytes(), &bases, name.as_bytes())?;
    }
    if name.starts_with(COPY) && above.read_regular(USED_COPY, 64)?.as_deref() != Some(name.as_bytes()) {
        above.replace_file(PROGRAM, USED_COPY, name.as_bytes(), Mode::of(0o644))?;
    }
    let layer = path_of_bases.join(&name);
    let mounted = match &conf.base {
        BuildBase::Directory(_) => Vec::new(),
        BuildBase::Host(paths) => mounted_paths(&Dir::of_host(&layer)?, paths)?,
    };
    Ok(BaseLayer { layer, mounted, kind, ids, notes })
}

/// Fills a new layer and gives it to the root of sandboxes. Returns notes about what the layer lacks.
fn lay_out_layer(
    conf: &Configuration,
    (dir, path): (&Dir, &Path),
    (ids, user): (SandboxIds, BuildUser),
    accounts: &HostAccounts,
    interrupt: Interrupt<'_>,
) -> Result<Vec<String>, BuildBaseError> {
    let mut notes = Vec::new();
    match (&conf.base, ids) {
        (BuildBase::Directory(base), SandboxIds::Range(range)) => {
            let survey = BaseSurvey::of(base, interrupt)?;
            let no_room = |room: RootError| BuildBaseError::NoRoom { base: base.clone(), room };
            if let Some((unit, free, wanted)) = survey.missing(dir, path)? {
                let directory = conf.build_dir.display().to_string();
                return Err(no_room(RootError::NoRoom { directory, unit, free, wanted }));
            }
            let copied = copy_tree((base, path), TreeKind::Base, Some(range), interrupt);
            let left_out =
                copied.map_err(|error| if error.is_no_space() { no_room(error) } else { error.into() })?;
            notes.extend(survey.with_capability.map(|path| {
                format!(
                    "{path} of the base has capabilities, and its copy in sandboxes has none: no program gains \
                     rights there"
                )
            }));
            notes.extend(left_out.map(|path| {
                let begin: String = path.chars().take(LONGEST_SHOWN).collect();
                format!(
                    "sandboxes are missing the deepest directories below {begin}...: their paths are too long"
                )
            }));
        }
        (BuildBase::Directory(_), _) => {}
        (BuildBase::Host(paths), _) => lay_out_base(dir, paths, (ids, user), accounts)?,
    }
    ids.hand_over(dir)?;
    Ok(notes)
}

/// The most characters of a path that is too long for any call, in a note.
const LONGEST_SHOWN: usize = 200;

/// The needs of a copy of a base, and objects that may be in its way.
#[derive(Default)]
struct BaseSurvey {
    /// The bytes on the disk.
    bytes: u64,
    objects: u64,
    /// A file that has some.
    file: Option<(Dir, Vec<u8>)>,
    /// The path of the first file with capabilities.
    with_capability: Option<String>,
}

impl BaseSurvey {
    fn of(base: &Path, interrupt: Interrupt<'_>) -> Result<Self, RootError> {
        let (mut survey, mut walk) = (Self::default(), TreeWalk::begin(base, TreeKind::Base)?);
        while let Some(directory) = walk.next_directory()? {
            let dir = &directory.dir;
            for name in walk.names(&directory)? {
                go_on_unless_interrupted("look at", (dir, &name), interrupt)?;
                let Some(seen) = dir.look(&name)? else { continue };
                match seen.file_type {
                    FileType::Directory => {
                        walk.enter(&directory, &name, &seen)?;
                    }
                    FileType::Regular => {
                        if survey.file.is_none() && seen.allocated > 0 {
                            survey.file = Some((dir.again()?, name.clone()));
                        }
                        if survey.with_capability.is_none() && dir.has_xattr(&name, CAPABILITY)? {
                            survey.with_capability = Some(dir.at(&name).to_string());
                        }
                    }
                    FileType::Symlink => {}
                    _ => continue,
                }
                survey.bytes = survey.bytes.saturating_add(seen.allocated);
                survey.objects = survey.objects.saturating_add(1);
            }
        }
        Ok(survey)
    }

    /// Returns what is missing for a copy that leaves the reserve of the run, as copying does: its unit, the free and the
    /// wanted number. A copy that shares the blocks of the base needs no bytes.
    fn missing(&self, layer: &Dir, path: &Path) -> Result<Option<(&'static str, u64, u64)>, RootError> {
        let Some(free) = WritableSpace::of(path) else { return Ok(None) };
        let (missing, without_bytes) =
            (free.missing_for(self.bytes, self.objects), free.missing_for(0, self.objects));
        let Some((dir, name)) = self.file.as_ref().filter(|_| missing != without_bytes) else {
            return Ok(missing);
        };
        let source = match dir.open_regular(name) {
            Err(error) if error.is_refused_access() || is_gone(&error) => return Ok(missing),
            opened => opened?,
        };
        let shares = layer.create(PROBE)?.clone_of(&source);
        layer.remove(PROBE)?;
        Ok(if shares? { without_bytes } else { missing })
    }
}

const PROBE: &[u8] = b".probe";

/// Returns true for a layer directly in `build_dir`, as earlier versions made them. Others could write to it, so it is not
/// used any more.
pub(crate) fn is_open_layer(name: &[u8]) -> bool {
    [COPY, PLACES_OF_HOST].iter().any(|kind| {
        let rest = name.strip_prefix(kind.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"-"))
    })
}

fn close_open_layers(build_dir: &Dir) -> Result<(), RootError> {
    for name in build_dir.directories()?.iter().filter(|name| is_open_layer(name)) {
        if build_dir.look(name)?.is_some_and(|seen| seen.mode.bits() & 0o077 != 0) {
            match build_dir.set_mode(name, Mode::of(0o700)) {
                // Somebody else made it.
                Err(error) if error.is_refused_access() => {}
                closed => closed?,
            }
        }
    }
    Ok(())
}

fn lay_out_base(
    dir: &Dir,
    host: &[PathBuf],
    (ids, user): (SandboxIds, BuildUser),
    of_host: &HostAccounts,
) -> Result<(), RootError> {
    let accounts = if ids.are_many() {
        (user.id(), user.id())
    } else {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    };
    lay_out_host_base(dir, host, accounts, of_host)?;
    make_temporary_directories(dir)?;
    for place in PLACES.iter().filter(|place| **place != ".program") {
        made(dir, place.as_bytes())?;
    }
    dir.create(b".program").map(drop)
}

pub(crate) fn known_layer_kind(build_dir: &Path) -> Result<Option<LayerKind>, RootError> {
    let text = build_directory(build_dir)?.read_regular(KIND_FILE, 64)?;
    Ok(text.and_then(|text| Some(KINDS.iter().find(|(words, _)| *words == text)?.1)))
}

pub(crate) fn keep_layer_kind(build_dir: &Path, kind: LayerKind) -> Result<(), RootError> {
    if known_layer_kind(build_dir)? == Some(kind) {
        return Ok(());
    }
    let words = KINDS.iter().find(|(_, other)| *other == kind).map_or(&b""[..], |(words, _)| words);
    build_directory(build_dir)?.replace_file(PROGRAM, KIND_FILE, words, Mode::of(0o644))
}

fn name_of(kind: &str, made_for: &str) -> String {
    let digest = Blake3Digest::of(made_for.as_bytes()).hex();
    format!("{kind}-{}", digest.get(..16).unwrap_or_default())
}

fn mounted_paths(layer: &Dir, host: &[PathBuf]) -> Result<Vec<PathBuf>, RootError> {
    let mut mounted = Vec::new();
    for path in host {
        if is_place(layer, path)? && path.exists() {
            mounted.push(path.clone());
        }
    }
    Ok(mounted)
}

fn is_place(layer: &Dir, path: &Path) -> Result<bool, RootError> {
    let mut dir = layer.again()?;
    let mut parts = path.iter().skip(1).map(OsStr::as_encoded_bytes).peekable();
    while let Some(part) = parts.next() {
        match dir.look(part)?.map(|seen| seen.file_type) {
            Some(FileType::Directory) if parts.peek().is_none() => return Ok(true),
            Some(FileType::Directory) => dir = dir.dir(part)?,
            Some(FileType::Regular) => return Ok(parts.peek().is_none()),
            _ => return Ok(false),
        }
    }
    Ok(false)
}

/// Returns the user whose permissions apply to reading the tree, unless that is the caller.
pub(crate) fn reader_of(conf: &Configuration) -> Option<u32> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // Without a range there are no builds; the lowest permissions suffice for reporting that.
    Some(range_of(conf).map_or(NOBODY, |range| range.outside(build_user(conf).id())))
}

pub fn build_user(conf: &Configuration) -> BuildUser {
    match conf.build_as {
        BuildIdentity::Root => BuildUser::First,
        BuildIdentity::User => BuildUser::Build,
    }
}

/// Returns the user and group that fetch sources, or `None` for the caller. Root needs a `build_user` other than root.
pub(crate) fn fetching_user(conf: &Configuration) -> Result<Option<(u32, u32)>, String> {
    let is_root = rustix::process::geteuid().is_root();
    if conf.lacks_build_user(is_root) {
        return Err("root does not fetch sources itself: set build_user in bulk.conf".to_owned());
    }
    let Some(name) = conf.build_user.as_ref().filter(|_| is_root) else { return Ok(None) };
    let user = nix::unistd::User::from_name(name).map_err(|error| format!("the user {name}: {error}"))?;
    let user = user.ok_or_else(|| format!("there is no user {name}"))?;
    if user.uid.is_root() {
        return Err(format!("the user {name} is root"));
    }
    Ok(Some((user.uid.as_raw(), user.gid.as_raw())))
}

/// Digests type, mode, owner, size, time and target of all objects, or the output of the configured command.
pub fn base_digest(conf: &Configuration, interrupt: Interrupt<'_>) -> Result<Blake3Digest, String> {
    if let Some(words) = conf.base_id.as_deref() {
        return output_digest("base_id", words, None, interrupt);
    }
    let (tops, kind) = match &conf.base {
        BuildBase::Directory(path) => (std::slice::from_ref(path), TreeKind::Base),
        BuildBase::Host(paths) => (paths.as_slice(), TreeKind::Host),
    };
    let mut hasher = blake3::Hasher::new();
    for top in tops {
        digest_tree((top, kind), &mut hasher, interrupt).map_err(|error| error.to_string())?;
    }
    Ok(Blake3Digest::from_bytes(*hasher.finalize().as_bytes()))
}

fn digest_tree(
    (top, kind): (&Path, TreeKind),
    hasher: &mut blake3::Hasher,
    interrupt: Interrupt<'_>,
) -> Result<(), RootError> {
    let Ok(seen) = std::fs::symlink_metadata(top) else { return Ok(()) };
    if let (Some(parent), Some(name)) = (top.parent(), top.file_name()) {
        let (parent, name) = (Dir::of_host(parent)?, name.as_encoded_bytes());
        let Some(seen) = parent.look(name)? else { return Ok(()) };
        digest_object((&parent, name), &seen, top, hasher)?;
    }
    if seen.is_dir() { digest_below((top, kind), hasher, interrupt) } else { Ok(()) }
}

fn digest_below(
    (top, kind): (&Path, TreeKind),
    hasher: &mut blake3::Hasher,
    interrupt: Interrupt<'_>,
) -> Result<(), RootError> {
    let mut walk = match TreeWalk::begin(top, kind) {
        Err(error) if error.is_refused_access() => return Ok(()),
        walk => walk?,
    };
    while let Some(directory) = walk.next_directory()? {
        let (dir, relative) = (&directory.dir, directory.path.relative());
        let path = if relative.is_empty() { top.to_owned() } else { host_path(top, relative) };
        for name in walk.names(&directory)? {
            go_on_unless_interrupted("look at", (dir, &name), interrupt)?;
            let Some(seen) = dir.look(&name)? else { continue };
            if seen.file_type == FileType::Directory && !walk.enter(&directory, &name, &seen)? {
                continue;
            }
            match digest_object((dir, &name), &seen, &host_path(&path, &name), hasher) {
                Err(error) if directory.is_open && is_gone(&error) => {}
                digested => digested?,
            }
        }
    }
    Ok(())
}

fn digest_object(
    (dir, name): (&Dir, &[u8]),
    seen: &ObjectStatus,
    path: &Path,
    hasher: &mut blake3::Hasher,
) -> Result<(), RootError> {
    hasher.update(path.as_os_str().as_encoded_bytes());
    // The names in a directory are digested themselves, so its size and time are ignored.
    let is_directory = seen.file_type == FileType::Directory;
    let (size, mtime) = if is_directory { (0, 0) } else { (seen.size, seen.mtime.seconds) };
    let line = format!(
        "\0{:?} {:o} {} {} {size} {mtime} {}\n",
        seen.file_type,
        seen.mode.bits(),
        seen.uid,
        seen.gid,
        seen.mtime.nanoseconds * u32::from(!is_directory)
    );
    hasher.update(line.as_bytes());
    if seen.file_type == FileType::Symlink {
        hasher.update(&dir.read_link(name)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use patchadm_bulk_values::conf::IdRange;
    use patchadm_rootfs::never;
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_signal_ends_the_digest_of_a_base() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let digest = |interrupt: Interrupt<'_>| {
            let mut hasher = blake3::Hasher::new();
            digest_tree((dir.path(), TreeKind::Base), &mut hasher, interrupt).map_err(|error| error.errno())
        };
        assert_eq!(digest(&never), Ok(()));
        assert_eq!(digest(&|| Some(15)), Err(Some(Errno::INTR)));
    }

    #[test]
    fn the_digest_of_a_base_tells_nothing_that_its_copy_lacks() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/tmp")).unwrap();
        fs::set_permissions(dir.path().join("var/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        let digest = |kind| {
            let mut hasher = blake3::Hasher::new();
            digest_tree((dir.path(), kind), &mut hasher, &never).unwrap();
            hasher.finalize()
        };
        let before = [TreeKind::Base, TreeKind::Host].map(digest);
        fs::write(dir.path().join("var/tmp/theirs"), "").unwrap();
        let after = [TreeKind::Base, TreeKind::Host].map(digest);
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1], "sandboxes see it there");
        fs::write(dir.path().join("var/own"), "").unwrap();
        assert_ne!(digest(TreeKind::Base), before[0]);
    }

    #[test]
    fn a_base_that_does_not_fit_is_refused_before_anything_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let layer = Dir::of_host(dir.path()).unwrap();
        let survey = BaseSurvey { bytes: u64::MAX, ..BaseSurvey::default() };
        let missing = survey.missing(&layer, dir.path()).unwrap();
        assert!(matches!(missing, Some(("bytes", _, u64::MAX))), "{missing:?}");
        let survey = BaseSurvey { objects: u64::MAX, ..BaseSurvey::default() };
        let missing = survey.missing(&layer, dir.path()).unwrap();
        // Some file systems make inodes as needed.
        assert!(matches!(missing, None | Some(("inodes", _, u64::MAX))), "{missing:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let directory = "/build".to_owned();
        let room = RootError::NoRoom { directory, unit: "inodes", free: 10, wanted: 5_000 };
        assert_eq!(
            BuildBaseError::NoRoom { base: "/base".into(), room }.to_string(),
            "the base /base cannot be copied: /build has 10 inodes free, but 5000 are needed, including the reserve: free space, or specify another build_dir"
        );
    }

    #[test]
    fn what_a_copy_of_a_base_takes_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/file"), "text").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("etc/link")).unwrap();
        let survey = BaseSurvey::of(dir.path(), &never).unwrap();
        assert_eq!(survey.objects, 3);
    }

    #[test]
    fn nothing_is_left_of_a_copy_of_a_base_that_a_signal_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (base, build_dir) = (dir.path().join("base"), dir.path().join("build"));
        fs::create_dir(&base).unwrap();
        fs::write(base.join("file"), "").unwrap();
        let text = format!("tree=/nowhere\nbase={}\nbuild_dir={}\n", base.display(), build_dir.display());
        let conf = Configuration::parse(text.as_bytes(), &dir.path().join("work")).unwrap();
        let ids = SandboxIds::Range(IdRange { start: 100_000, count: 65_536 });
        let layer = base_layer(&conf, (ids, BuildUser::First), "digest", &|| Some(15));
        assert!(layer.is_err());
        assert_eq!(fs::read_dir(build_dir.join(BASES)).unwrap().count(), 0);
    }

    #[test]
    fn layers_of_earlier_versions_are_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["base-1", "copy-1.new", "bases", "copying"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        close_open_layers(&Dir::of_host(dir.path()).unwrap()).unwrap();
        let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(["base-1", "copy-1.new", "bases", "copying"].map(mode), [0o700, 0o700, 0o755, 0o755]);
    }
}

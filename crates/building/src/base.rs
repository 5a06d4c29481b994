//! The base of all sandboxes: the host's own programs and libraries, or a directory with a whole system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use patchadm_bulk::conf::{Base, BuildIdentity, Configuration};
use patchadm_bulk::result::Digest;
use patchadm_rootfs::{Dir, FileType, Lock, LockError, RootError};
use patchadm_svr4::package::Mode;

use crate::command_output::output_digest;
use crate::sandbox::{BuildUser, LayerKind, lay_out_host_base};
use crate::task::place::remove_all;
use crate::work::{PROGRAM, host_directory, made};

/// The base as it lies on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseLayer {
    /// The directory of the lowest layer: the base itself, or an empty system that the host's places are mounted over.
    pub layer: PathBuf,
    /// The paths of the host that are mounted over it.
    pub mounted: Vec<PathBuf>,
    /// How layers become trees on this machine.
    pub kind: LayerKind,
}

/// The file below `build_dir`, which each machine has for itself, that says how layers become trees there.
const KIND_FILE: &[u8] = b"layers";

/// The words of that file.
const KINDS: [(&[u8], LayerKind); 2] = [(b"overlay\n", LayerKind::Overlay), (b"copy\n", LayerKind::Copy)];

/// The places over which something is mounted in every sandbox.
pub(crate) const PLACES: [&str; 9] =
    ["tree", "driver", "packages", "distfiles", "work", "out", "proc", "dev", ".program"];

/// Returns the base as a layer, laid out below `build_dir` where it is that of the host.
pub fn base_layer(conf: &Configuration, user: BuildUser) -> Result<BaseLayer, LockError> {
    let kind = known_layer_kind(&conf.build_dir)?.unwrap_or_default();
    let host = match &conf.base {
        Base::Directory(path) => return Ok(BaseLayer { layer: path.clone(), mounted: Vec::new(), kind }),
        Base::Host(paths) => paths,
    };
    let above = host_directory(&conf.build_dir)?;
    let _lock = Lock::take_file(&above, b"base.lock", PROGRAM, |_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        true
    })?;
    let ids = match user {
        BuildUser::Ids(uid, gid) => (uid, gid),
        _ => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
    };
    // It is made anew for other ids and other paths of the host.
    let name = base_name(host, ids);
    let layer = conf.build_dir.join(&name);
    if above.look(name.as_bytes())?.is_none() {
        let new = format!("{name}.new");
        remove_all(&above, new.as_bytes())?;
        let dir = made(&above, new.as_bytes())?;
        lay_out_host_base(&dir, host, ids)?;
        for place in PLACES.iter().filter(|place| **place != ".program") {
            made(&dir, place.as_bytes())?;
        }
        dir.create(b".program")?;
        above.move_to(new.as_bytes(), &above, name.as_bytes())?;
    }
    let mounted = mounted_paths(&Dir::of_host(&layer)?, host)?;
    Ok(BaseLayer { layer, mounted, kind })
}

/// Returns how layers become trees on this machine, if that was found out.
pub(crate) fn known_layer_kind(build_dir: &Path) -> Result<Option<LayerKind>, RootError> {
    let text = host_directory(build_dir)?.read_regular(KIND_FILE, 64)?;
    Ok(text.and_then(|text| Some(KINDS.iter().find(|(words, _)| *words == text)?.1)))
}

/// Notes how layers become trees on this machine.
pub(crate) fn keep_layer_kind(build_dir: &Path, kind: LayerKind) -> Result<(), RootError> {
    if known_layer_kind(build_dir)? == Some(kind) {
        return Ok(());
    }
    let words = KINDS.iter().find(|(_, other)| *other == kind).map_or(&b""[..], |(words, _)| words);
    host_directory(build_dir)?.replace_file(PROGRAM, KIND_FILE, words, Mode::of(0o644))
}

/// Returns a name that says for which ids and paths a layer was made.
fn base_name(host: &[PathBuf], (uid, gid): (u32, u32)) -> String {
    let digest = Digest::of(format!("{host:?} {uid} {gid}").as_bytes()).hex();
    format!("base-{}", digest.get(..16).unwrap_or_default())
}

/// Returns the paths of the host for which a layer has a directory or file, and no link.
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

/// Returns under whose ids builds run; the reason where the configuration names a user that there is not.
pub fn build_user(conf: &Configuration) -> Result<BuildUser, String> {
    if !rustix::process::geteuid().is_root() || conf.build_as == BuildIdentity::Root {
        return Ok(BuildUser::Caller);
    }
    let Some(name) = &conf.build_user else {
        return Err("root builds as an ordinary user: bulk.conf must name it as build_user".to_owned());
    };
    let user = nix::unistd::User::from_name(name).map_err(|error| format!("the user {name}: {error}"))?;
    let user = user.ok_or_else(|| format!("there is no user {name}"))?;
    if user.uid.is_root() {
        return Err(format!("the user {name} is root"));
    }
    Ok(BuildUser::Ids(user.uid.as_raw(), user.gid.as_raw()))
}

/// Returns the digest of the base: over type, mode, owner, size, time and target of all its objects, or over what the
/// configured command prints.
pub fn base_digest(conf: &Configuration) -> Result<Digest, String> {
    if let Some(words) = conf.base_id.as_deref() {
        return output_digest("base_id", words, None);
    }
    let tops = match &conf.base {
        Base::Directory(path) => vec![path.clone()],
        Base::Host(paths) => paths.clone(),
    };
    let mut hasher = blake3::Hasher::new();
    for top in &tops {
        digest_tree(top, &mut hasher).map_err(|error| error.to_string())?;
    }
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

fn digest_tree(top: &Path, hasher: &mut blake3::Hasher) -> Result<(), RootError> {
    let Ok(seen) = std::fs::symlink_metadata(top) else { return Ok(()) };
    let (Some(parent), Some(name)) = (top.parent(), top.file_name()) else {
        return digest_below(top, hasher);
    };
    digest_object(&Dir::of_host(parent)?, name.as_encoded_bytes(), top, hasher)?;
    if seen.is_dir() { digest_below(top, hasher) } else { Ok(()) }
}

fn digest_below(top: &Path, hasher: &mut blake3::Hasher) -> Result<(), RootError> {
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        let dir = match Dir::of_host(&path) {
            // What the caller cannot read, a build cannot read either.
            Err(error) if error.is_refused_access() => continue,
            other => other?,
        };
        let mut names = dir.names()?;
        names.sort_unstable();
        for name in names {
            let below = crate::work::host_path(&path, &name);
            if digest_object(&dir, &name, &below, hasher)? {
                open.push(below);
            }
        }
    }
    Ok(())
}

/// Adds an object; tells whether it is a directory.
fn digest_object(
    dir: &Dir,
    name: &[u8],
    path: &Path,
    hasher: &mut blake3::Hasher,
) -> Result<bool, RootError> {
    let Some(seen) = dir.look(name)? else { return Ok(false) };
    hasher.update(path.as_os_str().as_encoded_bytes());
    let is_directory = seen.file_type == FileType::Directory;
    // The size and time of a directory tell of names that are digested themselves.
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
    Ok(is_directory)
}

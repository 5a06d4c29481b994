//! `patchadm depot index`: builds the index of a directory of patches in place.
//!
//! Only new and modified files are read. The index is put in place by one rename, after its signature is durable. A
//! directory in which nothing changed keeps its index.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::error::DepotError;
use super::in_place::{index_of, must_be_unique, read_in_place};
use super::index_bytes::IndexBytes;
use super::known_patches::{KnownPatch, read_known, write_known};
use super::session::DepotProgress;
use patchadm_inputs::depot::{DepotIndex, LARGEST_INDEX};
use patchadm_inputs::sign::{sha256, sha256_text};
use patchadm_planning::analyze::to_patchdiag;
use patchadm_rootfs::{Dir, Lock, LockHolder, RootError, random};
use patchadm_svr4::format::patchdiag;
use patchadm_svr4::package::Mode;
use patchadm_svr4::patch::PatchId;

/// The program name in private names, and the name of the holder of the lock.
const PROGRAM: &str = "depot-index";

const LOCK: &[u8] = b".lock";
const INDEX: &[u8] = b"index.json";
const SIGNATURES: &[u8] = b"index";
const XREF: &[u8] = b"patchdiag.xref";
const READABLE: u32 = 0o644;

/// Makes the signature file of an index.
pub type SignInPlace<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// What to index, and how.
pub struct IndexRequest<'a> {
    /// The directory of patches.
    pub directory: &'a Path,
    /// Whether a `patchdiag.xref` is also written.
    pub writes_xref: bool,
    /// Signs the index, if it is to be signed.
    pub sign: Option<&'a SignInPlace<'a>>,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// Returns the signal that asks the command to end, if one arrived.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Receives the progress.
    pub progress: &'a dyn Fn(DepotProgress<'_>),
}

/// A file or directory that is not in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name.
    pub name: String,
    /// The reason.
    pub reason: String,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexReport {
    /// The name of the depot.
    pub depot: String,
    /// The version of the index that is in place.
    pub version: u64,
    /// Whether this command wrote it.
    pub is_new: bool,
    /// The number of patches in it.
    pub patches: usize,
    /// The files that looked like patches and are none.
    pub passed_over: Vec<PassedOver>,
    /// The number of patches that a `patchdiag.xref` cannot hold, if one was requested.
    pub left_out_of_xref: Option<usize>,
}

/// Indexes a directory. `wait` decides whether to keep waiting while another command indexes it.
pub fn index_directory(
    request: &IndexRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<IndexReport, DepotError> {
    let directory = request.directory;
    if !directory.is_dir() {
        return Err(DepotError::no_directory(directory));
    }
    if directory.join("objects").exists() {
        return Err(DepotError::Published(directory.to_owned()));
    }
    let top = Dir::of_host(directory)?;
    let _lock = Lock::take_file(&top, LOCK, PROGRAM, wait)?;
    top.remove_leftovers(PROGRAM)?;
    let read = read_in_place(directory, &read_known(&top), request.interrupt, request.progress)?;
    must_be_unique(directory, read.patches.values(), &read.others)?;
    let before = IndexBytes::of_directory(directory)?;
    let current = before.as_ref().and_then(|bytes| Some((bytes.parsed().ok()?, bytes)));
    let releases = releases(&read.known);
    let mut index = match &current {
        Some((index, _)) => index_of(read.patches, index.depot.clone(), request.now),
        None => index_of(read.patches, new_name()?, request.now),
    };
    let passed_over = read
        .known
        .iter()
        .filter_map(|known| Some(PassedOver { name: known.name.clone(), reason: known.reason.clone()? }));
    let passed_over: Vec<PassedOver> = passed_over.collect();
    if !read.is_unchanged {
        write_known(&top, read.known.iter())?;
    }
    let needs_signature =
        request.sign.is_some() && current.as_ref().is_some_and(|(_, bytes)| bytes.signature.is_none());
    let is_new = match &current {
        Some((there, bytes)) => {
            index.version = there.version;
            index.previous = Some(bytes.sha256.clone());
            !there.patches().eq(index.patches()) || needs_signature
        }
        None => true,
    };
    if is_new {
        index.version = index.version.checked_add(1).ok_or(DepotError::NoVersion)?;
        put_index(&top, &index, request.sign)?;
    }
    let left_out_of_xref =
        if request.writes_xref { Some(put_xref(&top, &index, &releases, is_new)?) } else { None };
    let patches = index.patches().len();
    let (depot, version) = (index.depot, index.version);
    Ok(IndexReport { depot, version, is_new, patches, passed_over, left_out_of_xref })
}

/// Returns the releases of the system that patches are for.
fn releases(known: &[KnownPatch]) -> BTreeMap<PatchId, String> {
    let named = known
        .iter()
        .filter_map(|known| Some((PatchId::new(&known.entry.as_ref()?.id).ok()?, known.os_release.clone()?)));
    named.collect()
}

/// Puts the cross-reference of an index beside it, if it is new or the file is missing. Returns the number of patches that
/// it cannot hold.
fn put_xref(
    top: &Dir,
    index: &DepotIndex,
    releases: &BTreeMap<PatchId, String>,
    is_new: bool,
) -> Result<usize, DepotError> {
    let made = to_patchdiag(index, releases);
    if is_new || top.look(XREF)?.is_none() {
        write_new(top, XREF, &patchdiag::write(&made.file))?;
        top.sync()?;
    }
    Ok(made.left_out)
}

/// Puts an index in place, its signature first.
fn put_index(top: &Dir, index: &DepotIndex, sign: Option<&SignInPlace<'_>>) -> Result<(), DepotError> {
    let text = index.write();
    if text.len() > LARGEST_INDEX {
        return Err(DepotError::TooLarge(text.len()));
    }
    if let Some(sign) = sign {
        let signatures = match top.make_dir(SIGNATURES, Mode::of(0o755)) {
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => top.dir(SIGNATURES)?,
            made => made?,
        };
        signatures.remove_leftovers(PROGRAM)?;
        write_new(&signatures, format!("{}.minisig", sha256_text(&sha256(&text))).as_bytes(), &sign(&text))?;
        signatures.sync()?;
    }
    write_new(top, INDEX, &text)?;
    Ok(top.sync()?)
}

fn write_new(dir: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), RootError> {
    dir.replace_file(PROGRAM, name, bytes, Mode::of(READABLE))
}

/// Returns a name that no other depot has: 32 random hexadecimal digits.
fn new_name() -> Result<String, RootError> {
    Ok(format!("{:016x}{:016x}", random()?, random()?))
}

//! Patches fetched from a depot: compared with the index before any byte of them is parsed as a patch.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::depot::Depot;
use super::directory_digest::digest_of_directory;
use super::download::{FetchedBy, each_part, fetch_object, with_retries};
use super::error::DepotError;
use super::location::{DepotLocation, is_web_address};
use super::session::FetchSession;
use patchadm_inputs::cache::{ObjectDigest, digest_of_file};
use patchadm_inputs::depot::{DepotFile, DepotPatch, object_path};
use patchadm_inputs::http::{Address, HttpAnswer, HttpRequest};
use patchadm_inputs::sign::{LARGEST_SIGNATURE, Signature, SignatureFormat};
use patchadm_inputs::input_file::{InputDirectory, read_small};

/// The largest patch without an index that is fetched, in bytes: 64 GiB.
const LARGEST_PATCH: u64 = 64 << 30;

/// The ending of a signature in the spool before its format is known.
const SIGNATURE: &str = ".signature";

/// Fetches a patch, or finds it on this machine, with the size and digest of the index. The path exists as long as the
/// session; the manifest and the signature that the index names are beside it.
pub fn fetch_patch(
    depot: &Depot,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    session.go_on()?;
    match depot.location() {
        DepotLocation::Directory(directory) if is_named_in_place(patch) => {
            in_place(directory, patch, session)
        }
        DepotLocation::Directory(directory) => from_objects(directory, patch, session),
        DepotLocation::Address(address) => from_address(address, patch, session),
    }
}

/// Returns whether an operand is an address and not a path: one of `file:`, `http:` or `https:`.
pub fn is_address(named: &OsStr) -> bool {
    is_web_address(named)
        || named.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"file:"))
}

/// Resolves an operand that is an address, and fetches it if needed. The path exists as long as the session.
pub fn fetch_operand(named: &OsStr, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    if is_web_address(named) {
        return fetch_address(&Address::parse(&named.to_string_lossy())?, session);
    }
    match DepotLocation::parse(named)? {
        DepotLocation::Directory(path) => Ok(path),
        DepotLocation::Address(address) => fetch_address(&address, session),
    }
}

/// Fetches a file of a web server that is in no index, as `patchadd URL` does. The path exists as long as the session.
pub fn fetch_address(address: &Address, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    if session.access.is_offline {
        return Err(DepotError::Offline(address.to_string()));
    }
    let spool = session.spool()?;
    with_retries(session, || {
        let HttpAnswer::Content(mut body) =
            session.client.get(&HttpRequest::whole(address), session.access.interrupt)?
        else {
            return Err(DepotError::Missing(address.to_string()));
        };
        let (path, mut file) = spool.create(&name_of(address))?;
        each_part(session, address, &mut body, LARGEST_PATCH, |bytes| Ok(file.put(bytes)?))?;
        Ok(path)
    })
}

/// Returns a name for the target of an address.
fn name_of(address: &Address) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+".contains(letter);
    let name: String = address.file_name().chars().filter(|letter| is_plain(*letter)).take(200).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "patch".to_owned() } else { name.to_owned() }
}

fn is_named_in_place(patch: &DepotPatch) -> bool {
    patch.path != object_path(&patch.sha256)
}

/// Returns the file or directory of a patch in a directory that was indexed in place.
fn in_place(directory: &Path, patch: &DepotPatch, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    let wanted = object_of(patch);
    if !patch.is_directory() {
        return check_object(directory, &wanted, session);
    }
    let path = directory.join(&patch.path);
    let found = digest_of_directory(&path).map_err(|error| DepotError::read(&path, error))?;
    compare_object(&path.display().to_string(), &found, &wanted)?;
    Ok(path)
}

fn object_of(patch: &DepotPatch) -> DepotFile {
    DepotFile { path: patch.path.clone(), sha256: patch.sha256.clone(), size: patch.size }
}

/// Reads a file of a directory, and compares it with the index, unless the caller asks to stop before.
fn check_object(
    directory: &Path,
    wanted: &DepotFile,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    let path = directory.join(&wanted.path);
    let unreadable = |error| DepotError::read(&path, error);
    let inside = InputDirectory::open(directory).map_err(unreadable)?;
    let mut file = inside.file(Path::new(&wanted.path)).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let shown = path.display().to_string();
    if size != wanted.size {
        return Err(DepotError::Size { path: shown, found: size, wanted: wanted.size });
    }
    let go_on = || session.go_on().map_err(|_| io::Error::from(io::ErrorKind::Interrupted));
    let found = digest_of_file(&mut (&mut file).take(wanted.size.saturating_add(1)), |_| go_on());
    session.go_on()?;
    compare_object(&shown, &found.map_err(unreadable)?, wanted)?;
    Ok(path)
}

fn compare_object(path: &str, found: &ObjectDigest, wanted: &DepotFile) -> Result<(), DepotError> {
    if found.size != wanted.size {
        return Err(DepotError::Size { path: path.to_owned(), found: found.size, wanted: wanted.size });
    }
    if found.sha256 != wanted.sha256 {
        return Err(DepotError::Digest(path.to_owned()));
    }
    Ok(())
}

/// Returns a patch of a published depot on this machine: the spool points to it, under a readable name.
fn from_objects(
    directory: &Path,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    let find = |object: &DepotFile| {
        let path = check_object(directory, object, session)?;
        path.canonicalize().map_err(|error| DepotError::read(&path, error))
    };
    let spool = session.spool()?;
    for (name, object) in objects_of(patch) {
        spool.point_to(&name, &find(&object)?)?;
    }
    name_signature(patch, session)
}

/// Returns a patch of a depot on a web server.
fn from_address(
    depot: &Address,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    if patch.is_directory() {
        return Err(DepotError::DirectoryElsewhere(patch.id.clone()));
    }
    for (name, object) in objects_of(patch) {
        take_object(depot, &object, &name, session)?;
    }
    name_signature(patch, session)
}

/// Takes an object from the cache, and fetches it first if needed. An object that another command removes at that moment is
/// fetched again.
pub(super) fn take_object(
    depot: &Address,
    object: &DepotFile,
    name: &str,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    let (cache, spool) = (session.cache()?, session.spool()?);
    let key = (object.sha256.as_str(), object.size);
    if let Some(path) = cache.take(key, spool, name)? {
        return Ok(path);
    }
    let address = depot.below(&object.path);
    for _ in 0..2 {
        let taken = match fetch_object(session, &address, object)? {
            FetchedBy::This => cache.take_fresh(&object.sha256, spool, name)?,
            FetchedBy::Another => cache.take(key, spool, name)?,
        };
        if let Some(path) = taken {
            return Ok(path);
        }
    }
    Err(DepotError::Digest(address.to_string()))
}

/// Returns the objects of a patch that a reader needs, each with its name in the spool. The bytes of the signature tell its
/// format.
fn objects_of(patch: &DepotPatch) -> Vec<(String, DepotFile)> {
    let name = name_of_patch(patch);
    let mut objects = vec![(name.clone(), object_of(patch))];
    if let Some(manifest) = &patch.manifest {
        objects.push((format!("{name}.manifest"), manifest.clone()));
        objects.extend(patch.signature.clone().map(|signature| (format!("{name}{SIGNATURE}"), signature)));
    }
    objects
}

/// Gives the signature of a patch the name under which it is found.
fn name_signature(patch: &DepotPatch, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    let (spool, name) = (session.spool()?, name_of_patch(patch));
    let path = spool.path().join(format!("{name}{SIGNATURE}"));
    if patch.manifest.is_some() && path.exists() {
        let text = read_small(&path, LARGEST_SIGNATURE).map_err(|error| DepotError::read(&path, error))?;
        let is_of = |format: &SignatureFormat| Signature::parse(&text, *format).is_ok();
        let format = SignatureFormat::ALL.into_iter().find(is_of).unwrap_or(SignatureFormat::Minisign);
        spool.write(&format!("{name}.manifest{}", format.ending()), &text)?;
    }
    Ok(spool.path().join(name))
}

/// Returns the name of a patch in the spool: its id and its form.
fn name_of_patch(patch: &DepotPatch) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '.';
    let form: String = patch.format.chars().filter(is_plain).take(20).collect();
    format!("{}.{form}", patch.id)
}

/// Fetches or finds the README that the index names for a patch; `None` if it names none.
pub(super) fn take_readme(
    depot: &Depot,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<Option<PathBuf>, DepotError> {
    let Some(readme) = &patch.readme else { return Ok(None) };
    let path = match depot.location() {
        DepotLocation::Directory(directory) => {
            check_object(directory, readme, session)?
        }
        DepotLocation::Address(address) => {
            take_object(address, readme, &format!("README.{}", patch.id), session)?
        }
    };
    Ok(Some(path))
}

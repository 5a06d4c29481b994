//! Fetches patches, verified before any byte is parsed; and checks whole depots.

use std::ffi::OsStr;
use std::io;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::DepotError;
use super::depot::{Depot, DepotLocation, is_on_network, open_depot};
use super::directory_digest::{DirectoryPart, digest_of_parts};
use super::retries::with_retries;
use super::session::{DepotProgress, FetchSession, FetchedBy, PatchWork, each_part, fetch_object};
use patchadm_container::{ContainerFormat, detect_format};
use patchadm_inputs::cache::{ObjectDigest, digest_of_file};
use patchadm_inputs::depot::{DepotFile, DepotPatch};
use patchadm_inputs::http::{Address, HttpAnswer, HttpRequest};
use patchadm_inputs::input_file::{InputDirectory, read_small};
use patchadm_inputs::sign::{
    Demand, DemandWord, LARGEST_SIGNATURE, Signature, SignatureFormat, SignatureState,
};
use patchadm_inputs::source::{SourceProblem, open_signed};
use patchadm_rootfs::NewTree;
use patchadm_svr4::package::Mode;

/// 64 GiB, without an index.
const LARGEST_PATCH: u64 = 64 << 30;

/// Tells the kind of a file.
const START: usize = 512;

/// Bytes that are written between two looks at the free space.
const BETWEEN_LOOKS: u64 = 1 << 20;

/// In the spool, before the signature's format is known.
const SIGNATURE: &str = ".signature";

/// Checks size and digest against the index. The path lives as long as the session, with manifest and signature beside
/// it.
pub fn fetch_patch(
    depot: &Depot,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    session.go_on()?;
    match depot.location() {
        DepotLocation::Directory(directory) if depot.is_indexed_here() => in_place(directory, patch, session),
        DepotLocation::Directory(directory) => from_objects(directory, patch, session),
        DepotLocation::Address(address) => from_address(address, patch, session),
    }
}

/// True for `file:`, `http:` and `https:`.
pub fn is_address(named: &OsStr) -> bool {
    is_on_network(named)
        || named.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"file:"))
}

/// Fetches an address if needed. The path lives as long as the session.
pub fn fetch_operand(named: &OsStr, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    if is_on_network(named) {
        return fetch_address(&Address::parse(&named.to_string_lossy())?, session);
    }
    match DepotLocation::parse(named)? {
        DepotLocation::Directory(path) => Ok(path),
        DepotLocation::Address(address) => fetch_address(&address, session),
    }
}

/// For a file in no index, as in `patchadd URL`. Without an announced size it may take the limit of the cache. Of a file
/// that is neither a package nor an archive only the beginning is fetched: its reader reports it. The path lives as long
/// as the session's files.
pub fn fetch_address(address: &Address, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    if let Some(path) = session.fetched(address) {
        return Ok(path);
    }
    if session.access.is_offline {
        return Err(DepotError::Offline(address.to_string()));
    }
    let (cache, spool) = (session.cache()?, session.spool()?);
    let path = with_retries(session.client.patience(), &|| session.go_on(), || {
        let HttpAnswer::Content(mut body) =
            session.client.get(&HttpRequest::whole(address), session.access.interrupt)?
        else {
            return Err(DepotError::Missing(address.to_string()));
        };
        let limit = if let Some(size) = body.size() {
            cache.make_room(size)?;
            cache.must_have_room(size)?;
            LARGEST_PATCH
        } else {
            LARGEST_PATCH.min(session.access.cache_limit)
        };
        let (path, mut file) = spool.create(&name_of(address))?;
        let (mut start, mut unseen, mut is_other) = (Vec::new(), BETWEEN_LOOKS, false);
        let fetched = each_part(session, address, &mut body, limit, |bytes| {
            unseen += bytes.len() as u64;
            if unseen > BETWEEN_LOOKS {
                cache.must_have_room(bytes.len() as u64)?;
                unseen = 0;
            }
            file.put(bytes)?;
            if start.len() < START {
                start.extend(bytes.iter().take(START - start.len()));
                is_other = start.len() == START && detect_format(&start) == ContainerFormat::Unknown;
            }
            if is_other { Err(DepotError::Missing(address.to_string())) } else { Ok(()) }
        });
        if !is_other {
            fetched?;
        }
        Ok(path)
    })?;
    session.keep(address, path.clone());
    Ok(path)
}

fn name_of(address: &Address) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+".contains(letter);
    let name: String = address.file_name().chars().filter(|letter| is_plain(*letter)).take(200).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "patch".to_owned() } else { name.to_owned() }
}

/// For a directory without an index. A signed patch is compared with its own signature when it is read.
fn in_place(directory: &Path, patch: &DepotPatch, session: &FetchSession<'_>) -> Result<PathBuf, DepotError> {
    let path = directory.join(&patch.path);
    let unreadable = |error| DepotError::read(&path, error);
    let inside = InputDirectory::open(directory).map_err(unreadable)?;
    let go_on = || session.go_on().map_err(|_| io::Error::from(io::ErrorKind::Interrupted));
    let found = if patch.is_directory() {
        let inside = inside.directory(Path::new(&patch.path)).map_err(unreadable)?;
        digest_of_parts(&inside, &path, &mut |_| go_on())
    } else {
        let file = inside.file(Path::new(&patch.path)).map_err(unreadable)?;
        digest_of_file(&mut file.take(patch.size.saturating_add(1)), |_| go_on())
    };
    session.go_on()?;
    compare_object(&path.display().to_string(), &found.map_err(unreadable)?, &object_of(patch))?;
    Ok(path)
}

fn object_of(patch: &DepotPatch) -> DepotFile {
    DepotFile { path: patch.path.clone(), sha256: patch.sha256.clone(), size: patch.size }
}

/// Verifies the copy, so that later changes of the object have no effect.
fn copy_object(
    directory: &Path,
    wanted: &DepotFile,
    name: &str,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    let path = directory.join(&wanted.path);
    let unreadable = |error| DepotError::read(&path, error);
    let inside = InputDirectory::open(directory).map_err(unreadable)?;
    let file = inside.file(Path::new(&wanted.path)).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let shown = path.display().to_string();
    if size != wanted.size {
        return Err(DepotError::Size { path: shown, found: size, wanted: wanted.size });
    }
    let (copied, mut copy) = session.spool()?.create(name)?;
    let mut file = file.take(wanted.size.saturating_add(1));
    let found = digest_of_file(&mut file, |bytes| {
        session.go_on().map_err(CopyError::Depot)?;
        copy.put(bytes).map_err(|error| CopyError::Depot(error.into()))
    });
    let found = found.map_err(|error| match error {
        CopyError::Depot(error) => error,
        CopyError::Io(error) => unreadable(error),
    })?;
    compare_object(&shown, &found, wanted)?;
    Ok(copied)
}

enum CopyError {
    Io(io::Error),
    Depot(DepotError),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn copy_directory(
    directory: &Path,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    let from = directory.join(&patch.path);
    let (spool, shown) = (session.spool()?, from.display().to_string());
    let inside = InputDirectory::open(directory).and_then(|depot| depot.directory(Path::new(&patch.path)));
    let inside = inside.map_err(|error| DepotError::read(&from, error))?;
    spool.discard(&patch.path)?;
    let mut copies = NewTree::below(spool.place()?.make_dir(patch.path.as_bytes(), Mode::of(0o700))?);
    let (mut copy, mut size) = (None, 0_u64);
    let found = digest_of_parts(&inside, &from, &mut |part| {
        session.go_on().map_err(CopyError::Depot)?;
        match part {
            DirectoryPart::File(path, seen) => {
                let file = copies.file(path.as_os_str().as_bytes()).map_err(DepotError::from);
                let file = file.map_err(CopyError::Depot)?;
                // Scripts run from the spool.
                let made = file.set_mode(Mode::of(0o600 | seen.mode() & 0o111));
                made.map_err(|error| CopyError::Depot(error.into()))?;
                copy = Some(file);
            }
            DirectoryPart::Bytes(bytes) => {
                size = size.saturating_add(bytes.len() as u64);
                if size > patch.size {
                    return Err(CopyError::Depot(DepotError::Digest(shown.clone())));
                }
                if let Some(copy) = &mut copy {
                    copy.put(bytes).map_err(|error| CopyError::Depot(error.into()))?;
                }
            }
        }
        Ok(())
    });
    let found = found.map_err(|error| match error {
        CopyError::Depot(error) => error,
        CopyError::Io(error) => DepotError::read(&from, error),
    })?;
    compare_object(&shown, &found, &object_of(patch))?;
    Ok(spool.path().join(&patch.path))
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

fn from_objects(
    directory: &Path,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<PathBuf, DepotError> {
    if patch.is_directory() {
        return copy_directory(directory, patch, session);
    }
    for (name, object) in objects_of(patch) {
        copy_object(directory, &object, &name, session)?;
    }
    name_signature(patch, session)
}

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

/// Takes an object from the cache, or fetches it. Retries if another command removes it meanwhile.
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

/// With names in the spool. A signature's bytes tell its format.
fn objects_of(patch: &DepotPatch) -> Vec<(String, DepotFile)> {
    let name = name_of_patch(patch);
    let mut objects = vec![(name.clone(), object_of(patch))];
    if let Some(manifest) = &patch.manifest {
        objects.push((format!("{name}.manifest"), manifest.clone()));
        objects.extend(patch.signature.clone().map(|signature| (format!("{name}{SIGNATURE}"), signature)));
    }
    objects
}

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

fn discard_patch(depot: &Depot, patch: &DepotPatch, session: &FetchSession<'_>) -> Result<(), DepotError> {
    if depot.is_indexed_here() {
        return Ok(());
    }
    let (spool, name) = (session.spool()?, name_of_patch(patch));
    let objects = objects_of(patch).into_iter().map(|(name, _)| name);
    let signatures = SignatureFormat::ALL.map(|format| format!("{name}.manifest{}", format.ending()));
    let directory = patch.is_directory().then(|| patch.path.clone());
    let all = objects.chain(signatures).chain(directory).chain([readme_name(patch)]);
    all.into_iter().try_for_each(|name| Ok(spool.discard(&name)?))
}

fn readme_name(patch: &DepotPatch) -> String {
    format!("README.{}", patch.id)
}

fn name_of_patch(patch: &DepotPatch) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '.';
    let form: String = patch.format.chars().filter(is_plain).take(20).collect();
    format!("{}.{form}", patch.id)
}

fn take_readme(
    depot: &Depot,
    patch: &DepotPatch,
    session: &FetchSession<'_>,
) -> Result<Option<PathBuf>, DepotError> {
    let Some(readme) = &patch.readme else { return Ok(None) };
    let path = match depot.location() {
        DepotLocation::Directory(directory) => copy_object(directory, readme, &readme_name(patch), session)?,
        DepotLocation::Address(address) => take_object(address, readme, &readme_name(patch), session)?,
    };
    Ok(Some(path))
}

#[derive(Debug)]
pub struct DepotFault {
    /// Patch id, or another object.
    pub object: String,
    pub reason: String,
    pub error: Option<DepotError>,
}

#[derive(Debug)]
pub struct DepotCheck {
    pub depot: Depot,
    pub objects: usize,
    pub faults: Vec<DepotFault>,
}

/// Compares every object with the index, and signatures with the keys. Continues after a fault; only errors that
/// prevent the whole check are returned.
pub fn check_depot(
    location: &DepotLocation,
    demands: &[Demand],
    session: &FetchSession<'_>,
) -> Result<DepotCheck, DepotError> {
    let depot = open_depot(location, demands, session)?;
    if depot.is_indexed_here() {
        return Err(DepotError::NoIndex(location.to_string()));
    }
    let (mut objects, mut faults) = (0, Vec::new());
    let all = depot.index().patches().len();
    for (done, patch) in depot.index().patches().enumerate() {
        session.go_on()?;
        session.tell(DepotProgress::Patch { doing: PatchWork::Checking, done, all });
        objects += patch.objects().count();
        let readme = take_readme(&depot, patch, session).err();
        match fetch_patch(&depot, patch, session) {
            Err(error) if error.signal().is_some() => return Err(error),
            Err(error) => faults.push(fault(patch, error)),
            Ok(path) => faults.extend(signature_fault(patch, &path, demands)),
        }
        faults.extend(readme.map(|error| fault(patch, error)));
        discard_patch(&depot, patch, session)?;
        // A signal is no fault of the patch.
        session.go_on()?;
    }
    Ok(DepotCheck { depot, objects, faults })
}

fn fault(patch: &DepotPatch, error: DepotError) -> DepotFault {
    DepotFault { object: patch.id.clone(), reason: error.to_string(), error: Some(error) }
}

/// Opens a patch as if applied, if it is signed or must be.
fn signature_fault(patch: &DepotPatch, path: &Path, demands: &[Demand]) -> Option<DepotFault> {
    let is_asked = demands.iter().any(|demand| demand.word != DemandWord::Off);
    if !is_asked && patch.signature.is_none() {
        return None;
    }
    match open_signed(path, demands) {
        Ok((_, image)) if image.signature.verdict.state == SignatureState::Bad => {
            let reason = image.signature.verdict.to_string();
            Some(DepotFault { object: patch.id.clone(), reason, error: None })
        }
        Ok(_) => None,
        Err(error) => {
            let path = error.path.display().to_string();
            let error = match error.problem {
                SourceProblem::Signature(verdict) => Some(DepotError::IndexSignature { path, verdict }),
                _ => None,
            };
            let reason =
                error.as_ref().map_or_else(|| "it cannot be read as a patch".to_owned(), ToString::to_string);
            Some(DepotFault { object: patch.id.clone(), reason, error })
        }
    }
}

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::DepotError;
use super::retries::with_retries;
use chrono::{DateTime, Utc};
use patchadm_inputs::cache::{CacheError, DownloadCache, PartialDownload, PartialOrigin, PatchSpool};
use patchadm_inputs::depot::DepotFile;
use patchadm_inputs::http::{
    Address, HttpAnswer, HttpBody, HttpClient, HttpError, HttpProblem, HttpRequest, HttpSettings, Validators,
};
use patchadm_rootfs::Dir;

pub struct DepotAccess<'a> {
    /// Made if missing; `None` if the caller has no cache.
    pub cache: Option<PathBuf>,
    /// For private directories without a cache.
    pub temporary: PathBuf,
    /// In bytes.
    pub cache_limit: u64,
    pub is_offline: bool,
    pub http: HttpSettings,
    /// Time that another command may stall a download; `None`: as long as its download grows.
    pub wait: Option<Duration>,
    pub now: DateTime<Utc>,
    /// Returns the signal that asks the command to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Called by several threads at once.
    pub progress: &'a (dyn Fn(DepotProgress<'_>) + Sync),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepotProgress<'a> {
    Downloading {
        /// File or address.
        name: &'a str,
        /// Bytes.
        done: u64,
        /// Bytes, if known.
        size: Option<u64>,
    },
    Indexing {
        done: usize,
        all: usize,
    },
    Patch {
        doing: PatchWork,
        done: usize,
        all: usize,
    },
    /// Later events are reported elsewhere.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchWork {
    /// For their descriptions of themselves.
    Reading,
    /// Or found on this machine, and compared.
    Fetching,
    /// Against the index and the keys.
    Checking,
}

/// Fetched files. Sessions that share them download a patch once.
#[derive(Debug, Default)]
pub struct FetchedFiles {
    // Dropped first: the spool is inside the cache.
    spool: OnceLock<PatchSpool>,
    cache: OnceLock<DownloadCache>,
    /// Files in no index.
    addresses: Mutex<Vec<(Address, PathBuf)>>,
}

/// Fetched files live as long as this value, or as others that share them.
pub struct FetchSession<'a> {
    pub(super) access: DepotAccess<'a>,
    pub(super) client: HttpClient,
    files: Arc<FetchedFiles>,
}

impl<'a> FetchSession<'a> {
    /// Opens everything on demand.
    pub fn new(access: DepotAccess<'a>) -> Self {
        Self::sharing(access, Arc::default())
    }

    /// The files must be of sessions with the same cache.
    pub fn sharing(access: DepotAccess<'a>, files: Arc<FetchedFiles>) -> Self {
        let client = HttpClient::new(&access.http);
        Self { access, client, files }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.access.now
    }

    pub(super) fn cache(&self) -> Result<&DownloadCache, DepotError> {
        if let Some(cache) = self.files.cache.get() {
            return Ok(cache);
        }
        let path = self.access.cache.as_deref().ok_or(DepotError::NoCache)?;
        let cache = DownloadCache::open(path, self.access.cache_limit)?;
        Ok(self.files.cache.get_or_init(|| cache))
    }

    /// Returns the spool, or without a cache the directory for private directories.
    pub fn place_to_unpack(&self) -> Result<Dir, DepotError> {
        match self.spool() {
            Ok(spool) => Ok(spool.place()?),
            Err(_) => Ok(Dir::of_host(&self.access.temporary)?),
        }
    }

    pub(super) fn spool(&self) -> Result<&PatchSpool, DepotError> {
        if let Some(spool) = self.files.spool.get() {
            return Ok(spool);
        }
        let spool = self.cache()?.spool()?;
        Ok(self.files.spool.get_or_init(|| spool))
    }

    /// Returns the file of an address that a session has fetched.
    pub(super) fn fetched(&self, address: &Address) -> Option<PathBuf> {
        let addresses = self.files.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.iter().find(|(fetched, _)| fetched == address).map(|(_, path)| path.clone())
    }

    pub(super) fn keep(&self, address: &Address, path: PathBuf) {
        let mut addresses = self.files.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.push((address.clone(), path));
    }

    pub(super) fn go_on(&self) -> Result<(), DepotError> {
        match (self.access.interrupt)() {
            Some(signal) => Err(DepotError::Interrupted(signal)),
            None => Ok(()),
        }
    }

    pub(in crate::operation) fn tell(&self, progress: DepotProgress<'_>) {
        (self.access.progress)(progress);
    }
}

/// Between two looks at another command's download.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks without progress before another download counts as stalled: 60 seconds.
const PATIENT_LOOKS: u32 = 600;

pub(super) enum AnswerBytes {
    Whole(Vec<u8>, Validators),
    Unchanged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchedBy {
    This,
    Another,
}

/// Waits instead if another command fetches it.
pub(super) fn fetch_object(
    session: &FetchSession<'_>,
    address: &Address,
    wanted: &DepotFile,
) -> Result<FetchedBy, DepotError> {
    if session.access.is_offline {
        return Err(DepotError::Offline(address.to_string()));
    }
    let cache = session.cache()?;
    let mut wait = WaitForOther { session, looks: 0, size: 0 };
    let Some(mut partial) = cache.partial(&wanted.sha256, &mut |size| wait.goes_on(size))? else {
        return Ok(FetchedBy::Another);
    };
    let mut origin = partial.resume()?.filter(|origin| origin.size == wanted.size);
    if origin.is_none() {
        partial.restart()?;
    }
    // The lock keeps the partial file itself.
    let rest = wanted.size.saturating_sub(partial.length());
    cache.make_room(rest)?;
    cache.must_have_room(rest)?;
    let mut was_resumed = partial.length() > 0;
    for is_last in [false, true] {
        with_retries(session.client.patience(), &|| session.go_on(), || {
            was_resumed |= partial.length() > 0;
            fetch_rest(session, address, wanted, &mut partial, &mut origin)
        })?;
        if partial.is_right() {
            partial.finish()?;
            return Ok(FetchedBy::This);
        }
        if is_last || !was_resumed {
            break;
        }
        // The bytes may be of two versions of the file: restart once.
        partial.restart()?;
        origin = None;
    }
    // Nobody can resume from here.
    partial.discard()?;
    Err(DepotError::Digest(address.to_string()))
}

fn fetch_rest(
    session: &FetchSession<'_>,
    address: &Address,
    wanted: &DepotFile,
    partial: &mut PartialDownload,
    origin: &mut Option<PartialOrigin>,
) -> Result<(), DepotError> {
    if partial.length() == wanted.size {
        return Ok(());
    }
    let known = origin
        .as_ref()
        .map(|origin| Validators { etag: origin.etag.clone(), modified: origin.modified.clone() });
    let rest = known.as_ref().filter(|_| partial.length() > 0).map(|known| (partial.length(), known));
    let request =
        HttpRequest { address, known: None, rest: rest.filter(|(_, known)| known.condition().is_some()) };
    let mut body = match session.client.get(&request, session.access.interrupt) {
        Ok(HttpAnswer::Content(body)) => body,
        Ok(HttpAnswer::Unchanged) => return Err(problem(address, HttpProblem::Status(304))),
        Err(error) => {
            if matches!(error.problem, HttpProblem::OtherRange) {
                // The server may have another version: restart.
                partial.restart()?;
                *origin = None;
            }
            return Err(error.into());
        }
    };
    if body.from() != partial.length() {
        partial.restart()?;
    }
    if let Some(size) = body.size().filter(|size| *size != wanted.size) {
        let found = format!("{size} bytes");
        return Err(problem(address, HttpProblem::Size { found, size: wanted.size }));
    }
    let Validators { etag, modified } = body.validators().clone();
    let from = PartialOrigin { url: address.to_string(), etag, modified, size: wanted.size };
    if origin.as_ref() != Some(&from) || partial.length() == 0 {
        partial.note_origin(&from)?;
        *origin = Some(from);
    }
    receive(session, address, wanted.size, &mut body, |bytes| Ok(partial.append(bytes)?))
}

fn receive(
    session: &FetchSession<'_>,
    address: &Address,
    size: u64,
    body: &mut HttpBody,
    mut append: impl FnMut(Vec<u8>) -> Result<(), DepotError>,
) -> Result<(), DepotError> {
    let name = address.to_string();
    let mut done = body.from();
    while let Some(bytes) = body.next_bytes(session.access.interrupt)? {
        done += bytes.len() as u64;
        if done > size {
            return Err(problem(address, HttpProblem::Size { found: "more".to_owned(), size }));
        }
        append(bytes)?;
        session.tell(DepotProgress::Downloading { name: &name, done, size: Some(size) });
    }
    if done < size {
        return Err(problem(address, HttpProblem::Cut { got: done, size }));
    }
    Ok(())
}

/// `limit` in bytes.
pub(super) fn fetch_small(
    session: &FetchSession<'_>,
    address: &Address,
    limit: u64,
    known: Option<&Validators>,
) -> Result<AnswerBytes, DepotError> {
    if session.access.is_offline {
        return Err(DepotError::Offline(address.to_string()));
    }
    with_retries(session.client.patience(), &|| session.go_on(), || {
        let request = HttpRequest { address, known, rest: None };
        let mut body = match session.client.get(&request, session.access.interrupt)? {
            HttpAnswer::Unchanged => return Ok(AnswerBytes::Unchanged),
            HttpAnswer::Content(body) => body,
        };
        let mut bytes = Vec::new();
        each_part(session, address, &mut body, limit, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(AnswerBytes::Whole(bytes, body.validators().clone()))
    })
}

/// For small files outside an index: a cross-reference, a list.
pub fn fetch_bytes(session: &FetchSession<'_>, address: &Address, limit: u64) -> Result<Vec<u8>, DepotError> {
    match fetch_small(session, address, limit, None)? {
        AnswerBytes::Whole(bytes, _) => Ok(bytes),
        AnswerBytes::Unchanged => Err(problem(address, HttpProblem::Status(304))),
    }
}

pub(super) fn each_part(
    session: &FetchSession<'_>,
    address: &Address,
    body: &mut HttpBody,
    limit: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), DepotError>,
) -> Result<(), DepotError> {
    let (name, size) = (address.to_string(), body.size());
    let too_large = |found: String| problem(address, HttpProblem::Size { found, size: limit });
    if let Some(size) = size.filter(|size| *size > limit) {
        return Err(too_large(format!("{size} bytes")));
    }
    let mut done = 0;
    while let Some(bytes) = body.next_bytes(session.access.interrupt)? {
        done += bytes.len() as u64;
        if done > limit {
            return Err(too_large("more".to_owned()));
        }
        each(&bytes)?;
        session.tell(DepotProgress::Downloading { name: &name, done, size });
    }
    match size {
        Some(size) if done != size => Err(problem(address, HttpProblem::Cut { got: done, size })),
        _ => Ok(()),
    }
}

fn problem(address: &Address, problem: HttpProblem) -> DepotError {
    HttpError { address: address.to_string(), problem }.into()
}

struct WaitForOther<'s, 'a> {
    session: &'s FetchSession<'a>,
    looks: u32,
    size: u64,
}

impl WaitForOther<'_, '_> {
    fn goes_on(&mut self, size: u64) -> Result<bool, CacheError> {
        if let Some(signal) = (self.session.access.interrupt)() {
            return Err(CacheError::Interrupted(signal));
        }
        if size != self.size && self.session.access.wait.is_none() {
            // Another command makes progress.
            self.looks = 0;
        }
        self.size = size;
        self.looks += 1;
        std::thread::sleep(PAUSE);
        Ok(match self.session.access.wait {
            Some(wait) => PAUSE * (self.looks - 1) < wait,
            None => self.looks <= PATIENT_LOOKS,
        })
    }
}

//! A session of fetching: the cache, the network, the spool, and downloads into them.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use super::error::DepotError;
use chrono::{DateTime, Utc};
use patchadm_inputs::cache::{CacheError, DownloadCache, PartialDownload, PartialOrigin, PatchSpool};
use patchadm_inputs::depot::DepotFile;
use patchadm_inputs::http::{
    Address, HttpAnswer, HttpBody, HttpClient, HttpError, HttpProblem, HttpRequest, HttpSettings, Validators,
};
use patchadm_rootfs::Dir;

/// The access to depots, as the caller decided it.
pub struct DepotAccess<'a> {
    /// The directory of the cache, made if it is missing; `None` if the caller has none.
    pub cache: Option<PathBuf>,
    /// The directory for private directories if there is no cache.
    pub temporary: PathBuf,
    /// The size of the cache, in bytes.
    pub cache_limit: u64,
    /// Do not use the network.
    pub is_offline: bool,
    /// Proxies, certificates, and time limits.
    pub http: HttpSettings,
    /// The time that another command may hold up a download; `None` for as long as its download grows.
    pub wait: Option<Duration>,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// Returns the signal that asks the command to end, if one arrived.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Receives the progress.
    pub progress: &'a dyn Fn(DepotProgress<'_>),
}

/// The progress of fetching or indexing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepotProgress<'a> {
    /// Bytes came.
    Downloading {
        /// The file or address.
        name: &'a str,
        /// The bytes that have arrived.
        done: u64,
        /// The size of the whole, if it is known.
        size: Option<u64>,
    },
    /// Patches of a directory have been examined.
    Indexing {
        /// Their number.
        done: usize,
        /// The number of all.
        all: usize,
    },
    /// A patch of several is taken up.
    Patch {
        /// The work on each patch.
        doing: PatchWork,
        /// The number of finished patches.
        done: usize,
        /// The number of all.
        all: usize,
    },
    /// Nothing more comes. Later events are reported elsewhere.
    Ended,
}

/// The work on patches before a root is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchWork {
    /// They are read for their descriptions of themselves.
    Reading,
    /// They are fetched, or found on this machine and compared.
    Fetching,
    /// They are compared with the index, and their signatures with the keys.
    Checking,
}

/// A command that fetches. What it fetched exists as long as this value.
pub struct FetchSession<'a> {
    pub(super) access: DepotAccess<'a>,
    pub(super) client: HttpClient,
    // The spool is inside the cache and goes first.
    spool: OnceCell<PatchSpool>,
    cache: OnceCell<DownloadCache>,
}

impl<'a> FetchSession<'a> {
    /// Begins a session. Nothing is opened before it is needed.
    pub fn new(access: DepotAccess<'a>) -> Self {
        let client = HttpClient::new(&access.http);
        Self { access, client, spool: OnceCell::new(), cache: OnceCell::new() }
    }

    /// Returns the moment that counts as now.
    pub fn now(&self) -> DateTime<Utc> {
        self.access.now
    }

    pub(super) fn cache(&self) -> Result<&DownloadCache, DepotError> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache);
        }
        let path = self.access.cache.as_deref().ok_or(DepotError::NoCache)?;
        let cache = DownloadCache::open(path, self.access.cache_limit)?;
        Ok(self.cache.get_or_init(|| cache))
    }

    /// Opens the directory in which archives of several patches are unpacked: the spool of this command, or, without a
    /// cache, the directory for private directories.
    pub fn place_to_unpack(&self) -> Result<Dir, DepotError> {
        match self.spool() {
            Ok(spool) => Ok(spool.place()?),
            Err(_) => Ok(Dir::of_host(&self.access.temporary)?),
        }
    }

    pub(super) fn spool(&self) -> Result<&PatchSpool, DepotError> {
        if let Some(spool) = self.spool.get() {
            return Ok(spool);
        }
        let spool = self.cache()?.spool()?;
        Ok(self.spool.get_or_init(|| spool))
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

/// Pause between two looks at another command's download.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks without progress before another command's download counts as stalled: 60 seconds.
const PATIENT_LOOKS: u32 = 600;

pub(super) enum AnswerBytes {
    Whole(Vec<u8>, Validators),
    Unchanged,
}

/// The command that put an object into the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchedBy {
    This,
    Another,
}

/// Fetches an object into the cache, unless another command does so meanwhile.
pub(super) fn fetch_object(
    session: &FetchSession<'_>,
    address: &Address,
    wanted: &DepotFile,
) -> Result<FetchedBy, DepotError> {
    if session.access.is_offline {
        return Err(DepotError::Offline(address.to_string()));
    }
    let cache = session.cache()?;
    cache.make_room(wanted.size)?;
    let mut wait = WaitForOther { session, looks: 0, size: 0 };
    let Some(mut partial) = cache.partial(&wanted.sha256, &mut |size| wait.goes_on(size))? else {
        return Ok(FetchedBy::Another);
    };
    let mut origin = partial.resume()?.filter(|origin| origin.size == wanted.size);
    if origin.is_none() {
        partial.restart()?;
    }
    let mut was_resumed = partial.length() > 0;
    for is_last in [false, true] {
        with_retries(session, || {
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
        // The bytes may be of two versions of the file: try once from the beginning.
        partial.restart()?;
        origin = None;
    }
    // No command can resume from here.
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
                // The server may have another version now: start from the beginning.
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

/// Fetches a small file into memory, up to a limit in bytes.
pub(super) fn fetch_small(
    session: &FetchSession<'_>,
    address: &Address,
    limit: u64,
    known: Option<&Validators>,
) -> Result<AnswerBytes, DepotError> {
    if session.access.is_offline {
        return Err(DepotError::Offline(address.to_string()));
    }
    with_retries(session, || {
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

/// Fetches a file of unknown size and digest into memory: a cross-reference of patches, a list.
pub fn fetch_bytes(session: &FetchSession<'_>, address: &Address, limit: u64) -> Result<Vec<u8>, DepotError> {
    match fetch_small(session, address, limit, None)? {
        AnswerBytes::Whole(bytes, _) => Ok(bytes),
        AnswerBytes::Unchanged => Err(problem(address, HttpProblem::Status(304))),
    }
}

/// Passes on the bytes of a body of unknown size, up to a limit.
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

/// Retries transient errors after pauses.
pub(super) fn with_retries<T>(
    session: &FetchSession<'_>,
    mut work: impl FnMut() -> Result<T, DepotError>,
) -> Result<T, DepotError> {
    for pause in &session.client.patience().pauses {
        match work() {
            Err(DepotError::Http(error)) if error.problem.is_passing() => sleep(session, *pause)?,
            done => return done,
        }
    }
    work()
}

fn sleep(session: &FetchSession<'_>, pause: Duration) -> Result<(), DepotError> {
    let mut left = pause;
    while !left.is_zero() {
        session.go_on()?;
        let nap = left.min(PAUSE);
        std::thread::sleep(nap);
        left -= nap;
    }
    session.go_on()
}

fn problem(address: &Address, problem: HttpProblem) -> DepotError {
    HttpError { address: address.to_string(), problem }.into()
}

/// Waiting for another command that fetches the same object.
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
            // It grows, so the other command is at work.
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

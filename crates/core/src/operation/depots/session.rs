//! The equipment of a command that fetches: the cache, the network, and the place for what it uses.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::DepotError;
use patchadm_inputs::cache::{DownloadCache, PatchSpool};
use patchadm_inputs::http::{HttpClient, HttpSettings};
use patchadm_rootfs::Dir;

/// The access to depots, as the caller decided it.
pub struct DepotAccess<'a> {
    /// The directory of the cache, made if it is missing; `None` if the caller has none.
    pub cache: Option<PathBuf>,
    /// The directory for private directories if there is no cache.
    pub temporary: PathBuf,
    /// The size of the cache, in bytes.
    pub cache_limit: u64,
    /// Whether nothing is fetched over a network.
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

    /// Returns the cache, opened at its first use.
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

    /// Returns the spool of this command, made at its first use.
    pub(super) fn spool(&self) -> Result<&PatchSpool, DepotError> {
        if let Some(spool) = self.spool.get() {
            return Ok(spool);
        }
        let spool = self.cache()?.spool()?;
        Ok(self.spool.get_or_init(|| spool))
    }

    /// Ends the work if the caller asks for it.
    pub(super) fn go_on(&self) -> Result<(), DepotError> {
        match (self.access.interrupt)() {
            Some(signal) => Err(DepotError::Interrupted(signal)),
            None => Ok(()),
        }
    }

    /// Reports progress to the caller.
    pub(in crate::operation) fn tell(&self, progress: DepotProgress<'_>) {
        (self.access.progress)(progress);
    }
}

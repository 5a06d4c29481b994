//! What a command needs to fetch: the cache, the network, and where it puts what it uses.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::DepotError;
use patchadm_inputs::cache::{DownloadCache, PatchSpool};
use patchadm_inputs::http::{HttpClient, HttpSettings};
use patchadm_rootfs::Dir;

/// How depots are reached, as the caller decided it.
pub struct DepotAccess<'a> {
    /// The directory of the cache, made where it is missing; `None` where the caller has none.
    pub cache: Option<PathBuf>,
    /// The directory for private directories where there is no cache.
    pub temporary: PathBuf,
    /// The size of the cache, in bytes.
    pub cache_limit: u64,
    /// Whether nothing is fetched over a network.
    pub is_offline: bool,
    /// Proxies, certificates, and how patient it is.
    pub http: HttpSettings,
    /// How long another command may hold up a download; `None` as long as its download grows.
    pub wait: Option<Duration>,
    /// The present moment.
    pub now: DateTime<Utc>,
    /// The signal that wants it to end, if one came.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Told how far it is.
    pub progress: &'a dyn Fn(DepotProgress<'_>),
}

/// How far fetching or indexing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepotProgress<'a> {
    /// Bytes came.
    Downloading {
        /// The file or address.
        name: &'a str,
        /// The bytes that are there.
        done: u64,
        /// The size of the whole, if it is known.
        size: Option<u64>,
    },
    /// Patches of a directory were looked at.
    Indexing {
        /// Their number.
        done: usize,
        /// The number of all.
        all: usize,
    },
    /// A patch of several is taken up.
    Patch {
        /// What is done with each.
        doing: PatchWork,
        /// The number of those that are done.
        done: usize,
        /// The number of all.
        all: usize,
    },
    /// Nothing more comes: what follows is told elsewhere.
    Ended,
}

/// What is done with patches before a root is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchWork {
    /// They are read, to learn what they say of themselves.
    Reading,
    /// They are fetched, or found on this machine and compared.
    Fetching,
    /// They are compared with the index, and their signatures with the keys.
    Checking,
}

/// A command that fetches. What it fetched is there as long as this value is.
pub struct FetchSession<'a> {
    pub(super) access: DepotAccess<'a>,
    pub(super) client: HttpClient,
    // The spool is inside the cache and goes first.
    spool: OnceCell<PatchSpool>,
    cache: OnceCell<DownloadCache>,
}

impl<'a> FetchSession<'a> {
    /// Begins; nothing is opened before it is needed.
    pub fn new(access: DepotAccess<'a>) -> Self {
        let client = HttpClient::new(&access.http);
        Self { access, client, spool: OnceCell::new(), cache: OnceCell::new() }
    }

    /// Returns the moment that counts as now.
    pub fn now(&self) -> DateTime<Utc> {
        self.access.now
    }

    /// The cache, opened at its first use.
    pub(super) fn cache(&self) -> Result<&DownloadCache, DepotError> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache);
        }
        let path = self.access.cache.as_deref().ok_or(DepotError::NoCache)?;
        let cache = DownloadCache::open(path, self.access.cache_limit)?;
        Ok(self.cache.get_or_init(|| cache))
    }

    /// Opens the directory in which archives of several patches are unpacked: the spool of this command, or where no cache
    /// can be had the directory for private directories.
    pub fn place_to_unpack(&self) -> Result<Dir, DepotError> {
        match self.spool() {
            Ok(spool) => Ok(spool.place()?),
            Err(_) => Ok(Dir::of_host(&self.access.temporary)?),
        }
    }

    /// The spool of this command, made at its first use.
    pub(super) fn spool(&self) -> Result<&PatchSpool, DepotError> {
        if let Some(spool) = self.spool.get() {
            return Ok(spool);
        }
        let spool = self.cache()?.spool()?;
        Ok(self.spool.get_or_init(|| spool))
    }

    /// Ends the work if the caller wants it.
    pub(super) fn go_on(&self) -> Result<(), DepotError> {
        match (self.access.interrupt)() {
            Some(signal) => Err(DepotError::Interrupted(signal)),
            None => Ok(()),
        }
    }

    /// Tells the caller how far it is.
    pub(in crate::operation) fn tell(&self, progress: DepotProgress<'_>) {
        (self.access.progress)(progress);
    }
}

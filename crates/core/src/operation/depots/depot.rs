use super::error::DepotError;
use super::in_place::{index_of, must_be_unique, read_in_place};
use super::index::IndexBytes;
use super::index::KnownPatches;
use super::location::DepotLocation;
use super::session::FetchSession;
use crate::operation::depot_memory::{check_index, remember_index};
use crate::operation::failure::Failure;
use crate::operation::session::Session;
use chrono::{DateTime, Utc};
use patchadm_inputs::depot::{DepotIndex, DepotPatch, IndexSight, StaleIndex};
use patchadm_inputs::sign::{Demand, DemandWord, SignatureState, Verdict, sha256, sha256_text};
use patchadm_rootfs::Root;

/// Its index has been read, and its signature satisfies all demands.
#[derive(Debug)]
pub struct Depot {
    location: DepotLocation,
    remembered: String,
    index: DepotIndex,
    sha256: String,
    verdict: Verdict,
    is_indexed_here: bool,
    passed_over: Vec<(String, String)>,
    others: Vec<DepotPatch>,
}

/// Verifies the signature before it parses the index. A directory without an index is indexed in memory, and counts as
/// unsigned.
pub fn open_depot(
    location: &DepotLocation,
    demands: &[Demand],
    session: &FetchSession<'_>,
) -> Result<Depot, DepotError> {
    session.go_on()?;
    let bytes = match location {
        DepotLocation::Address(address) => Some(IndexBytes::of_address(address, session)?),
        DepotLocation::Directory(path) if !path.is_dir() => return Err(DepotError::no_directory(path)),
        DepotLocation::Directory(path) => IndexBytes::of_directory(path)?,
    };
    let Some(bytes) = bytes else { return index_here(location, demands, session) };
    let verdict = bytes.judged(demands)?;
    Ok(Depot {
        location: location.clone(),
        remembered: location.remembered(),
        index: bytes.parsed()?,
        sha256: bytes.sha256,
        verdict,
        is_indexed_here: false,
        passed_over: Vec::new(),
        others: Vec::new(),
    })
}

fn index_here(
    location: &DepotLocation,
    demands: &[Demand],
    session: &FetchSession<'_>,
) -> Result<Depot, DepotError> {
    let DepotLocation::Directory(directory) = location else {
        return Err(DepotError::NoIndex(location.to_string()));
    };
    if demands.iter().any(|demand| demand.word == DemandWord::Require) || directory.join("objects").is_dir() {
        return Err(DepotError::NoIndex(directory.display().to_string()));
    }
    let known = KnownPatches::new();
    let read = read_in_place(directory, &known, session.access.interrupt, session.access.progress)?;
    let remembered = location.remembered();
    // Not random: the name is never remembered.
    let name = sha256_text(&sha256(remembered.as_bytes())).get(..32).unwrap_or_default().to_owned();
    let index = index_of(read.patches, name, session.access.now);
    let passed_over = read.known.into_iter().filter_map(|known| Some((known.name, known.reason?)));
    Ok(Depot {
        location: location.clone(),
        remembered,
        sha256: sha256_text(&sha256(&index.write())),
        index,
        verdict: Verdict::unchecked(),
        is_indexed_here: true,
        passed_over: passed_over.collect(),
        others: read.others,
    })
}

impl Depot {
    pub fn location(&self) -> &DepotLocation {
        &self.location
    }

    pub fn index(&self) -> &DepotIndex {
        &self.index
    }

    /// Returns patches of the index, then those of a directory with the same ids and other content.
    pub fn patches(&self) -> Vec<&DepotPatch> {
        self.index.patches().chain(&self.others).collect()
    }

    pub(super) fn must_be_unique(&self) -> Result<(), DepotError> {
        match &self.location {
            DepotLocation::Address(_) => Ok(()),
            DepotLocation::Directory(directory) => {
                must_be_unique(directory, self.index.patches(), &self.others)
            }
        }
    }

    pub fn index_sha256(&self) -> &str {
        &self.sha256
    }

    /// By the strictest demand.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub fn is_indexed_here(&self) -> bool {
        self.is_indexed_here
    }

    /// Returns names and reasons.
    pub fn passed_over(&self) -> &[(String, String)] {
        &self.passed_over
    }

    /// Compares the index with a root's memory, without a lock. Accepts an expired index if allowed, to report it.
    pub fn check(
        &self,
        root: &Root,
        demand: DemandWord,
        now: DateTime<Utc>,
    ) -> Result<Option<StaleIndex>, Failure> {
        if self.is_indexed_here {
            return Ok(None);
        }
        check_index(root, &self.sight(), demand, now)
    }

    /// Compares again under the lock, and remembers an index with a trusted signature. Otherwise an attacker could show
    /// a version that no genuine index ever reaches.
    pub fn remember(
        &self,
        session: &Session<'_>,
        demand: DemandWord,
        now: DateTime<Utc>,
    ) -> Result<Option<StaleIndex>, Failure> {
        match self.verdict.state {
            SignatureState::Trusted => remember_index(session, &self.sight(), demand, now),
            _ => self.check(&session.ground.root, demand, now),
        }
    }

    fn sight(&self) -> IndexSight<'_> {
        IndexSight { location: &self.remembered, index: &self.index, sha256: &self.sha256 }
    }
}

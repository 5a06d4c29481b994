use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::DepotError;
use super::in_place::{index_of, read_in_place};
use super::index::{IndexBytes, KnownPatches};
use super::session::FetchSession;
use crate::operation::depot_memory::{check_index, remember_index};
use crate::operation::failure::Failure;
use crate::operation::session::Session;
use patchadm_inputs::depot::{DepotIndex, DepotPatch, IndexSight, StaleIndex};
use patchadm_inputs::http::Address;
use patchadm_inputs::password::without_password;
use patchadm_inputs::sign::{Demand, DemandWord, Verdict, sha256, sha256_text};
use patchadm_rootfs::Root;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DepotLocation {
    Directory(PathBuf),
    /// On a web server.
    Address(Address),
}

impl DepotLocation {
    /// `http:` and `https:` are addresses; `file:` and everything else is a directory. Refuses other schemes.
    pub fn parse(named: &OsStr) -> Result<Self, DepotError> {
        if is_on_network(named) {
            let text = named.to_string_lossy();
            let address = Address::parse(&text)?;
            if address.has_query() {
                return Err(DepotError::FileAddress(without_password(&text)));
            }
            return Ok(Self::Address(address.as_directory()));
        }
        match scheme_stripped(named, b"file:") {
            Some(rest) => path_of_file_address(rest)
                .map(Self::Directory)
                .ok_or_else(|| DepotError::FileAddress(without_password(&named.to_string_lossy()))),
            None if has_foreign_scheme(named) => {
                Err(DepotError::FileAddress(without_password(&named.to_string_lossy())))
            }
            None => Ok(Self::Directory(PathBuf::from(named))),
        }
    }

    /// One spelling per location, to remember and compare.
    pub fn remembered(&self) -> String {
        match self {
            Self::Directory(path) => {
                path.canonicalize().unwrap_or_else(|_| path.clone()).to_string_lossy().into_owned()
            }
            Self::Address(address) => address.to_string(),
        }
    }
}

impl fmt::Display for DepotLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

pub fn is_on_network(named: &OsStr) -> bool {
    scheme_stripped(named, b"http:").is_some() || scheme_stripped(named, b"https:").is_some()
}

/// `SCHEME://…`. A directory of such a name needs `./`.
fn has_foreign_scheme(named: &OsStr) -> bool {
    let text = named.to_string_lossy();
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn scheme_stripped<'n>(named: &'n OsStr, scheme: &[u8]) -> Option<&'n [u8]> {
    let (start, rest) = named.as_bytes().split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Accepts `file:///PATH`, `file://localhost/PATH` and `file:/PATH`.
fn path_of_file_address(rest: &[u8]) -> Option<PathBuf> {
    let path = match rest.strip_prefix(b"//") {
        Some(rest) => rest.strip_prefix(b"localhost").unwrap_or(rest),
        None => rest,
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path;
    while let Some((&first, rest)) = left.split_first() {
        left = rest;
        if first == b'%' {
            let digits = str::from_utf8(left.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            left = left.get(2..)?;
        } else {
            bytes.push(first);
        }
    }
    let is_path = bytes.first() == Some(&b'/') && !bytes.contains(&0);
    is_path.then(|| PathBuf::from(OsString::from_vec(bytes)))
}

/// Its index has been read, and its signature satisfies all demands.
#[derive(Debug)]
pub struct Depot {
    location: DepotLocation,
    remembered: String,
    index: DepotIndex,
    sha256: String,
    verdict: Verdict,
    is_trusted: bool,
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
        DepotLocation::Address(address) => Some(IndexBytes::of_address(address, demands, session)?),
        DepotLocation::Directory(path) if !path.is_dir() => return Err(DepotError::no_directory(path)),
        DepotLocation::Directory(path) => IndexBytes::of_directory(path)?,
    };
    let Some(bytes) = bytes else { return index_here(location, demands, session) };
    let (verdict, is_trusted) = bytes.judged(demands)?;
    let index = bytes.parsed()?;
    bytes.remember(session)?;
    Ok(Depot {
        location: location.clone(),
        remembered: location.remembered(),
        index,
        sha256: bytes.sha256,
        verdict,
        is_trusted,
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
        is_trusted: false,
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

    /// A directory with neither index nor patches is a mistake.
    pub fn must_have_patches(&self) -> Result<(), DepotError> {
        match &self.location {
            DepotLocation::Directory(directory)
                if self.is_indexed_here && self.index.patches().len() == 0 =>
            {
                let damaged = self.passed_over.first().cloned();
                Err(DepotError::NoPatches { directory: directory.clone(), damaged })
            }
            _ => Ok(()),
        }
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

    /// Compares again under the lock, and remembers an index whose signature a demand trusts. Otherwise an attacker could
    /// show a version that no genuine index ever reaches.
    pub fn remember(
        &self,
        session: &Session<'_>,
        demand: DemandWord,
        now: DateTime<Utc>,
    ) -> Result<Option<StaleIndex>, Failure> {
        if self.is_trusted {
            remember_index(session, &self.sight(), demand, now)
        } else {
            self.check(&session.ground.root, demand, now)
        }
    }

    fn sight(&self) -> IndexSight<'_> {
        IndexSight { location: &self.remembered, index: &self.index, sha256: &self.sha256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        let location = DepotLocation::parse(OsStr::new(text));
        location.map(|location| format!("{location:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_address_is_a_directory() {
        for text in ["file:///srv/a%20b", "file://localhost/srv/a%20b", "FILE:/srv/a%20b"] {
            assert_eq!(parsed(text).unwrap(), "Directory(\"/srv/a b\")", "{text}");
        }
        for text in ["file://other/srv", "file:srv", "file:///a%0", "file:///a%00", "ftp://h/srv"] {
            assert!(parsed(text).unwrap_err().contains("names no directory"), "{text}");
        }
        for text in ["srv", "./ftp://h/srv", "a:b"] {
            assert_eq!(parsed(text).unwrap(), format!("Directory(\"{text}\")"));
        }
    }

    #[test]
    fn a_web_address_is_a_directory_there() {
        let location = DepotLocation::parse(OsStr::new("https://h/depot")).unwrap();
        assert_eq!(location.to_string(), "https://h/depot/");
        assert!(parsed("http://h/depot?x").is_err());
        assert!(parsed("http://a:b@h/depot").is_err());
    }
}

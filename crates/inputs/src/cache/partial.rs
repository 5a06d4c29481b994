//! An object that is being fetched: its bytes so far, and where they come from.

use std::io::Read as _;

use serde::{Deserialize, Serialize};

use super::error::CacheError;
use crate::sha256::RunningDigest;
use crate::sign::sha256_text;
use patchadm_rootfs::{Dir, RootError, WritableFile};
use patchadm_svr4::package::Mode;

/// The largest note about an origin that is read, in bytes.
const LARGEST_ORIGIN: u64 = 16 << 10;

const BUFFER: usize = 1 << 18;

/// Where the first bytes of an object came from, so that the rest can be asked of the same file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialOrigin {
    /// The address.
    pub url: String,
    /// The strong entity tag, if the server gave one.
    pub etag: Option<String>,
    /// The date of the file as the server wrote it, if it gave one.
    pub modified: Option<String>,
    /// The size of the whole, in bytes.
    pub size: u64,
}

/// An object that is being fetched, locked for one writer while the value exists.
pub struct PartialDownload {
    dir: Dir,
    shelf: Dir,
    sha256: String,
    file: WritableFile,
    sum: RunningDigest,
}

impl PartialDownload {
    pub(super) fn open(
        dir: Dir,
        shelf: Dir,
        sha256: &str,
        wait: &mut dyn FnMut(u64) -> Result<bool, CacheError>,
    ) -> Result<Option<Self>, CacheError> {
        loop {
            let file = dir.open_or_create(sha256.as_bytes(), Mode::of(0o600))?;
            if !file.try_lock()? {
                if !wait(file.size()?)? {
                    return Err(CacheError::Held(dir.root().show(&dir.at(sha256.as_bytes()))));
                }
                continue;
            }
            if shelf.look(sha256.as_bytes())?.is_some() {
                // Another command was faster. The file that was made here a moment ago is useless.
                dir.remove(sha256.as_bytes())?;
                return Ok(None);
            }
            let is_current = dir.look(sha256.as_bytes())?.map(|seen| seen.inode) == Some(file.look()?.inode);
            if is_current {
                let sha256 = sha256.to_owned();
                return Ok(Some(Self { dir, shelf, sha256, file, sum: RunningDigest::new() }));
            }
        }
    }

    /// Reads what an earlier command left, if its note says where that came from. Without a note it begins anew.
    pub fn resume(&mut self) -> Result<Option<PartialOrigin>, CacheError> {
        let note = self.dir.read_regular(self.note_name().as_bytes(), LARGEST_ORIGIN)?;
        let origin = note.and_then(|text| serde_json::from_slice::<PartialOrigin>(&text).ok());
        let length = self.file.size()?;
        let Some(origin) = origin.filter(|origin| length > 0 && length <= origin.size) else {
            self.restart()?;
            return Ok(None);
        };
        self.file.rewind()?;
        let mut spare: Option<Vec<u8>> = None;
        loop {
            let mut part = spare.take().unwrap_or_default();
            part.resize(BUFFER, 0);
            let count = match self.file.read(&mut part) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.dir.read_error(self.sha256.as_bytes(), &error).into()),
                Ok(count) => count,
            };
            if count == 0 {
                return Ok(Some(origin));
            }
            part.truncate(count);
            spare = self.sum.update(part);
        }
    }

    /// Notes where the bytes come from that follow.
    pub fn note_origin(&self, origin: &PartialOrigin) -> Result<(), CacheError> {
        // Strings and a number: serialising these cannot fail.
        let text = serde_json::to_vec(origin).unwrap_or_default();
        let name = self.note_name();
        self.dir.remove(name.as_bytes())?;
        self.dir.create(name.as_bytes())?.put(&text)?;
        Ok(())
    }

    /// Returns the number of bytes that are there.
    pub fn length(&self) -> u64 {
        self.sum.size()
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: Vec<u8>) -> Result<(), CacheError> {
        self.file.put(&bytes)?;
        self.sum.update(bytes);
        Ok(())
    }

    /// Discards the bytes so far and begins at the first byte.
    pub fn restart(&mut self) -> Result<(), CacheError> {
        self.dir.remove(self.note_name().as_bytes())?;
        self.file.set_size(0)?;
        self.sum = RunningDigest::new();
        Ok(())
    }

    /// Tells whether the bytes so far have the digest of the object.
    pub fn is_right(&mut self) -> bool {
        sha256_text(&self.sum.sha256()) == self.sha256
    }

    /// Makes an object of it, whose bytes are durable before it has its name.
    pub fn finish(self) -> Result<(), CacheError> {
        self.file.sync()?;
        self.dir.replace(self.sha256.as_bytes(), &self.shelf, self.sha256.as_bytes())?;
        Ok(self.dir.remove(self.note_name().as_bytes())?)
    }

    /// Removes the bytes so far: they are useless.
    pub fn discard(self) -> Result<(), RootError> {
        self.dir.remove(self.note_name().as_bytes())?;
        self.dir.remove(self.sha256.as_bytes())
    }

    fn note_name(&self) -> String {
        format!("{}.json", self.sha256)
    }
}

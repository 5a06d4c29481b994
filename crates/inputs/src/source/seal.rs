//! The seal of a source with a verified signature: blocks of 1 MiB are compared with the first reading, members with
//! their sums in the manifest, and different members end with an error. An exchange between check and use is detected
//! at the use. A source without a seal costs nothing.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;

use super::member::{MemberKind, SourceMember};
use crate::sha256::Sha256;
use crate::sign::{Manifest, Sha256Sum, is_of_manifest, sha256};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::PackagePath;

pub(super) const BLOCK: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Seal {
    members: Option<SealedMembers>,
    blocks: Option<Vec<Digest>>,
    broken: OnceLock<String>,
}

/// The manifest of the members, and their top directory, ended by `/` if there is one.
#[derive(Debug)]
pub(super) struct SealedMembers {
    pub(super) manifest: Manifest,
    pub(super) top: Vec<u8>,
}

pub(super) fn read_block(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[derive(Debug, Default)]
pub(super) struct ReadBlock {
    number: Option<usize>,
    bytes: Vec<u8>,
}

impl Seal {
    pub(super) fn of_blocks(blocks: Option<Vec<Digest>>) -> Self {
        Self { blocks, ..Self::default() }
    }

    pub(super) fn of_members(members: SealedMembers) -> Self {
        Self { members: Some(members), ..Self::default() }
    }

    /// Returns bytes only after they were compared with the digest of their block.
    pub(super) fn read_at(
        &self,
        file: &File,
        last: &mut ReadBlock,
        buffer: &mut [u8],
        position: u64,
    ) -> io::Result<usize> {
        let Some(blocks) = &self.blocks else { return file.read_at(buffer, position) };
        let number = usize::try_from(position / BLOCK as u64).unwrap_or(usize::MAX);
        let Some(digest) = blocks.get(number) else { return Ok(0) };
        if last.number != Some(number) {
            last.number = None;
            last.bytes.resize(BLOCK, 0);
            let count = read_block(file, &mut last.bytes, number as u64 * BLOCK as u64)?;
            last.bytes.truncate(count);
            if Digest::of(&last.bytes) != *digest {
                return Err(self.broken_by("it was changed while it was read".to_owned()));
            }
            last.number = Some(number);
        }
        let within = usize::try_from(position % BLOCK as u64).unwrap_or_default();
        let rest = last.bytes.get(within..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    /// Fails for a member that the manifest does not list.
    pub(super) fn expected(&self, member: &SourceMember) -> Option<Result<Sha256Sum, String>> {
        let sealed = self.members.as_ref()?;
        if member.kind == MemberKind::Directory {
            return None;
        }
        let path = member.path.as_bytes();
        let inside = path.strip_prefix(&sealed.top[..]);
        if inside.is_some_and(is_of_manifest) {
            return None;
        }
        let Some(sum) = inside.and_then(|inside| sealed.manifest.sum(inside)) else {
            return Some(Err(format!("has {}, which its manifest does not list", shown(path))));
        };
        let is_right = match &member.kind {
            // A reader without bytes has read an empty file completely.
            MemberKind::File => member.size > 0 || *sum == sha256(b""),
            MemberKind::HardLink(target) => sealed.sum_of_link(target) == Some(sum),
            _ => false,
        };
        Some(if is_right { Ok(*sum) } else { Err(format!("{} does not match its manifest", shown(path))) })
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    fn broken_by(&self, reason: String) -> io::Error {
        let error = io::Error::new(io::ErrorKind::InvalidData, reason.clone());
        // Only the first one is reported.
        let _ = self.broken.set(reason);
        error
    }

    pub(super) fn digested<'a>(
        &'a self,
        member: &SourceMember,
        expected: Sha256Sum,
        inner: &'a mut dyn Read,
    ) -> DigestedMember<'a> {
        let name = shown(member.path.as_bytes());
        let left = if member.kind == MemberKind::File { member.size } else { 0 };
        DigestedMember { seal: self, inner, sum: Sha256::new(), left, expected, name }
    }
}

/// Altered content gives an error instead of its last bytes.
pub(super) struct DigestedMember<'a> {
    seal: &'a Seal,
    inner: &'a mut dyn Read,
    sum: Sha256,
    left: u64,
    expected: Sha256Sum,
    name: String,
}

impl DigestedMember<'_> {
    /// Reads the rest, so that the whole source is compared.
    pub(super) fn read_rest(&mut self) {
        let _ = io::copy(self, &mut io::sink());
    }
}

impl Read for DigestedMember<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        self.left = self.left.saturating_sub(count as u64);
        if self.left == 0 || count == 0 {
            let sum: Sha256Sum = self.sum.clone().finalize();
            if sum != self.expected {
                return Err(self.seal.broken_by(format!("{} does not match its manifest", self.name)));
            }
        }
        Ok(count)
    }
}

impl SealedMembers {
    /// Exactly those of the manifest, without links and devices.
    pub(super) fn check_names(&self, names: &BTreeMap<Vec<u8>, MemberKind>) -> Result<(), String> {
        let mut met = HashSet::new();
        for (path, kind) in names {
            let Some(inside) = path.strip_prefix(&self.top[..]) else {
                return Err(format!("has {} beside the directory of its manifest", shown(path)));
            };
            if is_of_manifest(inside) && *kind == MemberKind::File {
                continue;
            }
            let sum = self.manifest.sum(inside);
            match kind {
                MemberKind::File => {}
                MemberKind::HardLink(target) if sum.is_some() && sum == self.sum_of_link(target) => {}
                MemberKind::HardLink(_) => return Err(format!("{} is a link to another file", shown(path))),
                _ => return Err(format!("{} is a link or device, which no manifest covers", shown(path))),
            }
            if sum.is_none() {
                return Err(format!("has {}, which its manifest does not list", shown(path)));
            }
            met.insert(inside);
        }
        let missing = self.manifest.entries.iter().find(|entry| !met.contains(&entry.path[..]));
        match missing {
            Some(entry) => Err(format!("is missing {}, which its manifest lists", shown(&entry.path))),
            None => Ok(()),
        }
    }

    fn sum_of_link(&self, target: &PackagePath) -> Option<&Sha256Sum> {
        target.as_bytes().strip_prefix(&self.top[..]).and_then(|inside| self.manifest.sum(inside))
    }

    /// Returns the paths of all other files.
    pub(super) fn check_held<'a>(
        &self,
        held: impl Iterator<Item = (&'a PackagePath, Option<&'a [u8]>)>,
    ) -> Result<Vec<PackagePath>, String> {
        let mut unread = Vec::new();
        for (path, bytes) in held {
            let Some(inside) = path.as_bytes().strip_prefix(&self.top[..]) else { continue };
            if is_of_manifest(inside) {
                continue;
            }
            match bytes {
                Some(bytes) if self.manifest.sum(inside) == Some(&sha256(bytes)) => {}
                Some(_) => return Err(format!("{} does not match its manifest", shown(path.as_bytes()))),
                None => unread.push(path.clone()),
            }
        }
        Ok(unread)
    }
}

fn shown(path: &[u8]) -> String {
    path.get(..200).unwrap_or(path).escape_ascii().to_string()
}

//! The facts in the stamp of `contents` about the records as the last run left them.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;

use crate::format::bound_packages::BoundPackages;
use crate::format::contents_stamp::{ContentsStamp, OwnerCounts, STAMP_HEAD};
use patchadm_rootfs::Digest;

/// The most bytes of a stamp's lines that are read.
const LONGEST_LINES: u64 = 64 << 20;

/// Returns the stamp in an open file, regardless of the file it describes; the read position is then after its head.
pub(super) fn stamp_of(file: &mut File) -> Option<ContentsStamp> {
    let mut head = Vec::with_capacity(STAMP_HEAD);
    file.take(STAMP_HEAD as u64).read_to_end(&mut head).ok()?;
    let stamp = ContentsStamp::parse(&head)?;
    (Some(file.metadata().ok()?.len()) == stamp.length()).then_some(stamp)
}

/// The records as the last run left them.
#[derive(Debug)]
pub struct LastRecords {
    /// The facts of the stamp about `contents`.
    pub stamp: ContentsStamp,
    /// The lines after its head, as they were written.
    lines: Vec<u8>,
    packages: OnceCell<BoundPackages>,
}

impl LastRecords {
    /// Reads the facts of a stamp, whether or not they still hold for the records; returns `None` if the stamp is not
    /// as it was written.
    pub(super) fn of(mut file: File) -> Option<Self> {
        let stamp = stamp_of(&mut file)?;
        let length =
            stamp.length()?.checked_sub(STAMP_HEAD as u64).filter(|length| *length <= LONGEST_LINES)?;
        let mut lines = Vec::with_capacity(usize::try_from(length).ok()?);
        file.take(length).read_to_end(&mut lines).ok()?;
        let is_whole = Digest::of(&lines) == stamp.lines;
        is_whole.then(|| Self { stamp, lines, packages: OnceCell::new() })
    }

    /// Returns the lines about hard links, about packages that own objects, and about the pkginfo of packages.
    fn parts(&self) -> [&[u8]; 3] {
        let (links, rest) = split(&self.lines, self.stamp.links);
        let (owners, packages) = split(rest, self.stamp.owners);
        [links, owners, packages]
    }

    /// Returns the lines about hard links.
    pub fn links(&self) -> &[u8] {
        self.parts()[0]
    }

    /// Returns the lines about packages that own objects.
    pub fn owner_lines(&self) -> &[u8] {
        self.parts()[1]
    }

    /// Returns the packages that owned objects, with the numbers of their lines, or `None` if they are not listed.
    pub fn owners(&self) -> Option<OwnerCounts> {
        if self.stamp.is_listed { OwnerCounts::parse(self.owner_lines()) } else { None }
    }

    /// Returns the facts about the pkginfo of packages.
    pub fn packages(&self) -> &BoundPackages {
        self.packages.get_or_init(|| BoundPackages::parse(self.parts()[2]).unwrap_or_default())
    }
}

fn split(lines: &[u8], at: u64) -> (&[u8], &[u8]) {
    usize::try_from(at).ok().and_then(|at| lines.split_at_checked(at)).unwrap_or((lines, &[]))
}

//! Members of a source, regardless of its form. Refuses an absolute name, a `..`, a NUL and a link out of the source in
//! all forms (CVE-2023-7207 and others: cpio and tar wrote through such names).

use std::io::Read;

use super::error::SourceProblem;
use patchadm_svr4::package::PackagePath;

#[derive(Clone, Debug)]
pub(super) struct SourceMember {
    pub(super) path: PackagePath,
    pub(super) kind: MemberKind,
    pub(super) size: u64,
    /// Members of a group are names of one file, and only one of them need carry the data.
    pub(super) group: Option<MemberGroup>,
    pub(super) stamp: MemberStamp,
}

/// The archive's attributes, which may differ from the pkgmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberStamp {
    pub mode: u32,
    /// In seconds since 1970.
    pub mtime: i64,
}

impl MemberStamp {
    pub(super) const UNKNOWN: Self = Self { mode: 0o644, mtime: 0 };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    Symlink,
    HardLink(PackagePath),
    Other,
}

/// Archive number, device and inode of a file with several names.
pub(super) type MemberGroup = (u64, u64, u64);

pub(super) type MemberVisitor<'a, E> = dyn FnMut(&SourceMember, &mut dyn Read) -> Result<(), E> + 'a;

/// `None` for the top directory itself.
pub(super) fn checked_name(name: &[u8]) -> Result<Option<PackagePath>, SourceProblem> {
    let refused = |reason: &str| {
        let shown = name.get(..200).unwrap_or(name);
        Err(SourceProblem::Unsafe { member: shown.escape_ascii().to_string(), reason: reason.to_owned() })
    };
    if name.first() == Some(&b'/') {
        return refused("has an absolute name");
    }
    if !name.is_empty() && name.split(|&byte| byte == b'/').all(|part| part.is_empty() || part == b".") {
        return Ok(None);
    }
    match PackagePath::new(name) {
        Ok(path) => Ok(Some(path)),
        Err(error) => refused(error.reason),
    }
}

/// A symbolic link must not lead out of the source.
pub(super) fn check_target(link: &PackagePath, target: &[u8]) -> Result<(), SourceProblem> {
    let mut depth = link.as_bytes().split(|&byte| byte == b'/').count().saturating_sub(1);
    let mut inside = target.first() != Some(&b'/');
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => inside = false,
            },
            _ => depth += 1,
        }
    }
    if inside {
        return Ok(());
    }
    let target = target.get(..200).unwrap_or(target).escape_ascii();
    Err(SourceProblem::Unsafe {
        member: link.to_string(),
        reason: format!("is a link that points outside, to <{target}>"),
    })
}

/// The directory format of pkgmap(4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PackagePart<'a> {
    Pkginfo,
    Pkgmap,
    Install(&'a [u8]),
    Object(u32, &'a [u8]),
    /// Old operating system media have an archive for each class.
    ClassArchive,
    Elsewhere,
}

impl<'a> PackagePart<'a> {
    pub(super) fn of(path: &'a [u8]) -> Self {
        let slash = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
        let (first, absolute) = path.split_at(slash);
        let relative = absolute.strip_prefix(b"/").unwrap_or(absolute);
        match (first, relative) {
            (b"pkginfo", b"") => Self::Pkginfo,
            (b"pkgmap", b"") => Self::Pkgmap,
            (_, b"") => Self::Elsewhere,
            (b"install", name) => Self::Install(name),
            (b"archive", _) => Self::ClassArchive,
            _ => Self::object(first, absolute, relative).unwrap_or(Self::Elsewhere),
        }
    }

    /// `reloc/x`, `root/x`; `reloc.2/x` for part 2.
    fn object(first: &[u8], absolute: &'a [u8], relative: &'a [u8]) -> Option<Self> {
        let (path, number) = match first.strip_prefix(b"reloc") {
            Some(number) => (relative, number),
            None => (absolute, first.strip_prefix(b"root")?),
        };
        let part = match number.strip_prefix(b".") {
            Some(digits) => std::str::from_utf8(digits).ok()?.parse().ok()?,
            None if number.is_empty() => 1,
            None => return None,
        };
        Some(Self::Object(part, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_package_directory_is_an_object_by_its_first_component() {
        let object = |part, path: &'static str| PackagePart::Object(part, path.as_bytes());
        assert_eq!(PackagePart::of(b"reloc/bin/x"), object(1, "bin/x"));
        assert_eq!(PackagePart::of(b"reloc.1/bin/x"), object(1, "bin/x"));
        assert_eq!(PackagePart::of(b"root.3/etc/x"), object(3, "/etc/x"));
        assert_eq!(PackagePart::of(b"reloc/$BINDIR/z"), object(1, "$BINDIR/z"));
        assert_eq!(PackagePart::of(b"install/i.none"), PackagePart::Install(b"i.none"));
        assert_eq!(PackagePart::of(b"archive/none.7z"), PackagePart::ClassArchive);
        for nothing in ["reloc", "reloc.x/a", "relocated/a", "README", "install", "pkginfo/x"] {
            assert_eq!(PackagePart::of(nothing.as_bytes()), PackagePart::Elsewhere, "{nothing}");
        }
    }

    #[test]
    fn names_and_links_that_lead_outside_are_refused() {
        for name in [&b"/etc/passwd"[..], b"a/../../b", b"a\0b", b""] {
            assert!(checked_name(name).is_err(), "{name:?}");
        }
        assert_eq!(checked_name(b"./").unwrap(), None);
        let link = checked_name(b"./top/SUNWa/link").unwrap().unwrap();
        for target in [&b"/etc/passwd"[..], b"../../../x", b"a/../../../../x"] {
            assert!(check_target(&link, target).is_err(), "{target:?}");
        }
        for target in [&b"../../x"[..], b"x", b"a/../../b"] {
            assert!(check_target(&link, target).is_ok(), "{target:?}");
        }
    }
}

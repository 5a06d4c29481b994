//! Paths of package objects: as in a pkgmap, and inside the root. Both are checked on creation, so that no `..`, NUL or
//! impossible name leads a later step out of the root.

use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// In bytes (`PATH_MAX` - 1, `NAME_MAX`).
const LONGEST_PATH: usize = 4095;
const LONGEST_COMPONENT: usize = 255;

/// Joined without allocating memory.
const SHORT_PATH: usize = 256;

/// The reason a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path <{path}> {reason}")]
#[non_exhaustive]
pub struct PathError {
    /// The path, with unprintable bytes escaped, cut to a readable length.
    pub path: String,
    /// The rule that the path breaks.
    pub reason: &'static str,
}

/// An absolute path inside the root, without BASEDIR, variables and the prefix of `-R`. Normalised: no `//`, `.`,
/// trailing `/` or `..`. Copies share the bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath(Arc<[u8]>);

impl ObjectPath {
    /// Returns the path of the root directory.
    pub fn root() -> Self {
        Self(Arc::from(&b"/"[..]))
    }

    /// Checks and normalises an absolute path: `//`, `/./` and a trailing `/` are removed.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.strip_prefix(b"/").is_some_and(is_normal) && bytes.len() <= LONGEST_PATH {
            return Ok(Self(bytes.into()));
        }
        if bytes.first() != Some(&b'/') {
            return Err(error(bytes, "is not absolute"));
        }
        let mut path = Vec::with_capacity(bytes.len());
        for part in components(bytes)? {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        if path.len() > LONGEST_PATH {
            return Err(error(bytes, "is longer than 4095 bytes"));
        }
        Ok(Self(path.into()))
    }

    /// Returns the path of `relative` below this directory.
    pub fn join(&self, relative: &[u8]) -> Result<Self, PathError> {
        let above = if self.relative().is_empty() { &[] } else { &self.0[..] };
        let mut short = [0; SHORT_PATH];
        let Some(path) = short.get_mut(..above.len() + 1 + relative.len()) else {
            return Self::new(&[above, b"/", relative].concat());
        };
        path[..above.len()].copy_from_slice(above);
        path[above.len()] = b'/';
        path[above.len() + 1..].copy_from_slice(relative);
        Self::new(path)
    }

    /// Returns the bytes, starting with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes without the leading `/`, for `openat` below the root. Empty for the root itself.
    pub fn relative(&self) -> &[u8] {
        &self.0[1..]
    }

    /// Returns the directory that contains it, or `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        parent_of(&self.0).map(|parent| Self(Arc::from(parent)))
    }

    /// Returns the bytes of the directory that contains it, or `None` for the root.
    pub fn parent_bytes(&self) -> Option<&[u8]> {
        parent_of(&self.0)
    }

    /// Returns the last component, empty for the root.
    pub fn name(&self) -> &[u8] {
        last_component(&self.0)
    }

    /// Returns true if the path lies below `directory` and is not `directory` itself.
    pub fn is_below(&self, directory: &Self) -> bool {
        directory.relative().is_empty() && !self.relative().is_empty()
            || self.0.len() > directory.0.len()
                && self.0.starts_with(&directory.0)
                && self.0[directory.0.len()] == b'/'
    }

    /// Returns the lowest path that can lie below it, the start of a contiguous range in a sorted list.
    #[must_use]
    pub fn lowest_below(&self) -> Self {
        // No name sorts before that of a single byte 1.
        let directory = if self.relative().is_empty() { &[][..] } else { &self.0 };
        Self([directory, b"/\x01"].concat().into())
    }

    /// Returns all directories above it, from the nearest to the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Returns the bytes of all directories above it, nearest first: search keys for maps of paths.
    pub fn ancestors_bytes(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(parent_of(&self.0), |above| parent_of(above))
    }

    /// Resolves the target of a hard link at this path: absolute, or relative to the link's directory (pkgmap(4)).
    pub fn link_source(&self, target: &[u8]) -> Result<Self, PathError> {
        if target.first() == Some(&b'/') {
            return Self::new(target);
        }
        let mut at = self.parent().unwrap_or_else(Self::root);
        for part in target.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".") {
            if part == b".." {
                at = at.parent().ok_or_else(|| error(target, "leads above the root"))?;
            } else {
                at = at.join(part)?;
            }
        }
        Ok(at)
    }
}

impl Borrow<[u8]> for ObjectPath {
    /// Allows searching maps by bytes, such as the beginning of another path.
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable_name(&self.0))
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A path as a pkgmap writes it: relative to BASEDIR, absolute, or starting with a `$VARIABLE`. Copies share the bytes.
///
/// ```
/// use patchadm_svr4::package::{ObjectPath, PackagePath};
///
/// let base = ObjectPath::new(b"/opt/acme")?;
/// let path = PackagePath::new(b"bin/./shop")?.resolve(&base, |_| None)?;
/// assert_eq!(path.as_bytes(), b"/opt/acme/bin/shop");
/// assert!(PackagePath::new(b"../etc/passwd").is_err());
/// # Ok::<(), patchadm_svr4::package::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackagePath(Arc<[u8]>);

impl PackagePath {
    /// Checks and normalises a path: not empty, no NUL, no `..`, within the lengths of file systems.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if is_normal(bytes.strip_prefix(b"/").unwrap_or(bytes)) && bytes.len() <= LONGEST_PATH {
            return Ok(Self(bytes.into()));
        }
        let parts: Vec<&[u8]> = components(bytes)?.collect();
        let absolute = bytes.first() == Some(&b'/');
        if parts.is_empty() && !absolute {
            return Err(error(bytes, "is empty"));
        }
        let mut path = if absolute { vec![b'/'] } else { Vec::new() };
        path.extend_from_slice(&parts.join(&b'/'));
        if path.len() > LONGEST_PATH {
            return Err(error(bytes, "is longer than 4095 bytes"));
        }
        Ok(Self(path.into()))
    }

    /// Returns the bytes, normalised.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True if its content lies under `root/` in a package directory, not under `reloc/`.
    pub fn is_absolute(&self) -> bool {
        self.0.first() == Some(&b'/')
    }

    /// Resolves the path inside the root. `variable` maps names without `$`; a relative path is placed below `basedir`.
    pub fn resolve(
        &self,
        basedir: &ObjectPath,
        variable: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<ObjectPath, PathError> {
        if !self.0.contains(&b'$') {
            return if self.is_absolute() { ObjectPath::new(&self.0) } else { basedir.join(&self.0) };
        }
        let mut expanded = Vec::with_capacity(self.0.len());
        for (index, part) in self.0.split(|&b| b == b'/').enumerate() {
            if index > 0 {
                expanded.push(b'/');
            }
            match part.strip_prefix(b"$").and_then(|name| std::str::from_utf8(name).ok()) {
                Some(name) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => match variable(name) {
                    Some(value) => expanded.extend_from_slice(&value),
                    None => return Err(error(&self.0, "uses a variable that has no value")),
                },
                _ => expanded.extend_from_slice(part),
            }
            // The value of a variable may be as long as its file.
            if expanded.len() > LONGEST_PATH {
                return Err(error(&self.0, "is longer than 4095 bytes with the values of its variables"));
            }
        }
        if expanded.first() == Some(&b'/') { ObjectPath::new(&expanded) } else { basedir.join(&expanded) }
    }
}

impl Borrow<[u8]> for PackagePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable_name(&self.0))
    }
}

impl fmt::Debug for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Escapes white space, `=`, backslashes and control bytes as `\ooo` for pkgmap, prototype and contents, which have no
/// quoting: an extension of the classic format.
pub fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    write_escaped(&mut out, bytes);
    out
}

pub(crate) fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let is_plain = |byte: &u8| !(*byte <= b' ' || matches!(byte, b'=' | b'\\' | 0x7f));
    for plain in bytes.chunk_by(|one, next| is_plain(one) && is_plain(next)) {
        match plain {
            [byte] if !is_plain(byte) => {
                out.extend([b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
            }
            plain => out.extend_from_slice(plain),
        }
    }
}

/// Removes the escapes of [`escape`]; a backslash without three octal digits stays as it is.
pub fn unescape(bytes: &[u8]) -> Vec<u8> {
    unescaped(bytes).into_owned()
}

/// Like [`unescape`], but borrows bytes without escapes.
pub(crate) fn unescaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'\\') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| {
            first == b'\\' && digits[0] <= b'3' && digits.iter().all(|d| (b'0'..=b'7').contains(d))
        });
        if let Some(digits) = digits {
            out.push(
                digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
            );
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    Cow::Owned(out)
}

/// Returns what follows the last slash of a path.
pub fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

fn parent_of(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|&b| b == b'/').filter(|_| path.len() > 1)?;
    path.get(..slash.max(1))
}

/// Components with one slash between them, as nearly all relative paths.
fn is_normal(bytes: &[u8]) -> bool {
    let is_part =
        |part: &[u8]| (1..=LONGEST_COMPONENT).contains(&part.len()) && !matches!(part, b"." | b"..");
    !bytes.contains(&0) && bytes.split(|&b| b == b'/').all(is_part)
}

fn components(bytes: &[u8]) -> Result<impl Iterator<Item = &[u8]>, PathError> {
    if bytes.contains(&0) {
        return Err(error(bytes, "has a NUL byte"));
    }
    let parts = || bytes.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".");
    for part in parts() {
        if part == b".." {
            return Err(error(bytes, "has a `..` component"));
        }
        if part.len() > LONGEST_COMPONENT {
            return Err(error(bytes, "has a component of more than 255 bytes"));
        }
    }
    Ok(parts())
}

fn error(bytes: &[u8], reason: &'static str) -> PathError {
    let shown = &bytes[..bytes.len().min(200)];
    PathError { path: printable_name(shown), reason }
}

/// Shows a name or the target of a link on one line: escapes control characters and bytes that are not UTF-8.
pub fn printable_name(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    #[test]
    fn equal_places_are_equal_paths() {
        for same in ["/a/b", "//a//b/", "/./a/./b/."] {
            assert_eq!(at(same), at("/a/b"));
        }
        assert_eq!(at("/"), ObjectPath::root());
        assert_eq!(at("///"), ObjectPath::root());
    }

    #[test]
    fn no_path_leads_out_of_the_root() {
        for bad in [&b"/a/../b"[..], b"/..", b"relative", b"", b"/a\0b"] {
            assert!(ObjectPath::new(bad).is_err(), "{}", printable_name(bad));
        }
        for bad in [&b"../x"[..], b"a/../../b", b"", b".", b"a\0"] {
            assert!(PackagePath::new(bad).is_err(), "{}", printable_name(bad));
        }
        assert!(ObjectPath::new(&[&b"/"[..], &[b'x'; 256]].concat()).is_err());
        assert!(ObjectPath::new(&b"/abc".repeat(1024)).is_err());
    }

    #[test]
    fn a_directory_contains_what_is_below_it_and_not_its_namesakes() {
        assert!(at("/opt/web/bin").is_below(&at("/opt/web")));
        assert!(at("/opt").is_below(&ObjectPath::root()));
        assert!(!at("/opt/webx").is_below(&at("/opt/web")));
        assert!(!at("/opt/web").is_below(&at("/opt/web")));
        let above: Vec<String> = at("/a/b/c").ancestors().map(|p| p.to_string()).collect();
        assert_eq!(above, ["/a/b", "/a", "/"]);
        let path = at("/a/b/c");
        assert!(
            path.ancestors_bytes().eq(path.ancestors().collect::<Vec<_>>().iter().map(ObjectPath::as_bytes))
        );
        assert_eq!((at("/a").parent(), ObjectPath::root().parent()), (Some(ObjectPath::root()), None));
    }

    #[test]
    fn a_hard_link_source_is_relative_to_the_directory_of_the_link() {
        let link = at("/opt/foo/bin/hello2");
        assert_eq!(link.link_source(b"hello").unwrap(), at("/opt/foo/bin/hello"));
        assert_eq!(link.link_source(b"./hello").unwrap(), at("/opt/foo/bin/hello"));
        assert_eq!(link.link_source(b"../lib/x").unwrap(), at("/opt/foo/lib/x"));
        assert_eq!(link.link_source(b"/etc/x").unwrap(), at("/etc/x"));
        assert!(link.link_source(b"../../../../x").is_err());
    }

    #[test]
    fn variables_in_a_package_path_come_from_the_parameters() {
        let basedir = at("/opt/o");
        let lookup = |name: &str| (name == "BINDIR").then(|| b"usr/bin".to_vec());
        let path = |text: &str| PackagePath::new(text.as_bytes()).unwrap();
        assert_eq!(path("$BINDIR/z").resolve(&basedir, lookup).unwrap(), at("/opt/o/usr/bin/z"));
        assert_eq!(path("/etc/x").resolve(&basedir, lookup).unwrap(), at("/etc/x"));
        assert_eq!(path("dollar$x").resolve(&basedir, lookup).unwrap(), at("/opt/o/dollar$x"));
        assert!(path("$NOPE/z").resolve(&basedir, lookup).is_err());
        let hostile = |_: &str| Some(b"../../etc".to_vec());
        assert!(path("$BINDIR/z").resolve(&basedir, hostile).is_err());
    }

    #[test]
    fn escapes_carry_any_byte_through_a_line() {
        let name: Vec<u8> = (1u8..=255).filter(|&b| b != b'/').collect();
        let escaped = escape(&name);
        assert!(!escaped.iter().any(|b| b.is_ascii_whitespace() || *b == b'='));
        assert_eq!(unescape(&escaped), name);
        assert_eq!(escape(b"a b=c\\"), b"a\\040b\\075c\\134");
        assert_eq!(unescape(b"a\\9\\04"), b"a\\9\\04");
    }

    proptest! {
        #[test]
        fn a_path_that_is_normal_is_what_a_longer_look_makes_of_it(bytes in "/?(/|\\.|a|\0|/\\.\\./|[b]{250,256}|é){0,8}") {
            // One of two slashes is removed, which the quick check leaves to the full one.
            let longer = ObjectPath::new(&[b"/", bytes.as_bytes()].concat());
            let path = ObjectPath::new(bytes.as_bytes());
            prop_assert_eq!(path.as_ref().ok(), longer.as_ref().ok().filter(|_| bytes.starts_with('/')));
            // A package's path may be relative; a dot at its end is removed like a slash.
            let longer = PackagePath::new(&[bytes.as_bytes(), b"/."].concat());
            let path = PackagePath::new(bytes.as_bytes());
            prop_assert_eq!(path.as_ref().ok(), longer.as_ref().ok().filter(|_| !bytes.is_empty()));
        }
    }
}

//! pkgproto(1): objects of this machine as lines of a prototype.
//!
//! Directories are walked in the order of names, so that two runs write the same lines. The first of several names is
//! the file (`f`), the others are hard links (`l`). Only `-x` opens files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use patchadm_rootfs::Sums;
use patchadm_rootfs::{Root, RootError, accounts_of};
use patchadm_svr4::format::prototype::{AttributeSetting, PrototypeAttributes, PrototypeEntry};
use patchadm_svr4::package::{Accounts, ContentInfo, Ftype, Mode, PackagePath, PathError};

#[derive(Clone, Debug)]
pub struct DescribeRequest {
    /// In the order of the wanted lines.
    pub operands: Vec<DescribeOperand>,
    pub class: String,
    /// Follow symbolic links (`-i`).
    pub follow_links: bool,
    /// Add size, sum and modification time (`-x`).
    pub with_content: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeOperand {
    pub path: PathBuf,
    /// Another path in the package; the lines then name the source. Empty for the top of the package.
    pub renamed: Option<PathBuf>,
    /// Include the content of a directory.
    pub descend: bool,
}

impl DescribeOperand {
    /// Parses `path` or `path=renamed`.
    pub fn of(word: &OsStr) -> Self {
        let mut parts = word.as_bytes().splitn(2, |&byte| byte == b'=');
        let path = parts.next().unwrap_or_default();
        let own = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        Self { path: own(path), renamed: parts.next().map(own), descend: true }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedLine {
    pub entry: PrototypeEntry,
    /// If requested.
    pub content: Option<ContentInfo>,
}

#[derive(Debug, Default)]
pub struct PrototypeDescription {
    /// In order.
    pub lines: Vec<DescribedLine>,
    pub failures: Vec<UndescribedObject>,
    /// Symbolic links to nothing, which have lines nevertheless.
    pub dangling: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum UndescribedObject {
    #[error("unable to stat <{}>\n{error}", path.display())]
    Stat { path: PathBuf, error: io::Error },
    #[error("unable to read <{}>\n{error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: no package can deliver a socket", .0.display())]
    Socket(PathBuf),
    /// A followed link leads to a directory above it.
    #[error("{}: symbolic links form a loop", .0.display())]
    Circle(PathBuf),
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Fails only if nothing can be described at all.
pub fn describe(request: &DescribeRequest) -> Result<PrototypeDescription, RootError> {
    let host = Root::open(Path::new("/"))?;
    let accounts = accounts_of(&host, &host)?;
    let mut walk = DescriptionWalk {
        request,
        accounts,
        names: HashMap::new(),
        above: Vec::new(),
        found: PrototypeDescription::default(),
    };
    for operand in &request.operands {
        let place = operand.renamed.as_deref().unwrap_or(&operand.path).as_os_str().as_bytes().to_vec();
        let local = operand.renamed.is_some().then(|| operand.path.as_os_str().as_bytes());
        let local = local.map(|path| if path == b"/" { b"" } else { trimmed(path) }.to_vec());
        walk.object(&operand.path, &place, local.as_deref(), operand.descend);
    }
    Ok(walk.found)
}

struct DescriptionWalk<'a> {
    request: &'a DescribeRequest,
    accounts: Accounts,
    names: HashMap<(u64, u64), PackagePath>,
    /// Device and inode of parent directories, to detect loops.
    above: Vec<(u64, u64)>,
    found: PrototypeDescription,
}

impl DescriptionWalk<'_> {
    fn object(&mut self, path: &Path, place: &[u8], local: Option<&[u8]>, descend: bool) {
        let seen = match self.look(path) {
            Ok(seen) => seen,
            Err(error) => {
                return self.found.failures.push(UndescribedObject::Stat { path: path.to_owned(), error });
            }
        };
        if let Err(failure) = self.line(path, place, local, &seen) {
            self.found.failures.push(failure);
        }
        let inode = (seen.dev(), seen.ino());
        if !descend || !seen.is_dir() {
            return;
        }
        if self.above.contains(&inode) {
            return self.found.failures.push(UndescribedObject::Circle(path.to_owned()));
        }
        self.above.push(inode);
        self.below(path, place, local);
        self.above.pop();
    }

    fn below(&mut self, path: &Path, place: &[u8], local: Option<&[u8]>) {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut names: Vec<_> = match entries {
            Ok(entries) => entries.into_iter().map(|entry| entry.file_name()).collect(),
            Err(error) => {
                return self.found.failures.push(UndescribedObject::Read { path: path.to_owned(), error });
            }
        };
        names.sort();
        for name in names {
            let inner = |above: &[u8]| [above, b"/", name.as_bytes()].concat();
            let at = if place.is_empty() { name.as_bytes().to_vec() } else { inner(place) };
            self.object(&path.join(&name), &at, local.map(inner).as_deref(), true);
        }
    }

    /// `-i` follows a link that leads to something.
    fn look(&self, path: &Path) -> io::Result<Metadata> {
        let followed = if self.request.follow_links { fs::metadata(path).ok() } else { None };
        followed.map_or_else(|| fs::symlink_metadata(path), Ok)
    }

    fn line(
        &mut self,
        path: &Path,
        place: &[u8],
        local: Option<&[u8]>,
        seen: &Metadata,
    ) -> Result<(), UndescribedObject> {
        // `pkgproto .` and `pkgproto DIR/=` describe the content of a directory without a name in the package.
        if seen.is_dir() && place.split(|&byte| byte == b'/').all(|part| part.is_empty() || part == b".") {
            return Ok(());
        }
        let kind = seen.file_type();
        let ftype = match () {
            () if kind.is_symlink() => Ftype::Symlink,
            () if kind.is_dir() => Ftype::Directory,
            () if kind.is_file() => Ftype::File,
            () if kind.is_fifo() => Ftype::Pipe,
            () if kind.is_block_device() => Ftype::Block,
            () if kind.is_char_device() => Ftype::Character,
            () => return Err(UndescribedObject::Socket(path.to_owned())),
        };
        let mut entry = PrototypeEntry::new(ftype, &self.request.class, PackagePath::new(place)?);
        let mut content = None;
        // A followed link is a separate file, whatever other names its target has.
        let is_followed =
            self.request.follow_links && fs::symlink_metadata(path).is_ok_and(|own| own.is_symlink());
        let first = if is_followed { None } else { self.first_name(seen, &entry.path) };
        if ftype == Ftype::Symlink {
            entry.right = Some(self.target(path)?);
        } else if let Some(first) = first {
            entry.ftype = Ftype::Link;
            entry.right = Some(link_target(&entry.path, &first));
        } else {
            entry.attributes = self.attributes(seen);
            if ftype.is_device() {
                let device = seen.rdev();
                entry.device = Some((Some(rustix::fs::major(device)), Some(rustix::fs::minor(device))));
            }
            if ftype == Ftype::File {
                entry.right = local.map(<[u8]>::to_vec);
                content = self.content(path, seen)?;
            }
        }
        self.found.lines.push(DescribedLine { entry, content });
        Ok(())
    }

    fn target(&mut self, path: &Path) -> Result<Vec<u8>, UndescribedObject> {
        let unreadable = |error| UndescribedObject::Read { path: path.to_owned(), error };
        let target = fs::read_link(path).map_err(unreadable)?;
        if fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            self.found.dangling.push(path.to_owned());
        }
        Ok(target.into_os_string().into_vec())
    }

    fn first_name(&mut self, seen: &Metadata, path: &PackagePath) -> Option<PackagePath> {
        if !seen.is_file() || seen.nlink() < 2 {
            return None;
        }
        let known = self.names.insert((seen.dev(), seen.ino()), path.clone())?;
        self.names.insert((seen.dev(), seen.ino()), known.clone());
        // A name given twice is the same file.
        (known != *path).then_some(known)
    }

    fn attributes(&self, seen: &Metadata) -> PrototypeAttributes {
        PrototypeAttributes {
            mode: AttributeSetting::Value(Mode::of(seen.mode())),
            owner: AttributeSetting::Value(self.accounts.user(seen.uid()).into()),
            group: AttributeSetting::Value(self.accounts.group(seen.gid()).into()),
        }
    }

    fn content(&self, path: &Path, seen: &Metadata) -> Result<Option<ContentInfo>, UndescribedObject> {
        if !self.request.with_content {
            return Ok(None);
        }
        let sums = File::open(path).and_then(|mut file| Sums::of(&mut file));
        let sums = sums.map_err(|error| UndescribedObject::Read { path: path.to_owned(), error })?;
        Ok(Some(ContentInfo { size: Some(sums.size), cksum: Some(sums.cksum), mtime: Some(seen.mtime()) }))
    }
}

fn trimmed(mut path: &[u8]) -> &[u8] {
    while let Some(shorter) = path.strip_suffix(b"/").filter(|shorter| !shorter.is_empty()) {
        path = shorter;
    }
    path
}

/// Returns the target of a hard link: relative to its directory (pkgmap(4)) if both are below the same top.
fn link_target(link: &PackagePath, first: &PackagePath) -> Vec<u8> {
    if link.is_absolute() != first.is_absolute() {
        return first.as_bytes().to_vec();
    }
    let parts = |path: &PackagePath| -> Vec<Vec<u8>> {
        path.as_bytes().split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
    };
    let (link, first) = (parts(link), parts(first));
    let directories = link.len().saturating_sub(1).min(first.len().saturating_sub(1));
    let shared = link.iter().zip(&first).take(directories).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(b"..".to_vec(), link.len().saturating_sub(shared + 1));
    up.chain(first.into_iter().skip(shared)).collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn lines(request: &DescribeRequest) -> Vec<String> {
        let description = describe(request).unwrap();
        assert!(description.failures.is_empty(), "{:?}", description.failures);
        let without_accounts = |line: &DescribedLine| {
            let mut entry = line.entry.clone();
            entry.attributes.owner = AttributeSetting::Missing;
            entry.attributes.group = AttributeSetting::Missing;
            String::from_utf8(entry.write(None)).unwrap()
        };
        description.lines.iter().map(without_accounts).collect()
    }

    fn request(words: &[&str]) -> DescribeRequest {
        DescribeRequest {
            operands: words.iter().map(|word| DescribeOperand::of(OsStr::new(word))).collect(),
            class: "none".to_owned(),
            follow_links: false,
            with_content: false,
        }
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/inner", "a"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(dir.path().join("b"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("b/inner/file"), "text").unwrap();
        fs::set_permissions(dir.path().join("b/inner/file"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(dir.path().join("b/inner/file"), dir.path().join("b/link")).unwrap();
        symlink("inner/file", dir.path().join("b/sym")).unwrap();
        dir
    }

    #[test]
    fn a_tree_is_described_in_the_order_of_names() {
        let dir = tree();
        let top = dir.path().to_str().unwrap();
        assert_eq!(
            lines(&request(&[&format!("{top}/=")])),
            [
                "d none a 0755".to_owned(),
                "d none b 0755".to_owned(),
                "d none b/inner 0755".to_owned(),
                format!("f none b/inner/file={top}/b/inner/file 4755"),
                "l none b/link=inner/file".to_owned(),
                "s none b/sym=inner/file".to_owned(),
            ]
        );
    }

    #[test]
    fn a_lone_name_of_a_file_is_the_file() {
        let dir = tree();
        let link = dir.path().join("b/link");
        let expected = format!("f none etc/x={} 4755", link.display());
        assert_eq!(lines(&request(&[&format!("{}=etc/x", link.display())])), [expected]);
    }

    #[test]
    fn links_are_followed_where_that_is_asked_for_and_circles_are_told() {
        let dir = tree();
        symlink(".", dir.path().join("b/circle")).unwrap();
        let followed =
            DescribeRequest { follow_links: true, ..request(&[&format!("{}=", dir.path().display())]) };
        let description = describe(&followed).unwrap();
        assert!(
            matches!(description.failures[..], [UndescribedObject::Circle(_)]),
            "{:?}",
            description.failures
        );
        let sym = description.lines.iter().find(|line| line.entry.path.as_bytes() == b"b/sym").unwrap();
        assert_eq!(sym.entry.ftype, Ftype::File);
    }

    #[test]
    fn what_is_not_there_is_told_and_the_rest_described() {
        let dir = tree();
        symlink("nowhere", dir.path().join("a/dangling")).unwrap();
        let words = ["/no/such/file".to_owned(), format!("{}/a=x", dir.path().display())];
        let description = describe(&request(&[&words[0], &words[1]])).unwrap();
        assert_eq!(description.lines.len(), 2);
        assert_eq!(description.dangling, [dir.path().join("a/dangling")]);
        assert!(description.failures[0].to_string().starts_with("unable to stat </no/such/file>"));
    }

    #[test]
    fn the_target_of_a_hard_link_is_relative_to_its_directory() {
        let path = |text: &str| PackagePath::new(text.as_bytes()).unwrap();
        for (link, first, target) in [
            ("bin/b", "bin/a", "a"),
            ("b/hl", "hl2", "../hl2"),
            ("f", "a/b/c", "a/b/c"),
            ("/usr/bin/b", "/usr/lib/a", "../lib/a"),
            ("rel", "/etc/x", "/etc/x"),
        ] {
            assert_eq!(link_target(&path(link), &path(first)), target.as_bytes(), "{link}");
        }
    }
}

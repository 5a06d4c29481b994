//! The keys that a root trusts: a directory with a file for each, rules beside them, and the list of revoked ones.
//!
//! A user who may write there decides what is applied. So the directory and each file must belong to the owner of the
//! root or to the superuser, and no one else may write to them. Each file is checked through the descriptor that reads
//! it.

use std::io::Read as _;

use super::key_rules::{KeyRules, Revocations};
use super::public_key::{KeyId, LARGEST_KEY_FILE, PublicKey};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError};
use patchadm_svr4::package::ObjectPath;

/// The most keys of a root.
const MOST_KEYS: usize = 1000;

/// The largest list of revoked keys, in bytes: 1 MiB.
const LARGEST_LIST: u64 = 1 << 20;

/// The name of the list of revoked keys.
const REVOKED: &[u8] = b"revoked";

/// Why the keys of a root cannot be believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDirectoryError {
    /// It could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A user other than the owner of the root, or the caller who names it, may change it.
    #[error("{path} is not {whose} alone: {reason}")]
    NotTheRoots {
        /// The directory or file.
        path: String,
        /// Whose it should be: "the root's", "the caller's".
        whose: &'static str,
        /// Its owner, or who may write to it.
        reason: String,
    },
    /// It is not there, although it was named.
    #[error("{0} is not there, and it was named as the directory of the keys that are trusted")]
    Absent(String),
    /// No key is in it.
    #[error("no key is in {path}, which is there for those that are trusted: {}", ignored_words(.ignored))]
    NoKey {
        /// The directory.
        path: String,
        /// The files in it that are no keys, with the reasons.
        ignored: Vec<String>,
    },
    /// A key, its rules or the list of revoked keys are damaged, or there are more or larger files than any root has.
    #[error("{path}: {reason}")]
    Damaged {
        /// The directory or file.
        path: String,
        /// The fault.
        reason: String,
    },
}

fn ignored_words(ignored: &[String]) -> String {
    match ignored {
        [] => "it is empty".to_owned(),
        [first] => first.clone(),
        [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
    }
}

impl KeyDirectoryError {
    fn damaged(path: String, reason: &dyn std::fmt::Display) -> Self {
        Self::Damaged { path, reason: reason.to_string() }
    }
}

/// A key that a root trusts, within its rules.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// The name of its files, without endings.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// Its rules.
    pub rules: KeyRules,
}

/// The keys of a root and those that are revoked.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    /// The keys, sorted by name. Several may have one id.
    pub keys: Vec<TrustedKey>,
    /// The revoked ones.
    pub revoked: Revocations,
    /// The files of the directory that mean nothing there, each with the reason.
    pub ignored: Vec<String>,
}

impl KeyRing {
    /// Returns the keys of an id.
    pub fn of_id(&self, id: KeyId) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().filter(move |trusted| trusted.key.id == id)
    }
}

/// The directory of the keys of a root.
#[derive(Debug)]
pub struct KeyDirectory<'a> {
    root: &'a Root,
    place: &'a ObjectPath,
    /// Whether the caller named it, and not the root.
    is_of_caller: bool,
}

impl<'a> KeyDirectory<'a> {
    /// The directory at a place inside a root; it need not be there.
    pub fn new(root: &'a Root, place: &'a ObjectPath) -> Self {
        Self { root, place, is_of_caller: false }
    }

    /// Returns the same as a directory that the caller names: its keys belong to the caller or the superuser, whoever owns
    /// the directory.
    #[must_use]
    pub fn of_caller(self) -> Self {
        Self { is_of_caller: true, ..self }
    }

    /// Reads the keys by which a signature is judged. Only the usual directory may be absent: one that is named must be
    /// there, and one that is there must have a key. Otherwise a slip of the pen would end all trust without a word.
    pub fn read_for_verdict(&self, is_named: bool) -> Result<KeyRing, KeyDirectoryError> {
        let Some(ring) = self.read_if_there()? else {
            let path = self.root.show(self.place);
            return if is_named { Err(KeyDirectoryError::Absent(path)) } else { Ok(KeyRing::default()) };
        };
        if ring.keys.is_empty() {
            let path = self.root.show(self.place);
            return Err(KeyDirectoryError::NoKey { path, ignored: ring.ignored });
        }
        Ok(ring)
    }

    /// Reads all keys; none if there is no directory.
    pub fn read(&self) -> Result<KeyRing, KeyDirectoryError> {
        Ok(self.read_if_there()?.unwrap_or_default())
    }

    fn read_if_there(&self) -> Result<Option<KeyRing>, KeyDirectoryError> {
        let Some((physical, _)) = self.root.resolver().directory_behind(self.place)? else {
            self.must_be_absent()?;
            return Ok(None);
        };
        let Some(dir) = self.root.dir_if_there(&physical)? else { return Ok(None) };
        self.check(&dir.itself()?, &self.root.show(&physical))?;
        let mut ring = KeyRing::default();
        let names = dir.names()?;
        for name in &names {
            let Some(stem) = name.strip_suffix(b".pub").filter(|stem| !stem.is_empty()) else {
                ring.ignored.extend(ignored(name, &names));
                continue;
            };
            if ring.keys.len() == MOST_KEYS {
                let path = self.root.show(&physical);
                return Err(KeyDirectoryError::damaged(path, &"there are more than 1,000 keys"));
            }
            match self.key(&dir, name, stem)? {
                Some(key) => ring.keys.push(key),
                None => ring.ignored.push(format!("{} is no regular file", shown(name))),
            }
        }
        if let Some(text) = self.file(&dir, REVOKED, LARGEST_LIST)? {
            let path = self.root.show(&dir.at(REVOKED));
            ring.revoked =
                Revocations::parse(&text).map_err(|reason| KeyDirectoryError::damaged(path, &reason))?;
        }
        Ok(Some(ring))
    }

    /// Refuses what is in the place of the directory, or of one above it, and is no directory.
    fn must_be_absent(&self) -> Result<(), KeyDirectoryError> {
        let resolver = self.root.resolver();
        for at in std::iter::once(self.place.clone()).chain(self.place.ancestors()) {
            let place = resolver.locate(&at)?;
            let Some(parent) = place.parent() else { continue };
            let dir = match self.root.dir_if_there(&parent) {
                Err(error) if error.is_not_found() => None,
                dir => dir?,
            };
            let seen = dir.map(|dir| dir.look(place.name())).transpose()?.flatten();
            if seen.is_some() && resolver.directory_behind(&at)?.is_none() {
                let reason = "it is no directory, and leads to none: which keys are trusted cannot be told";
                return Err(KeyDirectoryError::damaged(self.root.show(&place), &reason));
            }
        }
        Ok(())
    }

    fn key(&self, dir: &Dir, name: &[u8], stem: &[u8]) -> Result<Option<TrustedKey>, KeyDirectoryError> {
        let Some(text) = self.file(dir, name, LARGEST_KEY_FILE as u64)? else { return Ok(None) };
        let path = self.root.show(&dir.at(name));
        let key = PublicKey::parse(&text).map_err(|reason| KeyDirectoryError::damaged(path, &reason))?;
        let rules_name = [stem, b".rules"].concat();
        let rules = match self.file(dir, &rules_name, LARGEST_LIST)? {
            None => KeyRules::default(),
            Some(text) => {
                let path = self.root.show(&dir.at(&rules_name));
                KeyRules::parse(&text).map_err(|reason| KeyDirectoryError::damaged(path, &reason))?
            }
        };
        Ok(Some(TrustedKey { name: String::from_utf8_lossy(stem).into_owned(), key, rules }))
    }

    /// Reads a file of the directory; none if it is missing.
    fn file(&self, dir: &Dir, name: &[u8], limit: u64) -> Result<Option<Vec<u8>>, KeyDirectoryError> {
        let Some((file, seen)) = dir.open_seen(name)? else { return Ok(None) };
        let path = self.root.show(&dir.at(name));
        self.check(&seen, &path)?;
        let mut text = Vec::new();
        file.take(limit + 1).read_to_end(&mut text).map_err(|error| dir.read_error(name, &error))?;
        if text.len() as u64 > limit {
            return Err(KeyDirectoryError::damaged(path, &"it is larger than any such file"));
        }
        Ok(Some(text))
    }

    /// Refuses an object that another user may change.
    fn check(&self, seen: &ObjectStatus, path: &str) -> Result<(), KeyDirectoryError> {
        let whose = if self.is_of_caller { "the caller's" } else { "the root's" };
        let not_the_roots =
            |reason: String| Err(KeyDirectoryError::NotTheRoots { path: path.to_owned(), whose, reason });
        let owner =
            if self.is_of_caller { rustix::process::geteuid().as_raw() } else { self.root.owner()?.0 };
        if seen.uid != owner && seen.uid != 0 {
            return not_the_roots(format!("it belongs to uid {}", seen.uid));
        }
        let others = if seen.gid == 0 { 0o002 } else { 0o022 };
        if seen.file_type != FileType::Symlink && seen.mode.bits() & others != 0 {
            return not_the_roots("others may write to it".to_owned());
        }
        Ok(())
    }
}

/// Returns why a name means nothing in a directory of keys, if that is so. Hidden files are written at the moment.
fn ignored(name: &[u8], names: &[Vec<u8>]) -> Option<String> {
    let belongs = match name.strip_suffix(b".rules") {
        Some(stem) => names.contains(&[stem, b".pub"].concat()),
        None => name == REVOKED || name.starts_with(b"."),
    };
    let word = if name.ends_with(b".rules") { "belongs to no key" } else { "is no name of a key (NAME.pub)" };
    (!belongs).then(|| format!("{} {word}", shown(name)))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    const PLACE: &str = "/etc/patchadm/keys";

    fn testdata(name: &str) -> Vec<u8> {
        fs::read(format!("{}/../../testdata/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn put(top: &Path, name: &str, text: &[u8], mode: u32) {
        let path = top.join("etc/patchadm/keys").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn read(top: &Path) -> Result<KeyRing, String> {
        let place = ObjectPath::new(PLACE.as_bytes()).unwrap();
        let root = Root::open(top).unwrap();
        KeyDirectory::new(&root, &place).read().map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_read_with_their_rules_and_revocations() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().keys.is_empty(), "no directory is no keys");
        put(dir.path(), "build.pub", &testdata("plain.pub"), 0o644);
        put(dir.path(), "build.rules", b"roles=patch\n", 0o644);
        put(dir.path(), "old.pub", &testdata("signify.pub"), 0o444);
        put(dir.path(), "revoked", b"64A2DF5753EE392F lost\n", 0o644);
        put(dir.path(), "notes.txt", b"not a key", 0o644);
        let ring = read(dir.path()).unwrap();
        let names: Vec<_> = ring.keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["build", "old"]);
        assert_eq!(ring.of_id(ring.keys[0].key.id).count(), 1);
        assert_eq!(ring.revoked.reason("64A2DF5753EE392F".parse().unwrap()), Some("lost"));
        assert_eq!(ring.ignored, ["notes.txt is no name of a key (NAME.pub)"]);
    }

    #[test]
    fn a_directory_that_is_named_must_be_there_and_one_that_is_there_must_have_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let place = ObjectPath::new(PLACE.as_bytes()).unwrap();
        let judge = |is_named| {
            let root = Root::open(dir.path()).unwrap();
            let read = KeyDirectory::new(&root, &place).read_for_verdict(is_named);
            read.map(|ring| ring.keys.len()).map_err(|error| error.to_string())
        };
        assert_eq!(judge(false), Ok(0));
        assert!(
            judge(true).unwrap_err().ends_with(
                "keys is not there, and it was named as the directory of the keys that are trusted"
            )
        );
        put(dir.path(), "build.PUB", &testdata("plain.pub"), 0o644);
        put(dir.path(), "build.rules", b"roles=patch\n", 0o644);
        for is_named in [false, true] {
            let refused = judge(is_named).unwrap_err();
            assert!(refused.ends_with("build.PUB is no name of a key (NAME.pub), and 1 more"), "{refused}");
        }
        put(dir.path(), "build.pub", &testdata("plain.pub"), 0o644);
        assert_eq!((judge(false), judge(true)), (Ok(1), Ok(1)));
    }

    #[test]
    fn a_file_or_a_link_to_nowhere_is_no_absent_directory() {
        for place in ["etc/patchadm/keys", "etc/patchadm"] {
            for is_link in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join(place);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                if is_link {
                    std::os::unix::fs::symlink("nowhere", &path).unwrap();
                } else {
                    fs::write(&path, "").unwrap();
                }
                let refused = read(dir.path()).unwrap_err();
                assert!(
                    refused.contains(&format!("{place}: it is no directory, and leads to none")),
                    "{refused}"
                );
            }
        }
    }

    #[test]
    fn what_others_may_write_is_refused_by_name() {
        for (name, mode) in [("a.pub", 0o646), ("a.rules", 0o666), ("revoked", 0o602)] {
            let dir = tempfile::tempdir().unwrap();
            put(dir.path(), "a.pub", &testdata("plain.pub"), 0o644);
            let text = if name == "a.pub" { testdata("plain.pub") } else { Vec::new() };
            put(dir.path(), name, &text, mode);
            let refused = read(dir.path()).unwrap_err();
            assert!(refused.ends_with(&format!("{name} is not the root's alone: others may write to it")));
            fs::set_permissions(dir.path().join(&PLACE[1..]), Permissions::from_mode(0o757)).unwrap();
            assert!(read(dir.path()).unwrap_err().contains("keys is not the root's alone"));
        }
    }

    #[test]
    fn a_damaged_key_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a.pub", b"rubbish\n", 0o644);
        assert!(
            read(dir.path())
                .unwrap_err()
                .ends_with("a.pub: it is no public key of minisign or signify: it has not two lines")
        );
        put(dir.path(), "a.pub", &vec![b'a'; 1 << 16], 0o644);
        assert!(read(dir.path()).unwrap_err().ends_with("it is larger than any such file"));
    }
}

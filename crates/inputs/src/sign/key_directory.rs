//! The trusted keys of a root, rules beside them, and revoked keys. Whoever may write there decides what is applied:
//! the directory and each file must be the root's owner's or the superuser's alone. Each file is checked through the
//! descriptor that reads it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::os::fd::AsFd;

use chrono::{DateTime, NaiveDate};
use regex::Regex;

use super::signature::{KeyFileError, KeyId, LARGEST_KEY_FILE, PublicKey};
use patchadm_rootfs::{Dir, ObjectStatus, Root, RootError, may_others_write};
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::package::ObjectPath;

const MOST_KEYS: usize = 1000;
const LARGEST_LIST: u64 = 1 << 20;
const REVOKED: &[u8] = b"revoked";

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDirectoryError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{path} must belong to {whose} alone: {reason}")]
    NotTheRoots {
        path: String,
        /// The expected owner: "the owner of the root", "the caller".
        whose: &'static str,
        /// The real owner, or who may write to it.
        reason: String,
    },
    /// It is missing although it was named.
    #[error("{0} does not exist, and was named as the directory of trusted keys")]
    Absent(String),
    /// A file was named; often it is the key itself.
    #[error("{0} is not a directory; specify the directory that contains the trusted keys")]
    NotADirectory(String),
    #[error("{path}, the directory of trusted keys, has no key: {}", ignored_words(.ignored))]
    NoKey {
        path: String,
        /// Files in it that are no keys, with the reasons.
        ignored: Vec<String>,
    },
    /// A key, its rules or the list of revoked keys are damaged, or a limit is exceeded.
    #[error("{path}: {reason}")]
    Damaged { path: String, reason: String },
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

#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// Of its files, without endings.
    pub name: String,
    pub key: PublicKey,
    pub rules: KeyRules,
}

#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    /// Sorted by name. Several may have one id.
    pub keys: Vec<TrustedKey>,
    pub revoked: Revocations,
    /// Ignored files, each with the reason.
    pub ignored: Vec<String>,
}

impl KeyRing {
    pub fn of_id(&self, id: KeyId) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().filter(move |trusted| trusted.key.id == id)
    }
}

#[derive(Debug)]
pub struct KeyDirectory<'a> {
    root: &'a Root,
    place: &'a ObjectPath,
    /// The caller named the directory, not the root.
    is_of_caller: bool,
}

impl<'a> KeyDirectory<'a> {
    /// The place need not exist.
    pub fn new(root: &'a Root, place: &'a ObjectPath) -> Self {
        Self { root, place, is_of_caller: false }
    }

    /// Returns the directory as one that the caller named: its keys must belong to the caller or the superuser.
    #[must_use]
    pub fn of_caller(self) -> Self {
        Self { is_of_caller: true, ..self }
    }

    /// A named directory must exist, and an existing one must have a key: a typing error would silently end all trust.
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
        self.check(&dir, &dir.itself()?, &self.root.show(&physical))?;
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
                None => ring.ignored.push(format!("{} is not a regular file", shown(name))),
            }
        }
        if let Some(text) = self.file(&dir, REVOKED, LARGEST_LIST)? {
            let path = self.root.show(&dir.at(REVOKED));
            ring.revoked =
                Revocations::parse(&text).map_err(|reason| KeyDirectoryError::damaged(path, &reason))?;
        }
        Ok(Some(ring))
    }

    /// An object in place of the directory, or above it, that is no directory is an error.
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
                let reason = "it is not a directory, and does not lead to one: the trusted keys are unknown";
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

    fn file(&self, dir: &Dir, name: &[u8], limit: u64) -> Result<Option<Vec<u8>>, KeyDirectoryError> {
        let Some((file, seen)) = dir.open_seen(name)? else { return Ok(None) };
        let path = self.root.show(&dir.at(name));
        self.check(&file, &seen, &path)?;
        let mut text = Vec::new();
        file.take(limit + 1).read_to_end(&mut text).map_err(|error| dir.read_error(name, &error))?;
        if text.len() as u64 > limit {
            return Err(KeyDirectoryError::damaged(path, &"it is too large for such a file"));
        }
        Ok(Some(text))
    }

    /// Refuses an open file or directory that another user may change.
    fn check(&self, object: impl AsFd, seen: &ObjectStatus, path: &str) -> Result<(), KeyDirectoryError> {
        let whose = if self.is_of_caller { "the caller" } else { "the owner of the root" };
        let not_the_roots =
            |reason: String| Err(KeyDirectoryError::NotTheRoots { path: path.to_owned(), whose, reason });
        let owner =
            if self.is_of_caller { rustix::process::geteuid().as_raw() } else { self.root.owner()?.0 };
        if seen.uid != owner && seen.uid != 0 {
            return not_the_roots(format!("it belongs to uid {}", seen.uid));
        }
        if may_others_write(object, seen.mode.bits(), seen.gid == 0) {
            return not_the_roots("others may write to it".to_owned());
        }
        Ok(())
    }
}

/// Hidden files are those being written.
fn ignored(name: &[u8], names: &[Vec<u8>]) -> Option<String> {
    let belongs = match name.strip_suffix(b".rules") {
        Some(stem) => names.contains(&[stem, b".pub"].concat()),
        None => name == REVOKED || name.starts_with(b"."),
    };
    let word =
        if name.ends_with(b".rules") { "belongs to no key" } else { "is not a valid key name (NAME.pub)" };
    (!belongs).then(|| format!("{} {word}", shown(name)))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

/// A kind of object that a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRole {
    Patch,
    Index,
}

impl KeyRole {
    pub const ALL: [Self; 2] = [Self::Patch, Self::Index];

    /// Returns the word for rules and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Index => "index",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRulesError {
    #[error("{0}")]
    Syntax(String),
    #[error("{name}: {reason}")]
    Rule { name: String, reason: String },
    #[error("line {line}: {reason}")]
    Revocation { line: usize, reason: KeyFileError },
}

/// `NAME.rules` beside `NAME.pub`. The default limits nothing.
#[derive(Clone, Debug)]
pub struct KeyRules {
    /// The last day for the time in a signature's trusted comment.
    pub expires: Option<NaiveDate>,
    pub roles: Vec<KeyRole>,
    /// For the bases of patches that it may sign, matched as a whole.
    pub bases: Option<Regex>,
    pub bases_text: Option<String>,
}

impl Default for KeyRules {
    fn default() -> Self {
        Self { expires: None, roles: KeyRole::ALL.to_vec(), bases: None, bases_text: None }
    }
}

impl KeyRules {
    /// Parses rules. An unknown rule is an error, because ignoring it would give the key more rights.
    pub fn parse(text: &[u8]) -> Result<Self, KeyRulesError> {
        let file = ParamFile::parse(text).map_err(|error| KeyRulesError::Syntax(error.to_string()))?;
        let params = file.params();
        let mut rules = Self::default();
        let mut seen = HashSet::new();
        for (name, value) in params.iter() {
            let wrong =
                |reason: String| KeyRulesError::Rule { name: name.escape_debug().to_string(), reason };
            if !seen.insert(name) {
                return Err(wrong("it occurs twice".to_owned()));
            }
            let value = str::from_utf8(value).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
            rules.set(name, value).map_err(wrong)?;
        }
        Ok(rules)
    }

    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "expires" => {
                let day = NaiveDate::parse_from_str(value, "%Y-%m-%d");
                self.expires = Some(day.map_err(|_| format!("<{value}> is not a day, such as 2027-12-31"))?);
            }
            "roles" => {
                let words = value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
                self.roles = words.map(role).collect::<Result<_, _>>()?;
            }
            "bases" => {
                let pattern = Regex::new(&format!("^(?:{value})$"));
                self.bases = Some(pattern.map_err(|_| format!("<{value}> is not a regular expression"))?);
                self.bases_text = Some(value.to_owned());
            }
            _ => return Err("no such rule; the rules are expires, roles, and bases".to_owned()),
        }
        Ok(())
    }

    /// Formats the file; empty if nothing is limited.
    pub fn write(&self) -> String {
        let mut text = String::new();
        if let Some(day) = self.expires {
            let _ = writeln!(text, "expires={day}");
        }
        if self.roles != KeyRole::ALL {
            let words: Vec<_> = self.roles.iter().map(|role| role.word()).collect();
            let _ = writeln!(text, "roles={}", words.join(" "));
        }
        if let Some(pattern) = &self.bases_text {
            let value = patchadm_svr4::format::params::write(
                &[("bases".to_owned(), pattern.clone().into_bytes())].into_iter().collect(),
            );
            text.push_str(&String::from_utf8_lossy(&value));
        }
        text
    }

    /// `time` is in seconds since 1970.
    pub fn is_expired(&self, time: Option<i64>) -> bool {
        let Some(last) = self.expires else { return false };
        let day = time.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(|at| at.date_naive());
        day.is_none_or(|day| day > last)
    }
}

fn role(word: &str) -> Result<KeyRole, String> {
    let found = KeyRole::ALL.into_iter().find(|role| role.word() == word);
    found.ok_or_else(|| format!("<{word}> is neither patch nor index"))
}

/// Each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations(BTreeMap<KeyId, String>);

impl Revocations {
    /// Parses lines `KEYID reason`; ignores empty lines and those that begin with `#`.
    pub fn parse(text: &[u8]) -> Result<Self, KeyRulesError> {
        let mut revoked = BTreeMap::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, reason) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let id = id.parse().map_err(|reason| KeyRulesError::Revocation { line: at + 1, reason })?;
            revoked.entry(id).or_insert_with(|| reason.trim().to_owned());
        }
        Ok(Self(revoked))
    }

    /// Does nothing if the key is revoked already.
    pub fn add(&mut self, id: KeyId, reason: &str) {
        let reason = reason.split(char::is_control).collect::<Vec<_>>().join(" ");
        self.0.entry(id).or_insert_with(|| reason.trim().to_owned());
    }

    pub fn reason(&self, id: KeyId) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    /// Returns revoked keys with reasons, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &str)> {
        self.0.iter().map(|(id, reason)| (*id, reason.as_str()))
    }

    pub fn write(&self) -> String {
        let line = |(id, reason): (&KeyId, &String)| format!("{id} {reason}").trim_end().to_owned() + "\n";
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

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
        assert_eq!(ring.ignored, ["notes.txt is not a valid key name (NAME.pub)"]);
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
            judge(true)
                .unwrap_err()
                .ends_with("keys does not exist, and was named as the directory of trusted keys")
        );
        put(dir.path(), "build.PUB", &testdata("plain.pub"), 0o644);
        put(dir.path(), "build.rules", b"roles=patch\n", 0o644);
        for is_named in [false, true] {
            let refused = judge(is_named).unwrap_err();
            assert!(
                refused.ends_with("build.PUB is not a valid key name (NAME.pub), and 1 more"),
                "{refused}"
            );
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
                    refused.contains(&format!("{place}: it is not a directory, and does not lead to one")),
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
            assert!(refused.ends_with(&format!(
                "{name} must belong to the owner of the root alone: others may write to it"
            )));
            fs::set_permissions(dir.path().join(&PLACE[1..]), Permissions::from_mode(0o757)).unwrap();
            assert!(
                read(dir.path()).unwrap_err().contains("keys must belong to the owner of the root alone")
            );
        }
    }

    #[test]
    fn a_damaged_key_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "a.pub", b"rubbish\n", 0o644);
        assert!(
            read(dir.path()).unwrap_err().ends_with(
                "a.pub: it is not a public key of minisign or signify: it does not have two lines"
            )
        );
        put(dir.path(), "a.pub", &vec![b'a'; 1 << 16], 0o644);
        assert!(read(dir.path()).unwrap_err().ends_with("it is too large for such a file"));
    }

    #[test]
    fn rules_are_read_and_written() {
        let text = "expires=2027-12-31\nroles=patch\nbases=3000[0-9]*\n";
        let rules = KeyRules::parse(text.as_bytes()).unwrap();
        assert_eq!(rules.roles, [KeyRole::Patch]);
        let bases = rules.bases.as_ref().unwrap();
        assert!(bases.is_match("300001") && !bases.is_match("x300001") && !bases.is_match("30000x"));
        assert_eq!(rules.write(), text);
        assert_eq!(KeyRules::default().write(), "");
    }

    #[test]
    fn a_key_is_good_to_the_end_of_its_last_day_and_never_for_an_undated_signature() {
        let rules = KeyRules::parse(b"expires=1970-01-02\n").unwrap();
        for (time, is_expired) in
            [(Some(0), false), (Some(172_799), false), (Some(172_800), true), (None, true)]
        {
            assert_eq!(rules.is_expired(time), is_expired, "{time:?}");
        }
        assert!(!KeyRules::default().is_expired(None));
    }

    #[test]
    fn a_misspelt_rule_is_an_error_and_not_more_rights() {
        for (text, reason) in [
            ("expire=2027-12-31\n", "expire: no such rule; the rules are expires, roles, and bases"),
            ("expires=soon\n", "expires: <soon> is not a day, such as 2027-12-31"),
            ("roles=patch all\n", "roles: <all> is neither patch nor index"),
            ("bases=(\n", "bases: <(> is not a regular expression"),
            ("roles=patch\nroles=index\n", "roles: it occurs twice"),
        ] {
            assert_eq!(KeyRules::parse(text.as_bytes()).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn revoked_keys_keep_their_first_reason() {
        let mut revoked = Revocations::parse(b"# ours\n7802F643AC6161C8 stolen\n\n").unwrap();
        let id = "7802F643AC6161C8".parse().unwrap();
        revoked.add(id, "again");
        revoked.add(KeyId([0; 8]), "a\nb");
        assert_eq!(revoked.reason(id), Some("stolen"));
        assert_eq!(revoked.write(), "0000000000000000 a b\n7802F643AC6161C8 stolen\n");
        assert_eq!(
            Revocations::parse(b"\nfoo bar\n").unwrap_err().to_string(),
            "line 2: <foo> is not a key id: sixteen hexadecimal digits"
        );
    }
}

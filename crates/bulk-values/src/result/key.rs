//! Keys of results: digests of everything that their bytes may depend on.
//!
//! A key is BLAKE3 of sorted lines `NAME=DIGEST`, so that names of differing inputs explain different keys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Changing this version changes every key.
const FORMAT: &str = "1";

/// As text 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ResultKey(Blake3Digest);

impl ResultKey {
    /// Accepts lower case only.
    pub fn parse(text: &str) -> Result<Self, NoDigest> {
        Blake3Digest::from_hex(text).map(Self)
    }

    /// The first two digits: its directory in the pool.
    pub fn prefix(&self) -> String {
        self.to_string().chars().take(2).collect()
    }
}

impl fmt::Display for ResultKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.hex())
    }
}

impl From<ResultKey> for String {
    fn from(key: ResultKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for ResultKey {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        Self::parse(&text)
    }
}

/// Bytes of a key's inputs in `result.json`, which has as much room for the rest.
pub const LARGEST_INPUTS: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyInput<'a> {
    /// An installed dependency, by PKGNAME.
    Package(&'a str),
    /// Path below the location.
    File(&'a str),
    /// A file that the scan read elsewhere: a path in the tree, or an absolute one.
    ScanDepends(&'a str),
    Record(&'a str),
    Distfile(&'a str),
    Build,
    Base,
    /// As in `uname -m`.
    Machine,
    Env(&'a str),
    /// Its path in the sandbox.
    WritableMount(&'a str),
    BuildAs,
    Network,
    SourceDateEpoch,
}

/// Prefixes of names in the order of reports: dependencies, files of the recipe, other recipe data, common inputs.
const KINDS: [&str; 8] = ["package", "file", "record", "distfile", "scan", "mount", "env", "build"];

impl KeyInput<'_> {
    pub fn name(&self) -> String {
        match *self {
            Self::Package(name) => format!("package:{}", escaped(name)),
            Self::File(path) => format!("file:{}", escaped(path)),
            Self::ScanDepends(path) => format!("scan:{}", escaped(path)),
            Self::Record(field) => format!("record:{}", escaped(field)),
            Self::Distfile(name) => format!("distfile:{}", escaped(name)),
            Self::Env(name) => format!("env:{}", escaped(name)),
            Self::WritableMount(path) => format!("mount:{}", escaped(path)),
            Self::Build => "build".to_owned(),
            Self::Base => "base".to_owned(),
            Self::Machine => "machine".to_owned(),
            Self::BuildAs => "build_as".to_owned(),
            Self::Network => "network".to_owned(),
            Self::SourceDateEpoch => "source_date_epoch".to_owned(),
        }
    }
}

/// Escapes characters that would end the name or its line early: `\`, `=`, control characters.
fn escaped(name: &str) -> Cow<'_, str> {
    let is_special = |letter: char| letter == '\\' || letter == '=' || letter.is_control();
    if !name.contains(is_special) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        if is_special(letter) {
            out.extend(letter.escape_unicode());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// Names and digests of values, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyInputs(BTreeMap<String, Blake3Digest>);

impl KeyInputs {
    pub fn new() -> Self {
        Self(BTreeMap::from([("format".to_owned(), Blake3Digest::of(FORMAT.as_bytes()))]))
    }

    pub fn set_value(&mut self, input: KeyInput<'_>, value: &str) {
        self.set_digest(input, Blake3Digest::of(value.as_bytes()));
    }

    pub fn set_digest(&mut self, input: KeyInput<'_>, digest: Blake3Digest) {
        self.0.insert(input.name(), digest);
    }

    /// A file below the location.
    pub fn set_file(&mut self, path: &str, is_executable: bool, content: Blake3Digest) {
        let kind = if is_executable { "executable" } else { "file" };
        self.set_value(KeyInput::File(path), &format!("{kind} {content}"));
    }

    pub fn set_link(&mut self, path: &str, target: &str) {
        self.set_value(KeyInput::File(path), &format!("link {target}"));
    }

    /// Takes digests of an installed dependency's files, in any order.
    pub fn set_package(&mut self, pkgname: &str, files: &[Blake3Digest]) {
        let mut files: Vec<String> = files.iter().map(Blake3Digest::to_string).collect();
        files.sort_unstable();
        self.set_value(KeyInput::Package(pkgname), &files.join(" "));
    }

    pub fn key(&self) -> ResultKey {
        let mut hasher = blake3::Hasher::new();
        for (name, digest) in &self.0 {
            hasher.update(format!("{name}={digest}\n").as_bytes());
        }
        ResultKey(Blake3Digest::from_bytes(hasher.finalize().into()))
    }

    /// Checks that `result.json` has room for them.
    pub fn must_fit(&self) -> Result<(), TooManyInputs> {
        let quotes_and_digest = Blake3Digest::of(b"").to_string().len() + "\"\":\"\",".len();
        let bytes = self.0.keys().map(|name| length_in_json(name) + quotes_and_digest).sum();
        if bytes > LARGEST_INPUTS { Err(TooManyInputs { count: self.0.len(), bytes }) } else { Ok(()) }
    }

    /// In byte order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Blake3Digest)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), digest))
    }

    /// PKGNAME of each installed dependency.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.strip_prefix("package:"))
    }

    /// Returns differing inputs: dependencies, own files, then the rest, each in byte order.
    pub fn differences_from(&self, earlier: &Self) -> Vec<InputDifference> {
        let names = self.0.iter().chain(earlier.0.iter().filter(|(name, _)| !self.0.contains_key(*name)));
        let all = names.map(|(name, _)| InputDifference {
            input: name.clone(),
            was: earlier.0.get(name).copied(),
            is: self.0.get(name).copied(),
        });
        let mut differing: Vec<InputDifference> = all.filter(|input| input.was != input.is).collect();
        differing
            .sort_by(|one, other| (rank(&one.input), &one.input).cmp(&(rank(&other.input), &other.input)));
        differing
    }
}

/// Too many inputs for a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its key has {count} inputs with {bytes} bytes, and a result names {LARGEST_INPUTS} bytes of them at most"
)]
pub struct TooManyInputs {
    count: usize,
    bytes: usize,
}

/// Bytes of a name in JSON without quotes. It has no control characters.
fn length_in_json(name: &str) -> usize {
    name.len() + name.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

fn rank(name: &str) -> usize {
    let kind = name.split_once(':').map_or(name, |(kind, _)| kind);
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDifference {
    pub input: String,
    /// `None` if new.
    pub was: Option<Blake3Digest>,
    /// `None` if gone.
    pub is: Option<Blake3Digest>,
}

/// A BLAKE3 digest; as text `b3:` and 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Blake3Digest([u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `b3:` and 64 lowercase hexadecimal digits")]
pub struct NoDigest;

impl Blake3Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 64 digits without `b3:`, for the name of a directory.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// Accepts lower case only.
    pub fn from_hex(digits: &str) -> Result<Self, NoDigest> {
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NoDigest);
        }
        blake3::Hash::from_hex(digits).map(|hash| Self(hash.into())).map_err(|_| NoDigest)
    }
}

impl fmt::Display for Blake3Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "b3:{}", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Blake3Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Blake3Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        Self::from_hex(text.strip_prefix("b3:").ok_or(NoDigest)?)
    }
}

impl From<Blake3Digest> for String {
    fn from(digest: Blake3Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Blake3Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inputs() -> KeyInputs {
        let mut inputs = KeyInputs::new();
        inputs.set_value(KeyInput::Machine, "x86_64");
        inputs.set_file("recipe", false, Blake3Digest::of(b"recipe"));
        inputs.set_package("zlib-1.3", &[Blake3Digest::of(b"a"), Blake3Digest::of(b"b")]);
        inputs
    }

    #[test]
    fn a_key_is_the_digest_of_sorted_lines() {
        let lines: Vec<String> = inputs().iter().map(|(name, digest)| format!("{name}={digest}\n")).collect();
        let lines = lines.concat();
        let names: Vec<_> = lines.lines().map(|line| line.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["file:recipe", "format", "machine", "package:zlib-1.3"]);
        let key = inputs().key();
        assert_eq!(key.to_string(), Blake3Digest::of(lines.as_bytes()).hex());
        assert_eq!(ResultKey::parse(&key.to_string()), Ok(key));
        assert_eq!(key.prefix(), &key.to_string()[..2]);
    }

    #[test]
    fn the_order_of_files_of_a_package_does_not_count_and_their_bytes_do() {
        let mut other = inputs();
        other.set_package("zlib-1.3", &[Blake3Digest::of(b"b"), Blake3Digest::of(b"a")]);
        assert_eq!(other.key(), inputs().key());
        other.set_package("zlib-1.3", &[Blake3Digest::of(b"b"), Blake3Digest::of(b"c")]);
        assert_ne!(other.key(), inputs().key());
    }

    #[test]
    fn a_file_a_program_and_a_link_are_three_inputs() {
        let key = |set: &dyn Fn(&mut KeyInputs)| {
            let mut inputs = KeyInputs::new();
            set(&mut inputs);
            inputs.key()
        };
        let bytes = Blake3Digest::of(b"x");
        let keys = [
            key(&|inputs| inputs.set_file("a", false, bytes)),
            key(&|inputs| inputs.set_file("a", true, bytes)),
            key(&|inputs| inputs.set_link("a", "x")),
        ];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }

    #[test]
    fn inputs_that_no_result_could_name_are_counted_as_they_are_written() {
        let mut inputs = inputs();
        inputs.set_value(KeyInput::ScanDepends("\"quoted\"\u{1}"), "");
        assert_eq!(inputs.must_fit(), Ok(()));
        for number in 0..100_000 {
            inputs.set_value(KeyInput::ScanDepends(&format!("x{number:06}")), "");
        }
        let refused = inputs.must_fit().unwrap_err();
        // The two braces have one comma too few for the last input.
        assert_eq!(refused.bytes + 1, serde_json::to_vec(&inputs).unwrap().len());
        assert!(refused.to_string().starts_with("its key has 100005 inputs with "), "{refused}");
    }

    #[test]
    fn suspects_are_dependencies_first_then_own_files_then_all_else() {
        let before = inputs();
        let mut now = inputs();
        now.set_value(KeyInput::Base, "new");
        now.set_value(KeyInput::Env("CC"), "clang");
        now.set_file("patches/a", false, Blake3Digest::of(b"p"));
        now.set_package("zlib-1.3", &[]);
        now.set_package("bison-3", &[]);
        now.set_digest(KeyInput::ScanDepends("mk/x.mk"), Blake3Digest::of(b"x"));
        let found = now.differences_from(&before);
        let names: Vec<&str> = found.iter().map(|difference| difference.input.as_str()).collect();
        let expected =
            ["package:bison-3", "package:zlib-1.3", "file:patches/a", "scan:mk/x.mk", "env:CC", "base"];
        assert_eq!(names, expected);
        assert_eq!((found[0].was, found[0].is.is_some()), (None, true));
        let gone = before.differences_from(&now);
        assert_eq!((gone[0].was.is_some(), gone[0].is), (true, None));
        assert_eq!(now.differences_from(&now), []);
    }

    proptest! {
        #[test]
        fn no_name_can_pose_as_another_input(one: String, other: String) {
            let [name, another] = [&one, &other].map(|name| KeyInput::File(name).name());
            prop_assert_eq!(one == other, name == another);
            prop_assert!(!name.contains(['\n', '=']));
        }
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let digest = Blake3Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let hex = digest.hex();
        let short = &hex[..63];
        for wrong in
            [hex.clone(), format!("b3:{short}"), format!("B3:{hex}"), format!("b3:{}", hex.to_uppercase())]
        {
            assert_eq!(wrong.parse::<Blake3Digest>(), Err(NoDigest), "{wrong}");
        }
    }
}

//! The description of a result, with the inputs of its key; and notes about verified files of results.

mod key;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::conf::CheckLevel;

pub use key::{
    Blake3Digest, InputDifference, KeyInput, KeyInputs, LARGEST_INPUTS, NoDigest, ResultKey, TooManyInputs,
};

const VERSION: u32 = 1;
/// Bytes of a `result.json` with 10,000 files, their digests, and as many inputs.
pub const LONGEST_RESULT: usize = 2 * LARGEST_INPUTS;
const MOST_FILES: usize = 10_000;
const LONGEST_PKGNAME: usize = 200;
const LONGEST_NAME: usize = 255;
const LONGEST_PKG: usize = 32;
/// Used by the pool itself in the directory of a result.
const OWN_NAMES: [&str; 2] = ["result.json", "log.gz"];

/// In datastream form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultPackage {
    pub pkg: String,
    pub arch: String,
    pub version: String,
    /// In the directory of the result.
    pub file: String,
    pub size: u64,
    pub b3: Blake3Digest,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// A file that is no package, kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    pub file: String,
    pub size: u64,
    pub b3: Blake3Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    pub name: String,
    /// Milliseconds.
    pub ms: u64,
}

/// The description of a result: `result.json` in the pool.
///
/// The pool is shared, so every field is checked, and the key is computed again from the inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildResult {
    result: u32,
    pub key: ResultKey,
    pub pkgname: String,
    pub location: String,
    pub packages: Vec<ResultPackage>,
    pub files: Vec<ResultFile>,
    /// Inputs of the key.
    pub inputs: KeyInputs,
    pub phases: Vec<PhaseTime>,
    /// Milliseconds.
    pub ms: u64,
    /// Milliseconds.
    pub cpu_ms: u64,
    /// Bytes.
    pub peak_memory: u64,
    /// Bytes.
    pub disk: u64,
    pub slot: String,
    /// The id of the builder's working directory, 16 hexadecimal digits.
    pub work: String,
    /// The run that built it.
    pub run: u64,
    pub check: CheckLevel,
    /// Absolute paths.
    pub leftovers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// RFC 3339.
    pub built: String,
}

/// The field to blame, if any, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("result.json: {0}")]
pub struct ResultError(String);

/// Facts of a build; the key follows from the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewResult {
    pub pkgname: String,
    pub location: String,
    pub inputs: KeyInputs,
    pub slot: String,
    pub work: String,
    pub run: u64,
    /// RFC 3339.
    pub built: String,
}

impl BuildResult {
    pub fn new(new: NewResult) -> Self {
        Self {
            result: VERSION,
            key: new.inputs.key(),
            pkgname: new.pkgname,
            location: new.location,
            packages: Vec::new(),
            files: Vec::new(),
            inputs: new.inputs,
            phases: Vec::new(),
            ms: 0,
            cpu_ms: 0,
            peak_memory: 0,
            disk: 0,
            slot: new.slot,
            work: new.work,
            run: new.run,
            check: CheckLevel::None,
            leftovers: Vec::new(),
            remarks: Vec::new(),
            built: new.built,
        }
    }

    /// Ignores fields of later versions, and checks all known ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, ResultError> {
        if bytes.len() > LONGEST_RESULT {
            return Err(ResultError(format!("it is longer than {LONGEST_RESULT} bytes")));
        }
        let result: Self = serde_json::from_slice(bytes).map_err(|error| ResultError(error.to_string()))?;
        result.check_fields().map_err(ResultError)?;
        Ok(result)
    }

    /// Fails if the description would be rejected on reading.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ResultError> {
        self.check_fields().map_err(ResultError)?;
        let mut bytes = serde_json::to_vec(self).map_err(|error| ResultError(error.to_string()))?;
        bytes.push(b'\n');
        if bytes.len() > LONGEST_RESULT {
            return Err(ResultError(format!(
                "it would have {} bytes, more than {LONGEST_RESULT}",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// Digests of packages and files, which are key inputs of dependents.
    pub fn digests(&self) -> Vec<Blake3Digest> {
        let files = self.files.iter().map(|file| file.b3);
        self.packages.iter().map(|package| package.b3).chain(files).collect()
    }

    /// Name, size and digest of each file beside `result.json` and the log.
    pub fn stored_files(&self) -> impl Iterator<Item = (&str, u64, Blake3Digest)> {
        let packages = self.packages.iter().map(|package| (package.file.as_str(), package.size, package.b3));
        packages.chain(self.files.iter().map(|file| (file.file.as_str(), file.size, file.b3)))
    }

    fn check_fields(&self) -> Result<(), String> {
        if self.result != VERSION {
            return Err(format!(
                "it is of version {}, and this program reads version {VERSION}",
                self.result
            ));
        }
        if self.key != self.inputs.key() {
            return Err("its key does not match its inputs".to_owned());
        }
        check("pkgname", &self.pkgname, is_pkgname)?;
        check("location", &self.location, is_location)?;
        check("slot", &self.slot, |slot| !slot.is_empty() && slot.len() <= LONGEST_NAME && is_plain(slot))?;
        check("work", &self.work, |work| work.len() == 16 && is_hex(work))?;
        check("built", &self.built, |built| {
            (20..=40).contains(&built.len()) && built.is_ascii() && is_plain(built)
        })?;
        if self.packages.is_empty() == self.files.is_empty() {
            return Err("it has neither packages nor files, or both".to_owned());
        }
        self.check_packages()?;
        let mut names = BTreeSet::from(OWN_NAMES);
        for (name, _, _) in self.stored_files() {
            check("file", name, is_file_name)?;
            if !names.insert(name) {
                return Err(format!("file: `{}` is listed twice", name.escape_debug()));
            }
        }
        if names.len() > MOST_FILES
            || self.phases.len() > MOST_FILES
            || self.leftovers.len() > MOST_FILES
            || self.remarks.len() > MOST_FILES
        {
            return Err(format!("it has more than {MOST_FILES} files, phases or leftovers"));
        }
        for phase in &self.phases {
            check("phases", &phase.name, |name| name.len() <= LONGEST_NAME && is_plain(name))?;
        }
        let totals = self.stored_files().try_fold(0_u64, |total, (_, size, _)| total.checked_add(size));
        totals.map(|_| ()).ok_or_else(|| "size: they are too large together".to_owned())
    }

    fn check_packages(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for package in &self.packages {
            check("pkg", &package.pkg, is_pkg)?;
            check("arch", &package.arch, is_text)?;
            check("version", &package.version, is_text)?;
            check("sha256", &package.sha256, |digits| digits.len() == 64 && is_hex(digits))?;
            if !names.insert(&package.pkg) {
                return Err(format!("pkg: `{}` is listed twice", package.pkg));
            }
        }
        Ok(())
    }
}

fn check(field: &str, value: &str, is_valid: impl Fn(&str) -> bool) -> Result<(), String> {
    if is_valid(value) {
        Ok(())
    } else {
        Err(format!("{field}: `{}` is not a valid value", value.escape_debug()))
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_text(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && is_plain(text)
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// PKG of pkginfo(5), with our maximum length.
fn is_pkg(pkg: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-".contains(&byte);
    (1..=LONGEST_PKG).contains(&pkg.len()) && !pkg.starts_with('-') && pkg.bytes().all(is_letter)
}

/// A PKGNAME of pkgsrc: a name, `-`, and a version without `-`.
fn is_pkgname(pkgname: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+._~-:".contains(&byte);
    let Some((name, version)) = pkgname.rsplit_once('-') else { return false };
    pkgname.len() <= LONGEST_PKGNAME
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && !name.contains(':')
        && !version.is_empty()
        && pkgname.bytes().all(is_letter)
}

fn is_location(location: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte);
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_letter);
    location.len() <= LONGEST_NAME && location.split('/').all(is_part)
}

fn is_file_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains('/')
        && is_plain(name)
}

const NOTES_VERSION: u32 = 1;

/// Status of a file when it was read, and its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedFile {
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the inode, in nanoseconds since 1970.
    pub ctime: i64,
    pub digest: Blake3Digest,
}

/// By path below the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedFiles {
    files: BTreeMap<String, VerifiedFile>,
    has_changed: bool,
}

#[derive(Serialize, Deserialize)]
struct NotesVersion {
    verified: u32,
}

#[derive(Serialize, Deserialize)]
struct NoteLine {
    file: String,
    #[serde(flatten)]
    state: VerifiedFile,
}

impl VerifiedFiles {
    /// Another version or an invalid line gives empty notes.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let version = lines.next().and_then(|line| serde_json::from_slice::<NotesVersion>(line).ok());
        if version.is_none_or(|line| line.verified != NOTES_VERSION) {
            return Self::default();
        }
        let files =
            lines.map(|line| serde_json::from_slice::<NoteLine>(line).map(|line| (line.file, line.state)));
        let files = files.collect::<Result<_, _>>().unwrap_or_default();
        Self { files, has_changed: false }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Numbers and strings, written to memory: this cannot fail.
        let _ = serde_json::to_writer(&mut out, &NotesVersion { verified: NOTES_VERSION });
        out.push(b'\n');
        for (file, state) in &self.files {
            let _ = serde_json::to_writer(&mut out, &NoteLine { file: file.clone(), state: *state });
            out.push(b'\n');
        }
        out
    }

    /// True if this state of a file is noted.
    pub fn has(&self, file: &str, state: &VerifiedFile) -> bool {
        self.files.get(file) == Some(state)
    }

    pub fn note(&mut self, file: String, state: VerifiedFile) {
        self.has_changed = true;
        self.files.insert(file, state);
    }

    pub fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        let before = self.files.len();
        self.files.retain(|file, _| is_kept(file));
        self.has_changed |= self.files.len() != before;
    }

    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::key::KeyInput;

    fn result() -> BuildResult {
        let mut inputs = KeyInputs::new();
        inputs.set_value(KeyInput::Machine, "x86_64");
        let mut result = BuildResult::new(NewResult {
            pkgname: "curl-8.1".to_owned(),
            location: "net/curl".to_owned(),
            inputs,
            slot: "local".to_owned(),
            work: "00112233445566aa".to_owned(),
            run: 7,
            built: "2026-11-26T08:00:00Z".to_owned(),
        });
        result.packages.push(ResultPackage {
            pkg: "curl".to_owned(),
            arch: "x86_64".to_owned(),
            version: "8.1".to_owned(),
            file: "curl.pkg".to_owned(),
            size: 4096,
            b3: Blake3Digest::of(b"curl"),
            sha256: "0".repeat(64),
        });
        result.phases.push(PhaseTime { name: "configure".to_owned(), ms: 12 });
        result.check = CheckLevel::Install;
        result
    }

    /// Returns the error for a description in which one text was replaced by another.
    fn refused(was: &str, is: &str) -> String {
        let text = String::from_utf8(result().to_bytes().unwrap()).unwrap();
        assert!(text.contains(was), "{was} is not in {text}");
        BuildResult::parse(text.replacen(was, is, 1).as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_result_comes_back_with_the_names_of_the_contract() {
        let bytes = result().to_bytes().unwrap();
        assert_eq!(BuildResult::parse(&bytes).unwrap(), result());
        let text = String::from_utf8(bytes).unwrap();
        let digest = Blake3Digest::of(b"curl");
        let package = format!(
            "\"packages\":[{{\"pkg\":\"curl\",\"arch\":\"x86_64\",\"version\":\"8.1\",\"file\":\"curl.pkg\",\
             \"size\":4096,\"b3\":\"{digest}\",\"sha256\":\"{}\"}}],\"files\":[],\"inputs\":{{\"format\":\"b3:",
            "0".repeat(64)
        );
        assert!(text.contains(&package), "{text}");
        let end = "\"phases\":[{\"name\":\"configure\",\"ms\":12}],\"ms\":0,\"cpu_ms\":0,\"peak_memory\":0,\"disk\":0,\
                   \"slot\":\"local\",\"work\":\"00112233445566aa\",\"run\":7,\"check\":\"install\",\"leftovers\":[],\
                   \"built\":\"2026-11-26T08:00:00Z\"}\n";
        assert!(text.ends_with(end), "{text}");
        assert!(text.starts_with("{\"result\":1,\"key\":\""), "{text}");
    }

    #[test]
    fn a_file_outside_the_directory_or_in_the_place_of_ours_is_refused() {
        for name in ["../x", "a/b", "..", ".", "", "a\\nb", "a\\u0000"] {
            let error = refused("\"file\":\"curl.pkg\"", &format!("\"file\":\"{name}\""));
            assert!(error.starts_with("result.json: file: "), "{name}: {error}");
        }
        let error = refused("\"file\":\"curl.pkg\"", "\"file\":\"result.json\"");
        assert_eq!(error, "result.json: file: `result.json` is listed twice");
    }

    #[test]
    fn each_field_is_held_against_its_rule() {
        let refusals = [
            ("\"result\":1", "\"result\":2", "version 2"),
            ("\"pkg\":\"curl\"", "\"pkg\":\"cu/rl\"", "pkg: "),
            ("\"pkg\":\"curl\"", "\"pkg\":\"-curl\"", "pkg: "),
            ("\"arch\":\"x86_64\"", "\"arch\":\"\\u001b[2J\"", "arch: "),
            ("\"version\":\"8.1\"", "\"version\":\"\"", "version: "),
            ("\"sha256\":\"0", "\"sha256\":\"X", "sha256: "),
            ("\"b3\":\"b3:", "\"b3\":\"b4:", "a digest is"),
            ("\"size\":4096", "\"size\":-1", "invalid value"),
            ("curl-8.1", "curl", "pkgname: "),
            ("curl-8.1", "../curl-8.1", "pkgname: "),
            ("net/curl", "net/../curl", "location: "),
            ("net/curl", "/net/curl", "location: "),
            ("00112233445566aa", "00112233445566AA", "work: "),
            ("\"slot\":\"local\"", "\"slot\":\"\"", "slot: "),
            ("\"built\":\"2026", "\"built\":\"\\r2026", "built: "),
            ("\"check\":\"install\"", "\"check\":\"all\"", "unknown variant"),
            ("\"run\":7", "\"run\":1.5", "invalid type"),
        ];
        for (was, is, reason) in refusals {
            let error = refused(was, is);
            assert!(error.contains(reason), "{is}: {error}");
            assert!(!error.contains(['\n', '\u{1b}']), "{error}");
        }
    }

    #[test]
    fn a_key_that_is_not_that_of_the_inputs_is_refused() {
        let digest = Blake3Digest::of(b"x86_64").to_string();
        let error = refused(&digest, &Blake3Digest::of(b"sparc").to_string());
        assert_eq!(error, "result.json: its key does not match its inputs");
    }

    #[test]
    fn a_result_has_packages_or_files_and_not_both() {
        let mut both = result();
        both.files.push(ResultFile { file: "x.tgz".to_owned(), size: 1, b3: Blake3Digest::of(b"x") });
        assert!(both.to_bytes().is_err());
        let mut none = result();
        none.packages.clear();
        assert!(none.to_bytes().is_err());
        none.files = both.files;
        assert_eq!(BuildResult::parse(&none.to_bytes().unwrap()).unwrap(), none);
        assert_eq!(none.digests(), [Blake3Digest::of(b"x")]);
    }

    #[test]
    fn what_nobody_would_read_is_not_written() {
        let mut result = result();
        result.leftovers = vec!["/left".repeat(1_000); 4_000];
        let error = result.to_bytes().unwrap_err().to_string();
        assert!(
            error.starts_with("result.json: it would have ") && error.ends_with(" more than 16777216"),
            "{error}"
        );
    }

    #[test]
    fn sizes_that_are_too_much_together_are_refused() {
        let mut result = result();
        result.packages.clear();
        for name in ["a", "b"] {
            result.files.push(ResultFile {
                file: name.to_owned(),
                size: u64::MAX,
                b3: Blake3Digest::of(b""),
            });
        }
        assert!(result.to_bytes().is_err());
    }

    const fn state(inode: u64, digest: Blake3Digest) -> VerifiedFile {
        VerifiedFile { inode, size: 7, ctime: -1, digest }
    }

    #[test]
    fn notes_are_read_as_they_were_written() {
        let digest = Blake3Digest::of(b"x");
        let mut notes = VerifiedFiles::default();
        notes.note("ab/abc/x.pkg".to_owned(), state(1, digest));
        notes.note("cd/cde/y \"quoted\"".to_owned(), state(2, digest));
        assert!(notes.has_changed());
        let mut read = VerifiedFiles::parse(&notes.to_bytes());
        assert!(!read.has_changed());
        assert!(read.has("ab/abc/x.pkg", &state(1, digest)));
        assert!(!read.has("ab/abc/x.pkg", &state(2, digest)));
        assert!(!read.has("ab/abc/x.pkg", &state(1, Blake3Digest::of(b"y"))));
        read.retain(|file| file.starts_with("cd"));
        assert!(read.has_changed() && !read.has("ab/abc/x.pkg", &state(1, digest)));
    }

    #[test]
    fn what_is_no_note_makes_all_of_them_nothing() {
        let mut notes = VerifiedFiles::default();
        notes.note("x".to_owned(), state(1, Blake3Digest::of(b"x")));
        let mut bytes = notes.to_bytes();
        bytes.extend(b"{\"file\":\"y\"}\n");
        for damaged in [&bytes[..], b"", b"{\"verified\":2}\n", b"\xff\n"] {
            assert_eq!(VerifiedFiles::parse(damaged), VerifiedFiles::default());
        }
    }
}

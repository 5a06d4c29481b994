//! The manifest of a patch, the text that is signed: SHA-256 sums of its files and its id. A list of files has exactly
//! one spelling, and a parsed manifest is written again byte for byte. `sha256sum -c` accepts the text.

use std::collections::BTreeMap;
use std::fmt;

use chrono::DateTime;

use super::signature::SignatureFormat;
use crate::sha256::Sha256;
pub use crate::sha256::Sha256Sum;
use patchadm_svr4::package::PackagePath;
use patchadm_svr4::patch::PatchId;

/// 64 MiB.
pub const LARGEST_MANIFEST: u64 = 64 << 20;

const HEAD: &[u8] = b"# patchadm manifest 1";

/// In a directory, for the files there.
pub const MANIFEST: &str = "MANIFEST";

/// The ending of a manifest beside a file.
pub const BESIDE: &str = ".manifest";

pub fn sha256(bytes: &[u8]) -> Sha256Sum {
    Sha256::digest(bytes)
}

pub fn sha256_text(sum: &Sha256Sum) -> String {
    Hex(sum).to_string()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestForm {
    /// Every file of a directory except the manifest and its signatures.
    Members,
    /// One file as a whole.
    File,
}

impl ManifestForm {
    /// Returns the word for the manifest and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::File => "file",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Relative to the directory of the manifest.
    pub path: Vec<u8>,
    pub sum: Sha256Sum,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub patch: String,
    pub form: ManifestForm,
    /// As `2026-11-20T12:00:00Z`; not compared.
    pub date: Option<String>,
    /// Sorted by path, each path once; only one in the form `file`.
    pub entries: Vec<ManifestEntry>,
}

/// Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    #[error("the manifest is larger than 64 MiB")]
    TooLarge,
    #[error("the manifest is damaged, line {line}: {reason}")]
    Line { line: usize, reason: &'static str },
    #[error("the manifest is damaged, line {line}: <{path}> {reason}")]
    Path {
        line: usize,
        /// Escaped and cut to a readable length.
        path: String,
        reason: &'static str,
    },
}

impl Manifest {
    /// Returns the difference from the expected manifest. In the form `file` the name means nothing.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        if self.patch != expected.patch {
            return Some(format!("it is for patch {}, not for {}", self.patch, expected.patch));
        }
        if self.form != expected.form {
            return Some(format!("its form is {}", self.form.word()));
        }
        if self.form == ManifestForm::File {
            let sum = |manifest: &Self| manifest.entries.first().map(|entry| entry.sum);
            return (sum(self) != sum(expected)).then(|| "the checksum of the file differs".to_owned());
        }
        let shown = |path: &[u8]| path.escape_ascii().to_string();
        let missing = expected.entries.iter().find(|entry| self.sum(&entry.path).is_none());
        let more = self.entries.iter().find(|entry| expected.sum(&entry.path).is_none());
        let other = self.entries.iter().find(|entry| expected.sum(&entry.path) != Some(&entry.sum));
        None.or_else(|| missing.map(|entry| format!("it does not have {}", shown(&entry.path))))
            .or_else(|| more.map(|entry| format!("it has {}, which does not exist", shown(&entry.path))))
            .or_else(|| other.map(|entry| format!("the checksum of {} differs", shown(&entry.path))))
    }

    /// Creates the manifest of a directory. `date` is in seconds since 1970.
    pub fn of_members(patch: &PatchId, date: i64, sums: &BTreeMap<Vec<u8>, Sha256Sum>) -> Self {
        let entries =
            sums.iter().map(|(path, sum)| ManifestEntry { path: path.clone(), sum: *sum }).collect();
        Self { patch: patch.to_string(), form: ManifestForm::Members, date: Some(date_text(date)), entries }
    }

    /// Creates the manifest of a file with this base name. `date` is in seconds since 1970.
    pub fn of_file(patch: &PatchId, date: i64, name: &[u8], sum: &Sha256Sum) -> Self {
        let entries = vec![ManifestEntry { path: name.to_vec(), sum: *sum }];
        Self { patch: patch.to_string(), form: ManifestForm::File, date: Some(date_text(date)), entries }
    }

    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.len() as u64 > LARGEST_MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        let mut lines = ManifestLines { rest: text, line: 0 };
        if lines.next()? != Some(HEAD) {
            return Err(lines.wrong("it is not `# patchadm manifest 1`"));
        }
        let patch = lines.field(b"# patch ", "it is not `# patch ID`")?;
        let form = match lines.field(b"# form ", "it is not `# form members` or `# form file`")? {
            "members" => ManifestForm::Members,
            "file" => ManifestForm::File,
            _ => return Err(lines.wrong("it is not `# form members` or `# form file`")),
        };
        let mut manifest = Self { patch: patch.to_owned(), form, date: None, entries: Vec::new() };
        while let Some(line) = lines.next()? {
            match line.strip_prefix(b"# date ") {
                Some(date) if manifest.entries.is_empty() && manifest.date.is_none() => {
                    let date =
                        date_of(date).ok_or_else(|| lines.wrong("its date is not `YYYY-MM-DDTHH:MM:SSZ`"))?;
                    manifest.date = Some(date.to_owned());
                }
                _ => {
                    let entry = entry_of(line).map_err(|reason| lines.wrong(reason))?;
                    manifest.add(entry, lines.line)?;
                }
            }
        }
        manifest.check_count(lines.line)?;
        Ok(manifest)
    }

    fn add(&mut self, entry: ManifestEntry, line: usize) -> Result<(), ManifestError> {
        let wrong = |reason| {
            let shown = entry.path.get(..200).unwrap_or(&entry.path).escape_ascii().to_string();
            Err(ManifestError::Path { line, path: shown, reason })
        };
        let is_plain = PackagePath::new(&entry.path).is_ok_and(|path| path.as_bytes() == entry.path);
        if !is_plain || entry.path.first() == Some(&b'/') {
            return wrong("is not a path inside a patch");
        }
        if self.form == ManifestForm::File && entry.path.contains(&b'/') {
            return wrong("is not the name of a file beside the manifest");
        }
        if self.form == ManifestForm::Members && is_of_manifest(&entry.path) {
            return wrong("is the manifest itself, or its signature");
        }
        match self.entries.last().map(|last| last.path.cmp(&entry.path)) {
            Some(std::cmp::Ordering::Equal) => return wrong("occurs twice"),
            Some(std::cmp::Ordering::Greater) => return wrong("is not in byte order"),
            _ => {}
        }
        self.entries.push(entry);
        Ok(())
    }

    fn check_count(&self, line: usize) -> Result<(), ManifestError> {
        match (self.form, self.entries.len()) {
            (_, 0) => Err(ManifestError::Line { line, reason: "no file follows it" }),
            (ManifestForm::File, 2..) => {
                Err(ManifestError::Line { line, reason: "the form `file` has one file only" })
            }
            _ => Ok(()),
        }
    }

    pub fn sum(&self, path: &[u8]) -> Option<&Sha256Sum> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()?;
        self.entries.get(at).map(|entry| &entry.sum)
    }

    /// Formats the manifest; its entries must be sorted.
    pub fn write(&self) -> Vec<u8> {
        let mut text = [HEAD, b"\n# patch ", self.patch.as_bytes(), b"\n# form "].concat();
        text.extend_from_slice(self.form.word().as_bytes());
        if let Some(date) = &self.date {
            text.extend_from_slice(b"\n# date ");
            text.extend_from_slice(date.as_bytes());
        }
        for entry in &self.entries {
            let escaped = escape(&entry.path);
            let mark: &[u8] = if escaped.len() == entry.path.len() { b"\nSHA256 (" } else { b"\n\\SHA256 (" };
            text.extend_from_slice(mark);
            text.extend_from_slice(&escaped);
            text.extend_from_slice(format!(") = {}", Hex(&entry.sum)).as_bytes());
        }
        text.push(b'\n');
        text
    }
}

/// No manifest covers itself and its signatures.
pub fn is_of_manifest(path: &[u8]) -> bool {
    without_signature(path) == MANIFEST.as_bytes()
}

pub(crate) fn file_of_manifest(path: &[u8]) -> Option<&[u8]> {
    without_signature(path).strip_suffix(BESIDE.as_bytes())
}

fn without_signature(path: &[u8]) -> &[u8] {
    let mut endings = SignatureFormat::ALL.into_iter().map(SignatureFormat::ending);
    endings.find_map(|ending| path.strip_suffix(ending.as_bytes())).unwrap_or(path)
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

struct ManifestLines<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> ManifestLines<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, ManifestError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') else {
            return Err(self.wrong("it has no end"));
        };
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        if line.contains(&b'\r') {
            return Err(self.wrong("it has a carriage return"));
        }
        Ok(Some(line))
    }

    fn field(&mut self, begins: &[u8], reason: &'static str) -> Result<&'a str, ManifestError> {
        let line = self.next()?.unwrap_or_default();
        let value = line.strip_prefix(begins).and_then(|value| str::from_utf8(value).ok());
        value.filter(|value| is_word(value)).ok_or_else(|| self.wrong(reason))
    }

    fn wrong(&self, reason: &'static str) -> ManifestError {
        ManifestError::Line { line: self.line.max(1), reason }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn date_text(date: i64) -> String {
    DateTime::from_timestamp(date, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn date_of(text: &[u8]) -> Option<&str> {
    const FORM: &[u8] = b"0000-00-00T00:00:00Z";
    let is_like = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    let is_date = text.len() == FORM.len() && text.iter().zip(FORM).all(is_like);
    str::from_utf8(text).ok().filter(|_| is_date)
}

fn entry_of(line: &[u8]) -> Result<ManifestEntry, &'static str> {
    let bad = "it is neither a line of the head nor `SHA256 (PATH) = SUM`";
    if line.starts_with(b"#") {
        return Err("it is not a line of the head of a manifest, or occurs twice");
    }
    let (is_escaped, line) = match line.strip_prefix(b"\\") {
        Some(line) => (true, line),
        None => (false, line),
    };
    let body = line.strip_prefix(b"SHA256 (").ok_or(bad)?;
    let (path, digits) = body.split_last_chunk::<64>().ok_or(bad)?;
    let path = path.strip_suffix(b") = ").ok_or(bad)?;
    let sum = sum_of(digits).ok_or("its sum is not 64 lowercase hexadecimal digits")?;
    let path = match is_escaped {
        true => unescape(path).ok_or("its path is not escaped as by sha256sum")?,
        false if path.contains(&b'\\') => return Err("its path is not escaped as by sha256sum"),
        false => path.to_vec(),
    };
    Ok(ManifestEntry { path, sum })
}

fn sum_of(digits: &[u8; 64]) -> Option<Sha256Sum> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut sum = [0; 32];
    for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(sum)
}

/// Escapes a path as `sha256sum --tag` does.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `None` if the path is not escaped in the only valid way.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        path.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            other => other,
        });
    }
    (path.len() < text.len()).then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUM: &str = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";

    fn text(head: &str, paths: &[&str]) -> String {
        let lines: Vec<String> = paths.iter().map(|path| format!("SHA256 ({path}) = {SUM}\n")).collect();
        let lines = lines.concat();
        format!("# patchadm manifest 1\n# patch 300001-03\n{head}{lines}")
    }

    fn refused(text: &str) -> String {
        Manifest::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_manifest_of_the_cases_is_read_and_written_again() {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/signatures/");
        let text = std::fs::read(format!("{place}300001-03.manifest")).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!((manifest.patch.as_str(), manifest.form), ("300001-03", ManifestForm::Members));
        assert!(manifest.sum(b"DEBopenssl/reloc/usr/bin/a b").is_some());
        assert_eq!(manifest.sum(b"DEBopenssl/reloc"), None);
        assert_eq!(manifest.write(), text);
        let tampered = std::fs::read(format!("{place}tampered.manifest")).unwrap();
        assert!(Manifest::parse(&tampered).unwrap_err().to_string().contains("line 3"));
    }

    #[test]
    fn whatever_is_not_the_one_spelling_is_refused_with_its_line() {
        let members = "# form members\n";
        for (wrong, reason) in [
            (text(members, &["a", "a"]), "line 5: <a> occurs twice"),
            (text(members, &["b", "a"]), "line 5: <a> is not in byte order"),
            (text(members, &["../a"]), "line 4: <../a> is not a path inside a patch"),
            (text(members, &["/a"]), "line 4: </a> is not a path inside a patch"),
            (text(members, &["a//b"]), "line 4: <a//b> is not a path inside a patch"),
            (text(members, &["MANIFEST.sig"]), "is the manifest itself, or its signature"),
            (text("# form file\n", &["a/b"]), "is not the name of a file beside the manifest"),
            (text("# form file\n", &["a", "b"]), "the form `file` has one file only"),
            (text("# form files\n", &["a"]), "line 3: it is not `# form members`"),
            (text(members, &[]), "line 3: no file follows it"),
            (text("# form members\n# more x\n", &["a"]), "line 4: it is not a line of the head"),
            (text("# form members\n# date 20.11.2026\n", &["a"]), "line 4: its date is not"),
            (text(members, &["a"]).replace('\n', "\r\n"), "line 1: it has a carriage return"),
            (text(members, &["a"]).trim_end().to_owned(), "line 4: it has no end"),
            (text(members, &["a"]).replace("d47", "D47"), "64 lowercase hexadecimal digits"),
            (text(members, &["a\\b"]), "is not escaped as by sha256sum"),
            (text(members, &["a"]).replace("SHA256", "\\SHA256"), "is not escaped as by sha256sum"),
            (text(members, &["a"]).replace("manifest 1", "manifest 2"), "line 1: it is not"),
            (String::new(), "line 1: it is not"),
            (format!("{}# date 2026-11-20T12:00:00Z\n", text(members, &["a"])), "line 5: it is not a line"),
        ] {
            assert!(refused(&wrong).contains(reason), "{wrong}{}", refused(&wrong));
        }
        let dated = text("# form members\n# date 2026-11-20T12:00:00Z\n", &["a"]);
        assert_eq!(Manifest::parse(dated.as_bytes()).unwrap().write(), dated.as_bytes());
    }

    #[test]
    fn a_manifest_without_end_is_refused() {
        let large = vec![b'#'; usize::try_from(LARGEST_MANIFEST).unwrap() + 1];
        assert_eq!(Manifest::parse(&large), Err(ManifestError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            names in proptest::collection::btree_set(proptest::collection::vec(1u8..=255, 1..12), 1..8)
        ) {
            let is_plain = |name: &Vec<u8>| {
                PackagePath::new(name).is_ok_and(|path| path.as_bytes() == name) && name[0] != b'/'
            };
            let entries: Vec<_> = names
                .into_iter()
                .filter(|name| is_plain(name) && !is_of_manifest(name))
                .map(|path| ManifestEntry { sum: sha256(&path), path })
                .collect();
            prop_assume!(!entries.is_empty());
            let (patch, form) = ("1-01".to_owned(), ManifestForm::Members);
            let manifest = Manifest { patch, form, date: None, entries };
            prop_assert_eq!(Manifest::parse(&manifest.write()).unwrap(), manifest);
        }
    }
}

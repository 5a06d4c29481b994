//! The manifest of a set: SHA-256 sums in the format of patch manifests, and the origin of each file.
//!
//! ```text
//! # patchadm manifest 1
//! # set 7
//! # form members
//! # date 2026-11-20T12:00:00Z
//! SHA256 (packages/curl.pkg) = d4735e3a…
//! # from 7 9f3c… curl-8.1 net/curl packages/curl.pkg
//! # restricted packages/curl.pkg
//! ```
//! `sha256sum -c` accepts it. Only the canonical form is accepted on reading.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use patchadm_bulk_values::result::Key;
use patchadm_inputs::sha256::Sha256Sum;
use patchadm_inputs::sign::{Manifest, ManifestEntry, ManifestForm};

pub(crate) const MANIFEST: &str = "MANIFEST";

const FROM: &str = "# from ";
const RESTRICTED: &str = "# restricted ";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFile {
    /// The run whose set got the file first.
    pub run: u64,
    pub key: Key,
    pub package: String,
    pub location: String,
    /// Must not be distributed.
    pub is_restricted: bool,
    pub sum: Sha256Sum,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetManifest {
    pub set: u64,
    /// RFC 3339.
    pub date: String,
    /// By path in the directory of the set.
    pub files: BTreeMap<String, SetFile>,
}

impl SetManifest {
    pub fn write(&self) -> Vec<u8> {
        let entries = self
            .files
            .iter()
            .map(|(path, file)| ManifestEntry { path: path.clone().into_bytes(), sum: file.sum });
        let members = Manifest {
            patch: self.set.to_string(),
            form: ManifestForm::Members,
            date: Some(self.date.clone()),
            entries: entries.collect(),
        };
        let mut tail = String::new();
        // Writing to a string does not fail.
        for (path, SetFile { run, key, package, location, .. }) in &self.files {
            let _ = writeln!(tail, "{FROM}{run} {key} {package} {location} {path}");
        }
        for (path, _) in self.files.iter().filter(|(_, file)| file.is_restricted) {
            let _ = writeln!(tail, "{RESTRICTED}{path}");
        }
        let mut text = renamed(&members.write(), "\n# patch ", "\n# set ");
        text.extend_from_slice(tail.as_bytes());
        text
    }

    /// The error names line and reason.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let begins = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(FROM.as_bytes()));
        let lines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let end = lines.clone().find(begins).unwrap_or(text.len());
        let (head, tail) = text.split_at_checked(end).unwrap_or((text, b""));
        let members = Manifest::parse(&renamed(head, "\n# set ", "\n# patch ")).map_err(|e| e.to_string())?;
        let set: u64 = members.patch.parse().map_err(|_| "line 2: it is not `# set NUMBER`".to_owned())?;
        // The first four lines, and one for each sum.
        let first_line = 4 + members.entries.len();
        let tail = std::str::from_utf8(tail).map_err(|_| "it is not UTF-8".to_owned())?;
        let sums: BTreeMap<&[u8], Sha256Sum> =
            members.entries.iter().map(|entry| (entry.path.as_slice(), entry.sum)).collect();
        let date = members.date.clone().ok_or("it has no date")?;
        let mut manifest = Self { set, date, files: BTreeMap::new() };
        for (number, line) in tail.lines().enumerate() {
            let wrong = |reason: &str| format!("line {}: {reason}", first_line + number + 1);
            manifest.take_line(line, &sums).map_err(wrong)?;
        }
        if manifest.files.len() != sums.len() {
            return Err("it does not say of each file where it comes from".to_owned());
        }
        if manifest.write() != text {
            return Err("its lines have another order than in a manifest".to_owned());
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &str, sums: &BTreeMap<&[u8], Sha256Sum>) -> Result<(), &'static str> {
        if let Some(path) = line.strip_prefix(RESTRICTED) {
            self.files.get_mut(path).ok_or("it restricts a file that does not exist")?.is_restricted = true;
            return Ok(());
        }
        let words = line.strip_prefix(FROM).ok_or("it is not a line of the manifest of a set")?;
        let mut words = words.splitn(5, ' ');
        let mut word = || words.next().ok_or("it has too few words");
        let (run, key, package, location, path) = (word()?, word()?, word()?, word()?, word()?);
        let sum = *sums.get(path.as_bytes()).ok_or("it names a file without a sum")?;
        let file = SetFile {
            run: run.parse().map_err(|_| "it has no number of a run")?,
            key: Key::parse(key).map_err(|_| "it has no key")?,
            package: package.to_owned(),
            location: location.to_owned(),
            is_restricted: false,
            sum,
        };
        match self.files.insert(path.to_owned(), file) {
            None => Ok(()),
            Some(_) => Err("the file comes twice"),
        }
    }
}

fn renamed(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let first = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (head, rest) = text.split_at(first);
    match rest.strip_prefix(from.as_bytes()) {
        Some(rest) => [head, to.as_bytes(), rest].concat(),
        // Anything else is no manifest of a set, but perhaps one of a patch.
        None => [head, b"\n#", rest].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> SetManifest {
        let file = |package: &str, is_restricted| SetFile {
            run: 7,
            key: Key::parse(&"5".repeat(64)).unwrap(),
            package: package.to_owned(),
            location: "net/curl".to_owned(),
            is_restricted,
            sum: [1; 32],
        };
        let files = [
            ("files/go-1.2/go\\x.tgz".to_owned(), file("go-1.2", true)),
            ("packages/curl.pkg".to_owned(), file("curl-8.1", false)),
        ];
        SetManifest { set: 7, date: "2026-11-20T12:00:00Z".to_owned(), files: files.into() }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let text = manifest().write();
        assert_eq!(SetManifest::parse(&text), Ok(manifest()));
        let shown = String::from_utf8(text).unwrap();
        assert!(shown.starts_with("# patchadm manifest 1\n# set 7\n# form members\n# date 2026"), "{shown}");
        assert!(shown.contains("\n\\SHA256 (files/go-1.2/go\\\\x.tgz) = 0101"), "{shown}");
        assert!(shown.ends_with("\n# restricted files/go-1.2/go\\x.tgz\n"), "{shown}");
    }

    #[test]
    fn what_is_no_manifest_of_a_set_is_refused_with_its_line() {
        let text = String::from_utf8(manifest().write()).unwrap();
        let changed =
            |from: &str, to: &str| SetManifest::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(changed("# set 7", "# patch 7").contains("line 2"), "of a patch");
        assert!(changed("# set 7", "# set x").contains("line 2"));
        assert!(changed("# from 7 5", "# from 7 x").contains("line 7: it has no key"));
        assert!(changed("# restricted files", "# restricted x").contains("line 9: it restricts"));
        assert!(changed("SHA256 (packages", "SHA256 (Packages").contains("bytes"));
        let without = text.lines().filter(|line| !line.starts_with("# from")).map(|line| format!("{line}\n"));
        assert!(SetManifest::parse(without.collect::<String>().as_bytes()).is_err());
    }
}

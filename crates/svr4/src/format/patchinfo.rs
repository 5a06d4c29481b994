//! The optional `patchinfo` file of a delivered patch: `NAME="value"` lines with lists of words, interpreted by
//! [`patch`](crate::patch).

use crate::package::Params;

use super::params;

/// The lists of a patchinfo file. Words are separated by white space or commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchinfoFile {
    /// PATCHINFOVERSION: the version of the format, `1.0`; empty if missing.
    pub version: String,
    /// PATCHID: the id of the patch; empty if missing.
    pub patch_id: String,
    /// `PATCH_CORRECTS`: the packages corrected, as `arch:name:version` words.
    pub corrects: Vec<String>,
    /// `PATCH_ARCH`: the architectures that the patch is for.
    pub arch: Vec<String>,
    /// `PATCH_OS`: the operating systems that the patch is for.
    pub os: Vec<String>,
    /// `PATCH_OSRELEASE`: the releases of the operating system.
    pub os_release: Vec<String>,
    /// `PATCH_PROPERTIES`: `standard`, `rebootafter`, `interactive`, …
    pub properties: Vec<String>,
    /// `PATCH_OBSOLETES`: the patches that this one contains.
    pub obsoletes: Vec<String>,
    /// `PATCH_REQUIRES`: the patches that must be applied.
    pub requires: Vec<String>,
    /// `PATCH_INCOMPAT`: the patches that must not be applied.
    pub incompat: Vec<String>,
    /// `PATCH_FIXES`: the ids of the fixes.
    pub fixes: Vec<String>,
    /// All other parameters, in order.
    pub other: Params,
}

impl PatchinfoFile {
    /// Reads the parameters of the file; the first of several definitions counts.
    pub fn from_params(params: &Params) -> Self {
        let mut file = Self {
            version: params.text("PATCHINFOVERSION").into_owned(),
            patch_id: params.text("PATCHID").into_owned(),
            ..Self::default()
        };
        for (name, list) in file.lists() {
            *list = words(&params.text(name));
        }
        let known: Vec<_> = file.lists().map(|(name, _)| name).to_vec();
        let other = params.iter().filter(|(name, _)| !known.contains(name) && !SINGLE.contains(name));
        file.other = other.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        file
    }

    /// Formats the file, with quotes around every value that allows them and without empty lists.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut file = self.clone();
        for (name, value) in SINGLE.into_iter().zip([&self.version, &self.patch_id]) {
            if !value.is_empty() {
                write_quoted(&mut out, name, value.as_bytes());
            }
        }
        for (name, list) in file.lists() {
            if !list.is_empty() {
                write_quoted(&mut out, name, list.join(" ").as_bytes());
            }
        }
        for (name, value) in self.other.iter() {
            write_quoted(&mut out, name, value);
        }
        out
    }

    fn lists(&mut self) -> [(&'static str, &mut Vec<String>); 9] {
        [
            ("PATCH_CORRECTS", &mut self.corrects),
            ("PATCH_ARCH", &mut self.arch),
            ("PATCH_OS", &mut self.os),
            ("PATCH_OSRELEASE", &mut self.os_release),
            ("PATCH_PROPERTIES", &mut self.properties),
            ("PATCH_OBSOLETES", &mut self.obsoletes),
            ("PATCH_REQUIRES", &mut self.requires),
            ("PATCH_INCOMPAT", &mut self.incompat),
            ("PATCH_FIXES", &mut self.fixes),
        ]
    }
}

const SINGLE: [&str; 2] = ["PATCHINFOVERSION", "PATCHID"];

fn words(value: &str) -> Vec<String> {
    let parts = value.split(|c: char| c.is_whitespace() || c == ',');
    parts.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Quotes a value, or uses [`params::write()`] if it has a quote, backslash or newline.
fn write_quoted(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if value.iter().any(|byte| b"'\"\\\n".contains(byte)) {
        out.extend_from_slice(&params::write(&[(name, value)].into_iter().collect()));
    } else {
        out.extend_from_slice(&[name.as_bytes(), b"=\"", value, b"\"\n"].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::params::ParamFile;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> PatchinfoFile {
        PatchinfoFile::from_params(&ParamFile::parse(text).unwrap().params())
    }

    const TEXT: &str = "PATCHINFOVERSION=\"1.0\"\nPATCHID=\"119254-10\"\nPATCH_ARCH=\"sparc i386\"\n\
        PATCH_PROPERTIES=\"standard rebootafter\"\nPATCH_REQUIRES=\"( 1-01 | 2-01 ) 3-01\"\n\
        PATCH_FIXES=\"CVE-2026-1234 ACME-17\"\nPATCH_XREF=\"a, b\"\n";

    #[test]
    fn lists_are_words_and_unknown_names_are_kept() {
        let file = read(TEXT.as_bytes());
        assert_eq!((file.version.as_str(), file.patch_id.as_str()), ("1.0", "119254-10"));
        assert_eq!(file.arch, ["sparc", "i386"]);
        assert_eq!(file.properties, ["standard", "rebootafter"]);
        assert_eq!(file.requires, ["(", "1-01", "|", "2-01", ")", "3-01"]);
        assert!(file.obsoletes.is_empty());
        assert_eq!(file.fixes, ["CVE-2026-1234", "ACME-17"]);
        assert_eq!(file.other.get("PATCH_XREF"), Some(&b"a, b"[..]));
        assert_eq!(String::from_utf8(file.write()).unwrap(), TEXT);
    }

    #[test]
    fn quotes_are_optional_and_commas_separate() {
        assert_eq!(read(b"PATCH_OBSOLETES=1-01, 2-02,3-03\n").obsoletes, ["1-01", "2-02", "3-03"]);
    }

    proptest! {
        #[test]
        fn any_lists_come_back(
            id in "[0-9A-Z-]{0,10}",
            requires in proptest::collection::vec("[!-+.-~]{1,10}", 0..5),
            other in "[A-Za-z'\"\\\\ ]{0,20}",
        ) {
            let other: Params = [("OTHER", other.trim_end())].into_iter().collect();
            let file = PatchinfoFile { patch_id: id, requires, other, ..PatchinfoFile::default() };
            prop_assert_eq!(read(&file.write()), file);
        }
    }
}

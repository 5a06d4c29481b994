//! The package that records kept libraries (patchadm-shlibs(7), "The kept package"). To every tool it is an ordinary
//! package. Its files are a function of the kept lines, the parameters, and the consumers of the libraries.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::format::manifest::encode;
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{
    ContentInfo, ContentsLine, Ftype, Object, ObjectPath, PackagePath, Params, PkgInst, checksum,
};

use crate::plan::clock::Now;
use crate::plan::refusal::Reason;
use patchadm_inputs::inventory::KEPT_FROM;
use patchadm_inputs::sign::{sha256, sha256_text};

const LONGEST_NAME: usize = 32;

const LETTERS_KEPT: usize = 20;

const DIGITS_KEPT: usize = 8;

const SUFFIX: &str = "-SO";

/// Names the consumers of the libraries.
pub const CONSUMERS: &str = "install/consumers";

/// Prerequisites and dependents.
pub const DEPEND: &str = "install/depend";

const BLOCK: u64 = 512;

/// Other packages may have a name of this form, too.
pub fn is_named_as_kept(instance: &[u8]) -> bool {
    let name = instance.split(|byte| *byte == b'.').next().unwrap_or_default();
    name.ends_with(SUFFIX.as_bytes())
}

/// The first instance for which `is_taken` is false. `is_foreign` is true for names of packages that keep no libraries.
pub(super) fn free_instance(
    from: &PkgInst,
    is_foreign: impl Fn(&str) -> bool,
    is_taken: impl Fn(&PkgInst) -> bool,
) -> Result<PkgInst, Reason> {
    let name = from.abbreviation();
    let mut kept = format!("{name}{SUFFIX}");
    if kept.len() > LONGEST_NAME || is_foreign(&kept) {
        let digest = sha256_text(&sha256(name.as_bytes()));
        let digits: String = digest.chars().take(DIGITS_KEPT).collect();
        let letters: String = name.chars().take(LETTERS_KEPT).collect();
        kept = format!("{letters}-{digits}{SUFFIX}");
    }
    instance_of(&kept, is_taken)
}

pub(super) fn instance_of(name: &str, is_taken: impl Fn(&PkgInst) -> bool) -> Result<PkgInst, Reason> {
    let bad = |error: &dyn std::fmt::Display| Reason::BadPkginfo {
        package: name.to_owned(),
        reason: error.to_string(),
    };
    let first = PkgInst::new(name).map_err(|error| bad(&error))?;
    if !is_taken(&first) {
        return Ok(first);
    }
    for number in 2..=u32::from(u16::MAX) {
        let next = PkgInst::new(&format!("{name}.{number}")).map_err(|error| bad(&error))?;
        if !is_taken(&next) {
            return Ok(next);
        }
    }
    Err(bad(&"every instance is taken"))
}

pub(super) struct NewKeptPackage<'a> {
    pub(super) instance: &'a PkgInst,
    /// The package that delivered the libraries, with its parameters at that time.
    pub(super) from: (&'a PkgInst, &'a Params),
    pub(super) by: &'a str,
    pub(super) is_forced: bool,
    pub(super) now: &'a Now,
}

impl NewKeptPackage<'_> {
    pub(super) fn params(&self) -> Params {
        let (from, old) = self.from;
        let mut params = Params::new();
        params.set("PKG", self.instance.abbreviation());
        params.set("NAME", format!("kept libraries of {from}"));
        params.set("ARCH", "all");
        params.set("VERSION", old.get("VERSION").unwrap_or_default());
        params.set("CATEGORY", "kept");
        params.set("BASEDIR", "/");
        params.set("CLASSES", "none");
        params.set(KEPT_FROM, from.as_str());
        params.set("KEPT_BY", self.by);
        params.set("KEPT_PATCHES", old.get("PATCHLIST").unwrap_or_default());
        if self.is_forced {
            params.set("KEPT_FORCED", "yes");
        }
        params.set("PKGINST", self.instance.as_str());
        params.set("INSTDATE", self.now.instdate());
        params
    }
}

pub(super) fn prerequisites(depend: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for line in depend.split(|byte| *byte == b'\n') {
        let is_version = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        if !is_version {
            is_open = line.starts_with(b"P ") || line.starts_with(b"P\t");
        }
        match blocks.last_mut() {
            Some(block) if is_open && is_version => {
                block.push(b'\n');
                block.extend_from_slice(line);
            }
            _ if is_open && !is_version => blocks.push(line.to_vec()),
            _ => {}
        }
    }
    blocks
}

pub(super) fn depend_line(kind: char, package: &str, name: &str) -> Vec<u8> {
    let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
    format!("{kind} {package} {name}").trim_end().as_bytes().to_vec()
}

pub(super) fn named_package(line: &[u8]) -> Option<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)
}

pub(super) struct KeptFiles<'a> {
    pub(super) params: &'a Params,
    pub(super) lines: Vec<&'a ContentsLine>,
    pub(super) prerequisites: &'a [Vec<u8>],
    pub(super) dependents: &'a BTreeMap<String, String>,
    pub(super) consumers: &'a BTreeSet<(&'static str, ObjectPath)>,
}

impl KeptFiles<'_> {
    pub(super) fn files(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let instance = self.params.text("PKGINST").into_owned();
        let (depend, mut delivered) = (self.depend(), self.params.clone());
        for name in ["PKGINST", "INSTDATE"] {
            delivered.remove(name);
        }
        let delivered = params::write(&delivered);
        let pkgmap = self.pkgmap(&delivered, &depend);
        let consumers = self.consumers.iter().fold(Vec::new(), |mut text, (how, path)| {
            text.extend_from_slice(format!("{how} {}\n", encode(path.as_bytes())).as_bytes());
            text
        });
        let spool = format!("save/pspool/{instance}");
        [
            ("pkginfo".to_owned(), params::write(self.params)),
            (DEPEND.to_owned(), depend.clone()),
            (CONSUMERS.to_owned(), consumers),
            (format!("{spool}/pkginfo"), delivered),
            (format!("{spool}/pkgmap"), pkgmap),
            (format!("{spool}/install/depend"), depend),
        ]
        .into_iter()
        .map(|(name, bytes)| (name.into_bytes(), bytes))
        .collect()
    }

    fn depend(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let dependents = self.dependents.iter().map(|(package, name)| depend_line('R', package, name));
        for line in self.prerequisites.iter().cloned().chain(dependents) {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        text
    }

    fn pkgmap(&self, pkginfo: &[u8], depend: &[u8]) -> Vec<u8> {
        let mut entries = Vec::new();
        for line in &self.lines {
            let Ok(path) = PackagePath::new(line.path.as_bytes()) else { continue };
            entries.push(PkgmapEntry { part: 1, path, object: line.object.clone() });
        }
        for (name, bytes) in [("pkginfo", pkginfo), ("depend", depend)] {
            let Ok(path) = PackagePath::new(name.as_bytes()) else { continue };
            let mut object = Object::new(Ftype::Information, "");
            let (size, cksum) = (Some(bytes.len() as u64), Some(checksum::sum(bytes)));
            object.content = ContentInfo { size, cksum, mtime: Some(0) };
            entries.push(PkgmapEntry { part: 1, path, object });
        }
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        let sizes = entries.iter().filter_map(|entry| entry.object.content.size);
        let max_blocks = sizes.map(|size| size.div_ceil(BLOCK)).sum();
        let head = Pkgmap { parts: 1, max_blocks, compressed_blocks: None, entries: Vec::new() };
        head.write_with(&entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> PkgInst {
        PkgInst::new(name).unwrap()
    }

    #[test]
    fn a_name_that_is_too_long_or_taken_is_made_of_its_beginning_and_its_digest() {
        let free = |_: &PkgInst| false;
        assert_eq!(free_instance(&package("X"), |_| false, free).unwrap().as_str(), "X-SO");
        assert_eq!(free_instance(&package("X.2"), |_| false, free).unwrap().as_str(), "X-SO");
        let long = package("ACMElibraryofeverything2026abcd");
        let name = free_instance(&long, |_| false, free).unwrap();
        assert_eq!(name.as_str().len(), LONGEST_NAME);
        assert!(name.as_str().starts_with("ACMElibraryofeveryth-"), "{name}");
        let other = free_instance(&package("X"), |name| name == "X-SO", free).unwrap();
        assert!(other.as_str().starts_with("X-") && other.as_str().len() == 13, "{other}");
    }

    #[test]
    fn the_first_free_instance_is_taken() {
        let taken = [package("X-SO"), package("X-SO.2")];
        let instance = free_instance(&package("X"), |_| false, |name| taken.contains(name)).unwrap();
        assert_eq!(instance.as_str(), "X-SO.3");
    }

    #[test]
    fn prerequisites_are_taken_over_as_they_are_written() {
        let depend =
            b"# needs\nP SUNWcsu\tCore Solaris, (Usr)\n\t(i386)11.0\nI OLDx\n\t1.0\nR USER\nP ACMEb B";
        let lines = prerequisites(depend);
        assert_eq!(lines, [&b"P SUNWcsu\tCore Solaris, (Usr)\n\t(i386)11.0"[..], b"P ACMEb B"]);
        assert_eq!(named_package(&lines[0]), Some(&b"SUNWcsu"[..]));
    }

    #[test]
    fn the_files_say_what_is_kept_and_for_whom() {
        let new = NewKeptPackage {
            instance: &package("X-SO"),
            from: (&package("X"), &Params::from_iter([("VERSION", "1.0"), ("PATCHLIST", "1-01")])),
            by: "2-01",
            is_forced: false,
            now: &Now {
                utc: chrono::NaiveDateTime::default(),
                local: chrono::NaiveDateTime::default(),
                host: "h".to_owned(),
            },
        };
        let line = ContentsLine::parse(b"/usr/lib/libx.so.1=libx.so.1.0 s none X-SO").unwrap();
        let files = KeptFiles {
            params: &new.params(),
            lines: vec![&line],
            prerequisites: &[b"P SUNWcsu Core".to_vec()],
            dependents: &BTreeMap::from([("Y".to_owned(), "A program".to_owned())]),
            consumers: &BTreeSet::from([("needed", ObjectPath::new(b"/usr/bin/y").unwrap())]),
        };
        let files = files.files();
        let text = |name: &str| String::from_utf8(files[name.as_bytes()].clone()).unwrap();
        assert_eq!(
            text("pkginfo"),
            "PKG=X-SO\nNAME=kept libraries of X\nARCH=all\nVERSION=1.0\nCATEGORY=kept\nBASEDIR=/\nCLASSES=none\n\
             KEPT_FROM=X\nKEPT_BY=2-01\nKEPT_PATCHES=1-01\nPKGINST=X-SO\nINSTDATE=Jan 01 1970 00:00\n"
        );
        assert_eq!(text("install/depend"), "P SUNWcsu Core\nR Y A program\n");
        assert_eq!(text("install/consumers"), "needed /usr/bin/y\n");
        let pkgmap = text("save/pspool/X-SO/pkgmap");
        assert!(
            pkgmap.starts_with(": 1 2\n1 s none /usr/lib/libx.so.1=libx.so.1.0\n1 i depend 29 "),
            "{pkgmap}"
        );
        assert!(!text("save/pspool/X-SO/pkginfo").contains("INSTDATE"));
    }
}

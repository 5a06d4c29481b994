//! One faultless patch, and for every code a change that causes this code and no other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::checksum;
use patchadm_svr4::package::{Mode, ObjectPath, Params};

use super::*;
use crate::elf_files::library;
use crate::release::{ContentReader, ReleaseForm, ReleasePackage, SvrDescription};
use patchadm_inputs::patch_scripts;
use patchadm_inputs::sign::{Manifest, ManifestEntry, ManifestForm};
use patchadm_releases::{FileContent, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};

/// A patch of one package as text, to be written as a directory.
#[derive(Clone)]
struct PatchText {
    directory: String,
    pkginfo: Vec<(String, String)>,
    /// Lines of the pkgmap, without those of information files.
    lines: Vec<String>,
    objects: BTreeMap<String, Vec<u8>>,
    install: BTreeMap<String, Vec<u8>>,
    beside: BTreeMap<String, Vec<u8>>,
}

impl PatchText {
    /// A patch without findings.
    fn good() -> Self {
        let pkginfo = [
            ("PKG", "ACMEweb"),
            ("NAME", "Web server"),
            ("ARCH", "all"),
            ("VERSION", "2.0"),
            ("CATEGORY", "application"),
            ("BASEDIR", "/opt/web"),
            ("CLASSES", "none"),
            ("SUNW_PATCHID", "900-02"),
            ("SUNW_OBSOLETES", "880-01"),
        ];
        let readme = "Patch-ID# 900-02\nSynopsis: web server\nDate: Nov/20/26\n";
        let scripts = patch_scripts::of_patch(["none"]);
        let mut patch = Self {
            directory: "ACMEweb".to_owned(),
            pkginfo: pkginfo.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            lines: Vec::new(),
            objects: BTreeMap::new(),
            install: scripts.into_iter().map(|(name, text)| (name, text.into())).collect(),
            beside: BTreeMap::new(),
        };
        patch.install.insert("deletes".to_owned(), b"share/old\n".to_vec());
        patch.beside("README.900-02", readme);
        patch.beside("MANIFEST.minisig", "a signature\n");
        patch.file("bin/httpd", "0755 root bin", "two\n");
        patch.lines.push("s none bin/web=httpd".to_owned());
        patch
    }

    fn set(&mut self, name: &str, value: &str) {
        self.pkginfo.retain(|(known, _)| known != name);
        self.pkginfo.push((name.to_owned(), value.to_owned()));
    }

    fn beside(&mut self, name: &str, text: &str) {
        self.beside.insert(name.to_owned(), text.as_bytes().to_vec());
    }

    fn install(&mut self, name: &str, text: &str) {
        self.install.insert(name.to_owned(), text.as_bytes().to_vec());
    }

    fn file(&mut self, path: &str, attributes: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        let (size, sum) = (content.len(), checksum::sum(content));
        self.lines.push(format!("f none {path} {attributes} {size} {sum} 1577836800"));
        let place = match path.strip_prefix('/') {
            Some(absolute) => format!("root/{absolute}"),
            None => format!("reloc/{path}"),
        };
        self.objects.insert(place, content.to_vec());
    }

    fn write(&self, patch: &Path) {
        let package = patch.join(&self.directory);
        let put = |path: PathBuf, bytes: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let lines: Vec<String> =
            self.pkginfo.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let pkginfo = lines.concat();
        let mut pkgmap = ": 1 8\n".to_owned();
        for line in &self.lines {
            let _ = writeln!(pkgmap, "1 {line}");
        }
        let pkginfo_file = [("pkginfo".to_owned(), pkginfo.clone().into_bytes())];
        for (name, text) in
            self.install.iter().map(|(name, text)| (name.clone(), text.clone())).chain(pkginfo_file)
        {
            let _ = writeln!(pkgmap, "1 i {name} {} {} 1577836800", text.len(), checksum::sum(&text));
        }
        put(package.join("pkginfo"), pkginfo.as_bytes());
        put(package.join("pkgmap"), pkgmap.as_bytes());
        for (name, text) in &self.install {
            put(package.join("install").join(name), text);
        }
        for (path, content) in &self.objects {
            put(package.join(path), content);
        }
        for (name, text) in &self.beside {
            put(patch.join(name), text);
        }
    }
}

/// Reports that a text with the word `fi` alone cannot be read.
fn syntax(text: &[u8]) -> Result<(), String> {
    if text == b"fi\n" { Err("fi is unexpected".to_owned()) } else { Ok(()) }
}

struct NoContents;

impl ContentReader for NoContents {
    fn each(
        &self,
        _: &dyn Fn(&ObjectPath) -> bool,
        _: &mut dyn FnMut(&ObjectPath, &mut dyn std::io::Read) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns a package of a release that has directories at these paths.
fn released(name: &str, paths: &[&str]) -> ReleasePackage {
    let object = |path: &&str| ReleaseObject {
        path: ObjectPath::new(path.as_bytes()).unwrap(),
        kind: ReleaseObjectKind::Symlink(b"x".to_vec()),
        mode: Mode::of(0o777),
        owner: ObjectOwner::default(),
        group: ObjectOwner::default(),
        mtime: Timestamp { seconds: 0, nanoseconds: 0 },
        xattrs: BTreeMap::new(),
        class: "none".into(),
    };
    ReleasePackage {
        origin: name.to_owned(),
        form: ReleaseForm::Svr4,
        name: Some(name.to_owned()),
        arch: Some("all".to_owned()),
        version: Some("2.0".to_owned()),
        source: None,
        summary: None,
        scripts: Vec::new(),
        svr4: Some(SvrDescription { params: Params::new(), class_scripts: BTreeMap::new() }),
        objects: paths.iter().map(object).collect(),
        contents: Box::new(NoContents),
    }
}

fn base() -> Release {
    let packages = vec![
        released("ACMElog", &["/bin/log"]),
        released("ACMEweb", &["/bin/httpd", "/bin/web", "/share/old"]),
    ];
    Release { name: "the base".to_owned(), packages }
}

/// Patches beside: an earlier revision, and one that this patch obsoletes.
fn depot() -> Vec<ComparedPatch> {
    let dir = tempfile::tempdir().unwrap();
    for (id, path) in [("900-01", "bin/httpd"), ("880-01", "bin/httpd"), ("700-01", "bin/other")] {
        let mut patch = PatchText::good();
        patch.set("SUNW_PATCHID", id);
        patch.set("SUNW_OBSOLETES", "");
        (patch.lines, patch.objects) = (Vec::new(), BTreeMap::new());
        patch.file(path, "0755 root bin", "first\n");
        patch.write(&dir.path().join(id));
    }
    depot_patches(dir.path()).unwrap()
}

/// Returns the findings for a patch on the disk.
fn linted(path: &Path) -> LintedPatch {
    let (base, depot) = (base(), depot());
    lint(path, &LintInput { base: Some(&base), depot: &depot, syntax: &syntax }).unwrap()
}

/// Returns the codes that a patch gets after a change of its text and one of its files.
fn codes(change: impl Fn(&mut PatchText), damage: impl Fn(&Path)) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("900-02");
    let mut patch = PatchText::good();
    change(&mut patch);
    patch.write(&path);
    damage(&path);
    let mut codes: Vec<_> = linted(&path).findings.iter().map(|finding| finding.code.name()).collect();
    codes.dedup();
    codes
}

#[track_caller]
fn gets(code: &str, change: impl Fn(&mut PatchText)) {
    assert_eq!(codes(change, |_| {}), [code]);
}

#[test]
fn a_good_patch_has_no_finding() {
    assert!(codes(|_| {}, |_| {}).is_empty());
    let dir = tempfile::tempdir().unwrap();
    PatchText::good().write(dir.path());
    assert_eq!(linted(dir.path()).id.as_deref(), Some("900-02"));
}

#[test]
fn ids_and_lists_are_checked() {
    gets("id", |patch| patch.set("SUNW_PATCHID", "900"));
    gets("id", |patch| patch.set("SUNW_PATCHID", ""));
    gets("revision", |patch| patch.set("SUNW_OBSOLETES", "880-01 900-03"));
    gets("revision", |patch| patch.set("SUNW_INCOMPAT", "900-02"));
    gets("macro", |patch| patch.set("SUNW_INCOMPAT", "/-1"));
    gets("macro", |patch| patch.set("Obsoletes_label", "870-01"));
    gets("patchinfo", |patch| patch.beside("patchinfo", "PATCHID=900-03\n"));
    gets("patchinfo", |patch| patch.beside("patchinfo", "PATCH_OBSOLETES=\"870-01\"\n"));
    let same = "PATCHID=\"900-02\"\nPATCH_OBSOLETES=\"880-01\"\n";
    assert!(codes(|patch| patch.beside("patchinfo", same), |_| {}).is_empty());
    gets("parameter", |patch| patch.set("LD_PRELOAD", "/x.so"));
    gets("pkg-name", |patch| patch.directory = "ACMEother".to_owned());
    assert!(codes(|patch| patch.directory = "ACMEweb.p1".to_owned(), |_| {}).is_empty());
}

#[test]
fn what_a_patch_fixes_is_an_id_that_scanners_know_and_is_named_once() {
    gets("fixes", |patch| patch.set("PATCH_FIXES", "ACME-17 <b>"));
    gets("fixes", |patch| patch.set("PATCH_FIXES", "cve-2026-1234"));
    gets("fixes", |patch| patch.beside("patchinfo", "PATCH_FIXES=\"CVE-2026-1\"\n"));
    gets("fixes-twice", |patch| patch.set("PATCH_FIXES", "ACME-17 ACME-17"));
    assert!(codes(|patch| patch.set("PATCH_FIXES", "CVE-2026-1234 ACME-17"), |_| {}).is_empty());
}

#[test]
fn a_property_that_has_no_effect_is_named_with_the_known_ones_like_it() {
    for (word, meant) in [
        ("reboot", "; did you mean rebootafter or rebootimmediate?"),
        ("rebootafer", "; did you mean rebootafter?"),
        ("other", ""),
    ] {
        let mut patch = PatchText::good();
        patch.set("SUNW_PATCH_PROPERTIES", &format!("standard {word}"));
        patch.beside("patchinfo", &format!("PATCH_PROPERTIES=\"{word}\"\n"));
        let dir = tempfile::tempdir().unwrap();
        patch.write(dir.path());
        let findings = linted(dir.path()).findings;
        let found: Vec<_> = findings.iter().map(|one| (one.code.name(), one.text.as_str())).collect();
        let text = format!("the property <{word}> has no effect{meant}");
        assert_eq!(found, [("property", text.as_str())]);
    }
    let all = "standard nobackout interactive nokeepshlibs rebootafter rebootimmediate reconfigafter reconfigimmediate";
    assert!(codes(|patch| patch.set("SUNW_PATCH_PROPERTIES", all), |_| {}).is_empty());
}

#[test]
fn revision_zero_is_none() {
    assert!(codes(|patch| patch.set("SUNW_PATCHID", "901-00"), |_| {}).contains(&"revision"));
}

#[test]
fn packages_are_compared_with_those_of_the_base() {
    gets("version", |patch| patch.set("VERSION", "2.1"));
    // its earlier revision is of another package then
    assert_eq!(codes(|patch| patch.set("ARCH", "i386"), |_| {}), ["arch", "cumulative"]);
    gets("zone", |patch| patch.set("SUNW_PKG_HOLLOW", "true"));
    gets("outside-package", |patch| patch.install("deletes", "share/old\nshare/older\n"));
    gets("outside-package", |patch| patch.file("bin/log", "0755 root bin", "x\n"));
}

/// The files of a release package in memory.
struct Files(BTreeMap<ObjectPath, Vec<u8>>);

impl ContentReader for Files {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn std::io::Read) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        self.0
            .iter()
            .filter(|(path, _)| wanted(path))
            .try_for_each(|(path, bytes)| sink(path, &mut &bytes[..]))
    }
}

/// Gives a package programs or libraries.
fn with_files(mut package: ReleasePackage, files: &[(&str, Vec<u8>)]) -> ReleasePackage {
    let mut contents = BTreeMap::new();
    for (path, bytes) in files {
        let object =
            package.objects.iter_mut().find(|object| object.path.as_bytes() == path.as_bytes()).unwrap();
        let content =
            FileContent { size: bytes.len() as u64, cksum: checksum::sum(bytes), digest: Digest::of(bytes) };
        object.kind = ReleaseObjectKind::File { content, upkeep: Upkeep::Delivered, links: None };
        contents.insert(object.path.clone(), bytes.clone());
    }
    package.contents = Box::new(Files(contents));
    package
}

#[test]
fn a_library_is_missed_by_what_stays_and_needs_it() {
    let needs = library(None, &["libweb.so.1"], &[], &[]);
    let old = library(Some("libweb.so.1"), &[], &[], &[]);
    let packages = vec![
        with_files(released("ACMElog", &["/bin/log"]), &[("/bin/log", needs)]),
        with_files(released("ACMEweb", &["/lib/libweb.so"]), &[("/lib/libweb.so", old.clone())]),
    ];
    let base = Release { name: "the base".to_owned(), packages };
    let broken = |new: Vec<u8>| {
        let dir = tempfile::tempdir().unwrap();
        let mut patch = PatchText::good();
        patch.file("lib/libweb.so", "0755 root bin", &new);
        patch.write(&dir.path().join("900-02"));
        let input = LintInput { base: Some(&base), depot: &[], syntax: &syntax };
        let linted = lint(&dir.path().join("900-02"), &input).unwrap();
        let of_abi = |finding: &&LintFinding| finding.code.name() == "abi";
        linted.findings.iter().find(of_abi).map(|finding| finding.text.clone())
    };
    assert_eq!(broken(old.clone()), None);
    let text = broken(library(Some("libweb.so.2"), &[], &[], &[])).unwrap();
    assert_eq!(text, "ACMElog: /bin/log needs libweb.so.1, which ACMEweb: /lib/libweb.so no longer provides");
}

#[test]
fn files_are_compared_with_the_pkgmap() {
    let httpd = "ACMEweb/reloc/bin/httpd";
    let after = |damage: &dyn Fn(&Path)| codes(|_| {}, damage);
    assert_eq!(after(&|path| fs::write(path.join(httpd), "owt\n\u{1}").unwrap()), ["size"]);
    assert_eq!(after(&|path| fs::write(path.join(httpd), "tw0\n").unwrap()), ["checksum"]);
    assert_eq!(after(&|path| fs::remove_file(path.join(httpd)).unwrap()), ["member"]);
    assert_eq!(after(&|path| fs::write(path.join("ACMEweb/reloc/more"), "x").unwrap()), ["member"]);
    assert_eq!(after(&|path| fs::write(path.join("ACMEweb/install/more"), "x").unwrap()), ["member"]);
    assert_eq!(
        after(&|path| fs::write(path.join("ACMEweb/install/deletes"), "share/odd\n").unwrap()),
        ["checksum", "cumulative", "outside-package"]
    );
    let link = |path: &Path| {
        fs::remove_file(path.join(httpd)).unwrap();
        std::os::unix::fs::symlink("web", path.join(httpd)).unwrap();
    };
    assert_eq!(after(&link), ["type"]);
}

#[test]
fn manifests_are_compared_with_the_files() {
    let manifest = |path: &Path, patch: &str, without: &str| {
        let (source, image) = source::open(Origin::Path(path), Extent::Unchecked).unwrap();
        let held = source.digests(&image).unwrap();
        let is_listed = |path: &[u8]| path != without.as_bytes() && path != b"MANIFEST.minisig";
        let listed = held.digests.into_iter().filter(|(path, _)| is_listed(path));
        let entries = listed.map(|(path, sum)| ManifestEntry { path, sum }).collect();
        let form = ManifestForm::Members;
        let text = Manifest { patch: patch.to_owned(), form, date: None, entries }.write();
        fs::write(path.join("MANIFEST"), text).unwrap();
    };
    assert!(codes(|_| {}, |path| manifest(path, "900-02", "")).is_empty());
    assert_eq!(codes(|_| {}, |path| manifest(path, "900-01", "")), ["manifest"]);
    assert_eq!(codes(|_| {}, |path| manifest(path, "900-02", "ACMEweb/pkgmap")), ["manifest"]);
    let changed = |path: &Path| {
        manifest(path, "900-02", "");
        fs::write(path.join("README.900-02"), "Patch-ID# 900-02\nSynopsis: other\nDate: x\n").unwrap();
    };
    assert_eq!(codes(|_| {}, changed), ["manifest"]);
    assert_eq!(codes(|_| {}, |path| fs::write(path.join("MANIFEST"), "x\n").unwrap()), ["manifest"]);
}

#[test]
fn objects_are_checked() {
    gets("path", |patch| patch.lines.push("s none $NOWHERE/x=y".to_owned()));
    gets("path", |patch| patch.lines.push("s none /var/sadm/pkg/x=y".to_owned()));
    gets("type", |patch| patch.lines.push("s conf etc/x=y".to_owned()));
    gets("deletes-delivered", |patch| patch.install("deletes", "share/old\nbin/web\n"));
    gets("duplicate", |patch| patch.lines.push("s none /opt/web/bin/web=httpd".to_owned()));
    gets("owner", |patch| patch.file("bin/x", "0755 root 12", "x\n"));
    gets("mode", |patch| patch.file("bin/x", "0777 root bin", "x\n"));
    gets("mode", |patch| patch.file("bin/x", "? root bin", "x\n"));
    gets("mode", |patch| patch.lines.push("d none tmp 0777 root sys".to_owned()));
    assert!(codes(|patch| patch.lines.push("d none tmp 1777 root sys".to_owned()), |_| {}).is_empty());
    gets("setuid", |patch| patch.file("bin/x", "4755 root bin", "x\n"));
    gets("device", |patch| patch.lines.push("c none dev/x 1 3 0666 root sys".to_owned()));
    gets("escape", |patch| patch.lines.push("s none bin/a\\040b=httpd".to_owned()));
}

#[test]
fn a_package_without_objects_is_empty() {
    gets("empty-package", |patch| {
        (patch.lines, patch.objects) = (Vec::new(), BTreeMap::new());
        patch.install("deletes", "");
        // an earlier revision's deliveries are not this patch's matter
        patch.set("SUNW_PATCHID", "600-01");
        patch.beside.remove("README.900-02");
        patch.beside("README.600-01", "Patch-ID# 600-01\nSynopsis: nothing\nDate: Nov/20/26\n");
    });
}

#[test]
fn scripts_are_checked() {
    assert_eq!(
        codes(|patch| patch.install("postinstall", "fi\n"), |_| {}),
        ["script-syntax", "script-unknown", "script-mixed"]
    );
    assert_eq!(
        codes(|patch| patch.install("preremove", "exit 0\r\n"), |_| {}),
        ["script-syntax", "script-unknown"]
    );
    gets("script-unknown", |patch| patch.beside("prepatch", "exit 0\n"));
    gets("script-unknown", |patch| patch.install("preremove", "exit 0\n"));
    gets("no-scripts", |patch| drop(patch.install.remove("patch_checkinstall")));
    let own = |patch: &mut PatchText| patch.install("i.conf", "cat\n");
    assert_eq!(codes(own, |_| {}), ["script-unknown", "class-no-undo"]);
    let with_undo = |patch: &mut PatchText| {
        own(patch);
        patch.install("u.conf", "cat\n");
    };
    assert_eq!(codes(with_undo, |_| {}), ["script-unknown"]);
}

#[test]
fn what_stands_beside_the_packages_is_checked() {
    gets("readme", |patch| drop(patch.beside.remove("README.900-02")));
    gets("readme-field", |patch| patch.beside("README.900-02", "Patch-ID# 900-02\nSynopsis: x\n"));
    gets("readme-field", |patch| patch.beside("README.900-02", "Patch-ID# 9-2\nSynopsis: x\nDate: x\n"));
    gets("unsigned", |patch| drop(patch.beside.remove("MANIFEST.minisig")));
    gets("xattr", |patch| patch.install("patchadm.objects", "{\"objects\":1}\n{\"path\":\"bin/httpd\"}\n"));
    assert!(codes(|patch| patch.install("patchadm.objects", "{\"objects\":1}\n"), |_| {}).is_empty());
}

#[test]
fn patches_are_compared_with_others() {
    gets("same-time", |patch| {
        patch.lines.retain(|line| !line.contains("bin/httpd "));
        patch.file("bin/httpd", "0755 root bin", "other\n");
    });
    gets("overlap", |patch| patch.file("bin/other", "0755 root bin", "x\n"));
    assert!(
        codes(
            |patch| {
                patch.file("bin/other", "0755 root bin", "x\n");
                patch.set("SUNW_REQUIRES", "700-01");
            },
            |_| {}
        )
        .is_empty()
    );
    let without = |patch: &mut PatchText| {
        patch.lines.retain(|line| !line.contains("bin/httpd"));
        patch.objects.clear();
    };
    assert_eq!(codes(without, |_| {}), ["cumulative"]);
}

#[test]
fn every_code_is_in_one_of_these_tests() {
    let text = include_str!("tests.rs");
    let missing = LintCode::ALL.iter().filter(|code| !text.contains(&format!("\"{code}\"")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&LintCode>::new());
}

#[test]
fn what_is_no_patch_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let input = LintInput { base: None, depot: &[], syntax: &syntax };
    assert!(lint(dir.path(), &input).is_err());
    assert!(lint(&dir.path().join("nothing"), &input).is_err());
}

//! Our undo archives as packages: installed by another pkgadd, and in forms that we do not write today.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamPackage as Streamed, DatastreamReader, DatastreamWriter};
use patchadm_svr4::format::params::ParamFile;
use patchadm_svr4::format::pkgmap::{Pkgmap, member_name};
use patchadm_svr4::package::{Ftype, Params};

use crate::delivery::{Patch, gzip};
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "one\n")
        .file("bin/other", 0o700, "other\n")
        .link("bin/hard", "./httpd")
        .symlink("bin/soft", "httpd")
        .file("share/old", 0o640, "old\n")])
}

/// A patch that replaces, adds and deletes.
fn patch(id: &str) -> Patch {
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o555, format!("as of {id}\n"))
        .symlink("bin/soft", "other")
        .file("new/dir/tool", 0o755, "tool\n")
        .symlink("new/link", "dir")
        .deletes(&["share/old"]);
    Patch::of(id, package)
}

const SAVE: &str = "/var/sadm/pkg/ACMEweb/save/100-02";

/// Files that only our archives have.
const OURS: [&str; 2] = ["patchadm.manifest", "patchadm.records"];

/// The members of an archive by name.
type Members = BTreeMap<String, Vec<u8>>;

fn read(archive: &Path) -> (Streamed, Members) {
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(archive).unwrap()).read_to_end(&mut bytes).unwrap();
    let mut stream = DatastreamReader::new(Cursor::new(bytes)).unwrap();
    let package = stream.packages()[0].clone();
    let mut members = Members::new();
    while stream.next_part().unwrap().is_some() {
        while let Some(member) = stream.next_member().unwrap() {
            let mut data = Vec::new();
            stream.read_to_end(&mut data).unwrap();
            if member.header.is_file() {
                members.insert(member.header.shown(), data);
            }
        }
    }
    (package, members)
}

/// Rewrites the archive of a save directory without these files of `install`, as another program would: nothing binds
/// it to a run of ours.
fn rewrite_without(stage: &Scenario, save: &str, names: &[&str]) {
    let place = stage.at(&format!("{save}/undo.gz"));
    let (mut package, mut members) = read(&place);
    let pkgmap = String::from_utf8(package.pkgmap).unwrap();
    let is_kept = |line: &&str| !names.iter().any(|name| line.starts_with(&format!("1 i {name} ")));
    package.pkgmap =
        pkgmap.lines().filter(is_kept).map(|line| format!("{line}\n")).collect::<String>().into();
    members.insert("pkgmap".to_owned(), package.pkgmap.clone());
    for name in names {
        assert!(members.remove(&format!("install/{name}")).is_some(), "{name}");
    }
    let writer = DatastreamWriter::new(Vec::new(), &[package], 0).unwrap();
    let mut part = writer.begin_part(CpioFormat::Newc).unwrap();
    for (name, data) in &members {
        let header = CpioHeader::file(name.as_bytes(), 0o644, 0, data.len() as u64);
        part.write_member(&header, &data[..]).unwrap();
    }
    fs::write(place, gzip(&part.finish().unwrap().finish().unwrap())).unwrap();
    // Without a manifest and a ledger line, the archive is that of another tool.
    if names.contains(&"patchadm.manifest") {
        crate::ledger::disown(&stage.root(), "ACMEweb");
    } else {
        let id = save.rsplit('/').next().unwrap();
        crate::ledger::vouch(
            &stage.root(),
            "ACMEweb",
            id,
            &fs::read(stage.at(&format!("{save}/undo.gz"))).unwrap(),
        );
    }
}

#[test]
fn archives_without_our_scripts_or_without_our_manifest_are_restored() {
    for without in [["checkinstall", "postinstall"], OURS] {
        let stage = stage();
        let before = stage.tree();
        stage.patchadd("", &patch("100-02")).ok();
        rewrite_without(&stage, SAVE, &without);
        stage.run("patchrm -R @ROOT@ 100-02").ok();
        assert_same(&stage.tree(), &before);
        assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok().trim(), "");
        assert!(!stage.at(SAVE).exists(), "{without:?}");
    }
}

#[test]
fn a_chain_of_foreign_archives_is_taken_back_from_its_end() {
    let stage = stage();
    let before = stage.tree();
    stage.patchadd("", &patch("100-02")).ok();
    stage.patchadd("", &Patch::of("90-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "90\n"))).ok();
    for save in [SAVE, "/var/sadm/pkg/ACMEweb/save/90-01"] {
        rewrite_without(&stage, save, &OURS);
    }
    let between = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 100-02").fails(6);
    assert!(said.contains("patch 90-01") && said.contains("/opt/ACMEweb/bin/hard"), "{said}");
    assert_same(&stage.everything(), &between);
    stage.run("patchrm -R @ROOT@ 90-01").ok();
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    assert_same(&stage.tree(), &before);
}

#[test]
fn a_script_that_takes_a_class_back_is_handed_on_and_does_it() {
    let stage = stage();
    let before = stage.tree();
    let ran = stage.beside("ran");
    let script = format!("touch {}\nwhile read src dst; do cp -f $src $dst || exit 1; done\n", ran.display());
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o555, "two\n")
        .information("u.none", &script)
        .information("patch_notes", "of the producer\n");
    stage.patchadd("", &Patch::of("100-02", package)).ok();
    let (package, members) = read(&stage.at(&format!("{SAVE}/undo.gz")));
    assert_eq!(members["install/i.none"], script.as_bytes());
    let information: Vec<&str> = members.keys().filter_map(|name| name.strip_prefix("install/")).collect();
    assert_eq!(
        information,
        ["checkinstall", "i.none", "patchadm.manifest", "patchadm.records", "postinstall"]
    );
    let pkgmap = Pkgmap::parse(&package.pkgmap).unwrap();
    let listed = pkgmap.entries.iter().filter(|entry| entry.is_information());
    let listed: Vec<String> =
        listed.map(|entry| entry.path.to_string()).filter(|name| name != "pkginfo").collect();
    assert_eq!(listed, information);
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    assert_same(&stage.tree(), &before);
    assert!(ran.exists());
}

/// A model of another pkgadd, which knows pkgmap and scripts, but no manifest.
struct OtherPkgadd<'a> {
    stage: &'a Scenario,
    /// The directory with the unpacked `install`.
    install: PathBuf,
    /// A directory with its programs.
    bin: PathBuf,
}

impl<'a> OtherPkgadd<'a> {
    fn new(stage: &'a Scenario) -> Self {
        let (install, bin) = (stage.at("/var/sadm/pkg/ACMEweb/install"), stage.beside("bin"));
        for directory in [&install, &bin] {
            fs::create_dir_all(directory).unwrap();
        }
        let removef = bin.join("removef");
        fs::write(&removef, "#!/bin/sh\n[ \"$1\" = -f ] || echo \"$PKG_INSTALL_ROOT$2\"\n").unwrap();
        fs::set_permissions(removef, fs::Permissions::from_mode(0o755)).unwrap();
        Self { stage, install, bin }
    }

    fn run(&self, script: &str, arguments: &[&Path], environment: &Params) {
        let path = format!("{}:/usr/bin:/bin", self.bin.display());
        let mut command = Command::new("sh");
        command.arg(self.install.join(script)).args(arguments).current_dir(&self.install);
        command.env_clear().env("PATH", path).env("PKG_INSTALL_ROOT", self.stage.root());
        for (name, value) in environment.iter().filter(|(name, _)| !name.contains('-') && *name != "PATH") {
            command.env(name, String::from_utf8_lossy(value).into_owned());
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Installs the stream over the package, and returns the resulting parameters.
    fn install(&self, archive: &Path) -> Params {
        let (package, members) = read(archive);
        let pkginfo = self.stage.at("/var/sadm/pkg/ACMEweb/pkginfo");
        let mut params = ParamFile::parse(&fs::read(&pkginfo).unwrap()).unwrap().params();
        let response = self.stage.beside("response");
        fs::write(&response, format!("OLDLIST=\"{}\"\n", params.text("PATCHLIST"))).unwrap();
        set(&mut params, &package.pkginfo);
        params.set("PKGSAV", self.stage.at("/var/sadm/pkg/ACMEweb/save").to_str().unwrap());
        params.set("CLIENT_BASEDIR", "/opt/ACMEweb");
        for (name, data) in &members {
            if let Some(name) = name.strip_prefix("install/") {
                fs::write(self.install.join(name), data).unwrap();
            }
        }
        self.run("checkinstall", &[&response], &params);
        set(&mut params, &fs::read(response).unwrap());
        let map = Pkgmap::parse(&package.pkgmap).unwrap();
        for links in [false, true] {
            for entry in map.entries.iter().filter(|entry| (entry.object.ftype == Ftype::Link) == links) {
                if !entry.is_information() {
                    self.place(entry, &members);
                }
            }
        }
        self.run("postinstall", &[], &params);
        params
    }

    fn place(&self, entry: &patchadm_svr4::format::pkgmap::PkgmapEntry, members: &Members) {
        let base = self.stage.at("/opt/ACMEweb");
        let at = base.join(entry.path.to_string());
        let target = || String::from_utf8(entry.object.target.clone().unwrap()).unwrap();
        let _ = fs::remove_file(&at);
        match entry.object.ftype {
            Ftype::Symlink => symlink(target(), at).unwrap(),
            Ftype::Link => fs::hard_link(at.parent().unwrap().join(target()), at).unwrap(),
            _ => {
                let name = String::from_utf8(member_name(&entry.path)).unwrap();
                fs::write(&at, &members[&name]).unwrap();
                let seconds = u64::try_from(entry.object.content.mtime.unwrap()).unwrap();
                let file = fs::File::options().write(true).open(&at).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
                let mode = entry.object.attributes.mode.unwrap().bits();
                fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}

/// Sets the parameters in a file.
fn set(params: &mut Params, text: &[u8]) {
    for (name, value) in ParamFile::parse(text).unwrap().params().iter() {
        params.set(name, value);
    }
}

#[test]
fn another_pkgadd_backs_a_patch_out() {
    let stage = stage();
    stage.patchadd("", &Patch::of("90-01", Package::new("ACMEweb").file("bin/other", 0o700, "90-01\n"))).ok();
    let before = (stage.tree(), Tree::of(&stage.at("/var/sadm/pkg/ACMEweb/save"), &["pspool"]));
    stage.patchadd("", &patch("100-02").says("SUNW_OBSOLETES", "80-03")).ok();
    let lists = ["PATCHLIST", "PATCH_OBSOLETES"];
    let said = |name: &str| stage.run(&format!("pkgparam -R @ROOT@ ACMEweb {name}")).ok();
    assert_eq!(lists.map(said), ["90-01 100-02\n", "80-03@1\n"]);
    let params = OtherPkgadd::new(&stage).install(&stage.at(&format!("{SAVE}/undo.gz")));
    assert_same(&stage.tree(), &before.0);
    assert_same(&Tree::of(&stage.at("/var/sadm/pkg/ACMEweb/save"), &["pspool"]), &before.1);
    assert_eq!(lists.map(|name| params.text(name).into_owned()), ["90-01", ""]);
    assert_eq!(params.text("PATCH_INFO_100-02"), "backed out");
    let left: Vec<_> = fs::read_dir(stage.at("/var/sadm/pkg/ACMEweb/install")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

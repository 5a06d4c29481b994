//! Sets of a working directory, made of small packages.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use patchadm_bulk_values::journal::BuildState;
use patchadm_bulk_values::report::{LeftOutPackage, LeftOutReason, ReportedSet};
use patchadm_bulk_values::result::{
    Blake3Digest, BuildResult, KeyInput, KeyInputs, NewResult, ResultFile, ResultPackage,
};
use patchadm_core::operation::translate::{
    ExistingPolicy, PackageTranslation, TransferDestination, TransferObserver, TranslateRequest,
};
use patchadm_libraries::FactsCache;
use patchadm_making::make::{MakeRequest, MakeWatch, ParameterDefaults, make_package};
use patchadm_rootfs::{Root, Timestamp};
use patchadm_svr4::package::{ObjectPath, Params};

use super::libraries::read_delivered;
use super::making::make_set_within;
use super::publishing::publish_within;
use super::selection::select;
use super::*;
use crate::pool::PoolEntry;
use crate::work::{BulkWork, NewWork, make_work};

/// A working directory with an empty base.
struct Bulk {
    dir: tempfile::TempDir,
    work: BulkWork,
}

impl Bulk {
    fn new(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, base) = (dir.path().join("work"), dir.path().join("base"));
        fs::create_dir(&base).unwrap();
        make_work(&NewWork { path: &path, tree: "/nowhere", base: base.to_str(), driver: &[] }).unwrap();
        let conf = fs::read_to_string(path.join("bulk.conf")).unwrap();
        fs::write(path.join("bulk.conf"), format!("{conf}{lines}\n")).unwrap();
        Self { dir, work: BulkWork::open(&path).unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.work.path.join(path)
    }

    /// Puts the result of a package with these files below `/opt` into the pool.
    fn result(&self, name: &str, version: &str, files: &[(&str, &[u8])]) -> PoolEntry {
        let mut entry = self.begun(name, version);
        let stream = format!("{name}.pkg");
        package(self.dir.path(), name, version, files, &entry.path.join(&stream));
        let bytes = fs::read(entry.path.join(&stream)).unwrap();
        entry.result.packages.push(ResultPackage {
            pkg: name.to_owned(),
            arch: "all".to_owned(),
            version: version.to_owned(),
            file: stream,
            size: bytes.len() as u64,
            b3: Blake3Digest::of(&bytes),
            sha256: patchadm_inputs::sign::sha256_text(&patchadm_inputs::sign::sha256(&bytes)),
        });
        entry
    }

    /// Puts a result with a file that is no package into the pool.
    fn foreign(&self, name: &str, version: &str, bytes: &[u8]) -> PoolEntry {
        let mut entry = self.begun(name, version);
        let file = format!("{name}.tgz");
        fs::write(entry.path.join(&file), bytes).unwrap();
        entry.result.files.push(ResultFile { file, size: bytes.len() as u64, b3: Blake3Digest::of(bytes) });
        entry
    }

    /// Puts a result with this number of files that are no packages into the pool.
    fn many(&self, name: &str, version: &str, count: usize) -> PoolEntry {
        let mut entry = self.begun(name, version);
        for number in 0..count {
            let file = format!("{name}{number}.tgz");
            fs::write(entry.path.join(&file), b"").unwrap();
            entry.result.files.push(ResultFile { file, size: 0, b3: Blake3Digest::of(b"") });
        }
        entry
    }

    fn begun(&self, name: &str, version: &str) -> PoolEntry {
        let mut inputs = KeyInputs::new();
        inputs.set_value(KeyInput::Record("VERSION"), &format!("{name} {version}"));
        let result = BuildResult::new(NewResult {
            pkgname: format!("{name}-{version}"),
            location: format!("x/{name}"),
            inputs,
            slot: "local".to_owned(),
            work: self.work.id.clone(),
            run: 1,
            built: "2026-11-20T12:00:00Z".to_owned(),
        });
        let path = self.path("pool").join(result.key.to_string());
        fs::create_dir_all(&path).unwrap();
        PoolEntry { path, result, is_unflushed: false }
    }

    fn make(&self, run: u64, packages: &[SetPackage<'_>]) -> Result<ReportedSet, SetRefusal> {
        let input = SetInput { run, date: "2026-11-20T12:00:00Z", packages, interrupt: &|| None };
        make_set(&self.work, &input).unwrap().map(|made| made.report)
    }

    /// Makes a set whose manifest has at most this many bytes.
    fn make_within(&self, run: u64, packages: &[SetPackage<'_>], most: u64) -> ReportedSet {
        let input = SetInput { run, date: "2026-11-20T12:00:00Z", packages, interrupt: &|| None };
        make_set_within(&self.work, &input, most).unwrap().unwrap().report
    }

    fn manifest_length(&self, set: u64) -> u64 {
        fs::metadata(self.path(&format!("sets/{set}/MANIFEST"))).unwrap().len()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let names = fs::read_dir(self.path(path)).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Makes a package in datastream form, with these files, and links such as `/opt/a -> b`.
pub(crate) fn package(scratch: &Path, name: &str, version: &str, files: &[(&str, &[u8])], stream: &Path) {
    let at = tempfile::tempdir_in(scratch).unwrap();
    let mut prototype = vec!["i pkginfo\n".to_owned()];
    let info =
        format!("PKG={name}\nNAME={name}\nARCH=all\nVERSION={version}\nCATEGORY=application\nBASEDIR=/\n");
    fs::write(at.path().join("pkginfo"), info).unwrap();
    for (number, (path, bytes)) in files.iter().enumerate() {
        if let Some((link, target)) = path.split_once(" -> ") {
            prototype.push(format!("s none {link}={target}\n"));
            continue;
        }
        let file = at.path().join(format!("file{number}"));
        fs::write(&file, bytes).unwrap();
        prototype.push(format!("f none {path}={} 0755 root root\n", file.display()));
    }
    fs::write(at.path().join("prototype"), prototype.concat()).unwrap();
    let device = at.path().join("made");
    fs::create_dir(&device).unwrap();
    let request = MakeRequest {
        prototype: Some(at.path().join("prototype")),
        device: device.clone(),
        overwrite: false,
        roots: Vec::new(),
        basedir: None,
        assignments: Params::new(),
        limit: None,
        instance: None,
        defaults: ParameterDefaults::default(),
        now: 315_532_800,
    };
    make_package(&request, &mut MakeWatch { tell: &mut |_| {}, interrupt: &|| None }).unwrap();
    let request = TranslateRequest {
        device,
        packages: vec![name.to_owned()],
        categories: Vec::new(),
        to: TransferDestination::Stream(stream.to_owned()),
        existing: ExistingPolicy::Refuse,
        description_only: false,
    };
    let mut observer = TransferObserver { interrupt: &|| None, transferring: &mut |_| {} };
    PackageTranslation::prepare(request).unwrap().perform(&mut observer).unwrap();
}

/// Notes in the pool that a result was built with these packages; its key becomes another one.
fn built_with(bulk: &Bulk, mut entry: PoolEntry, needs: &[&str]) -> PoolEntry {
    for need in needs {
        entry.result.inputs.set_package(need, &[]);
    }
    entry.result.key = entry.result.inputs.key();
    let path = bulk.path("pool").join(entry.result.key.prefix()).join(entry.result.key.to_string());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::rename(&entry.path, &path).unwrap();
    fs::write(path.join("result.json"), entry.result.to_bytes().unwrap()).unwrap();
    PoolEntry { path, ..entry }
}

fn done<'a>(package: &'a str, location: &'a str, entry: &PoolEntry) -> SetPackage<'a> {
    let entry = Some(entry.clone());
    SetPackage { package, location, state: BuildState::Done, entry, is_restricted: false }
}

fn failed<'a>(package: &'a str, location: &'a str) -> SetPackage<'a> {
    SetPackage { package, location, state: BuildState::Failed, entry: None, is_restricted: false }
}

/// Compiles a library or program. Without a compiler, prints a line and returns `None`.
fn compiled(bulk: &Bulk, name: &str, options: &[&str]) -> Option<Vec<u8>> {
    let (source, out) = (bulk.dir.path().join("source.c"), bulk.dir.path().join(name));
    fs::write(&source, "int _start(void) { return 0; }\n").unwrap();
    let ended = Command::new("cc")
        .args(["-nostdlib", "-fPIC", "-Wl,--no-as-needed", "-o"])
        .args([&out, &source])
        .args(options)
        .current_dir(bulk.dir.path())
        .output();
    if ended.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(fs::read(out).unwrap());
    }
    // Past the capture of test output; nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: no compiler: {ended:?}");
    None
}

#[test]
fn a_set_has_the_results_of_its_run_and_what_failed_is_that_of_the_set_before() {
    let bulk = Bulk::new("");
    let (a, b, go) = (
        bulk.result("a", "1", &[("/opt/a", b"a")]),
        bulk.result("b", "1", &[("/opt/b", b"b")]),
        bulk.foreign("go", "1", b"go"),
    );
    let mut restricted = done("go-1", "x/go", &go);
    restricted.is_restricted = true;
    let report = bulk.make(1, &[done("a-1", "x/a", &a), done("b-1", "x/b", &b), restricted]).unwrap();
    assert_eq!((report.run, report.packages, report.kept.len()), (1, 3, 0));
    assert_eq!(bulk.names("sets/current/packages"), ["a.pkg", "b.pkg"]);
    assert_eq!(fs::read(bulk.path("sets/current/files/go-1/go.tgz")).unwrap(), b"go");
    let same = fs::metadata(bulk.path("sets/1/packages/a.pkg")).unwrap().ino();
    assert_eq!(same, fs::metadata(a.path.join("a.pkg")).unwrap().ino(), "a name of the same file");

    let newer = bulk.result("a", "2", &[("/opt/a", b"new")]);
    let packages = [done("a-2", "x/a", &newer), failed("b-2", "x/b"), failed("go-2", "x/go")];
    let report = bulk.make(2, &packages).unwrap();
    assert_eq!(report.kept, ["b-1 (run 1)", "go-1 (run 1)"]);
    assert_eq!(bulk.names("sets"), ["1", "2", "current"]);
    assert_eq!(set_of_link(&bulk.work, CURRENT).unwrap(), Some(2));
    let text = fs::read_to_string(bulk.path("sets/2/MANIFEST")).unwrap();
    assert!(text.contains(&format!("# from 1 {} b-1 x/b packages/b.pkg\n", b.result.key)), "{text}");
    assert!(text.ends_with("# restricted files/go-1/go.tgz\n"), "{text}");
    // Kept packages stay with the run that built them.
    assert_eq!(bulk.make(3, &packages).unwrap().kept, ["b-1 (run 1)", "go-1 (run 1)"]);
    let sums = Command::new("sha256sum").arg("-c").arg("MANIFEST").current_dir(bulk.path("sets/3")).output();
    assert!(sums.is_ok_and(|output| output.status.success()));
}

#[test]
fn a_run_that_was_interrupted_behind_its_set_makes_the_same_again() {
    let bulk = Bulk::new("");
    let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
    let packages = [done("a-1", "x/a", &a)];
    bulk.make(1, &packages).unwrap();
    fs::remove_file(bulk.path("sets/current")).unwrap();
    fs::write(bulk.path("sets/.current.new"), "").unwrap();
    let before = fs::metadata(bulk.path("sets/1")).unwrap().ino();
    bulk.make(1, &packages).unwrap();
    assert_eq!(fs::metadata(bulk.path("sets/1")).unwrap().ino(), before);
    assert_eq!(bulk.names("sets"), ["1", "current"]);
    // With another result it is another set, and no partial one is visible.
    let other = bulk.result("a", "2", &[("/opt/a", b"b")]);
    bulk.make(1, &[done("a-2", "x/a", &other)]).unwrap();
    assert_eq!(bulk.names("sets"), ["1", "current"]);
    let manifest = fs::read_to_string(bulk.path("sets/1/MANIFEST")).unwrap();
    assert!(manifest.contains(" a-2 "), "{manifest}");
}

#[test]
fn a_package_that_lacks_a_library_is_left_out_of_the_set_and_keeps_no_other_out() {
    let bulk = Bulk::new("");
    let Some(library) = compiled(&bulk, "libx.so.1", &["-shared", "-Wl,-soname,libx.so.1"]) else { return };
    let needs = ["-shared", "-Wl,-soname,liby.so", "-L.", "-l:libx.so.1", "-Wl,-rpath,/opt/lib"];
    let user = compiled(&bulk, "liby.so", &needs).unwrap();
    let x = bulk.result("x", "1", &[("/opt/lib/libx.so.1", &library)]);
    let y = bulk.result("y", "1", &[("/opt/lib/liby.so", &user)]);
    let report = bulk.make(1, &[done("x-1", "x/x", &x), done("y-1", "x/y", &y)]).unwrap();
    assert_eq!(report.packages, 2);

    // A package that needs the one that was left out then lacks its library.
    let needs = ["-shared", "-Wl,-soname,libz.so", "-L.", "-l:liby.so", "-Wl,-rpath,/opt/lib"];
    let z = compiled(&bulk, "libz.so", &needs).unwrap();
    let z = bulk.result("z", "1", &[("/opt/lib/libz.so", &z)]);
    let other = bulk.result("other", "1", &[("/opt/other/f", b"f")]);
    let packages = [done("other-1", "x/other", &other), done("y-1", "x/y", &y), done("z-1", "x/z", &z)];
    let report = bulk.make(2, &packages).unwrap();
    let left_out: Vec<String> = report.left_out.iter().map(LeftOutPackage::words).collect();
    let lacks = |library: &str| format!("it needs {library}, which is neither in the set nor in the base");
    let expected = [
        format!("y-1 (x/y): {}; it breaks 0", lacks("libx.so.1")),
        format!("z-1 (x/z): {}; it breaks 0", lacks("liby.so")),
    ];
    assert_eq!((left_out, report.packages), (expected.to_vec(), 1));
    assert_eq!(bulk.names("sets/2/packages"), ["other.pkg"]);

    // An empty set is refused.
    assert_eq!(bulk.make(3, &[done("y-1", "x/y", &y)]).unwrap_err(), SetRefusal::Empty);
    assert_eq!(set_of_link(&bulk.work, CURRENT).unwrap(), Some(2), "the set before stays");
    assert_eq!(bulk.names("sets"), ["1", "2", "current"]);

    // A library where no loader looks does not count, unless the settings lead there.
    let elsewhere = bulk.result("x", "2", &[("/opt/other/libx.so.1", &library)]);
    let packages = [done("x-2", "x/x", &elsewhere), done("y-1", "x/y", &y)];
    let report = bulk.make(3, &packages).unwrap();
    assert_eq!((report.packages, report.unmet.len(), report.left_out.len()), (1, 1, 1));
    let settings: [(&str, &[u8]); 2] =
        [("/opt/other/libx.so.1", &library), ("/etc/ld.so.conf", b"/opt/other\n")];
    let found = bulk.result("x", "3", &settings);
    let report = bulk.make(4, &[done("x-3", "x/x", &found), done("y-1", "x/y", &y)]).unwrap();
    assert_eq!((report.packages, report.left_out), (2, Vec::new()));

    // The set does not need a library that the base has.
    fs::create_dir_all(bulk.dir.path().join("base/usr/lib")).unwrap();
    std::os::unix::fs::symlink("usr/lib", bulk.dir.path().join("base/lib")).unwrap();
    fs::write(bulk.dir.path().join("base/usr/lib/libx.so.1"), &library).unwrap();
    assert_eq!(bulk.make(5, &[done("y-1", "x/y", &y)]).unwrap().left_out, []);
}

#[test]
fn a_signal_ends_the_search_for_the_libraries_of_a_set() {
    let bulk = Bulk::new("");
    let Some(library) = compiled(&bulk, "libx.so.1", &["-shared", "-Wl,-soname,libx.so.1"]) else { return };
    let x = bulk.result("x", "1", &[("/opt/lib/libx.so.1", &library)]);
    let packages = [done("x-1", "x/x", &x)];
    // Counts the questions while a set is made. The last one comes after the last library.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let count = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
    let make = |run: u64, interrupt: &(dyn Fn() -> Option<i32> + Sync)| {
        make_set(&bulk.work, &SetInput { run, date: "2026-11-20T12:00:00Z", packages: &packages, interrupt })
    };
    make(1, &|| {
        count();
        None
    })
    .unwrap()
    .unwrap();
    let often = asked.swap(0, std::sync::atomic::Ordering::Relaxed);
    for at in 1..=often {
        asked.store(0, std::sync::atomic::Ordering::Relaxed);
        let error = make(2, &|| (count() >= at).then_some(15)).unwrap_err();
        assert!(matches!(error, SetError::Interrupted(15)), "{at} of {often}: {error}");
    }
    assert_eq!(bulk.names("sets"), ["1", "current"]);
}

/// Links where a package of the test below has directories.
const LINKS: [&str; 3] = ["/opt -> /nowhere", "/opt/yvictim -> /nowhere", "/opt/yvictim/lib -> bin"];

#[test]
fn a_link_in_the_place_of_a_directory_throws_nothing_out_of_the_set_but_its_own_package() {
    let bulk = Bulk::new("");
    let Some(library) = compiled(&bulk, "libv.so.1", &["-shared", "-Wl,-soname,libv.so.1"]) else { return };
    let needs = ["-shared", "-L.", "-l:libv.so.1", "-Wl,-rpath,/opt/yvictim/lib"];
    let program = compiled(&bulk, "v", &needs).unwrap();
    let victim: [(&str, &[u8]); 2] =
        [("/opt/yvictim/bin/v", &program), ("/opt/yvictim/lib/libv.so.1", &library)];
    let y = bulk.result("yvictim", "1", &victim);
    let y = || done("yvictim-1", "x/yvictim", &y);
    let left_out = |run: u64, packages: &[SetPackage<'_>]| {
        let report = bulk.make(run, packages).unwrap();
        report.left_out.iter().map(LeftOutPackage::words).collect::<Vec<_>>()
    };
    // It does not matter whether the victim was there before, nor who comes first.
    for run in [1, 2] {
        for (number, link) in LINKS.into_iter().enumerate() {
            let evil = bulk.result("aevil", &format!("1.{number}"), &[(link, b"")]);
            let evil = done("aevil-1", "a/evil", &evil);
            let path = link.split_once(" -> ").unwrap().0;
            let expected = format!("aevil-1 (a/evil): {path} belongs to yvictim-1; it breaks 0");
            assert_eq!(left_out(run, &[evil, y()]), [expected], "{run} {link}");
        }
        bulk.make(1, &[y()]).unwrap();
    }

    // A link that leads no other package elsewhere does not matter.
    let link = bulk.result("zlink", "1", &[("/opt/zz -> yvictim", b"")]);
    assert_eq!(left_out(3, &[done("zlink-1", "x/zlink", &link), y()]), Vec::<String>::new());
}

#[test]
fn a_package_that_is_kept_brings_along_what_it_was_built_with() {
    let bulk = Bulk::new("");
    let made = |name: &str, needs: &[&str]| {
        let file = format!("/opt/{name}");
        built_with(&bulk, bulk.result(name, "1", &[(&file, name.as_bytes())]), needs)
    };
    let (alpha, deep, unused) = (made("alpha", &[]), made("deep", &[]), made("unused", &[]));
    let dep = made("dep", &["deep-1"]);
    let beta = made("beta", &["alpha-1", "deep-1", "dep-1"]);
    let first = [
        done("alpha-1", "x/alpha", &alpha),
        done("deep-1", "x/deep", &deep),
        done("dep-1", "x/dep", &dep),
        done("beta-1", "x/beta", &beta),
        done("unused-1", "x/unused", &unused),
    ];
    bulk.make(1, &first).unwrap();

    // Three locations are gone. No package that stays was built with `unused`.
    let newer = bulk.result("alpha", "2", &[("/opt/alpha", b"new")]);
    let report = bulk.make(2, &[done("alpha-2", "x/alpha", &newer), failed("beta-2", "x/beta")]).unwrap();
    assert_eq!(report.kept, ["beta-1 (run 1)", "deep-1 (run 1)", "dep-1 (run 1)"]);
    assert_eq!(report.left_out, []);
    assert_eq!(bulk.names("sets/2/packages"), ["alpha.pkg", "beta.pkg", "deep.pkg", "dep.pkg"]);

    // The same again, from the set in which they are kept themselves. A package that was removed is not missed
    // forever.
    let report = bulk.make(3, &[done("alpha-2", "x/alpha", &newer), failed("beta-2", "x/beta")]).unwrap();
    assert_eq!(report.kept.len(), 3);
    let report = bulk.make(4, &[done("alpha-2", "x/alpha", &newer)]).unwrap();
    assert_eq!((report.packages, report.kept.len()), (1, 0));
}

#[test]
fn a_kept_package_whose_need_has_no_place_any_more_is_left_out_and_so_is_what_needs_it() {
    let bulk = Bulk::new("");
    let dep = built_with(&bulk, bulk.result("dep", "1", &[("/opt/dep", b"dep")]), &[]);
    let beta = built_with(&bulk, bulk.result("beta", "1", &[("/opt/beta", b"beta")]), &["dep-1"]);
    let gamma = built_with(&bulk, bulk.result("gamma", "1", &[("/opt/gamma", b"gamma")]), &["beta-1"]);
    let first =
        [done("dep-1", "x/dep", &dep), done("beta-1", "x/beta", &beta), done("gamma-1", "x/gamma", &gamma)];
    bulk.make(1, &first).unwrap();
    // Another package delivers the file of the need, from the location of the need.
    let heir = bulk.result("heir", "1", &[("/opt/dep", b"heir")]);
    let second = [done("heir-1", "x/dep", &heir), failed("beta-1", "x/beta"), failed("gamma-1", "x/gamma")];
    let report = bulk.make(2, &second).unwrap();
    let left_out: Vec<(&str, &str, Option<&str>)> = report
        .left_out
        .iter()
        .map(|left| (left.package.as_str(), left.name.as_str(), left.holder.as_deref()))
        .collect();
    let expected =
        [("dep-1", "/opt/dep", Some("heir-1")), ("beta-1", "dep-1", None), ("gamma-1", "beta-1", None)];
    assert_eq!(left_out, expected);
    assert_eq!(bulk.names("sets/2/packages"), ["heir.pkg"]);
    assert!(report.left_out[1].words().contains("it needs dep-1, which is neither in the set nor"));
}

#[test]
fn the_host_is_the_base_of_a_program_of_the_host() {
    let bulk = Bulk::new("");
    let Some(library) = compiled(&bulk, "libx.so.1", &["-shared", "-lc", "-Wl,-soname,libx.so.1"]) else {
        return;
    };
    let conf = fs::read_to_string(bulk.path("bulk.conf")).unwrap();
    let lines: Vec<&str> = conf.lines().filter(|line| !line.starts_with("base=")).collect();
    fs::write(bulk.path("bulk.conf"), format!("{}\nhost=/usr/lib /lib /lib64\n", lines.join("\n"))).unwrap();
    let bulk = Bulk { work: BulkWork::open(&bulk.work.path).unwrap(), dir: bulk.dir };
    let x = bulk.result("x", "1", &[("/opt/lib/libx.so.1", &library)]);
    bulk.make(1, &[done("x-1", "x/x", &x)]).unwrap();

    // A file for a machine of which the base has nothing is data, whatever it needs.
    let mut foreign = library;
    let other_machine = if foreign[18] == 62 { 183 } else { 62 };
    (foreign[18], foreign[19]) = (other_machine, 0);
    let x = bulk.result("x", "2", &[("/opt/share/libx.so.1", &foreign)]);
    bulk.make(2, &[done("x-2", "x/x", &x)]).unwrap();
}

#[test]
fn what_lies_on_another_file_system_is_copied() {
    let bulk = Bulk::new("");
    let mut a = bulk.result("a", "1", &[("/opt/a", b"a")]);
    let elsewhere = tempfile::tempdir_in("/dev/shm").ok();
    let is_another = |dir: &tempfile::TempDir| {
        fs::metadata(dir.path()).unwrap().dev() != fs::metadata(&bulk.work.path).unwrap().dev()
    };
    let Some(elsewhere) = elsewhere.filter(is_another) else {
        // Past the capture of test output; nothing depends on it.
        let _ = writeln!(std::io::stderr(), "skipped: there is no other file system");
        return;
    };
    fs::copy(a.path.join("a.pkg"), elsewhere.path().join("a.pkg")).unwrap();
    a.path = elsewhere.path().to_owned();
    bulk.make(1, &[done("a-1", "x/a", &a)]).unwrap();
    let copy = fs::metadata(bulk.path("sets/1/packages/a.pkg")).unwrap();
    assert_eq!((copy.nlink(), copy.mode() & 0o777), (1, 0o644));
    assert_eq!(copy.len(), a.result.packages[0].size);
}

#[test]
fn a_set_before_that_is_damaged_is_told_and_nothing_is_made_of_it() {
    let bulk = Bulk::new("");
    let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
    let packages = [done("a-1", "x/a", &a)];
    bulk.make(1, &packages).unwrap();
    let text = fs::read_to_string(bulk.path("sets/1/MANIFEST")).unwrap();
    fs::write(bulk.path("sets/1/MANIFEST"), &text[..text.len() / 2]).unwrap();
    let input = SetInput { run: 2, date: "2026-11-20T12:00:00Z", packages: &packages, interrupt: &|| None };
    let error = make_set(&bulk.work, &input).unwrap_err();
    assert!(matches!(error, SetError::Damaged { .. }), "{error}");
    assert_eq!(bulk.names("sets"), ["1", "current"]);
    fs::write(bulk.path("sets/1/MANIFEST"), text).unwrap();
    // A time that the manifest cannot have would be in the way of the next set.
    let error = make_set(&bulk.work, &SetInput { date: "today", ..input }).unwrap_err();
    assert!(matches!(error, SetError::Unreadable(2, _)), "{error}");
    assert_eq!(bulk.names("sets"), ["1", "current"]);
}

#[test]
fn a_set_whose_manifest_nobody_would_read_is_not_made_and_the_next_one_is() {
    let bulk = Bulk::new("");
    let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
    let packages = [done("a-1", "x/a", &a)];
    bulk.make(1, &packages).unwrap();
    let input = SetInput { run: 2, date: "2026-11-20T12:00:00Z", packages: &packages, interrupt: &|| None };
    let selected = select((2, &packages), None, &bulk.work.conf, &|_| Ok(Vec::new()));
    let (entries, _) = selected.unwrap().unwrap();
    let length = fs::read(bulk.path("sets/1/MANIFEST")).unwrap().len() as u64;
    let error = publish_within(&bulk.work, &input, &entries, length - 1).unwrap_err();
    let expected = format!("would have {length} bytes, more than {}", length - 1);
    assert!(matches!(error, SetError::Unreadable(2, _)) && error.to_string().contains(&expected), "{error}");
    assert_eq!(bulk.names("sets"), ["1", "current"]);
    publish_within(&bulk.work, &input, &entries, length).unwrap();
    bulk.make(3, &packages).unwrap();
    assert_eq!(bulk.names("sets"), ["1", "2", "3", "current"]);
}

/// Returns the packages that were left out, each with its reason.
fn reasons(report: &ReportedSet) -> Vec<(&str, LeftOutReason)> {
    report.left_out.iter().map(|left| (&*left.package, left.reason)).collect()
}

#[test]
fn a_package_that_cannot_be_used_is_left_out_alone_and_keeps_its_version_of_the_set_before() {
    for (lines, kept) in [("", vec!["big-1 (run 1)".to_owned()]), ("set_on_failure=without", vec![])] {
        let bulk = Bulk::new(lines);
        let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
        let packages =
            [done("a-1", "x/a", &a), done("big-1", "x/big", &bulk.result("big", "1", &[("/opt/big", b"1")]))];
        bulk.make(1, &packages).unwrap();
        // An earlier version of the program did not refuse it.
        let settings = vec![b'#'; 100_000];
        let big = bulk.result("big", "2", &[("/etc/ld.so.conf.d/big.conf", &settings)]);
        let damaged = bulk.result("damaged", "1", &[("/opt/damaged", b"1")]);
        fs::write(damaged.path.join("damaged.pkg"), "no package").unwrap();
        let packages =
            [done("a-1", "x/a", &a), done("big-2", "x/big", &big), done("damaged-1", "x/damaged", &damaged)];
        let report = bulk.make(2, &packages).unwrap();
        let unusable = vec![("big-2", LeftOutReason::Unusable), ("damaged-1", LeftOutReason::Unusable)];
        assert_eq!((&report.kept, reasons(&report)), (&kept, unusable), "{lines}");
        let words = report.left_out[0].words();
        let begin = "big-2 (x/big): it cannot be used: ";
        let reason = "the settings of loaders have more than 65536 bytes: remove comments";
        assert!(words.starts_with(begin) && words.contains(reason), "{words}");
    }
}

#[test]
fn the_location_with_the_largest_share_of_a_manifest_that_is_too_large_is_left_out() {
    let bulk = Bulk::new("");
    let (a, one) = (bulk.result("a", "1", &[("/opt/a", b"a")]), bulk.many("one", "1", 30));
    let (left, right) = (bulk.many("left", "1", 20), bulk.many("right", "1", 20));
    let mut few = vec![done("a-1", "x/a", &a), done("one-1", "x/one", &one)];
    bulk.make(1, &few).unwrap();
    let mut packages = few.clone();
    packages.extend([done("left-1", "x/two", &left), done("right-1", "x/two", &right)]);
    bulk.make(2, &packages).unwrap();
    let (of_few, of_all) = (bulk.manifest_length(1), bulk.manifest_length(2));

    let report = bulk.make_within(3, &packages, of_all);
    assert_eq!((report.packages, reasons(&report)), (4, vec![]));
    let report = bulk.make_within(4, &packages, of_all - 1);
    let two = vec![("left-1", LeftOutReason::TooLarge), ("right-1", LeftOutReason::TooLarge)];
    assert_eq!((report.packages, reasons(&report)), (2, two.clone()));
    assert_eq!(bulk.names("sets/4/files"), ["one-1"]);
    let expected = "left-1 (x/two): MANIFEST would be too large with the files of its location; it breaks 0";
    assert_eq!(report.left_out[0].words(), expected);
    assert_eq!(reasons(&bulk.make_within(5, &packages, of_few)), two);
    // One is not enough.
    let report = bulk.make_within(6, &packages, of_few - 1);
    assert_eq!((report.packages, report.left_out.len()), (1, 3));
    assert_eq!(bulk.names("sets/6/packages"), ["a.pkg"]);
    // Of two packages with the same share, that of the first location stays.
    let twin = bulk.many("ten", "1", 30);
    few.push(done("ten-1", "x/ten", &twin));
    assert_eq!(reasons(&bulk.make_within(7, &few, of_few)), [("ten-1", LeftOutReason::TooLarge)]);
    // The next set can be made from this one.
    assert_eq!(bulk.make(8, &packages).unwrap().left_out, []);

    // Nothing fits: the set before stays.
    let input = SetInput { run: 9, date: "2026-11-20T12:00:00Z", packages: &packages, interrupt: &|| None };
    assert_eq!(make_set_within(&bulk.work, &input, 10).unwrap().unwrap_err(), SetRefusal::Empty);
    assert_eq!(set_of_link(&bulk.work, CURRENT).unwrap(), Some(8));
}

#[test]
fn the_location_with_the_most_paths_is_left_out_where_all_together_have_too_many() {
    let bulk = Bulk::new("");
    let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
    let paths: Vec<String> = (0..50).map(|number| format!("/opt/two/{number}")).collect();
    let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), &b"x"[..])).collect();
    let (left, right) = (bulk.result("left", "1", &files[..25]), bulk.result("right", "1", &files[25..]));
    let packages = [done("a-1", "x/a", &a), done("left-1", "x/two", &left), done("right-1", "x/two", &right)];
    let read = |most: usize| {
        let selected = select((1, &packages), None, &bulk.work.conf, &|_| Ok(Vec::new()));
        let (entries, _) = selected.unwrap().unwrap();
        let (stay, delivered, left_out) = read_delivered(entries, most, &|| None).unwrap();
        let stay: Vec<String> = stay.into_iter().map(|entry| entry.package).collect();
        (stay, delivered.iter().map(ArchivedObjects::held).sum::<usize>(), left_out)
    };
    let (stay, held, left_out) = read(usize::MAX);
    assert_eq!((stay.len(), left_out), (3, Vec::new()));
    assert_eq!(read(held).0, stay);
    let (stay, of_one, left_out) = read(held - 1);
    assert_eq!((stay, of_one < held / 2), (vec!["a-1".to_owned()], true));
    let told: Vec<_> = left_out.iter().map(|left| (&*left.package, left.reason)).collect();
    assert_eq!(told, [("left-1", LeftOutReason::Unusable), ("right-1", LeftOutReason::Unusable)]);
    assert!(left_out[0].name.starts_with("the paths of its location"), "{}", left_out[0].name);
}

#[test]
fn a_package_that_does_not_fit_into_the_manifest_keeps_its_version_of_the_set_before_if_that_fits() {
    for (lines, kept) in [("", vec!["big-1 (run 1)".to_owned()]), ("set_on_failure=without", vec![])] {
        let bulk = Bulk::new(lines);
        let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
        let packages = [done("a-1", "x/a", &a), done("big-1", "x/big", &bulk.many("big", "1", 1))];
        bulk.make(1, &packages).unwrap();
        let length = bulk.manifest_length(1);
        let packages = [done("a-1", "x/a", &a), done("big-2", "x/big", &bulk.many("big", "2", 20))];
        let report = bulk.make_within(2, &packages, length);
        assert_eq!((&report.kept, report.left_out.len()), (&kept, 1), "{lines}");
        assert_eq!(report.left_out[0].package, "big-2");
        // The kept version has no room either.
        let report = bulk.make_within(3, &packages, length - 1);
        assert_eq!((report.packages, report.left_out.len()), (1, 1), "{lines}");
        assert_eq!(bulk.names("sets/3/packages"), ["a.pkg"]);
    }
}

#[test]
fn a_set_is_released_and_patches_from_another_one_are_put_aside_if_that_is_wanted() {
    let bulk = Bulk::new("");
    let a = bulk.result("a", "1", &[("/opt/a", b"a")]);
    let packages = [done("a-1", "x/a", &a)];
    bulk.make(1, &packages).unwrap();
    bulk.make(2, &packages).unwrap();
    assert!(matches!(release(&bulk.work, 3, false, &|| None), Err(SetReleaseError::NoSet(3))));
    release(&bulk.work, 1, false, &|| None).unwrap();
    assert_eq!(set_of_link(&bulk.work, RELEASED).unwrap(), Some(1));
    fs::create_dir_all(bulk.path("patches/patches")).unwrap();
    assert!(matches!(release(&bulk.work, 2, false, &|| None), Err(SetReleaseError::HasPatches)));
    assert_eq!(release(&bulk.work, 1, false, &|| None).unwrap().patches_moved, None, "the same set");
    let released = release(&bulk.work, 2, true, &|| None).unwrap();
    assert_eq!(released, ReleasedSet { run: 2, packages: 1, patches_moved: Some(1) });
    assert!(bulk.path("patches.1/patches").is_dir() && !bulk.path("patches").exists());
    assert_eq!(set_of_link(&bulk.work, RELEASED).unwrap(), Some(2));
}

#[test]
fn who_reads_the_current_set_again_and_again_sees_whole_sets_only() {
    let bulk = Bulk::new("");
    let (a, b) = (bulk.result("a", "1", &[("/opt/a", b"a")]), bulk.result("b", "1", &[("/opt/b", b"b")]));
    let packages = [done("a-1", "x/a", &a), done("b-1", "x/b", &b)];
    bulk.make(1, &packages).unwrap();
    let (current, is_over) = (bulk.path("sets/current"), std::sync::atomic::AtomicBool::new(false));
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let set = current.canonicalize().unwrap();
                let manifest = SetManifest::parse(&fs::read(set.join("MANIFEST")).unwrap()).unwrap();
                let wanted = if manifest.set.is_multiple_of(2) { 1 } else { 2 };
                assert_eq!(manifest.files.len(), wanted);
                assert!(manifest.files.keys().all(|path| set.join(path).is_file()), "{set:?}");
                seen.insert(manifest.set);
            }
            seen
        });
        for run in 2..40 {
            let wanted = if run % 2 == 0 { &packages[..1] } else { &packages[..] };
            bulk.make(run, wanted).unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.len() > 1, "{seen:?}");
}

/// Returns the paths of programs and libraries in the base.
fn found_in_base(bulk: &Bulk) -> Vec<String> {
    let base = BaseLibraries::new(&bulk.work, &|| None);
    base.get().unwrap().tree.files().map(|(path, _)| path.to_string()).collect()
}

#[test]
fn a_file_of_the_base_that_has_not_changed_since_the_last_scan_is_not_read_again() {
    let bulk = Bulk::new("");
    let base = bulk.dir.path().join("base");
    fs::copy("/bin/true", base.join("true")).unwrap();
    fs::create_dir_all(&bulk.work.conf.build_dir).unwrap();
    assert_eq!(found_in_base(&bulk), ["/true"]);

    // The facts of a scan that did not take the file for a program.
    let facts = bulk.work.conf.build_dir.join("base.facts");
    let top = Root::open(&base).unwrap().dir(&ObjectPath::root()).unwrap();
    let mount = (ObjectPath::root(), format!("{:x}", top.file_system_magic().unwrap()));
    let key = FactsCache::key(0, &top.look(b"true").unwrap().unwrap()).unwrap();
    let later = Timestamp { seconds: i64::from(u32::MAX), nanoseconds: 0 };
    let known = FactsCache::new(vec![mount], [(key, None)], later).write();
    fs::write(&facts, &known).unwrap();
    assert_eq!(found_in_base(&bulk), Vec::<String>::new());

    fs::write(&facts, &known[..known.len() - 1]).unwrap();
    assert_eq!(found_in_base(&bulk), ["/true"], "damaged facts");

    fs::write(&facts, &known).unwrap();
    fs::OpenOptions::new().append(true).open(base.join("true")).unwrap().write_all(b"more").unwrap();
    assert_eq!(found_in_base(&bulk), ["/true"], "another content");
}

/// Returns package, path and holder of each package that was left out.
fn left_out(report: &ReportedSet) -> Vec<(&str, &str, Option<&str>)> {
    report.left_out.iter().map(|left| (&*left.package, &*left.name, left.holder.as_deref())).collect()
}

#[test]
fn a_package_that_is_left_out_for_a_path_keeps_its_version_of_the_set_before() {
    let bulk = Bulk::new("");
    let evil = bulk.result("evil", "1", &[("/opt/victim/g", b"evil")]);
    let victim = bulk.result("victim", "1", &[("/opt/victim/f", b"1")]);
    bulk.make(1, &[done("evil-1", "x/evil", &evil), done("victim-1", "x/victim", &victim)]).unwrap();
    let next = bulk.result("victim", "2", &[("/opt/victim/f", b"2"), ("/opt/victim/g", b"2")]);
    for run in [2, 3] {
        let report =
            bulk.make(run, &[done("evil-1", "x/evil", &evil), done("victim-2", "x/victim", &next)]).unwrap();
        assert_eq!(left_out(&report), [("victim-2", "/opt/victim/g", Some("evil-1"))]);
        assert_eq!(report.kept, ["victim-1 (run 1)"]);
        assert_eq!(bulk.names("sets/current/packages"), ["evil.pkg", "victim.pkg"]);
    }
    // A package that would be in the way of another one is not kept.
    let part = bulk.result("part", "1", &[("/opt/victim/f", b"part")]);
    let packages = [
        done("evil-1", "x/evil", &evil),
        done("part-1", "x/part", &part),
        done("victim-3", "x/victim", &bulk.result("victim", "3", &[("/opt/victim/g", b"3")])),
    ];
    let report = bulk.make(4, &packages).unwrap();
    assert_eq!(left_out(&report), [("victim-3", "/opt/victim/g", Some("evil-1"))]);
    assert_eq!(bulk.names("sets/current/packages"), ["evil.pkg", "part.pkg"]);
}

#[test]
fn whoever_alone_had_a_directory_has_what_is_new_in_it() {
    let bulk = Bulk::new("");
    let victim = |version, files| bulk.result("victim", version, files);
    let evil = |version, files| bulk.result("evil", version, files);
    let packages = [
        done("evil-1", "a/evil", &evil("1", &[("/opt/evil/f", b"1")])),
        done("victim-1", "x/victim", &victim("1", &[("/opt/victim/f", b"1")])),
    ];
    bulk.make(1, &packages).unwrap();
    let packages = [
        done("evil-2", "a/evil", &evil("2", &[("/opt/victim/new/g", b"2")])),
        done("victim-2", "x/victim", &victim("2", &[("/opt/victim/new/g", b"2")])),
    ];
    let report = bulk.make(2, &packages).unwrap();
    assert_eq!(left_out(&report), [("evil-2", "/opt/victim/new/g", Some("victim-2"))]);
    assert_eq!(report.kept, ["evil-1 (run 1)"]);
    // Of two packages that had the directory, that of the first location gets it.
    let packages = [
        done("evil-3", "a/evil", &evil("3", &[("/opt/x", b"3")])),
        done("victim-3", "x/victim", &victim("3", &[("/opt/x", b"3")])),
    ];
    assert_eq!(left_out(&bulk.make(3, &packages).unwrap()), [("victim-3", "/opt/x", Some("evil-3"))]);
}

fn manifest() -> SetManifest {
    let file = |package: &str, is_restricted| SetFile {
        run: 7,
        key: ResultKey::parse(&"5".repeat(64)).unwrap(),
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
    assert!(changed("SHA256 (packages", "SHA256 (Packages").contains("order"));
    let without = text.lines().filter(|line| !line.starts_with("# from")).map(|line| format!("{line}\n"));
    assert!(SetManifest::parse(without.collect::<String>().as_bytes()).is_err());
}

//! Undo archives: found, read, verified, and damaged in every place.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::*;
use patchadm_changeset::archive_file::MANIFEST_MEMBER as MANIFEST;
use patchadm_changeset::format::manifest;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, UndoManifest};
use patchadm_changeset::limits::MemberLimits;
use patchadm_rootfs::{Digest, FileType, Interrupt, Timestamp, never};
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamWriter};
use patchadm_svr4::package::checksum;

pub(in crate::database) const MARKER: &str = "00112233445566ff";

pub(in crate::database) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

fn state(bytes: &[u8]) -> RecordedState {
    RecordedState {
        kind: FileType::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp::whole(0),
        size: Some(bytes.len() as u64),
        b3: Some(Box::new(digest(bytes).into())),
        target: None,
        device: None,
        xattrs: std::collections::BTreeMap::default(),
        group: None,
    }
}

/// An object that a patch replaced: its path, its bytes before and after.
pub(in crate::database) type Replaced<'a> = (&'a str, &'a [u8], &'a [u8]);

/// Returns the manifest of patch `patch` for package X in the root of [`MARKER`].
fn manifest_of(patch: &str, objects: &[Replaced<'_>]) -> UndoManifest {
    let record = |(path, old, new): &Replaced<'_>| ObjectRecord {
        path: (*path).to_owned(),
        was: Some(state(old)),
        line: None,
        became: Some(state(new)),
        new_line: Some(line(path, new).into()),
        kept: false,
        delivered: false,
        member: Some((*path).into()),
        shlib: None,
        file: None,
    };
    let header = manifest::ManifestHeader::of(patch, "X", MARKER);
    UndoManifest { header, objects: objects.iter().map(record).collect(), shlibs: Vec::new() }
}

/// Returns the line of `contents` of such a file.
fn line(path: &str, bytes: &[u8]) -> String {
    let (size, sum) = (bytes.len(), checksum::sum(bytes));
    format!("{path} f none 0644 root root {size} {sum} 1577836800 X")
}

/// Returns the archive of such a patch, not compressed. An archive of another program has no `manifest`.
fn plain(manifest: Option<&UndoManifest>, objects: &[Replaced<'_>]) -> Vec<u8> {
    let mut pkgmap = String::from(": 1 9\n");
    let mut members: Vec<(Vec<u8>, Vec<u8>)> = vec![(b"pkginfo".to_vec(), b"PKG=X\n".to_vec())];
    if let Some(manifest) = manifest {
        let bytes = manifest.to_bytes();
        writeln!(pkgmap, "1 i patchadm.manifest {} {} 0", bytes.len(), checksum::sum(&bytes)).unwrap();
        members.push((MANIFEST.to_vec(), bytes));
    }
    for (path, old, _) in objects {
        let (size, sum) = (old.len(), checksum::sum(old));
        writeln!(pkgmap, "1 f none {path} 0644 root root {size} {sum} 0").unwrap();
        members.push((format!("root{path}").into_bytes(), old.to_vec()));
    }
    let package = DatastreamPackage {
        inst: PkgInst::new("X").unwrap(),
        parts: 1,
        max_blocks: 9,
        pkginfo: b"PKG=X\n".to_vec(),
        pkgmap: pkgmap.into_bytes(),
    };
    let mut part =
        DatastreamWriter::new(Vec::new(), &[package], 0).unwrap().begin_part(CpioFormat::Newc).unwrap();
    for (name, bytes) in &members {
        part.write_member(&CpioHeader::file(name, 0o644, 0, bytes.len() as u64), &bytes[..]).unwrap();
    }
    part.finish().unwrap().finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns an archive of ours, as it is on disk.
pub(in crate::database) fn undo(patch: &str, objects: &[Replaced<'_>]) -> Vec<u8> {
    gzip(&plain(Some(&manifest_of(patch, objects)), objects))
}

const OBJECTS: &[Replaced<'static>] = &[("/opt/a", b"old a", b"new a"), ("/opt/b", b"old b", b"new b")];

/// A root in which patch 100-01 is applied to package X, and a host beside it.
struct Scene {
    root_dir: TempDir,
    host_dir: TempDir,
    root: Root,
    host: Root,
}

impl Scene {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let (root_dir, host_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, host) = (Root::open(root_dir.path()).unwrap(), Root::open(host_dir.path()).unwrap());
        let scene = Self { root_dir, host_dir, root, host };
        fs::create_dir_all(scene.save("")).unwrap();
        let pkginfo = format!("PKG=X\nPATCHLIST=100-01\nPATCH_INFO_100-01={INFO}\n");
        fs::write(root_dir_of(&scene).join("var/sadm/pkg/X/pkginfo"), pkginfo).unwrap();
        for (name, bytes) in files {
            fs::write(scene.save(name), bytes).unwrap();
        }
        scene
    }

    fn save(&self, name: &str) -> PathBuf {
        self.root_dir.path().join("var/sadm/pkg/X/save/100-01").join(name)
    }

    /// Writes the line of the ledger that binds an archive with these bytes.
    fn bind(&self, bytes: &[u8], place: &str) {
        let (info, undo) = (digest(INFO.as_bytes()), digest(bytes));
        let line = format!(
            "{{\"run\":\"{RUN}\",\"patch\":\"100-01\",\"info\":\"b3:{info}\",\"undo\":\"b3:{undo}\",\
             \"size\":{},\"where\":\"{place}\"}}\n",
            bytes.len()
        );
        let ledger = root_dir_of(self).join("var/sadm/patchadm/ledger");
        fs::create_dir_all(&ledger).unwrap();
        fs::write(ledger.join("X"), line).unwrap();
    }

    fn put_on_host(&self, path: &str, bytes: &[u8]) {
        let path = self.host_dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn find(&self, moved_to: Option<&str>) -> Result<UndoData, ArchiveError> {
        let view = RecordView::live(&self.root);
        let outside = OutsideAccess { moved_to: moved_to.map(Path::new), ..OutsideAccess::default() };
        UndoReader { view: &view, host: &self.host, outside }.find(&PkgInst::new("X").unwrap(), "100-01")
    }

    fn verify(&self) -> Result<VerifiedManifest, ArchiveError> {
        self.find(None).unwrap().verify_alone(Some(MARKER), &never)
    }

    fn reason(&self) -> String {
        match self.verify() {
            Err(ArchiveError::Damaged { path, reason } | ArchiveError::NotBound { path, reason }) => {
                assert!(path.ends_with("save/100-01/undo.gz"), "{path}");
                reason
            }
            other => panic!("{other:?}"),
        }
    }
}

const RUN: &str = "17-00000000000000ab";
const INFO: &str = "Installed: then";

fn root_dir_of(scene: &Scene) -> &Path {
    scene.root_dir.path()
}

#[test]
fn an_archive_of_ours_verifies_and_tells_its_run() {
    let bytes = undo("100-01", OBJECTS);
    let scene = Scene::new(&[("undo.gz", &bytes)]);
    scene.bind(&bytes, "save");
    let archive = scene.find(None).unwrap();
    assert_eq!((archive.size(), archive.is_remote()), (bytes.len() as u64, false));
    let manifest = archive.manifest().unwrap().unwrap();
    assert_eq!(manifest, manifest_of("100-01", OBJECTS));
    let run = Some(RUN.to_owned());
    assert!(archive.is_bound());
    assert_eq!(
        archive.verify_alone(Some(MARKER), &never).unwrap(),
        VerifiedManifest { manifest: Some(manifest), run }
    );
}

#[test]
fn an_obsolete_archive_is_found_by_its_other_name_and_its_line_still_counts() {
    let bytes = undo("100-01", OBJECTS);
    let scene = Scene::new(&[("obsolete.gz", &bytes)]);
    scene.bind(&bytes, "save");
    assert!(scene.find(None).unwrap().path().ends_with("100-01/obsolete.gz"));
    assert!(scene.verify().is_ok());
}

#[test]
fn the_archive_of_another_program_has_no_manifest_and_is_checked_by_its_pkgmap() {
    let bytes = plain(None, OBJECTS);
    let scene = Scene::new(&[("undo", &bytes)]);
    assert_eq!(scene.find(None).unwrap().manifest().unwrap(), None);
    assert_eq!(scene.verify().unwrap(), VerifiedManifest { manifest: None, run: None });
    let at = bytes.windows(5).position(|window| window == b"old b").unwrap();
    let mut changed = bytes;
    changed[at] = b'O';
    fs::write(scene.save("undo"), changed).unwrap();
    let error = scene.verify().unwrap_err().to_string();
    assert!(error.ends_with("/opt/b does not match the size and checksum in its pkgmap"), "{error}");
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    let bytes = undo("100-01", OBJECTS);
    let scene = Scene::new(&[("undo.gz", &bytes[..bytes.len() - 1])]);
    scene.bind(&bytes[..bytes.len() - 1], "save");
    assert!(scene.reason().contains("cannot decompress"), "{}", scene.reason());

    fs::write(scene.save("undo.gz"), &bytes).unwrap();
    scene.bind(b"other bytes", "save");
    let older = format!("it is not the archive that run {RUN} made (an older copy, or somebody else's)");
    assert_eq!(scene.reason(), older);

    // Same size, same System V sum: only the digest of the manifest tells.
    let swapped: &[Replaced<'_>] = &[("/opt/a", b"dol a", b"new a"), OBJECTS[1]];
    let wrong = gzip(&plain(Some(&manifest_of("100-01", OBJECTS)), swapped));
    fs::write(scene.save("undo.gz"), &wrong).unwrap();
    scene.bind(&wrong, "save");
    assert_eq!(scene.reason(), "/opt/a does not match the digest in its manifest");

    let lacking = gzip(&plain(Some(&manifest_of("100-01", OBJECTS)), &OBJECTS[..1]));
    fs::write(scene.save("undo.gz"), &lacking).unwrap();
    scene.bind(&lacking, "save");
    assert_eq!(scene.reason(), "/opt/b is missing");

    let other = undo("200-01", OBJECTS);
    fs::write(scene.save("undo.gz"), &other).unwrap();
    scene.bind(&other, "save");
    assert_eq!(scene.reason(), "it belongs to patch 200-01, package X");

    fs::write(scene.save("undo.gz"), b"no archive").unwrap();
    scene.bind(b"no archive", "save");
    assert_eq!(scene.reason(), "not a package datastream");
}

#[test]
fn an_archive_whose_members_would_fill_the_memory_is_refused() {
    let scene = Scene::new(&[]);
    let bytes = plain(Some(&manifest_of("100-01", OBJECTS)), OBJECTS);
    let package = PkgInst::new("X").unwrap();
    let read = |count, names| {
        let limits = MemberLimits { count, names };
        archive::read_within(&bytes[..], &package, (&scene.root, &never), limits)
    };
    // pkginfo, the manifest, and two objects.
    let names = ["pkginfo", "install/patchadm.manifest", "root/opt/a", "root/opt/b"].concat().len() as u64;
    assert!(read(4, names).is_ok());
    for (count, names) in [(3, names), (4, names - 1)] {
        let Err(UnreadContent::Damaged(reason)) = read(count, names) else { panic!("{count} {names}") };
        assert_eq!(
            reason,
            format!(
                "it has more than {count} members, or their names are longer than {names} bytes in total"
            )
        );
    }
}

#[test]
fn what_lies_beside_an_archive_is_believed_by_nobody() {
    let bytes = undo("100-01", OBJECTS);
    let digest = format!("{}  undo.gz  {RUN}\n", digest(&bytes));
    let scene = Scene::new(&[("undo.gz", &bytes), ("undo.b3", digest.as_bytes())]);
    assert!(scene.reason().starts_with("the ledger of the root does not know it"), "{}", scene.reason());
    scene.bind(&bytes, "save");
    fs::write(scene.save("undo.b3"), "garbage").unwrap();
    assert!(scene.verify().is_ok());
}

#[test]
fn an_archive_whose_line_names_another_or_none_is_not_taken_for_one_of_another_tool() {
    let bytes = plain(None, OBJECTS);
    let scene = Scene::new(&[("undo.gz", &bytes)]);
    assert!(scene.verify().is_ok());
    scene.bind(b"the one that was made", "save");
    assert!(matches!(scene.verify(), Err(ArchiveError::NotBound { .. })));
    let ledger = scene.root_dir.path().join("var/sadm/patchadm/ledger/X");
    let text = fs::read_to_string(&ledger).unwrap();
    let (before, _) = text.split_once("\"undo\"").unwrap();
    fs::write(&ledger, format!("{before}\"undo\":null,\"why\":\"committed\"}}\n")).unwrap();
    assert!(matches!(scene.verify(), Err(ArchiveError::NotBound { .. })));
    fs::write(&ledger, "garbage\n").unwrap();
    assert!(matches!(scene.find(None), Err(ArchiveError::Ledger(_))));
}

#[test]
fn a_line_counts_no_longer_when_the_patch_was_applied_anew_by_another_tool() {
    let bytes = undo("100-01", OBJECTS);
    let scene = Scene::new(&[("undo.gz", &bytes)]);
    scene.bind(&bytes, "save");
    let pkginfo = "PKG=X\nPATCHLIST=100-01\nPATCH_INFO_100-01=Installed: later\n";
    fs::write(scene.root_dir.path().join("var/sadm/pkg/X/pkginfo"), pkginfo).unwrap();
    assert!(scene.reason().starts_with("the ledger of the root does not know it"), "{}", scene.reason());
}

#[test]
fn an_archive_of_another_root_is_refused_as_such() {
    let scene = Scene::new(&[("undo.gz", &undo("100-01", OBJECTS))]);
    let archive = scene.find(None).unwrap();
    let error = archive.verify_alone(Some("ffffffffffffffff"), &never).unwrap_err();
    assert!(matches!(&error, ArchiveError::OtherRoot { marker, .. } if marker == MARKER), "{error}");
    assert!(matches!(archive.verify_alone(Some(MARKER), &never), Err(ArchiveError::NotBound { .. })));
    let bytes = undo("100-01", OBJECTS);
    scene.bind(&bytes, "save");
    let bound = scene.find(None).unwrap();
    assert!(
        bound.verify_alone(Some("ffffffffffffffff"), &never).is_ok(),
        "its line says that it is this root's"
    );
}

#[test]
fn a_missing_archive_says_where_it_should_be() {
    let scene = Scene::new(&[]);
    let Err(ArchiveError::Missing { path, remote: false, .. }) = scene.find(None) else { panic!() };
    assert!(path.ends_with("var/sadm/pkg/X/save/100-01"), "{path}");
}

#[test]
fn a_remote_archive_is_found_on_the_host_or_where_it_was_moved_to() {
    let pointer = b"# Backout data stored remotely\nTYPE=filesystem\n\
        FIND_AT=/net/undo/100-01/X/undo.gz\nSTATE=active\n";
    let scene = Scene::new(&[("remote", pointer)]);
    assert!(matches!(scene.find(None), Err(ArchiveError::Outside { .. })) || !scene.root.is_privileged());
    scene.bind(&undo("100-01", OBJECTS), "/net/undo/100-01/X/undo.gz");
    let Err(ArchiveError::Missing { path, remote: true, .. }) = scene.find(None) else { panic!() };
    assert!(path.ends_with("/net/undo/100-01/X/undo.gz"), "{path}");

    scene.put_on_host("net/undo/100-01/X/undo.gz", &undo("100-01", OBJECTS));
    assert!(scene.find(None).unwrap().is_remote());
    assert!(scene.verify().is_ok());

    let Err(ArchiveError::Missing { path, .. }) = scene.find(Some("/mnt")) else { panic!() };
    assert_eq!(path, "/mnt/100-01/X");
    scene.put_on_host("mnt/100-01/X/undo.Z", b"...");
    assert!(scene.find(Some("/mnt")).unwrap().path().ends_with("/mnt/100-01/X/undo.Z"));

    fs::write(scene.save("remote"), b"TYPE=tape\n").unwrap();
    assert!(matches!(scene.find(None), Err(ArchiveError::Damaged { .. })));
}

/// Bytes that nothing compresses.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// A way to read undo data.
type Reading<'r> = &'r dyn Fn(Interrupt<'_>) -> Result<(), ArchiveError>;

#[test]
fn a_signal_ends_the_reading_of_undo_data_and_its_digest_wherever_it_is() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let large = noise(2 << 20);
    let bytes = undo("100-01", &[("/opt/large", &large, b"new")]);
    let scene = Scene::new(&[("undo.gz", &bytes)]);
    scene.bind(&bytes, "save");
    let found = scene.find(None).unwrap();
    let readings: [(&str, Reading<'_>); 5] = [
        ("digest", &|interrupt| found.digest(interrupt).map(drop)),
        ("as written", &|interrupt| found.as_written().unwrap().unwrap().digesting.wait(interrupt)),
        ("bound manifest", &|interrupt| found.bound_manifest(interrupt).map(drop)),
        ("verified", &|interrupt| found.verify_alone(Some(MARKER), interrupt).map(drop)),
        ("verified for adoption", &|interrupt| found.verify_unbound(interrupt).map(drop)),
    ];
    for (name, read) in readings {
        let asked = AtomicUsize::new(0);
        let after = |questions: usize| {
            asked.store(0, Ordering::Relaxed);
            read(&|| (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(15))
        };
        after(usize::MAX).unwrap();
        let questions = asked.load(Ordering::Relaxed);
        assert!(questions > 4, "{name}: {questions}");
        for number in 0..questions {
            let ended = after(number);
            assert!(matches!(ended, Err(ArchiveError::Interrupted(15))), "{name} after {number}: {ended:?}");
        }
    }
}

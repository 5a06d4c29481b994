//! Roots with files that should not exist.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::elf_files::{Sample, debug_data, library};
use crate::operation::libraries::library_state::LibraryState;
use crate::operation::libraries::{LibraryScan, ScanRequest, scan};
use crate::operation::session::RootAndPolicy;
use patchadm_libraries::FactsCache;
use patchadm_rootfs::{Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

/// A moment in the far future, by which every file counts as long unchanged.
const LATER: Timestamp = Timestamp { seconds: 1 << 33, nanoseconds: 0 };

/// Returns a root with an ordinary library.
fn root() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
    put(dir.path(), "usr/lib/libgood.so.1", &library(Some("libgood.so.1"), &[], &[], &[]));
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn scan(root: &Root) -> LibraryScan {
    scan_with(root, &FactsCache::default())
}

fn scan_with(root: &Root, known: &FactsCache) -> LibraryScan {
    ScanRequest { root, skip: &[], scan: &[], known, interrupt: &|| None }.scan().unwrap()
}

fn not_understood(scan: &LibraryScan) -> Vec<String> {
    scan.not_understood.iter().map(|(path, _)| path.to_string()).collect()
}

fn files(scan: &LibraryScan) -> Vec<String> {
    let mut files: Vec<String> = scan.tree.files().map(|(path, _)| path.to_string()).collect();
    files.sort();
    files
}

#[test]
fn damaged_files_are_named_and_stop_nothing() {
    let (dir, root) = root();
    let whole = library(Some("libcut.so.1"), &["libgood.so.1"], &["V1"], &[("libgood.so.1", &["V1"])]);
    put(dir.path(), "usr/lib/libcut.so.1", &whole[..whole.len() - 20]);
    let names: Vec<String> = (0..100_000).map(|number| format!("lib{number}.so")).collect();
    let needed: Vec<&str> = names.iter().map(String::as_str).collect();
    put(dir.path(), "opt/many.so", &Sample { needed: &needed, ..Sample::default() }.bytes());
    let scan = scan(&root);
    assert_eq!(files(&scan), ["/usr/lib/libgood.so.1"]);
    assert_eq!(not_understood(&scan), ["/opt/many.so", "/usr/lib/libcut.so.1"]);
    assert!(scan.not_understood.iter().all(|(_, reason)| !reason.is_empty()));
    assert_eq!(scan.scanned, 1);
}

#[test]
fn a_file_of_ten_gigabytes_costs_what_its_tables_cost() {
    let (dir, root) = root();
    let path = dir.path().join("opt/huge.so");
    put(dir.path(), "opt/huge.so", &library(Some("huge.so"), &[], &[], &[]));
    File::options().write(true).open(&path).unwrap().write_all_at(b"end", 10 << 30).unwrap();
    let other = dir.path().join("opt/huge.txt");
    File::create(&other).unwrap().set_len(10 << 30).unwrap();
    assert_eq!(files(&scan(&root)), ["/opt/huge.so", "/usr/lib/libgood.so.1"]);
}

#[test]
fn an_unreadable_file_or_directory_is_named() {
    let (dir, root) = root();
    put(dir.path(), "opt/closed/liba.so.1", b"\x7fELF");
    put(dir.path(), "opt/libb.so.1", b"\x7fELF");
    fs::set_permissions(dir.path().join("opt/libb.so.1"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(dir.path().join("opt/closed"), Permissions::from_mode(0o000)).unwrap();
    let is_refused = File::open(dir.path().join("opt/libb.so.1")).is_err();
    let scan = scan(&root);
    fs::set_permissions(dir.path().join("opt/closed"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(files(&scan), ["/usr/lib/libgood.so.1"]);
    if is_refused {
        assert_eq!(not_understood(&scan), ["/opt/libb.so.1"]);
        assert_eq!(scan.skipped, [ObjectPath::new(b"/opt/closed").unwrap()]);
    } else {
        // The superuser reads everything, and finds that it is truncated.
        assert_eq!(not_understood(&scan), ["/opt/closed/liba.so.1", "/opt/libb.so.1"]);
    }
}

#[test]
fn a_file_that_never_stands_still_is_named() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (dir, root) = root();
    let path = dir.path().join("usr/lib/libgood.so.1");
    let whole = fs::read(&path).unwrap();
    let (is_over, file) = (AtomicBool::new(false), File::options().write(true).open(&path).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                file.write_all_at(&whole, 0).unwrap();
            }
        });
        // It may see either of the two. In any case it ends, and the facts that it keeps are those of the file.
        for _ in 0..50 {
            let scan = scan(&root);
            assert_eq!(files(&scan).len() + scan.not_understood.len(), 1);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(files(&scan(&root)), ["/usr/lib/libgood.so.1"]);
}

#[test]
fn links_in_a_circle_and_out_of_the_root_lead_nowhere_outside() {
    let (dir, root) = root();
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "libout.so.1", &library(Some("libout.so.1"), &[], &[], &[]));
    symlink("liba.so.1", dir.path().join("usr/lib/libb.so.1")).unwrap();
    symlink("libb.so.1", dir.path().join("usr/lib/liba.so.1")).unwrap();
    symlink(outside.path().join("libout.so.1"), dir.path().join("usr/lib/libout.so.1")).unwrap();
    symlink(outside.path(), dir.path().join("opt")).unwrap();
    let scan = scan(&root);
    assert_eq!(files(&scan), ["/usr/lib/libgood.so.1"]);
    for name in ["/usr/lib/liba.so.1", "/usr/lib/libout.so.1", "/opt/libout.so.1"] {
        assert!(scan.tree.follow(name.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn what_was_split_for_debuggers_is_no_library_and_no_trouble() {
    let (dir, root) = root();
    let whole = Sample { interpreter: Some("/lib/ld.so"), ..Sample::default() };
    put(dir.path(), "usr/lib/debug/p.debug", &debug_data(&whole, true));
    put(dir.path(), "usr/lib/debug/q.debug", &debug_data(&whole, false));
    let scan = scan(&root);
    assert_eq!(not_understood(&scan), [""; 0]);
    assert_eq!(files(&scan), ["/usr/lib/libgood.so.1"]);
}

#[test]
fn a_cache_is_believed_only_while_it_is_whole_and_private_and_the_files_are_the_same() {
    let (dir, root) = root();
    fs::create_dir_all(dir.path().join("var/sadm/patchadm")).unwrap();
    let first = scan(&root);
    let found = files(&first);
    let written = first.into_cache(LATER);
    scan::write_known_files(&root, &written);
    let known = scan::known_files(&root);
    assert_eq!(known, written);
    // Known files are not read again: a file with the same status is taken to be the same.
    assert_eq!(files(&scan_with(&root, &known)), found);
    put(dir.path(), "usr/lib/libgood.so.1", b"no library any more");
    assert_eq!(files(&scan_with(&root, &known)), [""; 0]);

    let cache = dir.path().join("var/sadm/patchadm/elf.cache");
    fs::set_permissions(&cache, Permissions::from_mode(0o666)).unwrap();
    assert!(scan::known_files(&root).is_empty(), "others may write it");
    fs::set_permissions(&cache, Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(&cache).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&cache, bytes).unwrap();
    assert!(scan::known_files(&root).is_empty(), "it is damaged");
    fs::remove_file(&cache).unwrap();
    symlink("/etc/passwd", &cache).unwrap();
    assert!(scan::known_files(&root).is_empty(), "it is a link");
}

#[test]
fn a_signal_ends_a_scan_before_anything_is_changed() {
    let (_dir, root) = root();
    let ground = RootAndPolicy::of(&root).unwrap();
    let failure = LibraryState::default().scan(&ground, LATER, false, &|| Some(15)).err().unwrap();
    assert_eq!(failure.signal(), Some(15), "{failure}");
    assert!(LibraryState::default().scan(&ground, LATER, false, &|| None).is_ok());
}

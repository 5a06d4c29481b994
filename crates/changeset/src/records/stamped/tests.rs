//! A stamp is believed while it fits, and no answer depends on it.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::contents::{lines_at, lines_below, lines_of_paths};
use super::*;
use crate::format::contents_merge::{ContentsEdits, ContentsTrailer, merge};
use patchadm_rootfs::{Digest, Inode};
use patchadm_rootfs::{Root, Timestamp};
use patchadm_svr4::package::PkgInst;

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn set(paths: &[&str]) -> BTreeSet<ObjectPath> {
    paths.iter().map(|path| at(path)).collect()
}

/// Returns a database as a run leaves it, with a stamp that lacks only the identity of its file, and the lists of its
/// links and packages.
fn merged(lines: &str) -> (Vec<u8>, ContentsStamp, (Vec<u8>, Vec<u8>)) {
    let when = chrono::NaiveDateTime::default();
    let trailer = ContentsTrailer { program: "pkgadd".to_owned(), package: PkgInst::new("X").unwrap(), when };
    let mut text = Vec::new();
    let merged = merge(lines.as_bytes(), &mut text, &ContentsEdits::new(), &trailer).unwrap();
    let (links, owners) = (merged.links.into_bytes().unwrap(), merged.owners.into_bytes().unwrap());
    let stamp = ContentsStamp {
        inode: Inode { number: 0, born: None },
        size: text.len() as u64,
        mtime: Timestamp::default(),
        body: merged.body,
        b3: Digest([0; 32]),
        links: links.len() as u64,
        owners: owners.len() as u64,
        packages: 0,
        run: 1,
        by: 1,
        is_listed: true,
        lines: Digest([0; 32]),
    };
    (text, stamp, (links, owners))
}

/// A root whose `contents` has a stamp that fits.
struct Scene {
    dir: tempfile::TempDir,
    root: Root,
}

const LINES: &str = "\
/opt d none 0755 root root X
/opt/a f none 0755 root root 6 542 1577836800 X
/opt/a/n=d s none X
/opt/ab p none 0600 a b X
/opt/b=a l none X
/opt/c=../opt/b l none X
";

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for path in ["var/sadm/install", "var/sadm/patchadm"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let scene = Self { dir, root };
        let (text, stamp, (links, owners)) = merged(LINES);
        fs::write(scene.contents(), text).unwrap();
        let file = File::open(scene.contents()).unwrap();
        let seen = file.metadata().unwrap();
        let mtime =
            Timestamp { seconds: seen.mtime(), nanoseconds: u32::try_from(seen.mtime_nsec()).unwrap() };
        let stamp = ContentsStamp { inode: inode_of(&file).unwrap(), mtime, ..stamp };
        fs::write(scene.stamp(), stamp.write(&links, &owners, b"")).unwrap();
        scene
    }

    fn contents(&self) -> PathBuf {
        self.dir.path().join("var/sadm/install/contents")
    }

    fn stamp(&self) -> PathBuf {
        self.dir.path().join("var/sadm/patchadm/contents.stamp")
    }

    fn fits(&self) -> bool {
        fitting(&RecordView::live(&self.root), &File::open(self.contents()).unwrap()).is_some()
    }

    /// Returns the answers to all queries, as text.
    fn answers(&self) -> String {
        let view = RecordView::live(&self.root);
        let shown =
            |lines: ContentsLines| lines.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let answers = [
            lines_of_paths(&view, &set(&["/opt/a", "/none"])),
            lines_below(&view, &[at("/opt/a"), at("/var")]),
            lines_at(&view, &set(&["/opt/c"]), &[b"/opt/a".to_vec()]),
        ];
        answers.map(|lines| shown(lines.unwrap())).join(" | ")
    }
}

const ANSWERS: &str = "/opt/a /opt/b /opt/c | /opt/a/n | /opt/a /opt/a/n /opt/ab /opt/c";

type Change<'a> = &'a dyn Fn(&Scene);

#[test]
fn whatever_happens_to_the_file_or_to_its_stamp_the_answers_are_the_same() {
    let scene = Scene::new();
    assert!(scene.fits());
    assert_eq!(scene.answers(), ANSWERS);
    let copied = |scene: &Scene| {
        let seen = fs::metadata(scene.contents()).unwrap();
        let copy = scene.contents().with_extension("copy");
        fs::copy(scene.contents(), &copy).unwrap();
        File::options().write(true).open(&copy).unwrap().set_modified(seen.modified().unwrap()).unwrap();
        fs::rename(copy, scene.contents()).unwrap();
    };
    let touched = |scene: &Scene| {
        let file = File::options().write(true).open(scene.contents()).unwrap();
        let seen = file.metadata().unwrap().modified().unwrap();
        file.set_modified(seen + Duration::from_nanos(1)).unwrap();
    };
    let longer = |scene: &Scene| {
        let seen = fs::metadata(scene.contents()).unwrap().modified().unwrap();
        let text = fs::read(scene.contents()).unwrap();
        fs::write(scene.contents(), [&text[..], b"# mine\n"].concat()).unwrap();
        File::options().write(true).open(scene.contents()).unwrap().set_modified(seen).unwrap();
    };
    let edited = |scene: &Scene| {
        let text = fs::read_to_string(scene.contents()).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.reverse();
        fs::write(scene.contents(), lines.join("\n")).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(scene.contents()).unwrap().set_modified(later).unwrap();
    };
    let gone = |scene: &Scene| fs::remove_file(scene.stamp()).unwrap();
    let damaged = |scene: &Scene| {
        let mut stamp = fs::read(scene.stamp()).unwrap();
        stamp[30] ^= 1;
        fs::write(scene.stamp(), stamp).unwrap();
    };
    let cut = |scene: &Scene| {
        let stamp = fs::read(scene.stamp()).unwrap();
        fs::write(scene.stamp(), &stamp[..stamp.len() - 1]).unwrap();
    };
    let no_file = |scene: &Scene| {
        fs::remove_file(scene.stamp()).unwrap();
        fs::create_dir(scene.stamp()).unwrap();
    };
    let empty = |scene: &Scene| fs::write(scene.stamp(), "").unwrap();
    let cases: [(&str, Change<'_>); 9] = [
        ("copied", &copied),
        ("touched", &touched),
        ("longer", &longer),
        ("edited", &edited),
        ("gone", &gone),
        ("damaged", &damaged),
        ("cut", &cut),
        ("no file", &no_file),
        ("empty", &empty),
    ];
    for (name, change) in cases {
        let scene = Scene::new();
        change(&scene);
        assert!(!scene.fits(), "{name}");
        assert_eq!(scene.answers(), ANSWERS, "{name}");
    }
}

#[test]
fn a_stamp_that_leaves_lines_out_does_not_fit() {
    let scene = Scene::new();
    let (contents, (links, owners)) = (File::open(scene.contents()).unwrap(), merged(LINES).2);
    let whole = fitting(&RecordView::live(&scene.root), &contents).unwrap().0;
    for body in [0, whole.body / 2, LINES.find("/opt/ab").unwrap() as u64, whole.body - 1, whole.body + 1] {
        fs::write(scene.stamp(), ContentsStamp { body, ..whole.clone() }.write(&links, &owners, b""))
            .unwrap();
        assert!(!scene.fits(), "{body} of {}", whole.body);
    }
    fs::write(scene.stamp(), whole.write(&links, &owners, b"")).unwrap();
    assert!(scene.fits());
    let counts = super::owners(&RecordView::live(&scene.root), &contents).unwrap();
    assert_eq!(counts.names().collect::<Vec<_>>(), [b"X"]);
}

#[test]
fn a_wanted_line_that_makes_no_sense_is_named_with_its_number() {
    let scene = Scene::new();
    // An edit with size and time restored is detected by the wanted lines.
    let seen = fs::metadata(scene.contents()).unwrap().modified().unwrap();
    let text =
        fs::read_to_string(scene.contents()).unwrap().replace("/opt/ab p none 0600", "/opt/ab ? none 0600");
    fs::write(scene.contents(), text).unwrap();
    File::options().write(true).open(scene.contents()).unwrap().set_modified(seen).unwrap();
    assert!(scene.fits());
    let error = lines_of_paths(&RecordView::live(&scene.root), &set(&["/opt/ab"])).unwrap_err().to_string();
    assert!(error.contains("contents: line 4: "), "{error}");
}

/// Counts what is read.
struct Counting<T>(T, usize);

impl<T: Read> Read for Counting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count;
        Ok(count)
    }
}

impl<T: Seek> Seek for Counting<T> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_few_of_many_lines_cost_a_few_reads() {
    let lines: String = (0..100_000)
        .map(|number| match number % 10 {
            7 => format!("/opt/{number:06}={:06} l none X\n", number - 1),
            _ => format!("/opt/{number:06} f none 0644 root root 1 2 3 X\n"),
        })
        .collect();
    let (text, stamp, links) = merged(&lines);
    let links = links.0;
    let (mut contents, mut listed) = (Counting(Cursor::new(&text), 0), Counting(Cursor::new(&links), 0));
    let paths = set(&["/opt/031416", "/opt/031417", "/opt/none"]);
    let wanted = WantedLines { paths: Some(&paths), with_links: true, prefixes: &[] };
    let lines = search_in(&mut contents, &mut listed, &stamp, wanted).unwrap();
    assert_eq!(lines.into_keys().collect::<BTreeSet<_>>(), set(&["/opt/031416", "/opt/031417"]));
    assert!(contents.1 < 150_000, "{} of {}", contents.1, text.len());
    assert!(listed.1 < 150_000, "{} of {}", listed.1, links.len());
}

proptest! {
    #[test]
    fn what_is_found_by_halving_is_what_a_pass_finds(
        paths in prop::collection::btree_map("/[a-c]{1,2}(/[a-c ]{1,12}){0,2}", 0u8..4, 0..400),
        wanted in prop::collection::btree_set("/[a-c]{1,2}(/[a-c ]{1,12}){0,1}", 0..6),
        below in prop::collection::vec("/[a-c]{1,2}(/[a-c]{1,2})?", 0..3),
    ) {
        let mut sorted: Vec<(ObjectPath, u8)> = paths.iter().map(|(path, kind)| (at(path), *kind)).collect();
        sorted.sort();
        let lines: String = sorted
            .iter()
            .map(|(path, kind)| {
                let path = path.to_string().replace(' ', "\\040");
                match kind {
                    0 => format!("{path}=a l none X\n"),
                    1 => format!("{path}=../b l none X\n"),
                    _ => format!("{path} p none 0600 a b X\n"),
                }
            })
            .collect();
        let (text, stamp, links) = merged(&lines);
        let links = links.0;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        fs::write(dir.path().join("var/sadm/install/contents"), &text).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let view = RecordView::live(&root);

        let wanted: BTreeSet<ObjectPath> = wanted.iter().map(|path| at(path)).collect();
        let asked = WantedLines { paths: Some(&wanted), with_links: true, prefixes: &[] };
        let found = search_in(Cursor::new(&text), Cursor::new(&links), &stamp, asked).unwrap();
        prop_assert_eq!(found, lines_of_paths(&view, &wanted).unwrap());

        let prefixes: Vec<Vec<u8>> = below.iter().map(|path| format!("{path}/").into_bytes()).collect();
        let asked = WantedLines { prefixes: &prefixes, ..WantedLines::default() };
        let found = search_in(Cursor::new(&text), Cursor::new(&links), &stamp, asked).unwrap();
        let below: Vec<ObjectPath> = below.iter().map(|path| at(path)).collect();
        prop_assert_eq!(found, lines_below(&view, &below).unwrap());
    }
}

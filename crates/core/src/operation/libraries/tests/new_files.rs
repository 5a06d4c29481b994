//! The programs and libraries of sources, read with little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::sync::Arc;

use crate::elf_files::{LargeLibrary, Sample};
use crate::operation::libraries::planned::{MemberKey, PlannedFiles};
use patchadm_changeset::stored_file::StoredFile;
use patchadm_changeset::transaction::{ContentSource, FileSink, StreamError, WantedFile};
use patchadm_libraries::LibraryFile;
use patchadm_rootfs::{Digest, Interrupt, Root, never};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// Makes a file.
type MakeFile = fn() -> Box<dyn Read>;

/// A source of one package, whose files are made each time they are read.
struct Source {
    files: Vec<(&'static str, MakeFile)>,
    /// The files of each pass.
    passes: Vec<Vec<&'static str>>,
    /// The files that lie in an undo directory.
    stored: BTreeMap<PackagePath, StoredFile>,
}

impl Source {
    fn of(files: Vec<(&'static str, MakeFile)>) -> Self {
        Self { files, passes: Vec::new(), stored: BTreeMap::new() }
    }
}

impl ContentSource for Source {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        _: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        let mut pass = Vec::new();
        for (name, file) in &self.files {
            if wanted(0, &member(name)) {
                pass.push(*name);
                sink(0, &member(name), &mut *file()).map_err(StreamError::Sink)?;
            }
        }
        self.passes.push(pass);
        Ok(())
    }

    fn stored(&self, _: usize, path: &PackagePath) -> Option<&StoredFile> {
        self.stored.get(path)
    }
}

fn member(name: &str) -> PackagePath {
    PackagePath::new(name.as_bytes()).unwrap()
}

fn small() -> Box<dyn Read> {
    let sample = Sample { soname: Some("libsmall.so.1"), ..Sample::default() };
    Box::new(std::io::Cursor::new(sample.bytes()))
}

fn script() -> Box<dyn Read> {
    Box::new(&b"#!/bin/sh\nexit 0\n"[..])
}

fn cut_off() -> Box<dyn Read> {
    Box::new(&b"\x7fELF\x02\x01\x01"[..])
}

fn large() -> Box<dyn Read> {
    Box::new(LargeLibrary::new(64))
}

fn large_with_headers_far_away() -> Box<dyn Read> {
    Box::new(LargeLibrary::new(90 << 20))
}

fn read(source: &mut Source) -> PlannedFiles {
    let nowhere = tempfile::tempdir().unwrap();
    read_in(&Root::open(nowhere.path()).unwrap(), source)
}

fn read_in(root: &Root, source: &mut Source) -> PlannedFiles {
    let wanted: BTreeSet<MemberKey> = source.files.iter().map(|(name, _)| (0, member(name))).collect();
    PlannedFiles::read((root, &never), source, &wanted)
}

#[test]
fn a_file_in_an_undo_directory_is_read_there_and_not_streamed() {
    let place = tempfile::tempdir().unwrap();
    let undo = place.path().join("undo/17-00000000000000ab");
    fs::create_dir_all(&undo).unwrap();
    let sample = Sample { soname: Some("libsmall.so.1"), ..Sample::default() };
    fs::write(undo.join("0"), sample.bytes()).unwrap();
    fs::write(undo.join("1"), "#!/bin/sh\n").unwrap();
    let directory = ObjectPath::new(b"/undo/17-00000000000000ab").unwrap();
    let stored = |name: &str| StoredFile { directory: directory.clone(), name: name.to_owned() };
    let mut source = Source::of(vec![("a", small), ("b", script), ("c", small), ("gone", small)]);
    let places = [("a", "0"), ("b", "1"), ("gone", "2")];
    source.stored = places.iter().map(|(path, name)| (member(path), stored(name))).collect();
    let files = read_in(&Root::open(place.path()).unwrap(), &mut source);
    assert_eq!(source.passes, [["c"]], "the others lie where they can be read in parts");
    let [a, c] = ["a", "c"].map(|name| files.get(0, &member(name)).unwrap().file.clone().unwrap());
    assert_eq!(a.facts, c.facts);
    let symbols = |file: &Arc<LibraryFile>| files.symbols()[&Arc::as_ptr(file)].clone();
    assert_eq!(symbols(&a), symbols(&c));
    assert!(files.get(0, &member("b")).unwrap().file.is_none(), "it is not a program");
    assert!(files.get(0, &member("gone")).is_none(), "what cannot be read is not known");
}

#[test]
fn one_pass_is_enough_for_what_is_small_and_for_what_is_no_program() {
    let mut source = Source::of(vec![("a", small), ("b", script), ("c", cut_off)]);
    let files = read(&mut source);
    assert_eq!(source.passes, [["a", "b", "c"]]);
    let a = files.get(0, &member("a")).unwrap();
    let sample = Sample { soname: Some("libsmall.so.1"), ..Sample::default() };
    assert_eq!(a.file.as_ref().unwrap().facts.soname.as_deref(), Some("libsmall.so.1"));
    assert_eq!(a.b3, Some(Digest::of(&sample.bytes())));
    for other in ["b", "c"] {
        assert!(files.get(0, &member(other)).unwrap().file.is_none(), "{other}");
    }
}

#[test]
fn a_second_pass_reads_what_lies_in_the_middle_of_a_large_file() {
    let mut source = Source::of(vec![("a", small), ("large", large)]);
    let files = read(&mut source);
    assert_eq!(source.passes, [vec!["a", "large"], vec!["large"]]);
    let file = files.get(0, &member("large")).unwrap().file.clone().unwrap();
    assert_eq!(file.facts.soname.as_deref(), Some("liblarge.so.1"));
    assert_eq!(file.facts.needed, ["libc.so.6"]);
    let symbols = &files.symbols()[&Arc::as_ptr(&file)];
    assert!(symbols.exported.contains("large") && symbols.undefined.contains("small"));
    assert_eq!(files.symbols().len(), 2, "those of the first pass are gone");
}

#[test]
fn what_two_passes_do_not_tell_is_not_known() {
    let mut source = Source::of(vec![("far", large_with_headers_far_away)]);
    let files = read(&mut source);
    assert_eq!(source.passes.len(), 2);
    assert!(files.get(0, &member("far")).unwrap().file.is_none());
}

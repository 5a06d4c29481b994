//! Exported undo data: a tar archive with a table and the undo archives. Its bytes do not depend on time, host or user.
//! A file is not trusted: the caller compares it with the ledger of the root.
//!
//! ```text
//! patchadm.undo-export         JSON, one object per line: the version and the marker of the root; then, for each
//!                              archive, its package, its name and its line of the ledger
//! <patch>/<package>/undo.gz    each archive, as it was in the save directory, in the same order
//! ```

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, Entries, Entry, EntryType, Header};

use super::ledger::{Ledger, LedgerLine};
use patchadm_changeset::format::foreign_json::limited;
use patchadm_changeset::plan::{ARCHIVE_NAMES, UndoFormat};
use patchadm_changeset::records::{parse_root_id, root_id_text};
use patchadm_rootfs::{Digest, Hashing};
use patchadm_svr4::package::{PkgInst, rule};

const TABLE: &str = "patchadm.undo-export";
const VERSION: u32 = 1;
const LARGEST_TABLE: u64 = 16 << 20;
const LONGEST_NAME: u64 = 4096;
/// Fields of a line.
const MOST_FIELDS: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedArchive {
    pub package: PkgInst,
    pub format: UndoFormat,
    /// With patch, digest and size.
    pub line: LedgerLine,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTable {
    pub root: String,
    /// In the order of the file.
    pub archives: Vec<ExportedArchive>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundArchive {
    /// Offset in the file.
    pub from: u64,
    pub b3: Digest,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("it is not undo data from `undo-data export`: {0}")]
    NotExported(String),
    #[error("it is cut short: {0}")]
    CutShort(String),
    #[error(transparent)]
    Io(io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHead {
    undo_export: u32,
    root: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenArchive {
    package: String,
    name: String,
    line: serde_json::Value,
}

impl ExportedArchive {
    fn expected(&self) -> Option<(Digest, u64)> {
        self.line.archive()
    }

    fn path(&self) -> String {
        format!("{}/{}/undo{}", self.line.patch, self.package, self.format.suffix())
    }
}

impl ExportTable {
    fn write(&self) -> Vec<u8> {
        let head = WrittenHead { undo_export: VERSION, root: self.root.clone() };
        // Strings, numbers and maps with string keys: serialising these cannot fail.
        let mut text = serde_json::to_vec(&head).unwrap_or_default();
        text.push(b'\n');
        for archive in &self.archives {
            let line = Ledger::of_line(archive.line.clone()).write();
            let written = WrittenArchive {
                package: archive.package.to_string(),
                name: format!("undo{}", archive.format.suffix()),
                line: serde_json::from_slice(&line).unwrap_or_default(),
            };
            text.extend(serde_json::to_vec(&written).unwrap_or_default());
            text.push(b'\n');
        }
        text
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = text.strip_suffix(b"\n").ok_or("its table has no end")?;
        let mut lines = text.split(|&byte| byte == b'\n');
        let head = lines.next().unwrap_or_default();
        let head: WrittenHead = serde_json::from_slice(head).map_err(|error| error.to_string())?;
        if head.undo_export != VERSION {
            return Err(format!("it has version {}, and this program reads {VERSION}", head.undo_export));
        }
        if parse_root_id(&root_id_text(&head.root)).is_none() {
            return Err("its `root` is not a marker".to_owned());
        }
        let (mut archives, mut named): (Vec<ExportedArchive>, _) = (Vec::new(), BTreeSet::new());
        for (at, line) in lines.enumerate() {
            let archive = Self::archive(line).map_err(|reason| format!("line {}: {reason}", at + 2))?;
            let is_new = named.insert((archive.package.clone(), archive.line.patch.clone()));
            if !rule::holds("export.once", is_new) {
                return Err(format!("line {}: it names one archive twice", at + 2));
            }
            archives.push(archive);
        }
        Ok(Self { root: head.root, archives })
    }

    fn archive(line: &[u8]) -> Result<ExportedArchive, String> {
        let line = limited(line, MOST_FIELDS).map_err(|error| error.to_string())?;
        let written: WrittenArchive = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let package = PkgInst::new(&written.package).map_err(|error| error.to_string())?;
        let known = ARCHIVE_NAMES.iter().find(|(name, _)| *name == written.name);
        let format = known.map(|(_, format)| *format).filter(|format| *format != UndoFormat::Files);
        let is_name = written.name.starts_with("undo");
        let format = format.filter(|_| is_name).ok_or("`name` is not a valid name of an undo archive")?;
        let mut text = serde_json::to_vec(&written.line).map_err(|error| error.to_string())?;
        text.push(b'\n');
        let ledger = Ledger::parse(&text).map_err(|error| error.to_string())?;
        let line = ledger.lines().first().cloned().ok_or("it has no line of a ledger")?;
        if !rule::holds("export.line", line.archive().is_some()) {
            return Err("its line of the ledger names no undo archive".to_owned());
        }
        Ok(ExportedArchive { package, format, line })
    }
}

pub struct ExportWriter<W: Write>(Builder<W>);

impl<W: Write> ExportWriter<W> {
    pub fn begin(out: W, table: &ExportTable) -> io::Result<Self> {
        let mut writer = Self(Builder::new(out));
        let text = table.write();
        writer.put(TABLE, text.len() as u64, &text[..])?;
        Ok(writer)
    }

    /// Fails if the bytes do not agree with the line.
    pub fn add(&mut self, archive: &ExportedArchive, content: impl Read) -> io::Result<()> {
        let Some((b3, size)) = archive.expected() else { return Err(other_bytes()) };
        let mut hashing = Hashing::new(content.take(size));
        self.put(&archive.path(), size, &mut hashing)?;
        if hashing.finish().1 == b3 { Ok(()) } else { Err(other_bytes()) }
    }

    pub fn finish(self) -> io::Result<W> {
        self.0.into_inner()
    }

    fn put(&mut self, path: &str, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        self.0.append_data(&mut header, path, content)
    }
}

fn other_bytes() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the archive is not the one that its line in the ledger names")
}

/// Reads to the end. `wanted` gets the table before any archive is read, and tells for each whether it is: the others are
/// skipped. Digests are not compared.
pub fn read_export<E: From<ExportError>>(
    input: impl Read + Seek,
    wanted: impl FnOnce(&ExportTable) -> Result<Vec<bool>, E>,
) -> Result<(ExportTable, Vec<Option<FoundArchive>>), E> {
    let no_export = |reason: &str| ExportError::NotExported(reason.to_owned());
    let has_ended = Rc::new(Cell::new(false));
    let mut archive = Archive::new(EndNotingInput { input, has_ended: has_ended.clone() });
    let mut entries = archive.entries_with_seek().map_err(|error| of_input(error, false))?.raw(true);
    let mut next = || next_member(&mut entries);
    let first = next().map_err(|error| of_input(error, false))?;
    let of_input = |error| of_input(error, has_ended.get());
    let (name, first) = first.ok_or_else(|| no_export("it is empty"))?;
    if name != TABLE.as_bytes() || first.size() > LARGEST_TABLE {
        return Err(no_export("it does not begin with a table").into());
    }
    let announced = first.size();
    let mut text = Vec::new();
    first.take(LARGEST_TABLE).read_to_end(&mut text).map_err(of_input)?;
    if (text.len() as u64) < announced {
        return Err(ExportError::CutShort("it ends in its table".to_owned()).into());
    }
    let table = ExportTable::parse(&text).map_err(ExportError::NotExported)?;
    let (mut wanted, mut found) = (wanted(&table)?.into_iter(), Vec::new());
    for expected in &table.archives {
        let path = expected.path();
        let Some((name, entry)) = next().map_err(of_input)? else {
            return Err(ExportError::CutShort(format!("it ends before {path}")).into());
        };
        let size = expected.expected().map(|(_, size)| size);
        let is_it = name == path.as_bytes() && entry.header().entry_type() == EntryType::Regular;
        if !rule::holds("export.archive", is_it && Some(entry.size()) == size) {
            return Err(ExportError::NotExported(format!("{path} is not where its table says")).into());
        }
        if wanted.next() != Some(true) {
            found.push(None);
            continue;
        }
        let from = entry.raw_file_position();
        let mut hashing = Hashing::new(entry);
        let count = io::copy(&mut hashing, &mut io::sink()).map_err(of_input)?;
        if Some(count) != size {
            return Err(ExportError::CutShort(format!("it ends in {path}")).into());
        }
        found.push(Some(FoundArchive { from, b3: hashing.finish().1 }));
    }
    match next().map_err(of_input)? {
        None => Ok((table, found)),
        Some(_) => Err(no_export("it has more than its table says").into()),
    }
}

/// Returns the next member with its name. The tar crate reads long names whole, so they are read here, with a limit;
/// exports have no other records.
fn next_member<'a, R: Read>(entries: &mut Entries<'a, R>) -> io::Result<Option<(Vec<u8>, Entry<'a, R>)>> {
    let Some(mut entry) = entries.next().transpose()? else { return Ok(None) };
    if entry.header().entry_type() != EntryType::GNULongName {
        return Ok(Some((entry.header().path_bytes().into_owned(), entry)));
    }
    if entry.size() > LONGEST_NAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a name is too long"));
    }
    let mut name = Vec::new();
    entry.read_to_end(&mut name)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(entries.next().transpose()?.map(|entry| (name, entry)))
}

/// Notes the end of the input: the tar reader does not tell a premature end from bytes that it does not understand.
struct EndNotingInput<R> {
    input: R,
    has_ended: Rc<Cell<bool>>,
}

impl<R: Read> Read for EndNotingInput<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.has_ended.set(true);
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for EndNotingInput<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

/// Distinguishes a truncated archive, bytes that are no tar archive, and a read error.
fn of_input(error: io::Error, has_ended: bool) -> ExportError {
    if error.raw_os_error().is_some() {
        ExportError::Io(error)
    } else if has_ended {
        ExportError::CutShort("it ends between two archives".to_owned())
    } else {
        // The reader's message contains bytes of the file.
        ExportError::NotExported("it is not a tar archive".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::ledger::{LedgerUndo, UndoLocation};

    const ROOT: &str = "0123456789abcdef";

    fn archive(patch: &str, package: &str, bytes: &[u8]) -> ExportedArchive {
        let undo = LedgerUndo::Kept {
            b3: Digest::of(bytes),
            size: bytes.len() as u64,
            files: None,
            place: UndoLocation::Save,
            is_classic: false,
        };
        let line = LedgerLine {
            run: "17-9c1d6f20aa31b7e4".to_owned(),
            patch: patch.to_owned(),
            info: Digest([1; 32]),
            undo,
            scripts: [].into(),
            snapshot: None,
            manifest: None,
            applied_by: None,
            is_adopted: false,
            native: None,
        };
        ExportedArchive { package: PkgInst::new(package).unwrap(), format: UndoFormat::Gzip, line }
    }

    fn file(archives: &[(&str, &str, Vec<u8>)]) -> (Vec<u8>, ExportTable) {
        let table = ExportTable {
            root: ROOT.to_owned(),
            archives: archives.iter().map(|(patch, package, bytes)| archive(patch, package, bytes)).collect(),
        };
        let mut writer = ExportWriter::begin(Vec::new(), &table).unwrap();
        for (archive, (_, _, bytes)) in table.archives.iter().zip(archives) {
            writer.add(archive, &bytes[..]).unwrap();
        }
        (writer.finish().unwrap(), table)
    }

    fn two() -> [(&'static str, &'static str, Vec<u8>); 2] {
        [("100-01", "ACMEweb", b"undo of the first".repeat(100)), ("100-01", "ACMEdb", Vec::new())]
    }

    fn read(bytes: &[u8]) -> Result<(ExportTable, Vec<FoundArchive>), ExportError> {
        let all = |table: &ExportTable| Ok::<_, ExportError>(vec![true; table.archives.len()]);
        let (table, found) = read_export(io::Cursor::new(bytes), all)?;
        Ok((table, found.into_iter().map(Option::unwrap).collect()))
    }

    /// Counts the bytes that are read.
    struct Counting<R>(R, Rc<Cell<u64>>);

    impl<R: Read> Read for Counting<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.set(self.1.get() + count as u64);
            Ok(count)
        }
    }

    impl<R: Seek> Seek for Counting<R> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn an_archive_that_nobody_wants_is_not_read() {
        let content = vec![7; 1 << 20];
        let (bytes, _) = file(&[("100-01", "ACMEweb", content), ("100-01", "ACMEdb", b"undo".to_vec())]);
        let count = Rc::new(Cell::new(0));
        let input = Counting(io::Cursor::new(&bytes), count.clone());
        let (_, found) = read_export(input, |_| Ok::<_, ExportError>(vec![false, true])).unwrap();
        assert_eq!(found[0], None);
        assert_eq!(found[1].unwrap().b3, Digest::of(b"undo"));
        assert!(count.get() < 1 << 16, "{} bytes", count.get());
        let count = Rc::new(Cell::new(0));
        let input = Counting(io::Cursor::new(&bytes), count.clone());
        let refused = read_export(input, |_| Err(ExportError::CutShort("refused".to_owned())));
        assert!(matches!(refused, Err(ExportError::CutShort(reason)) if reason == "refused"));
        assert!(count.get() < 1 << 16, "{} bytes", count.get());
    }

    #[test]
    fn what_is_written_is_found_again_where_the_reader_says() {
        let archives = two();
        let (bytes, table) = file(&archives);
        let (read, found) = read(&bytes).unwrap();
        assert_eq!(read, table);
        for ((_, _, content), found) in archives.iter().zip(found) {
            let from = usize::try_from(found.from).unwrap();
            assert_eq!(&bytes[from..from + content.len()], content);
            assert_eq!(found.b3, Digest::of(content));
        }
    }

    #[test]
    fn other_bytes_than_those_of_the_ledger_are_not_exported() {
        let (_, table) = file(&two());
        for bytes in [&b"undo of the second"[..], &b"undo of the first".repeat(99), b""] {
            let mut writer = ExportWriter::begin(Vec::new(), &table).unwrap();
            assert!(writer.add(&table.archives[0], bytes).is_err());
        }
    }

    #[test]
    fn a_file_that_is_cut_before_its_end_is_named_so() {
        let (bytes, _) = file(&two());
        let end = bytes.len() - 1024;
        for length in 0..end {
            let read = read(&bytes[..length]);
            assert!(read.is_err(), "{length} of {}", bytes.len());
            let is_cut = matches!(read, Err(ExportError::CutShort(_)));
            assert!(is_cut || length < 2048, "{length}: {read:?}");
        }
    }

    #[test]
    fn a_line_with_more_fields_than_any_export_has_is_refused_before_it_is_parsed() {
        let (_, table) = file(&two());
        let good = String::from_utf8(table.write()).unwrap();
        let many = format!("\"line\":[{}],\"other\":", "{},".repeat(MOST_FIELDS));
        let reason = ExportTable::parse(good.replace("\"line\":", &many).as_bytes()).unwrap_err();
        assert_eq!(reason, "line 2: it has more than 100000 fields and entries");
    }

    #[test]
    fn a_table_that_no_export_writes_is_refused() {
        let (_, table) = file(&two());
        let good = String::from_utf8(table.write()).unwrap();
        assert_eq!(ExportTable::parse(good.as_bytes()).as_ref(), Ok(&table));
        for (from, to) in [
            ("\"undo_export\":1", "\"undo_export\":2"),
            (ROOT, "../etc"),
            ("undo.gz", "undo.files"),
            ("undo.gz", "obsolete.gz"),
            ("undo.gz", "../undo.gz"),
            ("ACMEdb", "ACMEweb"),
            ("ACMEweb", "../ACMEweb"),
            ("\"run\":\"17-", "\"run\":\"x-"),
            ("\"where\":\"save\"", "\"where\":\"save\",\"more\":1"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(ExportTable::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let none = "\"undo\":null,\"why\":\"committed\"";
        let undo = good.lines().nth(1).unwrap();
        let b3 = format!("\"undo\":\"b3:{}\"", Digest::of(&two()[0].2));
        let bad = good.replace(
            undo,
            &undo.replace(&b3, none).replace(",\"size\":1700", "").replace(",\"where\":\"save\"", ""),
        );
        assert_ne!(bad, good);
        assert!(ExportTable::parse(bad.as_bytes()).is_err(), "{bad}");
    }

    #[test]
    fn nothing_is_told_of_the_bytes_of_another_file() {
        let other = "root:secret:0:0:root:/root:/bin/bash\n".repeat(50);
        let refused = read(other.as_bytes()).unwrap_err().to_string();
        assert!(!refused.contains("secret") && refused.lines().count() == 1, "{refused}");
    }

    #[test]
    fn a_long_name_is_read_up_to_a_limit() {
        let patch = format!("{}-01", "1".repeat(120));
        let (bytes, table) = file(&[(patch.as_str(), "ACMEweb", b"undo".to_vec())]);
        assert_eq!(read(&bytes).unwrap().0, table);
        for record in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let mut header = Header::new_gnu();
            header.set_entry_type(record);
            header.set_path(TABLE).unwrap();
            header.set_size(1 << 40);
            header.set_cksum();
            let count = Rc::new(Cell::new(0_u64));
            let endless = CountingInput { start: header.as_bytes().to_vec(), count: count.clone() };
            assert!(
                matches!(
                    read_export(endless, |_| Ok::<_, ExportError>(Vec::new())),
                    Err(ExportError::NotExported(_))
                ),
                "{record:?}"
            );
            assert!(count.get() < 1 << 20, "{record:?}: {} bytes", count.get());
        }
    }

    impl Seek for CountingInput {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Input that starts with `start` and continues with ones, without end.
    struct CountingInput {
        start: Vec<u8>,
        count: Rc<Cell<u64>>,
    }

    impl Read for CountingInput {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let at = usize::try_from(self.count.get()).unwrap();
            for (place, byte) in buffer.iter_mut().enumerate() {
                *byte = self.start.get(at + place).copied().unwrap_or(1);
            }
            self.count.set(self.count.get() + buffer.len() as u64);
            Ok(buffer.len())
        }
    }

    #[test]
    fn files_that_are_not_in_the_order_of_the_table_are_refused() {
        let (_, table) = file(&two());
        let other = ExportTable { archives: table.archives.iter().rev().cloned().collect(), ..table.clone() };
        let mut writer = ExportWriter::begin(Vec::new(), &other).unwrap();
        for (archive, (_, _, bytes)) in table.archives.iter().zip(two()) {
            writer.add(archive, &bytes[..]).unwrap();
        }
        let refused = read(&writer.finish().unwrap());
        assert!(matches!(refused, Err(ExportError::NotExported(_))), "{refused:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
            let _ = ExportTable::parse(&bytes);
        }
    }
}

//! The differences between two results, except those that a recipe allows.
//!
//! Packages and tar archives are compared by object, other files as a whole. Times are ignored.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use patchadm_bulk_values::pattern::ShellPattern;
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_rootfs::{INTERRUPTED, Interrupt};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{Ftype, PackagePath};
use serde::Serialize;

use crate::package_limits::{MOST_OBJECTS, open_package};
use crate::tree_copy::each_part;

const STREAM: &[u8] = b"# PaCkAgE DaTaStReAm";
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The block size of tar, and the offset of its magic.
const BLOCK: usize = 512;
const MAGIC: std::ops::Range<usize> = 257..262;

/// The longest name, and the largest pax header, in bytes: many times those of the tools that write archives.
const LONGEST_NAME: u64 = 1 << 16;
const LARGEST_HEADER: u64 = 1 << 20;

/// Limits of the bytes that are read to compare two results. `MOST_READ` takes some minutes of decompressing,
/// `LEAST_READ` some seconds. Between them, the limit is a multiple of the stored size, because a build that
/// compresses nothing but zeros gets a thousand times as much. Differing contents are read twice, from both results.
const MOST_READ: u64 = 32 << 30;
const LEAST_READ: u64 = 1 << 30;
const PER_STORED_BYTE: u64 = 64;

/// The maximum size of a content whose lines may vary. One is held at a time.
const LARGEST_TEXT: u64 = 32 << 20;

/// How many first bytes of a content are searched for the difference. The searched bytes of [`MOST_TOLD`] contents of
/// two files are held.
const LARGEST_TOLD: u64 = 4 << 20;

/// The maximum size of the names and attributes of all objects of a file, which are held: 128 bytes for each.
const LARGEST_NAMES: usize = 64 << 20;

/// Limits of a report: objects, and characters per line.
const MOST_TOLD: usize = 20;
const LONGEST_LINE: usize = 80;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectDifference {
    pub file: String,
    /// `None` for the file as a whole.
    pub object: Option<String>,
    pub what: String,
}

impl std::fmt::Display for ObjectDifference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let object = self.object.as_deref().map(|object| format!(": {object}")).unwrap_or_default();
        write!(out, "{}{object}: {}", self.file, self.what)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct ComparedFiles<'a> {
    pub directory: &'a Path,
    pub names: &'a [String],
}

/// A recipe's rule for contents that may vary: `PATH` for all of it, `PATH#PATTERN` for matching lines.
struct VaryingContent {
    path: ShellPattern,
    lines: Option<ShellPattern>,
}

impl VaryingContent {
    /// Returns the rules for an object.
    fn of_object<'r>(
        name: &str,
        rules: &'r [Self],
        budget: &ComparisonBudget<'_>,
    ) -> io::Result<Vec<&'r Self>> {
        let mut found = Vec::new();
        for rule in rules {
            if budget.matches(&rule.path, name.trim_start_matches('/'))? {
                found.push(rule);
            }
        }
        Ok(found)
    }

    fn parse(text: &str) -> Option<Self> {
        let (path, lines) = text.split_once('#').map_or((text, None), |(path, lines)| (path, Some(lines)));
        let lines = match lines {
            Some(lines) => Some(ShellPattern::parse(lines).ok()?),
            None => None,
        };
        Some(Self { path: ShellPattern::parse(path.trim_start_matches('/')).ok()?, lines })
    }
}

type ObjectFacts = (String, Blake3Digest);

#[derive(Clone, Copy)]
pub struct ComparisonLimits<'a> {
    pub interrupt: Interrupt<'a>,
    pub longest: Option<Duration>,
}

/// The reason why a comparison ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ComparisonEnd {
    Interrupted,
    Bytes(u64),
    Time(Duration),
}

impl std::fmt::Display for ComparisonEnd {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interrupted => out.write_str(INTERRUPTED),
            Self::Bytes(most) => write!(out, "more than {most} bytes would be decompressed"),
            Self::Time(longest) => write!(out, "it takes more than {} s", longest.as_secs()),
        }
    }
}

/// The bytes and the time that a comparison has left.
struct ComparisonBudget<'a> {
    limits: ComparisonLimits<'a>,
    began: Instant,
    most: u64,
    left: Cell<u64>,
    /// Errors pass code that keeps their words only.
    end: Cell<Option<ComparisonEnd>>,
}

impl<'a> ComparisonBudget<'a> {
    fn of(stored: u64, limits: ComparisonLimits<'a>) -> Self {
        Self::up_to(stored.saturating_mul(PER_STORED_BYTE).clamp(LEAST_READ, MOST_READ), limits)
    }

    fn up_to(most: u64, limits: ComparisonLimits<'a>) -> Self {
        Self { limits, began: Instant::now(), most, left: Cell::new(most), end: Cell::new(None) }
    }

    fn must_go_on(&self) -> io::Result<()> {
        if (self.limits.interrupt)().is_some() {
            return Err(self.ended_by(ComparisonEnd::Interrupted));
        }
        match self.limits.longest {
            Some(longest) if self.began.elapsed() > longest => {
                Err(self.ended_by(ComparisonEnd::Time(longest)))
            }
            _ => Ok(()),
        }
    }

    fn spend(&self, bytes: u64) -> io::Result<()> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => self.left.set(left),
            None => return Err(self.ended_by(ComparisonEnd::Bytes(self.most))),
        }
        self.must_go_on()
    }

    fn matches(&self, pattern: &ShellPattern, text: &str) -> io::Result<bool> {
        pattern.matches_while(text, &mut || self.must_go_on())
    }

    fn ended_by(&self, end: ComparisonEnd) -> io::Error {
        self.end.set(Some(end));
        io::Error::other(end.to_string())
    }
}

/// Compares the files of two results. A file for which the limits do not suffice differs, and those after it are not
/// compared. Fails once a signal came.
pub fn differences(
    one: &ComparedFiles<'_>,
    other: &ComparedFiles<'_>,
    varies: &[String],
    limits: ComparisonLimits<'_>,
) -> io::Result<Vec<ObjectDifference>> {
    let stored = |files: &ComparedFiles<'_>| {
        let sizes = files.names.iter().map(|name| std::fs::metadata(files.directory.join(name)));
        sizes.map(|seen| seen.map_or(0, |seen| seen.len())).fold(0, u64::saturating_add)
    };
    let budget = ComparisonBudget::of(stored(one).saturating_add(stored(other)), limits);
    differences_within((one, other), varies, &budget)
}

fn differences_within(
    (one, other): (&ComparedFiles<'_>, &ComparedFiles<'_>),
    varies: &[String],
    budget: &ComparisonBudget<'_>,
) -> io::Result<Vec<ObjectDifference>> {
    let rules: Vec<VaryingContent> = varies.iter().filter_map(|text| VaryingContent::parse(text)).collect();
    let names: BTreeSet<&String> = one.names.iter().chain(other.names).collect();
    let mut found = Vec::new();
    for name in names {
        let whole = |what: &str| ObjectDifference { file: name.clone(), object: None, what: what.to_owned() };
        if !one.names.contains(name) {
            found.push(whole("it is new"));
        } else if !other.names.contains(name) {
            found.push(whole("it is gone"));
        } else {
            let compared =
                of_file(name, (&one.directory.join(name), &other.directory.join(name)), &rules, budget);
            match (compared, budget.end.get()) {
                (Ok(of_file), _) => found.extend(of_file),
                (Err(_), Some(end @ (ComparisonEnd::Bytes(_) | ComparisonEnd::Time(_)))) => {
                    found.push(whole(&format!("it was not compared: {end}")));
                    break;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
    Ok(found)
}

fn of_file(
    file: &str,
    (one, other): (&Path, &Path),
    rules: &[VaryingContent],
    budget: &ComparisonBudget<'_>,
) -> io::Result<Vec<ObjectDifference>> {
    if whole_digest(one, budget)? == whole_digest(other, budget)? {
        return Ok(Vec::new());
    }
    let (before, after) = (objects_of(one, rules, budget)?, objects_of(other, rules, budget)?);
    let mut found = Vec::new();
    let mut contents = BTreeSet::new();
    let difference = |object: &str, what: String| ObjectDifference {
        file: file.to_owned(),
        object: Some(object.to_owned()).filter(|object| !object.is_empty()),
        what,
    };
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        match (before.get(name), after.get(name)) {
            (Some(_), None) => found.push(difference(name, "it is gone".to_owned())),
            (None, Some(_)) => found.push(difference(name, "it is new".to_owned())),
            (Some((was, _)), Some((is, _))) if was != is => {
                found.push(difference(name, format!("{was} became {is}")));
            }
            (Some((_, was)), Some((_, is))) if was != is => _ = contents.insert(name.clone()),
            _ => {}
        }
    }
    let told_contents: BTreeSet<String> = contents.into_iter().take(MOST_TOLD).collect();
    let contents = |file| contents_of(file, &told_contents, rules, budget);
    let (was, is) = (contents(one)?, contents(other)?);
    for name in &told_contents {
        let none = FirstBytes::default();
        let (was, is) = (was.get(name).unwrap_or(&none), is.get(name).unwrap_or(&none));
        found.push(difference(name, was.difference_from(is)));
    }
    Ok(found)
}

/// The first bytes of a content, without lines that vary.
#[derive(Default)]
struct FirstBytes {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl FirstBytes {
    fn read(
        name: &str,
        content: &mut dyn Read,
        rules: &[VaryingContent],
        budget: &ComparisonBudget<'_>,
    ) -> io::Result<Self> {
        let mut bytes = Vec::new();
        content.take(LARGEST_TOLD + 1).read_to_end(&mut bytes)?;
        let is_cut = bytes.len() as u64 > LARGEST_TOLD;
        if is_cut && let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n') {
            bytes.truncate(newline + 1);
        }
        let rules = VaryingContent::of_object(name, rules, budget)?;
        Ok(Self { bytes: without_varying(&bytes, &rules, budget)?, is_cut })
    }

    fn difference_from(&self, other: &Self) -> String {
        let differs = self.bytes.iter().zip(&other.bytes).any(|(one, other)| one != other);
        if !differs && (self.is_cut || other.is_cut) {
            return format!("it differs after its first {LARGEST_TOLD} bytes");
        }
        first_difference(&self.bytes, &other.bytes)
    }
}

/// Counts nothing: only compressed bytes are read.
fn whole_digest(file: &Path, budget: &ComparisonBudget<'_>) -> io::Result<Blake3Digest> {
    let mut hasher = blake3::Hasher::new();
    let failed = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    each_part(&File::open(file)?, failed, |bytes| {
        hasher.update(bytes);
        budget.must_go_on()
    })?;
    Ok(Blake3Digest::from_bytes(*hasher.finalize().as_bytes()))
}

/// Removes varying lines. Returns nothing if all of the content varies.
fn without_varying(
    content: &[u8],
    rules: &[&VaryingContent],
    budget: &ComparisonBudget<'_>,
) -> io::Result<Vec<u8>> {
    if rules.iter().any(|rule| rule.lines.is_none()) {
        return Ok(Vec::new());
    }
    let varies = |line: &[u8]| -> io::Result<bool> {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches('\n');
        for lines in rules.iter().filter_map(|rule| rule.lines.as_ref()) {
            if budget.matches(lines, line)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mut kept = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        budget.must_go_on()?;
        if !varies(line)? {
            kept.extend_from_slice(line);
        }
    }
    Ok(kept)
}

/// The objects of a file by name.
#[derive(Default)]
struct HeldObjects {
    objects: BTreeMap<String, ObjectFacts>,
    bytes: usize,
}

impl HeldObjects {
    fn add(&mut self, name: &str, facts: ObjectFacts) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(name.len()).saturating_add(facts.0.len());
        self.objects.insert(name.to_owned(), facts);
        if self.objects.len() > MOST_OBJECTS || self.bytes > LARGEST_NAMES {
            return Err(io::Error::other(format!(
                "it has more than {MOST_OBJECTS} objects, or its names are longer than {LARGEST_NAMES} bytes in total"
            )));
        }
        Ok(())
    }
}

fn objects_of(
    file: &Path,
    rules: &[VaryingContent],
    budget: &ComparisonBudget<'_>,
) -> io::Result<BTreeMap<String, ObjectFacts>> {
    let mut held = HeldObjects::default();
    each_object(file, budget, &mut |name, attributes, content| {
        // Objects without content spend nothing.
        budget.must_go_on()?;
        let meant = VaryingContent::of_object(name, rules, budget)?;
        let mut hasher = blake3::Hasher::new();
        if !meant.is_empty() {
            let mut text = Vec::new();
            content.take(LARGEST_TEXT).read_to_end(&mut text)?;
            hasher.update(&without_varying(&text, &meant, budget)?);
        }
        // A content too large to filter by line counts as a whole.
        io::copy(content, &mut hasher)?;
        held.add(name, (attributes, Blake3Digest::from_bytes(*hasher.finalize().as_bytes())))
    })?;
    Ok(held.objects)
}

fn contents_of(
    file: &Path,
    names: &BTreeSet<String>,
    rules: &[VaryingContent],
    budget: &ComparisonBudget<'_>,
) -> io::Result<BTreeMap<String, FirstBytes>> {
    let mut contents = BTreeMap::new();
    if names.is_empty() {
        return Ok(contents);
    }
    each_object(file, budget, &mut |name, _, content| {
        budget.must_go_on()?;
        if names.contains(name) {
            contents.insert(name.to_owned(), FirstBytes::read(name, content, rules, budget)?);
        }
        Ok(())
    })?;
    Ok(contents)
}

/// Describes the first difference: a line of a text, otherwise a byte.
fn first_difference(was: &[u8], is: &[u8]) -> String {
    let at = was.iter().zip(is).position(|(one, other)| one != other).unwrap_or(was.len().min(is.len()));
    let line_of = |bytes: &[u8]| -> Option<String> {
        let begin = bytes.get(..at)?.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let rest = bytes.get(begin..)?;
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = std::str::from_utf8(line).ok().filter(|text| !text.contains('\0'))?;
        let shown: String = text.chars().take(LONGEST_LINE).collect();
        Some(shown.escape_debug().to_string())
    };
    if let (Some(before), Some(after)) = (line_of(was), line_of(is)) {
        let number = was.iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        return format!("line {number}, byte {at}: `{before}` became `{after}`");
    }
    let byte = |bytes: &[u8]| bytes.get(at).map_or("the end".to_owned(), |byte| format!("{byte:#04x}"));
    format!("byte {at}: {} became {}; {} bytes became {}", byte(was), byte(is), was.len(), is.len())
}

type VisitObject<'v> = dyn FnMut(&str, String, &mut dyn Read) -> io::Result<()> + 'v;

fn each_object(file: &Path, budget: &ComparisonBudget<'_>, visit: &mut VisitObject<'_>) -> io::Result<()> {
    let mut head = Vec::new();
    File::open(file)?.take(STREAM.len() as u64).read_to_end(&mut head)?;
    if head == STREAM {
        return each_of_package(file, budget, visit);
    }
    // Empty gzip members take time but yield no bytes, so compressed bytes count against the budget as well.
    let input = BufReader::new(BudgetedRead { input: File::open(file)?, budget });
    let mut input: Box<dyn Read + '_> = if head.starts_with(GZIP) {
        Box::new(BudgetedRead { input: MultiGzDecoder::new(input), budget })
    } else {
        Box::new(input)
    };
    let mut block = Vec::new();
    input.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
    let is_tar = block.get(MAGIC) == Some(b"ustar");
    let mut whole = io::Cursor::new(block).chain(input);
    if is_tar { each_of_tar(&mut whole, visit) } else { visit("", "file".to_owned(), &mut whole) }
}

struct BudgetedRead<'b, R> {
    input: R,
    budget: &'b ComparisonBudget<'b>,
}

impl<R: Read> Read for BudgetedRead<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.budget.spend(count as u64)?;
        Ok(count)
    }
}

fn each_of_package(
    file: &Path,
    budget: &ComparisonBudget<'_>,
    visit: &mut VisitObject<'_>,
) -> io::Result<()> {
    let failed = |error: SourceError| io::Error::other(error.to_string());
    let (source, image) = open_package(file).map_err(failed)?;
    let several = image.packages.len() > 1;
    let name_of =
        |number: usize, path: &str| if several { format!("{number}/{path}") } else { path.to_owned() };
    for (number, package) in image.packages.iter().enumerate() {
        visit(&name_of(number, "pkginfo"), "i".to_owned(), &mut params::write(&package.params).as_slice())?;
        for (name, content) in &package.install {
            visit(&name_of(number, name), "i".to_owned(), &mut content.as_slice())?;
        }
        for entry in package.pkgmap.entries.iter().filter(|entry| !has_content(entry.object.ftype)) {
            visit(&name_of(number, &entry.path.to_string()), attributes(entry), &mut io::empty())?;
        }
    }
    let entries = image.packages.iter().enumerate().flat_map(|(number, package)| {
        package.pkgmap.entries.iter().map(move |entry| ((number, &entry.path), entry))
    });
    let entries: HashMap<(usize, &PackagePath), &PkgmapEntry> = entries.collect();
    let streamed = source.stream(&image, &mut |_, _| true, &mut |number, path, _, data: &mut dyn Read| {
        let attributes = entries.get(&(number, path)).map(|entry| attributes(entry)).unwrap_or_default();
        let mut data = BudgetedRead { input: data, budget };
        visit(&name_of(number, &path.to_string()), attributes, &mut data).map_err(|error| SourceError {
            path: file.to_owned(),
            problem: SourceProblem::Io { file: Some(path.to_string()), error },
        })
    });
    streamed.map_err(failed)
}

fn has_content(ftype: Ftype) -> bool {
    matches!(ftype, Ftype::File | Ftype::Editable | Ftype::Volatile | Ftype::Information)
}

fn attributes(entry: &PkgmapEntry) -> String {
    let object = &entry.object;
    let target = object.target.as_deref().map(|target| format!(" -> {}", String::from_utf8_lossy(target)));
    let target = target.unwrap_or_default();
    format!("{:?} {:?}{}", object.ftype, object.attributes, target.escape_debug())
}

fn each_of_tar(input: &mut dyn Read, visit: &mut VisitObject<'_>) -> io::Result<()> {
    let mut long_name: Option<String> = None;
    loop {
        let mut header = Vec::new();
        (&mut *input).take(BLOCK as u64).read_to_end(&mut header)?;
        if header.len() < BLOCK || header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let field = |range: std::ops::Range<usize>| {
            let bytes = header.get(range).unwrap_or_default();
            String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
        };
        let size = u64::from_str_radix(field(124..136).trim(), 8).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "a member of a tar archive has no size")
        })?;
        let kind = header.get(156).copied().unwrap_or_default();
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        let mut data = (&mut *input).take(size);
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            let mut text = Vec::new();
            let limit = if matches!(kind, b'L' | b'K') { LONGEST_NAME } else { LARGEST_HEADER };
            (&mut data).take(limit + 1).read_to_end(&mut text)?;
            if text.len() as u64 > limit {
                let reason = format!("a name or header in a tar archive has more than {limit} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            match kind {
                b'L' => long_name = Some(text.trim_end_matches('\0').to_owned()),
                b'x' => long_name = pax_path(&text).or(long_name),
                _ => {}
            }
        } else {
            let prefix = field(345..500);
            let name = if prefix.is_empty() { field(0..100) } else { format!("{prefix}/{}", field(0..100)) };
            let name = long_name.take().unwrap_or(name);
            let link = field(157..257);
            let link = if link.is_empty() { link } else { format!(" -> {link}") };
            let [mode, user, group] = [field(100..108), field(265..297), field(297..329)];
            let attributes = format!("{} {} {user} {group}{link}", char::from(kind.max(b'0')), mode.trim());
            visit(&name, attributes, &mut data)?;
        }
        io::copy(&mut data, &mut io::sink())?;
        io::copy(&mut (&mut *input).take(padding), &mut io::sink())?;
    }
}

/// Returns the path in a pax header: `LENGTH path=VALUE`.
fn pax_path(text: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.split_once(' ')?.1.strip_prefix("path=")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use flate2::write::GzEncoder;
    use patchadm_rootfs::never;

    use super::*;

    fn tar(members: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, content, mtime) in members {
            let mut header = [0; BLOCK];
            let mut put =
                |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
            put(0, name);
            put(100, "0000644");
            put(124, &format!("{:011o}", content.len()));
            put(136, &format!("{mtime:011o}"));
            put(156, "0");
            put(257, "ustar");
            out.extend(header);
            out.extend(content.as_bytes());
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    const UNLIMITED: ComparisonLimits<'static> = ComparisonLimits { interrupt: &never, longest: None };

    fn compare(one: &[u8], other: &[u8], varies: &[&str]) -> Vec<String> {
        compare_within(one, other, varies, &ComparisonBudget::of(0, UNLIMITED)).unwrap()
    }

    fn compare_within(
        one: &[u8],
        other: &[u8],
        varies: &[&str],
        budget: &ComparisonBudget<'_>,
    ) -> io::Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("one", one), ("other", other)] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("x.tgz"), bytes).unwrap();
        }
        let names = ["x.tgz".to_owned()];
        let files = |path: &Path| path.to_owned();
        let (one, other) = (files(&dir.path().join("one")), files(&dir.path().join("other")));
        let varies: Vec<String> = varies.iter().map(|text| (*text).to_owned()).collect();
        let compared = |directory| ComparedFiles { directory, names: &names };
        let found = differences_within((&compared(&one), &compared(&other)), &varies, budget)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_decompresses_to_more_than_a_result_may_cost_is_not_compared_and_differs() {
        let zeros = gzip(&vec![0; 8 << 20]);
        let (one, other) = ([&*zeros, &gzip(b"one")].concat(), [&*zeros, &gzip(b"two")].concat());
        let reported = "x.tgz: it differs after its first 4194304 bytes";
        assert_eq!(compare(&one, &other, &[]), [reported]);
        assert_eq!(compare(&one, &other, &["nothing"]), [reported]);
        let small = ComparisonBudget::up_to(1 << 20, UNLIMITED);
        let reported = "x.tgz: it was not compared: more than 1048576 bytes would be decompressed";
        assert_eq!(compare_within(&one, &other, &["*"], &small).unwrap(), [reported]);
        assert_eq!(compare_within(&one, &one, &[], &small).unwrap(), Vec::<String>::new(), "the same bytes");
        // The limit grows with the size of a result, up to a maximum.
        let most = |stored| ComparisonBudget::of(stored, UNLIMITED).most;
        assert_eq!([0, 1 << 26, u64::MAX].map(most), [LEAST_READ, PER_STORED_BYTE << 26, MOST_READ]);
    }

    #[test]
    fn a_signal_or_the_time_ends_a_comparison_even_where_nothing_is_decompressed() {
        // Members without content: no byte of them ever comes out.
        let empty = gzip(b"").repeat(10_000);
        let (one, other) = ([&*empty, &gzip(b"one")].concat(), [&*empty, &gzip(b"two")].concat());
        let calls = AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, Ordering::Relaxed) > 10).then_some(15);
        let limits = ComparisonLimits { interrupt: &interrupt, longest: None };
        let ended = compare_within(&one, &other, &[], &ComparisonBudget::of(0, limits)).unwrap_err();
        assert_eq!(ended.to_string(), INTERRUPTED);
        assert!(calls.into_inner() < 20);
        let limits = ComparisonLimits { longest: Some(Duration::ZERO), ..UNLIMITED };
        let reported = "x.tgz: it was not compared: it takes more than 0 s";
        let compared = compare_within(&one, &other, &[], &ComparisonBudget::of(0, limits)).unwrap();
        assert_eq!(compared, [reported]);
    }

    #[test]
    fn a_signal_ends_the_matching_of_a_long_line_and_a_list_of_empty_objects() {
        let line = "a".repeat(1 << 16);
        let lines = [format!("{line}1").into_bytes(), format!("{line}2").into_bytes()];
        let names: Vec<String> = (0..100).map(|number| format!("empty{number}")).collect();
        let empty: Vec<(&str, &str, u32)> = names.iter().map(|name| (name.as_str(), "", 0)).collect();
        let objects = [tar(&empty), tar(&[&[("first", "", 0)][..], &*empty].concat())];
        let rule = format!("*#*{}b", "a".repeat(1000));
        for ([one, other], rules, most) in [(lines, vec![rule.as_str()], 200), (objects, Vec::new(), 80)] {
            let calls = AtomicUsize::new(0);
            let interrupt = || (calls.fetch_add(1, Ordering::Relaxed) > most).then_some(15);
            let limits = ComparisonLimits { interrupt: &interrupt, longest: None };
            let ended = compare_within(&one, &other, &rules, &ComparisonBudget::of(0, limits)).unwrap_err();
            assert_eq!(ended.to_string(), INTERRUPTED);
            assert!(calls.into_inner() < most + 10);
        }
    }

    #[test]
    fn the_member_and_the_line_that_differ_are_told_and_times_do_not_count() {
        let one = tar(&[("bin/x", "echo 1\n# built Monday\n", 5), ("bin/y", "same\n", 5)]);
        let other = tar(&[("bin/x", "echo 1\n# built Friday\n", 6), ("bin/y", "same\n", 6)]);
        let reported = "x.tgz: bin/x: line 2, byte 15: `# built Monday` became `# built Friday`";
        assert_eq!(compare(&one, &other, &[]), [reported]);
        assert_eq!(compare(&one, &other, &["bin/x##?built?*"]), Vec::<String>::new());
        assert_eq!(compare(&one, &other, &["bin/*"]), Vec::<String>::new());
        assert_eq!(compare(&one, &other, &["bin/y"]), [reported]);
        let changed = tar(&[("bin/x", "echo 2\n# built Friday\n", 6), ("bin/z", "same\n", 6)]);
        let reported = compare(&one, &changed, &["bin/x##?built?*"]);
        let expected = [
            "x.tgz: bin/y: it is gone",
            "x.tgz: bin/z: it is new",
            "x.tgz: bin/x: line 1, byte 5: `echo 1` became `echo 2`",
        ];
        assert_eq!(reported, expected, "what does not vary counts");
    }

    #[test]
    fn a_name_in_an_archive_has_a_limit_and_so_have_all_objects_together() {
        for kind in [b'L', b'x'] {
            let long = "n".repeat(usize::try_from(LARGEST_HEADER).unwrap() + 1);
            let mut archive = tar(&[("long", long.as_str(), 0), ("x", "x", 0)]);
            archive[156] = kind;
            let refused = each_of_tar(&mut &archive[..], &mut |_, _, _| Ok(())).unwrap_err().to_string();
            assert!(refused.starts_with("a name or header in a tar archive has more than "), "{refused}");
        }
        let (mut held, long) = (HeldObjects::default(), "n".repeat(1 << 20));
        let mut add =
            |number: usize| held.add(&format!("{number:03}{long}"), (String::new(), Blake3Digest::of(b"")));
        let kept = (0..100).take_while(|number| add(*number).is_ok()).count();
        assert_eq!(kept, 63);
    }

    #[test]
    fn a_difference_in_a_large_content_is_told_where_it_is_near_the_beginning() {
        let large = vec![b'a'; usize::try_from(LARGEST_TOLD).unwrap() + 10];
        let (mut near, mut far) = (large.clone(), large.clone());
        near[4] = 0;
        *far.last_mut().unwrap() = 0;
        assert_eq!(
            compare(&large, &near, &[]),
            [format!("x.tgz: byte 4: 0x61 became 0x00; {0} bytes became {0}", LARGEST_TOLD + 1)]
        );
        assert_eq!(
            compare(&large, &far, &[]),
            [format!("x.tgz: it differs after its first {LARGEST_TOLD} bytes")]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_told_as_numbers() {
        assert_eq!(
            compare(b"\0\x01\xff", b"\0\x02\xff\xff", &[]),
            ["x.tgz: byte 1: 0x01 became 0x02; 3 bytes became 4"]
        );
    }
}

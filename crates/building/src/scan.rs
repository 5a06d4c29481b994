//! Scans a tree: the driver's `scan` runs in a sandbox for each location with changed files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use patchadm_bulk_values::cache::{FileNumber, ScanCache};
use patchadm_bulk_values::conf::SandboxMount;
use patchadm_bulk_values::records::{RecipeLocation, Records};
use patchadm_bulk_values::resolve::needed_locations;
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_core::namespaces::{Access, Enclosure, EnclosureEnd, EnclosureError};
use patchadm_rootfs::{Dir, RootError, WorkMeter, WorkStep, WorkUnit};
use patchadm_svr4::package::Mode;

use crate::base::BaseLayer;
use crate::driver::{DRIVER_INSIDE, Driver, PLATFORM};
use crate::runs::read_bounded;
use crate::sandbox::{
    BuildRoot, BuildUser, SandboxCommand, SandboxEnd, SandboxError, SandboxLimits, SandboxWatch, StopCause,
    TaskLog, enclosure, environment, no_input,
};
use crate::set::SetError;
use crate::space::must_have_room;
use crate::task::TaskError;
use crate::task::place::{TaskPlace, forget_mount};
use crate::task::sandbox_run::run_to_end;
use crate::tree_files::{MOST_BYTES, MOST_READ, RecipeError, RecipeFile, TreeFiles, path_in_tree};
use crate::work::{BulkWork, PROGRAM, SCAN, made};

pub(crate) fn call_platform(
    work: &BulkWork,
    driver: &Driver,
    base: (&BaseLayer, BuildUser),
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<Result<Vec<u8>, String>, TreeScanError> {
    ScanSandbox::make(work, driver, base, interrupt)?.call_program(PLATFORM, None)
}

const LARGEST_CACHE: u64 = 1 << 30;

const CACHE: &[u8] = b"cache";

pub struct TreeScanRequest<'a> {
    pub work: &'a BulkWork,
    pub driver: &'a Driver,
    pub base: (&'a BaseLayer, &'a str),
    pub user: BuildUser,
    /// Empty for all.
    pub names: &'a [String],
    /// Ignore the cache.
    pub is_full: bool,
    /// Store the result in the cache.
    pub is_kept: bool,
    pub slots: usize,
    /// Nanoseconds since 1970.
    pub now: i64,
    /// Returns the signal to stop.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub meter: WorkMeter,
}

#[derive(Debug)]
pub struct ScanResult {
    /// Of all requested locations.
    pub records: Records,
    pub locations: usize,
    pub scanned: usize,
    pub reused: usize,
    pub notes: Vec<String>,
}

pub fn scan(request: &TreeScanRequest<'_>) -> Result<ScanResult, TreeScanError> {
    let dir = request.work.directory(SCAN)?;
    let mut notes = Vec::new();
    let cache = if request.is_full { ScanCache::default() } else { read_cache(&dir, &mut notes)? };
    let mut scan = TreeScan::of(request, cache);
    let locations = scan.wanted()?;
    scan.take(locations.clone())?;
    let mut records = Records::new();
    if request.names.is_empty() {
        scan.add_to(&mut records, &locations);
    } else {
        scan.follow_needs(&mut records, locations)?;
    }
    let all: BTreeSet<String> = scan.texts.keys().cloned().collect();
    if request.names.is_empty() {
        scan.cache.retain(|location| all.contains(location));
    }
    if request.is_kept {
        let bytes = scan.cache.to_bytes();
        must_have_room(&dir, bytes.len() as u64)?;
        dir.replace_file(PROGRAM, CACHE, &bytes, Mode::of(0o644))?;
    }
    notes.append(&mut scan.notes);
    notes.extend(repetition_notes(&records));
    let (scanned, reused) = scan.counts;
    Ok(ScanResult { records, locations: all.len(), scanned, reused, notes })
}

/// Notes dropped records, whose location had already printed the same PKGNAME.
pub(crate) fn repetition_notes(records: &Records) -> Vec<String> {
    let repeated = records.repeated().iter();
    let note = |(location, pkgname): &(RecipeLocation, _)| {
        format!("{location} prints PKGNAME={pkgname} more than once: the first record counts")
    };
    repeated.map(note).collect::<BTreeSet<_>>().into_iter().collect()
}

/// True if no read file has changed and no location was added or removed. Names limit this to their cached locations.
pub fn is_as_scanned(request: &TreeScanRequest<'_>) -> Result<bool, TreeScanError> {
    let dir = request.work.directory(SCAN)?;
    let cache = read_cache(&dir, &mut Vec::new())?;
    let known: BTreeSet<String> = cache.locations().map(str::to_owned).collect();
    let mut scan = TreeScan::of(request, cache);
    if known.is_empty() || !known.iter().all(|location| scan.known(location).is_some()) {
        return Ok(false);
    }
    if !request.names.is_empty() {
        return Ok(true);
    }
    let (listing, _) = scan.listing()?;
    // Invalid locations, like failed scans, are not cached.
    Ok(listing.refused.is_empty() && listing.locations.iter().map(RecipeLocation::as_str).eq(&known))
}

/// Reports and ignores a damaged cache.
fn read_cache(dir: &Dir, notes: &mut Vec<String>) -> Result<ScanCache, RootError> {
    let parsed = match read_bounded(dir, CACHE, LARGEST_CACHE)? {
        Ok(None) => return Ok(ScanCache::default()),
        Ok(Some(bytes)) => {
            ScanCache::parse(&bytes).map(|(cache, _)| cache).map_err(|damage| damage.to_string())
        }
        Err(reason) => Err(reason),
    };
    Ok(parsed.unwrap_or_else(|damage| {
        notes.push(format!("the scan cache is damaged ({damage}): everything is scanned again"));
        ScanCache::default()
    }))
}

struct LocationListing {
    locations: Vec<RecipeLocation>,
    /// Lines that are not locations: the name used in lists, and the reason.
    refused: BTreeMap<RecipeLocation, String>,
}

impl LocationListing {
    /// Parses the driver's output. An invalid line fails alone.
    fn parse(printed: &[u8]) -> Self {
        let (mut locations, mut wrong) = (BTreeSet::new(), BTreeMap::new());
        for line in printed.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            match RecipeLocation::parse(&String::from_utf8_lossy(line)) {
                Ok(location) => {
                    locations.insert(location);
                }
                Err(error) => {
                    wrong.insert(line, format!("scan: {error}"));
                }
            }
        }
        let mut refused = BTreeMap::new();
        for (line, reason) in wrong {
            let is_taken =
                |location: &RecipeLocation| locations.contains(location) || refused.contains_key(location);
            refused.insert(RecipeLocation::in_place_of(line, is_taken), reason);
        }
        Self { locations: locations.into_iter().collect(), refused }
    }
}

struct TreeScan<'a> {
    request: &'a TreeScanRequest<'a>,
    files: TreeFiles,
    cache: ScanCache,
    /// True for unchanged files among those checked.
    unchanged: BTreeMap<usize, bool>,
    texts: BTreeMap<String, Result<String, String>>,
    room: PrintRoom,
    counts: (usize, usize),
    notes: Vec<String>,
}

impl<'a> TreeScan<'a> {
    fn of(request: &'a TreeScanRequest<'a>, cache: ScanCache) -> Self {
        let reader = request.base.0.ids.reader(request.user.id());
        let files = TreeFiles::open(&request.work.conf, request.driver, reader);
        let (unchanged, texts) = (BTreeMap::new(), BTreeMap::new());
        let room = PrintRoom { used: AtomicU64::new(0), limit: LARGEST_OF_TREE, own: OWN_ROOM };
        Self { request, files, cache, unchanged, texts, room, counts: (0, 0), notes: Vec::new() }
    }
    /// Returns all locations, or the requested ones.
    fn wanted(&mut self) -> Result<Vec<RecipeLocation>, TreeScanError> {
        let named: Vec<RecipeLocation> =
            self.request.names.iter().filter_map(|name| RecipeLocation::parse(name).ok()).collect();
        let is_there =
            |location: &&RecipeLocation| self.request.work.conf.tree.join(location.as_str()).is_dir();
        let there: Vec<RecipeLocation> = named.iter().filter(is_there).cloned().collect();
        if !self.request.names.is_empty() && there.len() == self.request.names.len() {
            return Ok(there);
        }
        self.all()
    }

    /// Includes invalid names, whose scan counts as failed.
    fn all(&mut self) -> Result<Vec<RecipeLocation>, TreeScanError> {
        let (LocationListing { mut locations, refused }, notes) = self.listing()?;
        self.notes = notes;
        for (location, reason) in refused {
            locations.push(location.clone());
            self.texts.insert(location.as_str().to_owned(), Err(reason));
        }
        Ok(locations)
    }

    fn listing(&self) -> Result<(LocationListing, Vec<String>), TreeScanError> {
        let (printed, notes) = self.sandbox()?.list()?;
        Ok((LocationListing::parse(&printed.map_err(TreeScanError::Listing)?), notes))
    }

    fn sandbox(&self) -> Result<ScanSandbox<'a>, TreeScanError> {
        let request = self.request;
        let base = (request.base.0, request.user);
        Ok(ScanSandbox::make(request.work, request.driver, base, request.interrupt)?)
    }

    fn add_to(&self, records: &mut Records, locations: &[RecipeLocation]) {
        for location in locations {
            match self.texts.get(location.as_str()) {
                Some(Ok(text)) => {
                    if let Err(error) = records.read(location, text.as_bytes()) {
                        records.add_failed_scan(location, &format!("scan: {error}"));
                    }
                }
                Some(Err(reason)) => {
                    records.add_failed_scan(location, reason);
                }
                None => {}
            }
        }
    }

    /// Scans dependencies transitively.
    fn follow_needs(
        &mut self,
        records: &mut Records,
        first: Vec<RecipeLocation>,
    ) -> Result<(), TreeScanError> {
        let mut next = first;
        let mut known: BTreeSet<RecipeLocation> = next.iter().cloned().collect();
        loop {
            let begin = u32::try_from(records.len()).unwrap_or(u32::MAX);
            self.add_to(records, &next);
            let needed = needed_locations(records, begin..u32::try_from(records.len()).unwrap_or(u32::MAX));
            let mut more = needed.named;
            if needed.needs_listing {
                more.extend(self.all()?);
            }
            next = more.into_iter().filter(|location| known.insert(location.clone())).collect();
            if next.is_empty() {
                return Ok(());
            }
            self.take(next.clone())?;
        }
    }

    fn take(&mut self, locations: Vec<RecipeLocation>) -> Result<(), TreeScanError> {
        let mut open = Vec::new();
        for location in locations {
            if self.texts.contains_key(location.as_str()) {
                continue;
            }
            match self.known(location.as_str()) {
                Some(text) => {
                    self.counts.1 += 1;
                    self.room.use_of(text.as_bytes());
                    self.texts.insert(location.as_str().to_owned(), Ok(text));
                }
                None => open.push(location),
            }
        }
        self.counts.0 += open.len();
        for (location, printed) in self.call_all(&open)? {
            let text = printed.and_then(|printed| self.remember(location.as_str(), &printed));
            self.must_go_on()?;
            self.texts.insert(location.as_str().to_owned(), text);
        }
        Ok(())
    }

    fn must_go_on(&self) -> Result<(), TreeScanError> {
        (self.request.interrupt)().map_or(Ok(()), |signal| Err(TreeScanError::Interrupted(signal)))
    }

    fn known(&mut self, location: &str) -> Option<String> {
        let entry = self.cache.entry(location)?.clone();
        let recipe = self.files.of_recipe(location).ok()?;
        if *entry.key() != self.key(&recipe) {
            return None;
        }
        for number in entry.files() {
            if !self.is_unchanged(number) {
                return None;
            }
        }
        Some(self.cache.records_of(&entry))
    }

    fn is_unchanged(&mut self, number: FileNumber) -> bool {
        if let Some(known) = self.unchanged.get(&number.index()) {
            return *known;
        }
        let Some(file) = self.cache.files().get(number.index()) else { return false };
        let path = Path::new(&file.path);
        let now = self.files.status(path);
        let read = || self.files.digest(path, self.request.interrupt).ok().flatten();
        let is_unchanged = file.seen.is_unchanged(now.as_ref(), read);
        if is_unchanged && let Some(now) = now {
            self.cache.renew_file(number, now, self.request.now);
        }
        self.unchanged.insert(number.index(), is_unchanged);
        is_unchanged
    }

    /// Digests everything else that a scan depends on.
    fn key(&self, recipe: &[RecipeFile]) -> Blake3Digest {
        let names: Vec<&str> = recipe.iter().map(|file| file.path.as_str()).collect();
        let env = &self.request.work.conf.env;
        Blake3Digest::of(format!("{names:?}\n{env:?}\n{}", self.request.base.1).as_bytes())
    }

    /// Caches the output for a location with the files that it read.
    fn remember(&mut self, location: &str, printed: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(printed).into_owned();
        let mut records = Records::new();
        let place = RecipeLocation::parse(location).map_err(|error| error.to_string())?;
        let read = records.read(&place, printed).map_err(|error| format!("scan: {error}"))?;
        let shown = |error: RecipeError| error.to_string();
        let recipe = self.files.of_recipe(location).map_err(shown)?;
        let own = recipe.iter().map(|file| format!("{location}/{}", file.path));
        let mut paths: BTreeSet<String> = own.collect();
        for index in read {
            if let Some(record) = records.get(index) {
                let named = records.scan_depends(record);
                paths.extend(named.map(|path| path_in_tree(location, path)));
            }
        }
        paths.insert(format!("{DRIVER_INSIDE}/scan"));
        if paths.len() > MOST_READ {
            return Err(shown(RecipeError::TooManyRead(location.to_owned())));
        }
        let sizes = paths.iter().filter_map(|path| self.files.status(Path::new(path)));
        if sizes.fold(0, |bytes: u64, status| bytes.saturating_add(status.size)) > MOST_BYTES {
            return Err(shown(RecipeError::TooLarge(location.to_owned(), MOST_BYTES)));
        }
        let mut numbers: Vec<FileNumber> = Vec::with_capacity(paths.len());
        for path in &paths {
            let seen = self.files.seen_now(Path::new(path), self.request.now, self.request.interrupt);
            numbers.push(self.cache.note_file(path, seen.map_err(shown)?));
        }
        self.cache.set_entry(location, self.key(&recipe), &numbers, &text);
        Ok(text)
    }

    fn call_all(
        &self,
        locations: &[RecipeLocation],
    ) -> Result<Vec<(RecipeLocation, Printed)>, TreeScanError> {
        let next = Mutex::new(locations.iter());
        let step = self.request.meter.begin(WorkUnit::Packages, locations.len() as u64);
        let threads = self.request.slots.min(locations.len()).max(1);
        let results = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| self.call_some(&next, &step))).collect();
            let lost = |_| Err(TreeScanError::Sandbox(io::Error::other("a thread of the scan failed")));
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(lost)).collect::<Vec<_>>()
        });
        let mut printed = Vec::with_capacity(locations.len());
        for result in results {
            printed.extend(result?);
        }
        printed.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(printed)
    }

    fn call_some(
        &self,
        next: &Mutex<std::slice::Iter<'_, RecipeLocation>>,
        step: &WorkStep,
    ) -> Result<Vec<(RecipeLocation, Printed)>, TreeScanError> {
        let mut done = Vec::new();
        let take = || next.lock().ok()?.next().cloned();
        let Some(mut location) = take() else { return Ok(done) };
        let mut sandbox = self.sandbox()?;
        loop {
            self.must_go_on()?;
            let printed = match sandbox.call(Some(location.as_str())) {
                Err(TreeScanError::Sandbox(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
                    // It may have been killed; another attempt shows a real problem.
                    sandbox = self.sandbox()?;
                    sandbox.call(Some(location.as_str()))?
                }
                called => called?,
            };
            done.push((location, self.room.within(printed)));
            step.advance(1);
            match take() {
                Some(another) => location = another,
                None => return Ok(done),
            }
        }
    }
}

const MOST_PRINTED: u64 = (16 << 20) + 1;

/// Of the output of all locations, in bytes of memory, beyond the own room of each.
const LARGEST_OF_TREE: u64 = 512 << 20;

/// The room that a location has in any case: several times the usual output, which is 7 KiB with 170 words a package.
const OWN_ROOM: u64 = 256 << 10;

/// A word may be the name of a file or a dependency that nobody else has: it takes many times its length.
const PER_WORD: u64 = 128;

/// The room for what all locations print.
struct PrintRoom {
    used: AtomicU64,
    limit: u64,
    own: u64,
}

impl PrintRoom {
    fn use_of(&self, printed: &[u8]) -> u64 {
        let bytes = memory_of(printed).saturating_sub(self.own);
        self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }

    /// Drops what does not fit: then its location fails.
    fn within(&self, printed: Printed) -> Printed {
        let Ok(bytes) = &printed else { return printed };
        let own = memory_of(bytes).saturating_sub(self.own);
        if own == 0 || self.use_of(bytes) <= self.limit {
            return printed;
        }
        self.used.fetch_sub(own, Ordering::Relaxed);
        Err(format!(
            "scan: it prints {} bytes, for which the output of all locations leaves no room",
            bytes.len()
        ))
    }
}

fn memory_of(printed: &[u8]) -> u64 {
    let of_byte = |byte: &u8| match byte {
        byte if byte.is_ascii_whitespace() => PER_WORD,
        b' '..=b'~' => 1,
        // In JSON, or what replaces it in a text.
        _ => 6,
    };
    printed.iter().map(of_byte).fold(0, u64::saturating_add)
}

/// Time for making a sandbox on a busy machine, not charged to the call.
const TO_MAKE: Duration = Duration::from_secs(5);

const LONGEST_LAST_LINE: usize = 512;

const NOTE: &str = "note: ";
const MOST_NOTES: usize = 20;

const PRINTED: &[u8] = b"printed";

const TEMPORARY: [(&str, &str); 2] = [("work", "/tmp"), ("out", "/var/tmp")];

const PLACES: [&[u8]; 4] = [b"tree", b"driver", b"proc", b"dev"];

pub(super) type Printed = Result<Vec<u8>, String>;

pub(super) struct ScanSandbox<'a> {
    /// `None` after the end.
    place: Option<TaskPlace>,
    base: &'a BaseLayer,
    enclosure: Enclosure,
    time: Option<Duration>,
    limits: SandboxLimits,
    interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

impl<'a> ScanSandbox<'a> {
    /// Applies default limits, because the packages of a location are not known yet.
    pub(super) fn make(
        work: &BulkWork,
        driver: &Driver,
        (base, user): (&'a BaseLayer, BuildUser),
        interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    ) -> io::Result<Self> {
        let place = TaskPlace::make(&work.conf.build_dir, &work.id).map_err(io::Error::other)?;
        let temporary = TEMPORARY.map(|(part, inside)| SandboxMount {
            is_writable: true,
            source: place.part(part),
            target: inside.into(),
        });
        let read = [
            SandboxMount::read_only(&work.conf.tree, "/tree"),
            SandboxMount::read_only(&driver.directory, DRIVER_INSIDE),
        ];
        let root = BuildRoot {
            kind: base.kind,
            ids: base.ids,
            lower: vec![base.layer.clone()],
            upper: place.part("upper"),
            scratch: place.part("scratch"),
            host: base.mounted.clone(),
            mounts: read.into_iter().chain(temporary).collect(),
        };
        let upper = root.lay_out(interrupt).map_err(io::Error::other)?;
        for name in PLACES {
            made(&upper, name).map_err(io::Error::other)?;
        }
        let own = [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("SHELL", "/bin/sh"), ("TREE", "/tree")];
        let named = work.conf.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = own.into_iter().chain(named).collect();
        let command = SandboxCommand {
            words: Vec::new(),
            environment: environment(&variables),
            directory: "/tree".to_owned(),
            user,
            has_network: false,
            has_terminal: false,
        };
        let time = work.conf.scan_time.map(Duration::from_secs);
        let limits = SandboxLimits::of(&work.conf.limits).within(time.map(|time| time + TO_MAKE));
        let enclosure = enclosure(&root, command, &limits, Some(place.inside())).map_err(io::Error::other)?;
        let enclosure = Enclosure { access: Access::ReadOnly, ..enclosure };
        Ok(Self { place: Some(place), base, enclosure, time, limits, interrupt })
    }

    /// Calls `scan` for one or all locations. An error is the machine's.
    pub(super) fn call(&self, location: Option<&str>) -> Result<Printed, TreeScanError> {
        self.call_program("scan", location)
    }

    /// Calls `scan` for the list of all locations. Returns it with notes on standard error.
    pub(super) fn list(&self) -> Result<(Printed, Vec<String>), TreeScanError> {
        let mut said = Vec::new();
        let printed = self.call_with(("scan", None), &mut said)?;
        let said = String::from_utf8_lossy(&said);
        let mut notes: Vec<String> =
            said.lines().filter_map(|line| Some(format!("scan: {}", line.strip_prefix(NOTE)?))).collect();
        let more = notes.len().saturating_sub(MOST_NOTES);
        if more > 0 {
            notes.truncate(MOST_NOTES);
            notes.push(format!("scan: {more} more notes of the driver"));
        }
        Ok((printed, notes))
    }

    /// An error is the machine's.
    fn call_program(&self, program: &str, location: Option<&str>) -> Result<Printed, TreeScanError> {
        self.call_with((program, location), &mut Vec::new())
    }

    fn call_with(
        &self,
        (program, location): (&str, Option<&str>),
        said: &mut Vec<u8>,
    ) -> Result<Printed, TreeScanError> {
        let mut ended = self.run((program, location), said);
        if let (Err(TaskError::Lost(_)), None) = (&ended, (self.interrupt)()) {
            // It may have been an accident; another attempt tells.
            said.clear();
            ended = self.run((program, location), said);
        }
        if let Some(signal) = (self.interrupt)() {
            return Err(TreeScanError::Interrupted(signal));
        }
        let ended = match ended {
            Ok(ended) => ended,
            Err(TaskError::Sandbox(SandboxError::Enclosure(
                error @ (EnclosureError::NotFound(_) | EnclosureError::NotExecutable { .. }),
            ))) => return Ok(Err(format!("{program}: {error}"))),
            Err(lost @ TaskError::Lost(_)) => return Ok(Err(format!("{program}: {lost}"))),
            Err(error) => return Err(of_machine(error).into()),
        };
        if let Some(failure) = failure_of(&ended, self.time, said) {
            return Ok(Err(format!("{program}: {failure}")));
        }
        let printed = self.place()?.dir.read_regular(PRINTED, MOST_PRINTED)?;
        Ok(Ok(printed.unwrap_or_default()))
    }

    fn place(&self) -> io::Result<&TaskPlace> {
        self.place.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn run(
        &self,
        (program, location): (&str, Option<&str>),
        said: &mut Vec<u8>,
    ) -> Result<SandboxEnd, TaskError> {
        let place = self.place()?;
        for (part, _) in TEMPORARY {
            self.empty(place, part)?;
        }
        forget_mount(&place.part("scratch"))?;
        let mut enclosure = self.enclosure.clone();
        let program = OsString::from(format!("{DRIVER_INSIDE}/{program}"));
        enclosure.command.choices = vec![[program].into_iter().chain(location.map(Into::into)).collect()];
        place.dir.remove(PRINTED)?;
        let mut log = TaskLog::begin(place.dir.create(PRINTED)?, Some(MOST_PRINTED));
        let written: Vec<PathBuf> = TEMPORARY.iter().map(|(part, _)| place.part(part)).collect();
        let mut group = place.control_group(self.limits.of_group());
        let mut watch = SandboxWatch {
            group: &mut group,
            written: &written,
            errors: Some(said),
            phase: &mut |_| {},
            ticks: &mut |_, _| (self.interrupt)().is_some(),
            gives_way: None,
        };
        run_to_end(place, &enclosure, (&self.limits, &no_input()?), &mut log, &mut watch)
    }

    fn empty(&self, place: &TaskPlace, part: &str) -> Result<(), RootError> {
        place.empty(part)?;
        self.base.ids.give(&place.dir, part.as_bytes(), 0)?;
        place.dir.set_mode(part.as_bytes(), Mode::of(0o1777))
    }
}

impl Drop for ScanSandbox<'_> {
    fn drop(&mut self) {
        // The next run removes leftovers.
        let _ = self.place.take().map(TaskPlace::remove);
    }
}

fn failure_of(ended: &SandboxEnd, time: Option<Duration>, said: &[u8]) -> Option<String> {
    Some(match (&ended.stopped, ended.end) {
        (None, Some(EnclosureEnd::Exited(0))) => return None,
        (Some(StopCause::Time(took)), _) => {
            format!("it took longer than {} s", time.unwrap_or(*took).as_secs())
        }
        (Some(StopCause::Output(_)), _) => format!("it printed more than {} MiB", MOST_PRINTED >> 20),
        (Some(StopCause::Disk(bytes)), _) => format!("it wrote {bytes} bytes"),
        (Some(StopCause::Closed(path)), _) => format!("it left {path}, a directory that cannot be read"),
        (Some(StopCause::InSocket), _) => {
            "it kept open files in a socket, where they cannot be counted".to_owned()
        }
        (Some(StopCause::Uncountable), _) => "its open and mapped files could not be counted".to_owned(),
        (Some(StopCause::Objects(over)), _) => format!("it had {} {}", over.count, over.kind),
        (Some(StopCause::Memory(bytes, _)), _) => format!("it had {bytes} bytes of memory"),
        (Some(StopCause::Processes(count, _)), _) => format!("it had {count} processes"),
        (Some(StopCause::Processor(time)), _) => {
            format!("one of its processes used {} s of CPU time", time.as_secs())
        }
        (_, Some(end)) => format!("{end}: {}", last_line(said)),
        (_, None) => "it was ended".to_owned(),
    })
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    line.chars().take(LONGEST_LAST_LINE).collect()
}

/// Turns a task failure into a machine error. `PermissionDenied`: the machine cannot make sandboxes.
fn of_machine(error: TaskError) -> io::Error {
    match error {
        TaskError::Sandbox(SandboxError::Enclosure(error @ EnclosureError::NotAllowed(_))) => {
            io::Error::new(io::ErrorKind::PermissionDenied, error.to_string())
        }
        error => io::Error::other(error.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TreeScanError {
    #[error("the list of locations: {0}")]
    Listing(String),
    #[error("{0}")]
    Sandbox(#[from] io::Error),
    /// The set of name owners.
    #[error(transparent)]
    Set(#[from] SetError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_location_fails_alone_under_a_name_that_nobody_else_has() {
        let printed = b"net/curl\nb c\nb+20c\n\xff\xc3\xa9\n\x1b[2J/x\n..\n/x//y\nnet/curl\n\nzlib\r\n";
        let LocationListing { locations, refused } = LocationListing::parse(printed);
        let locations: Vec<&str> = locations.iter().map(RecipeLocation::as_str).collect();
        assert_eq!(locations, ["b+20c", "net/curl", "zlib"]);
        let refused: Vec<(&str, &str)> =
            refused.iter().map(|(location, reason)| (location.as_str(), reason.as_str())).collect();
        assert_eq!(refused.len(), 5, "{refused:?}");
        let reason = |name: &str| {
            let found = refused.iter().find(|(location, _)| location.starts_with(name));
            found.map(|(_, reason)| *reason).unwrap()
        };
        assert!(reason("+1b+5b2J/x").starts_with("scan: <\\u{1b}[2J/x> is not a location: "), "{refused:?}");
        assert!(reason("b+20c+").starts_with("scan: <b c> is not a location: "), "{refused:?}");
        assert!(reason("+2e+2e+").ends_with("a part of it is . or .."), "{refused:?}");
        assert!(reason("+2fx+2f+2fy+").ends_with("a part of it is empty"), "{refused:?}");
        assert!(reason("+ff+c3+a9").contains("is not a location"), "{refused:?}");
    }

    #[test]
    fn what_no_longer_fits_into_the_room_for_all_locations_is_dropped_and_less_still_fits() {
        let room = PrintRoom { used: AtomicU64::new(0), limit: 10, own: 0 };
        room.use_of(b"1234");
        assert_eq!(room.within(Ok(b"12345".to_vec())), Ok(b"12345".to_vec()));
        let dropped = room.within(Ok(b"12".to_vec())).unwrap_err();
        let told = "scan: it prints 2 bytes, for which the output of all locations leaves no room";
        assert_eq!(dropped, told);
        assert_eq!(room.within(Ok(b"1".to_vec())), Ok(b"1".to_vec()));
        assert_eq!(room.within(Err("exit 1".to_owned())), Err("exit 1".to_owned()));
        assert_eq!(room.within(Ok(Vec::new())), Ok(Vec::new()));
    }

    #[test]
    fn words_and_bytes_that_are_spelled_out_take_more_and_each_location_has_room_of_its_own() {
        assert_eq!(memory_of(b"a b\n\x01\xff"), 2 + 2 * PER_WORD + 12);
        let room = PrintRoom { used: AtomicU64::new(0), limit: 2 * PER_WORD + 2, own: PER_WORD + 2 };
        assert!(room.within(Ok(b"a b c d".to_vec())).is_ok());
        assert!(room.within(Ok(b"a b c d".to_vec())).is_err());
        for _ in 0..100 {
            assert!(room.within(Ok(b"a b".to_vec())).is_ok(), "whatever others print");
        }
    }

    #[test]
    fn however_long_a_line_is_what_stands_for_it_is_a_location() {
        for line in ["x".repeat(256), "x y/".repeat(200), "/".to_owned(), ".".to_owned(), "\0".repeat(255)] {
            let LocationListing { refused, .. } = LocationListing::parse(line.as_bytes());
            let (location, _) = refused.first_key_value().unwrap();
            assert_eq!(RecipeLocation::parse(location.as_str()).as_ref(), Ok(location), "{line}");
        }
    }
}

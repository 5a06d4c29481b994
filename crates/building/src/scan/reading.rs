//! All locations that are wanted are scanned, in parallel; what is known of them and still true is not asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use patchadm_bulk_values::cache::{FileNumber, ScanCache};
use patchadm_bulk_values::records::{Location, Records};
use patchadm_bulk_values::resolve::needed_locations;
use patchadm_bulk_values::result::Digest;
use patchadm_rootfs::{Dir, RootError, WorkMeter, WorkStep, WorkUnit};
use patchadm_svr4::package::Mode;

use super::error::ScanError;
use super::sandbox::{Printed, ScanSandbox};
use crate::base::BaseLayer;
use crate::driver::{DRIVER_INSIDE, Driver};
use crate::runs::read_bounded;
use crate::sandbox::BuildUser;
use crate::tree_files::{MOST_BYTES, RecipeError, RecipeFile, TreeFiles, path_in_tree};
use crate::work::{PROGRAM, SCAN, Work};

/// The largest scan cache, in bytes.
const LARGEST_CACHE: u64 = 1 << 30;

/// The file with the cache, in the directory `scan`.
const CACHE: &[u8] = b"cache";

/// What is to be scanned.
pub struct ScanRequest<'a> {
    /// The directory of the bulk build.
    pub work: &'a Work,
    /// The driver.
    pub driver: &'a Driver,
    /// The base of the sandboxes.
    pub base: (&'a BaseLayer, &'a str),
    /// Under whose ids `scan` runs.
    pub user: BuildUser,
    /// The names that are wanted; none for all that there is.
    pub names: &'a [String],
    /// Whether nothing that is known is believed.
    pub is_full: bool,
    /// Whether what is found is written down for the next time.
    pub is_kept: bool,
    /// How many calls run at a time.
    pub slots: usize,
    /// The nanoseconds since 1970.
    pub now: i64,
    /// Returns the signal that asks for the end.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Knows how far the scan is.
    pub meter: WorkMeter,
}

/// What a scan has found.
#[derive(Debug)]
pub struct ScanResult {
    /// The records of all locations that were wanted.
    pub records: Records,
    /// The number of locations.
    pub locations: usize,
    /// How many of them were scanned now.
    pub scanned: usize,
    /// How many were known.
    pub reused: usize,
    /// Notes for the operator.
    pub notes: Vec<String>,
}

/// Scans a tree.
pub fn scan(request: &ScanRequest<'_>) -> Result<ScanResult, ScanError> {
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
        dir.replace_file(PROGRAM, CACHE, &scan.cache.to_bytes(), Mode::of(0o644))?;
    }
    notes.append(&mut scan.notes);
    notes.extend(repetition_notes(&records));
    let (scanned, reused) = scan.counts;
    Ok(ScanResult { records, locations: all.len(), scanned, reused, notes })
}

/// Says which records were left out, since their location has printed one of the same PKGNAME before.
pub(crate) fn repetition_notes(records: &Records) -> Vec<String> {
    let repeated = records.repeated().iter();
    let note = |(location, pkgname): &(Location, _)| {
        format!("{location} prints PKGNAME={pkgname} more than once: the first record counts")
    };
    repeated.map(note).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Tells whether a tree is as the last scan found it: no file that was read has changed, and no location came or went. With
/// names only what is known of their locations is looked at.
pub fn is_as_scanned(request: &ScanRequest<'_>) -> Result<bool, ScanError> {
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
    // As of a scan that fails, nothing is remembered of a location that is none.
    Ok(listing.refused.is_empty() && listing.locations.iter().map(Location::as_str).eq(&known))
}

/// Reads what is known. Damage is told, and then nothing is known.
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

/// The list of all locations.
struct Listing {
    /// Sorted, each once.
    locations: Vec<Location>,
    /// The lines that are no location: the one under which each stands in lists, and why it is none.
    refused: BTreeMap<Location, String>,
}

impl Listing {
    /// Reads what the driver has printed. A line that is no location is the failure of that line alone.
    fn parse(printed: &[u8]) -> Self {
        let (mut locations, mut wrong) = (BTreeSet::new(), BTreeMap::new());
        for line in printed.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            match Location::parse(&String::from_utf8_lossy(line)) {
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
                |location: &Location| locations.contains(location) || refused.contains_key(location);
            refused.insert(Location::in_place_of(line, is_taken), reason);
        }
        Self { locations: locations.into_iter().collect(), refused }
    }
}

struct TreeScan<'a> {
    request: &'a ScanRequest<'a>,
    files: TreeFiles,
    cache: ScanCache,
    /// Which of the noted files are as they were, as far as they were looked at.
    unchanged: BTreeMap<usize, bool>,
    /// What was printed for each location, or why its scan failed.
    texts: BTreeMap<String, Result<String, String>>,
    /// How many locations were scanned, and how many known.
    counts: (usize, usize),
    /// The notes of the driver about the list of all locations.
    notes: Vec<String>,
}

impl<'a> TreeScan<'a> {
    fn of(request: &'a ScanRequest<'a>, cache: ScanCache) -> Self {
        let reader = request.base.0.ids.reader(request.user.id());
        let files = TreeFiles::open(&request.work.conf, request.driver, reader);
        let (unchanged, texts) = (BTreeMap::new(), BTreeMap::new());
        Self { request, files, cache, unchanged, texts, counts: (0, 0), notes: Vec::new() }
    }
    /// Returns the locations to begin with: all, or those that are named.
    fn wanted(&mut self) -> Result<Vec<Location>, ScanError> {
        let named: Vec<Location> =
            self.request.names.iter().filter_map(|name| Location::parse(name).ok()).collect();
        let is_there = |location: &&Location| self.request.work.conf.tree.join(location.as_str()).is_dir();
        let there: Vec<Location> = named.iter().filter(is_there).cloned().collect();
        if !self.request.names.is_empty() && there.len() == self.request.names.len() {
            return Ok(there);
        }
        self.all()
    }

    /// Returns all locations, also those whose scan has failed already because their names are none.
    fn all(&mut self) -> Result<Vec<Location>, ScanError> {
        let (Listing { mut locations, refused }, notes) = self.listing()?;
        self.notes = notes;
        for (location, reason) in refused {
            locations.push(location.clone());
            self.texts.insert(location.as_str().to_owned(), Err(reason));
        }
        Ok(locations)
    }

    /// Asks the driver for all locations.
    fn listing(&self) -> Result<(Listing, Vec<String>), ScanError> {
        let (printed, notes) = self.sandbox()?.list()?;
        Ok((Listing::parse(&printed.map_err(ScanError::Listing)?), notes))
    }

    fn sandbox(&self) -> Result<ScanSandbox<'a>, ScanError> {
        let request = self.request;
        let base = (request.base.0, request.user);
        Ok(ScanSandbox::make(request.work, request.driver, base, request.interrupt)?)
    }

    /// Adds the records of locations, those of failed scans included.
    fn add_to(&self, records: &mut Records, locations: &[Location]) {
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

    /// Scans what the named locations need, and what that needs.
    fn follow_needs(&mut self, records: &mut Records, first: Vec<Location>) -> Result<(), ScanError> {
        let mut next = first;
        let mut known: BTreeSet<Location> = next.iter().cloned().collect();
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

    /// Finds out what locations make: known, or scanned.
    fn take(&mut self, locations: Vec<Location>) -> Result<(), ScanError> {
        let mut open = Vec::new();
        for location in locations {
            if self.texts.contains_key(location.as_str()) {
                continue;
            }
            match self.known(location.as_str()) {
                Some(text) => {
                    self.counts.1 += 1;
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

    fn must_go_on(&self) -> Result<(), ScanError> {
        (self.request.interrupt)().map_or(Ok(()), |signal| Err(ScanError::Interrupted(signal)))
    }

    /// Returns what is known of a location, if everything that was read for it is as it was.
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

    /// Returns the digest of all that a scan depends on and that is no file.
    fn key(&self, recipe: &[RecipeFile]) -> Digest {
        let names: Vec<&str> = recipe.iter().map(|file| file.path.as_str()).collect();
        let env = &self.request.work.conf.env;
        Digest::of(format!("{names:?}\n{env:?}\n{}", self.request.base.1).as_bytes())
    }

    /// Remembers what was printed for a location with what was read for it.
    fn remember(&mut self, location: &str, printed: &[u8]) -> Result<String, String> {
        let text = String::from_utf8_lossy(printed).into_owned();
        let mut records = Records::new();
        let place = Location::parse(location).map_err(|error| error.to_string())?;
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

    /// Calls `scan` for locations, several at a time.
    fn call_all(&self, locations: &[Location]) -> Result<Vec<(Location, Printed)>, ScanError> {
        let next = Mutex::new(locations.iter());
        let step = self.request.meter.begin(WorkUnit::Packages, locations.len() as u64);
        let threads = self.request.slots.min(locations.len()).max(1);
        let results = std::thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| self.call_some(&next, &step))).collect();
            let lost = |_| Err(ScanError::Sandbox(io::Error::other("a thread of the scan failed")));
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
        next: &Mutex<std::slice::Iter<'_, Location>>,
        step: &WorkStep,
    ) -> Result<Vec<(Location, Printed)>, ScanError> {
        let mut done = Vec::new();
        let take = || next.lock().ok()?.next().cloned();
        let Some(mut location) = take() else { return Ok(done) };
        let mut sandbox = self.sandbox()?;
        loop {
            self.must_go_on()?;
            let printed = match sandbox.call(Some(location.as_str())) {
                Err(ScanError::Sandbox(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
                    // Somebody may have killed it: another one tells whether that was all.
                    sandbox = self.sandbox()?;
                    sandbox.call(Some(location.as_str()))?
                }
                called => called?,
            };
            done.push((location, printed));
            step.advance(1);
            match take() {
                Some(another) => location = another,
                None => return Ok(done),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_location_fails_alone_under_a_name_that_nobody_else_has() {
        let printed = b"net/curl\nb c\nb+20c\n\xff\xc3\xa9\n\x1b[2J/x\n..\n/x//y\nnet/curl\n\nzlib\r\n";
        let Listing { locations, refused } = Listing::parse(printed);
        let locations: Vec<&str> = locations.iter().map(Location::as_str).collect();
        assert_eq!(locations, ["b+20c", "net/curl", "zlib"]);
        let refused: Vec<(&str, &str)> =
            refused.iter().map(|(location, reason)| (location.as_str(), reason.as_str())).collect();
        assert_eq!(refused.len(), 5, "{refused:?}");
        let reason = |name: &str| {
            let found = refused.iter().find(|(location, _)| location.starts_with(name));
            found.map(|(_, reason)| *reason).unwrap()
        };
        assert!(reason("+1b+5b2J/x").starts_with("scan: <\\u{1b}[2J/x> is no location: "), "{refused:?}");
        assert!(reason("b+20c+").starts_with("scan: <b c> is no location: "), "{refused:?}");
        assert!(reason("+2e+2e+").ends_with("a part of it is . or .."), "{refused:?}");
        assert!(reason("+2fx+2f+2fy+").ends_with("a part of it is empty"), "{refused:?}");
        assert!(reason("+ff+c3+a9").contains("is no location"), "{refused:?}");
    }

    #[test]
    fn however_long_a_line_is_what_stands_for_it_is_a_location() {
        for line in ["x".repeat(256), "x y/".repeat(200), "/".to_owned(), ".".to_owned(), "\0".repeat(255)] {
            let Listing { refused, .. } = Listing::parse(line.as_bytes());
            let (location, _) = refused.first_key_value().unwrap();
            assert_eq!(Location::parse(location.as_str()).as_ref(), Ok(location), "{line}");
        }
    }
}

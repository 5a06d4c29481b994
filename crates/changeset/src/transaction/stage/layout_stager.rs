//! Stages all objects of a layout beside their targets; nothing live changes. One thread reads the source stream;
//! others make files. Large files are written piece by piece, so that a few megabytes suffice.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::thread::{Scope, ScopedJoinHandle};

use crate::plan::{Body, Member, NewObject};
use crate::transaction::error::Cause;
use crate::transaction::settings::{ContentSource, RunActivity, RunWatch};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::{LayoutItem, StageLayout};
use crate::transaction::stage::object_stager::{
    ObjectStager, StagedContent, StagedObjects, UndoDirectories, name_stored,
};
use patchadm_rootfs::{InterruptibleRead, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// Larger files are not held in memory.
const LARGEST_HELD: u64 = 1 << 20;

const BATCH: (usize, usize) = (1 << 18, 32);

pub(crate) struct LayoutStager<'a, 'p> {
    pub(crate) root: &'a Root,
    pub(crate) domains: &'a OpenDomains,
    pub(crate) layout: &'a mut StageLayout<'p>,
    pub(crate) watch: RunWatch<'a>,
    /// Sync first objects during staging: without undo data, no later step is long enough.
    pub(crate) syncs: bool,
    pub(crate) saves: bool,
}

struct WantedItems<'a, 'p> {
    layout: &'a StageLayout<'p>,
    places: Vec<usize>,
}

impl<'a> WantedItems<'a, '_> {
    fn of<'p>(layout: &'a StageLayout<'p>, linked: &HashSet<usize>) -> WantedItems<'a, 'p> {
        let all = (0..layout.items.len()).filter(|place| file_of(layout, *place).is_some());
        let mut places: Vec<usize> = all.filter(|place| !linked.contains(place)).collect();
        places.sort_by_key(|place| file_of(layout, *place));
        WantedItems { layout, places }
    }

    fn of_file(&self, file: (usize, &PackagePath)) -> (usize, &[usize]) {
        let begin = self.places.partition_point(|place| file_of(self.layout, *place) < Some(file));
        let behind = self.places.get(begin..).unwrap_or_default();
        let count = behind.partition_point(|place| file_of(self.layout, *place) == Some(file));
        (begin, behind.get(..count).unwrap_or_default())
    }
}

fn file_of<'a>(layout: &'a StageLayout<'_>, place: usize) -> Option<(usize, &'a PackagePath)> {
    match layout.items.get(place).and_then(LayoutItem::object).map(|new| &new.body) {
        Some(Body::Member(member)) => Some((member.package, &member.path)),
        _ => None,
    }
}

type ReadFiles<'w> = Vec<(&'w [usize], Vec<u8>)>;

impl<'p> LayoutStager<'_, 'p> {
    /// Records come later: their undo archives need more facts.
    pub(crate) fn objects(self, content: &mut dyn ContentSource) -> Result<StagedContent, Cause> {
        let made = self.make(content)?;
        for (index, identity) in made.identities {
            if let Some(item) = self.layout.items.get_mut(index) {
                item.op.new = Some(identity);
            }
        }
        Ok(made.content)
    }

    fn make(&self, content: &mut dyn ContentSource) -> Result<StagedObjects, Cause> {
        self.watch.begins(RunActivity::Staging, self.size());
        let settings = (self.keeps_digests(), self.watch.interrupt);
        let mut stager = ObjectStager::new(self.root, self.domains, self.layout, settings);
        for index in self.select(|body| !matches!(body, Body::Member(_) | Body::Link(_))) {
            self.watch.check()?;
            let made = stager.without_content(index);
            made.or_else(|cause| self.watch.check().and(Err(cause)))?;
        }
        let linked = self.link_stored(content, &mut stager)?;
        let staged = self.members(content, &mut stager, &linked);
        // An interrupted thread only knows that it failed.
        let staged = staged.or_else(|cause| self.watch.check().and(Err(cause)));
        let mut made = staged.map_err(|cause| name_stored(cause, self.root, content, self.files()))?;
        for index in self.select(|body| matches!(body, Body::Link(_))) {
            self.watch.check()?;
            stager.link(index, &made.content.digests)?;
        }
        // Innermost first: a directory's mode may forbid writing.
        for index in self.select(|body| matches!(body, Body::Directory)).into_iter().rev() {
            stager.settle_directory(index)?;
        }
        made.add(stager.finish());
        Ok(made)
    }

    fn files(&self) -> impl Iterator<Item = (&ObjectPath, &Member)> {
        self.layout.items.iter().filter_map(|item| match item.object().map(|new| &new.body) {
            Some(Body::Member(member)) => Some((&item.client, member)),
            _ => None,
        })
    }

    fn keeps_digests(&self) -> bool {
        let is_link =
            |item: &LayoutItem<'_>| matches!(item.object(), Some(NewObject { body: Body::Link(_), .. }));
        self.saves || self.layout.items.iter().any(is_link)
    }

    fn size(&self) -> u64 {
        self.files().map(|(_, member)| member.size).sum()
    }

    fn select(&self, wanted: impl Fn(&Body) -> bool) -> Vec<usize> {
        let bodies = self.layout.items.iter().enumerate();
        bodies
            .filter_map(|(index, item)| item.object().filter(|new| wanted(&new.body)).map(|_| index))
            .collect()
    }

    /// Links files from undo directories; returns linked items. Others are copied.
    fn link_stored(
        &self,
        content: &mut dyn ContentSource,
        stager: &mut ObjectStager<'_, 'p>,
    ) -> Result<HashSet<usize>, Cause> {
        let (mut linked, mut taken) = (HashSet::new(), HashSet::new());
        let mut directories = UndoDirectories::new(self.root);
        for index in 0..self.layout.items.len() {
            let Some((package, path)) = file_of(self.layout, index) else { continue };
            let Some(file) = content.stored(package, path) else { continue };
            self.watch.check()?;
            // A second item would become another name of the same file.
            if taken.contains(file) {
                continue;
            }
            let is_linked = stager.link_stored(index, file, &mut directories);
            if is_linked.or_else(|cause| self.watch.check().and(Err(cause)))? {
                taken.insert(file.clone());
                linked.insert(index);
            }
        }
        Ok(linked)
    }

    fn members(
        &self,
        content: &mut dyn ContentSource,
        own: &mut ObjectStager<'_, 'p>,
        linked: &HashSet<usize>,
    ) -> Result<StagedObjects, Cause> {
        let wanted = WantedItems::of(self.layout, linked);
        if wanted.places.is_empty() {
            return Ok(StagedObjects::default());
        }
        let workers =
            if self.root.workers() > 1 && wanted.places.len() > 1 { self.root.workers() } else { 0 };
        let has_failed = AtomicBool::new(false);
        let settings = (self.keeps_digests(), self.watch.interrupt);
        let bytes = if self.syncs { self.size() } else { 0 };
        thread::scope(|scope| {
            let (early, start_sync) = EarlySync::when_started(scope, self.root, self.domains, bytes);
            let (to, jobs) = sync_channel(workers);
            let jobs = Arc::new(Mutex::new(jobs));
            let start = |_| {
                let (jobs, has_failed) = (jobs.clone(), &has_failed);
                let (root, domains, layout) = (self.root, self.domains, &*self.layout);
                let stager = move || ObjectStager::new(root, domains, layout, settings);
                scope.spawn(move || work(stager(), &jobs, has_failed))
            };
            let threads: Vec<_> = (0..workers).map(start).collect();
            // Handing over fails once all threads have given up.
            drop(jobs);
            let to = (workers > 0).then_some(to);
            let mut reading = SourceReader {
                stager: self,
                wanted: &wanted,
                own,
                to,
                batch: ReadFiles::new(),
                held: 0,
                sync: start_sync.map(|start| (bytes / 3 * 2, start)),
                has_failed: &has_failed,
            };
            let read = reading.all(content);
            drop(reading);
            let mut made = StagedObjects::default();
            for thread in threads {
                let part =
                    thread.join().map_err(|_| Cause::Internal("a staging thread failed".to_owned()))?;
                made.add(part?);
            }
            read.and(early.end()).map(|()| made)
        })
    }
}

impl StagedObjects {
    fn add(&mut self, other: Self) {
        self.content.digests.extend(other.content.digests);
        self.content.bytes += other.content.bytes;
        self.identities.extend(other.identities);
    }
}

/// Each thread runs this until all is done or one fails.
fn work(
    mut stager: ObjectStager<'_, '_>,
    jobs: &Mutex<Receiver<ReadFiles<'_>>>,
    has_failed: &AtomicBool,
) -> Result<StagedObjects, Cause> {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return Ok(stager.finish()) };
        for (indexes, data) in batch {
            if let Err(cause) = stager.member(indexes, &mut data.as_slice(), &|_| ()) {
                has_failed.store(true, Ordering::Relaxed);
                return Err(cause);
            }
        }
    }
}

/// Offers all the room at once, unlike `read_to_end`.
fn read_up_to(data: &mut dyn Read, most: usize) -> io::Result<Vec<u8>> {
    let (mut bytes, mut filled) = (vec![0; most], 0);
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match data.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

struct SourceReader<'a, 'w, 'l, 'p> {
    stager: &'a LayoutStager<'a, 'p>,
    wanted: &'w WantedItems<'w, 'p>,
    own: &'a mut ObjectStager<'l, 'p>,
    to: Option<SyncSender<ReadFiles<'w>>>,
    batch: ReadFiles<'w>,
    held: usize,
    sync: Option<(u64, SyncSender<()>)>,
    has_failed: &'a AtomicBool,
}

impl<'w> SourceReader<'_, 'w, '_, '_> {
    fn all(&mut self, content: &mut dyn ContentSource) -> Result<(), Cause> {
        let (wanted, watch) = (self.wanted, self.stager.watch);
        let mut has_come = vec![false; wanted.places.len()];
        let is_wanted = |package: usize, path: &PackagePath| !wanted.of_file((package, path)).1.is_empty();
        let mut sink = |package: usize, path: &PackagePath, data: &mut dyn Read| {
            let (begin, places) = wanted.of_file((package, path));
            has_come.iter_mut().skip(begin).take(places.len()).for_each(|come| *come = true);
            self.one(places, data)
        };
        let streamed = content.stream(&is_wanted, watch.interrupt, &mut sink).map_err(Cause::from);
        streamed.or_else(|cause| watch.check().and(Err(cause)))?;
        self.hand_over()?;
        match wanted.places.iter().zip(has_come).find(|(_, come)| !come) {
            Some((&index, _)) => Err(self.own.missing(index)?),
            None => Ok(()),
        }
    }

    fn one(&mut self, indexes: &'w [usize], data: &mut dyn Read) -> Result<(), Cause> {
        let watch = self.stager.watch;
        watch.check()?;
        let Some(&first) = indexes.first() else { return Ok(()) };
        let size = match self.stager.layout.items.get(first).and_then(LayoutItem::object).map(|new| &new.body)
        {
            Some(Body::Member(member)) => member.size,
            _ => return Ok(()),
        };
        if self.to.is_none() || size > LARGEST_HELD {
            let mut data = BufReader::with_capacity(1 << 17, InterruptibleRead::new(data, watch.interrupt));
            let made = self.own.member(indexes, &mut data, &|count| watch.advances(count));
            made.or_else(|cause| watch.check().and(Err(cause)))?;
            self.count(size);
            return Ok(());
        }
        // One excess byte shows that the file is too long.
        let bytes = read_up_to(data, usize::try_from(size).unwrap_or_default() + 1);
        let bytes = bytes.map_err(|error| self.own.corrupt(first, error.to_string()))?;
        watch.advances(bytes.len() as u64);
        self.held += bytes.len();
        self.count(bytes.len() as u64);
        self.batch.push((indexes, bytes));
        if self.held >= BATCH.0 || self.batch.len() >= BATCH.1 { self.hand_over() } else { Ok(()) }
    }

    fn count(&mut self, bytes: u64) {
        let Some((left, start)) = self.sync.take() else { return };
        if left > bytes {
            self.sync = Some((left - bytes, start));
        } else {
            // A failed thread reports its error at the end.
            let _ = start.send(());
        }
    }

    fn hand_over(&mut self) -> Result<(), Cause> {
        let batch = std::mem::take(&mut self.batch);
        self.held = 0;
        let Some(to) = self.to.as_ref().filter(|_| !batch.is_empty()) else { return Ok(()) };
        if self.has_failed.load(Ordering::Relaxed) || to.send(batch).is_err() {
            // The failed thread reports its cause.
            return Err(Cause::Internal("a staging thread failed".to_owned()));
        }
        Ok(())
    }
}

/// Bytes worth a flush of their own.
const WORTH_IT: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct EarlySync<'scope>(Option<ScopedJoinHandle<'scope, Result<(), Cause>>>);

impl<'scope> EarlySync<'scope> {
    pub(crate) fn begin<'env>(
        scope: &'scope Scope<'scope, 'env>,
        root: &Root,
        domains: &'env OpenDomains,
        bytes: u64,
    ) -> Self {
        let is_worth_it = bytes >= WORTH_IT && root.workers() > 1;
        Self(is_worth_it.then(|| scope.spawn(|| domains.sync())))
    }

    /// The sync starts on a message, if `bytes` make it worthwhile; never once the channel is dropped.
    fn when_started<'env>(
        scope: &'scope Scope<'scope, 'env>,
        root: &Root,
        domains: &'env OpenDomains,
        bytes: u64,
    ) -> (Self, Option<SyncSender<()>>) {
        if bytes < WORTH_IT || root.workers() < 2 {
            return (Self(None), None);
        }
        let (start, started) = sync_channel(1);
        let sync = scope.spawn(move || started.recv().map_or(Ok(()), |()| domains.sync()));
        (Self(Some(sync)), Some(start))
    }

    /// The kernel reports an error only once, so it must not be lost here.
    pub(crate) fn end(self) -> Result<(), Cause> {
        let failed = |_| Cause::Internal("the thread of a sync failed".to_owned());
        self.0.map_or(Ok(()), |thread| thread.join().map_err(failed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::run::Run;
    use patchadm_rootfs::ChangeCall;
    use patchadm_rootfs::Door;
    use rustix::io::Errno;
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    fn failing(is_for_many: bool) -> (Root, OpenDomains, Arc<AtomicUsize>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let door = Door::watched(move |step| {
            if step.call != ChangeCall::SyncFileSystem {
                return Ok(());
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Err(Errno::IO)
        });
        let root = Root::open_with(dir.path(), if is_for_many { door.for_many() } else { door }).unwrap();
        let domains = OpenDomains::begin(&root, &Run { number: 1, nonce: 7 }, &[]).unwrap();
        (root, domains, count)
    }

    fn early(bytes: u64, is_for_many: bool) -> (usize, bool) {
        let (root, domains, count) = failing(is_for_many);
        let ended = thread::scope(|scope| EarlySync::begin(scope, &root, &domains, bytes).end());
        (count.load(Ordering::Relaxed), ended.is_ok())
    }

    #[test]
    fn a_sync_that_waits_is_made_when_it_is_told_to_and_never_otherwise() {
        let told = |is_told: bool| {
            let (root, domains, count) = failing(true);
            let ended = thread::scope(|scope| {
                let (early, start) = EarlySync::when_started(scope, &root, &domains, WORTH_IT);
                match start {
                    Some(start) if is_told => start.send(()).unwrap(),
                    start => drop(start),
                }
                early.end()
            });
            (count.load(Ordering::Relaxed), ended.is_ok())
        };
        let synced = if patchadm_rootfs::cores() > 1 { (1, false) } else { (0, true) };
        assert_eq!([told(true), told(false)], [synced, (0, true)]);
    }

    #[test]
    fn an_error_of_the_disk_is_not_lost_by_asking_early() {
        let expected = if patchadm_rootfs::cores() > 1 { (1, false) } else { (0, true) };
        assert_eq!(early(WORTH_IT, true), expected);
    }

    #[test]
    fn little_is_not_synced_early_and_nothing_where_the_order_is_looked_at() {
        assert_eq!(early(WORTH_IT - 1, true), (0, true));
        assert_eq!(early(WORTH_IT, false), (0, true));
    }
}

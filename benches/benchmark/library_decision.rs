//! The decision about libraries, which an apply and a backout of the set `libraries` make: its time, and its share of theirs.
//!
//! It is no process of its own and has no switch, so it is made in this process, between the trees of a root with the package
//! and of one with the patch, and held against the processor time of whole commands.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use patchadm_core::operation::libraries::{ScanRequest, loader_settings};
use patchadm_libraries::decision::{
    CandidateNode, CandidateOrigin, LibraryCandidate, LibraryChange, Obstacle, SymbolSource,
};
use patchadm_libraries::elf::{ElfSymbols, FilePieces, read_symbols};
use patchadm_libraries::{FactsCache, LibraryFile, LibraryTree, LoaderSettings};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

use crate::contender::{Measured, install_base};
use crate::disk::Disk;
use crate::growth::clear;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::report::Report;

/// The most that the decision may take of the processor time of a command, in percent.
const SHARE: f64 = 10.0;

/// The most that it may take, in milliseconds.
const TIME: f64 = 50.0;

/// Reports time and share of the decision, of commands that cost so much.
pub(crate) fn run(
    disk: &Disk,
    inputs: &Inputs,
    ours: &Measured,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let roots = ["decision-old", "decision-new"].map(|name| disk.at(name));
    roots.iter().try_for_each(|root| install_base(&Line::patchadm(), inputs, root))?;
    Line::patchadm().words("patchadd -R").arg(&roots[1]).arg(&inputs.patch).run()?;
    let trees = BothTrees::of(&roots)?;
    let [old, new] = [&trees.old, &trees.new];
    for (what, before, after, costs) in
        [("apply", old, new, &ours.apply), ("backout", new, old, &ours.back_out)]
    {
        judge(disk, what, (trees.timed(before, after, options), costs), report);
    }
    clear(&[&roots[0], &roots[1]])
}

fn judge(disk: &Disk, what: &str, (seconds, costs): (Vec<f64>, &Costs), report: &mut Report) {
    let decision = Spread::of(seconds);
    let whole = costs.spread(|cost| cost.cpu).median;
    let name = format!("decision about libraries of {what}");
    report.at_most(disk.name(), &name, TIME, decision.scaled(1e3), " ms");
    report.at_most(disk.name(), &format!("{name}, of its CPU"), SHARE, decision.scaled(100.0 / whole), " %");
}

/// The programs and libraries with the package as it was installed, and with the patch: what is the same is one file.
struct BothTrees {
    old: LibraryTree,
    new: LibraryTree,
    settings: LoaderSettings,
    /// Where the files are.
    places: HashMap<*const LibraryFile, PathBuf>,
}

impl BothTrees {
    fn of([old, new]: &[PathBuf; 2]) -> Result<Self> {
        let [old_tree, mut new_tree] = [scanned(old)?, scanned(new)?];
        let mut places = HashMap::new();
        let same: Vec<(ObjectPath, Arc<LibraryFile>)> = old_tree
            .files()
            .filter(|(path, _)| is_same(&place(old, path), &place(new, path)))
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect();
        for (path, file) in same {
            new_tree.put_file(path, file);
        }
        for (root, tree) in [(new, &new_tree), (old, &old_tree)] {
            places.extend(tree.files().map(|(path, file)| (Arc::as_ptr(file), place(root, path))));
        }
        let settings = loader_settings(&Root::open(old)?);
        Ok(Self { old: old_tree, new: new_tree, settings, places })
    }

    /// Seconds of each of some decisions about a change from one tree to the other one.
    fn timed(&self, before: &LibraryTree, after: &LibraryTree, options: &Options) -> Vec<f64> {
        let (candidates, brought) = (candidates(before, after), brought(before, after));
        let timed = |_| {
            let symbols = SymbolsOfPlaces { places: &self.places, known: RefCell::default() };
            let change = LibraryChange {
                before,
                after,
                settings: &self.settings,
                candidates: &candidates,
                brought: &brought,
                unserved: &BTreeSet::new(),
                others: &BTreeMap::new(),
                symbols: &symbols,
                interrupt: &|| None,
            };
            let began = Instant::now();
            let decision = change.decide();
            let took = began.elapsed().as_secs_f64();
            drop(decision);
            took
        };
        (0..options.many_runs()).map(timed).collect()
    }
}

fn scanned(root: &Path) -> Result<LibraryTree> {
    let (root, known) = (Root::open(root)?, FactsCache::parse(&[]));
    let request = ScanRequest { root: &root, skip: &[], scan: &[], known: &known, interrupt: &|| None };
    Ok(request.scan()?.tree)
}

fn place(root: &Path, path: &ObjectPath) -> PathBuf {
    root.join(path.to_string().trim_start_matches('/'))
}

/// Whether a file was not delivered anew.
fn is_same(one: &Path, other: &Path) -> bool {
    let state = |path: &Path| fs::metadata(path).map(|seen| (seen.len(), seen.mtime())).ok();
    let seen = state(one);
    seen.is_some() && seen == state(other)
}

/// What the change takes away, as a plan that keeps nothing has it.
fn candidates(before: &LibraryTree, after: &LibraryTree) -> BTreeMap<ObjectPath, LibraryCandidate> {
    let candidate = |(path, file): (&ObjectPath, &Arc<LibraryFile>)| {
        let new = after.file_at(path);
        let obstacle = if new.is_some() { Obstacle::PathTaken } else { Obstacle::NotAsked };
        let node = CandidateNode::File(file.clone());
        let candidate =
            LibraryCandidate { node, origin: CandidateOrigin::TakenAway, obstacle: Some(obstacle) };
        let stays = new.is_some_and(|new| Arc::ptr_eq(new, file));
        (!stays).then(|| (path.clone(), candidate))
    };
    before.files().filter_map(candidate).collect()
}

fn brought(before: &LibraryTree, after: &LibraryTree) -> BTreeSet<ObjectPath> {
    let is_new = |(path, file): &(&ObjectPath, &Arc<LibraryFile>)| {
        before.file_at(path).is_none_or(|old| !Arc::ptr_eq(old, file))
    };
    after.files().filter(is_new).map(|(path, _)| path.clone()).collect()
}

/// Symbols that are read where files are, once for a decision.
struct SymbolsOfPlaces<'a> {
    places: &'a HashMap<*const LibraryFile, PathBuf>,
    known: RefCell<HashMap<*const LibraryFile, Option<Arc<ElfSymbols>>>>,
}

impl SymbolSource for SymbolsOfPlaces<'_> {
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>> {
        let key = Arc::as_ptr(file);
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let opened = self.places.get(&key).and_then(|place| File::open(place).ok());
        let read = opened.and_then(|file| read_symbols(&mut FilePieces::new(&file)).ok()).map(Arc::new);
        self.known.borrow_mut().insert(key, read.clone());
        read
    }
}

//! Backout in the middle: later patches with the same paths stay. The chain of a path has the patches that deliver or
//! delete it; a run is a part whose patches all go. The state saved by its first patch passes to the next staying patch
//! (`rewrite`), else to the live tree. `later` refuses if the result cannot be known.

use std::collections::{BTreeMap, HashMap, HashSet};

use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, StateDifferences, UndoManifest};
use patchadm_rootfs::FileType;
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Debug)]
pub(super) struct ChainPatch<'a> {
    pub(super) id: PatchId,
    pub(super) manifest: Option<&'a UndoManifest>,
    pub(super) goes: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) at: usize,
    pub(super) record: &'a ObjectRecord,
}

/// Consecutive going patches of a path, without a staying patch between them.
#[derive(Clone, Debug)]
pub(super) struct ChainSegment<'a> {
    links: Vec<Link<'a>>,
    /// The next staying patch. `None` at the end of the chain.
    pub(super) heir: Option<Link<'a>>,
    /// Records of staying patches between run and heir that only mirror the object.
    pub(super) followers: Vec<Link<'a>>,
}

/// A directory that a going patch created on the way to its objects. It passes to a staying patch with objects in it.
#[derive(Clone, Copy, Debug)]
struct PassedDirectory<'a> {
    made: Link<'a>,
    heir: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inheritance<'r, 'a> {
    pub(super) runs: Vec<&'r ChainSegment<'a>>,
    pub(super) directories: Vec<&'a ObjectRecord>,
}

#[derive(Debug)]
pub(super) struct Chains<'a> {
    pub(super) order: Vec<ChainPatch<'a>>,
    pub(super) runs: Vec<ChainSegment<'a>>,
    directories: Vec<PassedDirectory<'a>>,
    /// By path of a going patch, the staying patches with objects below it.
    below: HashMap<&'a str, Vec<usize>>,
    linked: HashSet<(usize, &'a str)>,
    passed: HashSet<(usize, &'a str)>,
}

impl<'a> ChainSegment<'a> {
    pub(super) fn path(&self) -> &'a str {
        self.first().record.path.as_str()
    }

    pub(super) fn first(&self) -> Link<'a> {
        // A run is made with its first link.
        self.links.first().copied().unwrap_or(Link { at: 0, record: NOTHING })
    }

    pub(super) fn last(&self) -> Link<'a> {
        self.links.last().copied().unwrap_or_else(|| self.first())
    }

    /// The first link that changed the object: its saved state comes back.
    pub(super) fn saver(&self) -> Option<Link<'a>> {
        self.links.iter().copied().find(|link| !link.record.is_untouched())
    }

    /// The link that saved the content: the saver, or the next one if the saver changed only attributes.
    pub(super) fn content_saver(&self) -> Option<Link<'a>> {
        let saver = self.saver().filter(|saver| saver.record.is_in_place());
        let is_it = |link: &Link<'a>| !link.record.is_untouched() && !link.record.is_in_place();
        let later = saver.and_then(|saver| self.links.iter().copied().find(|l| l.at > saver.at && is_it(l)));
        later.or(self.saver())
    }

    /// The saved content with the attributes that the saver found.
    pub(super) fn before(&self) -> Option<RecordedState> {
        let (saver, of_content) = (self.saver()?, self.content_saver()?);
        let content = of_content.record.was.as_ref()?;
        if saver.at == of_content.at {
            return Some(content.clone());
        }
        saver.record.was.as_ref().map(|was| with_attributes_of(content, was))
    }

    pub(super) fn links(&self) -> &[Link<'a>] {
        &self.links
    }

    /// Edits saved along the way, each with the patch before it, without the state that comes back anyway.
    pub(super) fn edited(&self) -> Vec<(usize, Link<'a>)> {
        let Some(saver) = self.saver() else { return Vec::new() };
        let from = self.links.iter().skip_while(|link| link.at != saver.at).copied();
        let all: Vec<Link<'a>> = from.chain(self.heir).collect();
        let (back, mut edited) = (self.before(), Vec::new());
        for pair in all.windows(2) {
            let [before, after] = pair else { continue };
            let Some(found) = after.record.was.as_ref().filter(|_| !after.record.is_untouched()) else {
                continue;
            };
            let made = before.record.became.as_ref().is_some_and(|made| has_same_content(made, found));
            let comes_back = back.as_ref().is_some_and(|back| has_same_content(back, found));
            if !made && !comes_back && found.kind != FileType::Directory {
                edited.push((before.at, *after));
            }
        }
        edited
    }
}

static NOTHING: &ObjectRecord = &ObjectRecord {
    path: String::new(),
    was: None,
    line: None,
    became: None,
    new_line: None,
    kept: false,
    delivered: false,
    member: None,
    shlib: None,
    file: None,
};

impl<'a> Chains<'a> {
    pub(super) fn of(order: Vec<ChainPatch<'a>>) -> Self {
        let mut links: BTreeMap<&'a str, Vec<Link<'a>>> = BTreeMap::new();
        let mut others: HashMap<&'a str, Vec<Link<'a>>> = HashMap::new();
        let heirs = Heirs::of(&order);
        let (mut directories, mut passed) = (Vec::new(), HashSet::new());
        for (at, patch) in order.iter().enumerate().filter(|(_, patch)| patch.goes) {
            for record in objects(patch).filter(|record| record.has_path()) {
                let path = record.path.as_str();
                if let Some(heir) = heirs.user_of(at, record) {
                    directories.push(PassedDirectory { made: Link { at, record }, heir });
                    passed.insert((at, path));
                } else {
                    links.entry(path).or_default().push(Link { at, record });
                }
            }
        }
        for (at, patch) in order.iter().enumerate().filter(|(_, patch)| !patch.goes) {
            for record in objects(patch) {
                let link = Link { at, record };
                match links.get_mut(record.path.as_str()) {
                    Some(known) if is_delivered_or_deleted(record) => known.push(link),
                    Some(_) if !record.kept => others.entry(record.path.as_str()).or_default().push(link),
                    _ => {}
                }
            }
        }
        let mut runs = Vec::new();
        for (path, mut links) in links {
            links.sort_by_key(|link| link.at);
            for mut run in runs_of(&links, &order) {
                let until = run.heir.map_or(usize::MAX, |heir| heir.at);
                let between = |link: &&Link<'a>| (run.last().at..until).contains(&link.at);
                run.followers = others.get(path).into_iter().flatten().filter(between).copied().collect();
                runs.push(run);
            }
        }
        let links = runs.iter().flat_map(ChainSegment::links);
        let linked = links.map(|link| (link.at, link.record.path.as_str())).chain(passed.iter().copied());
        Self { linked: linked.collect(), order, runs, directories, below: heirs.below, passed }
    }

    pub(super) fn place(&self, id: &PatchId) -> Option<usize> {
        self.order.iter().position(|patch| patch.id == *id)
    }

    /// Records outside all chains: lines of unchanged objects, other names of a file, kept edits.
    pub(super) fn others(&self, at: usize) -> Vec<&'a ObjectRecord> {
        let Some(patch) = self.order.get(at) else { return Vec::new() };
        objects(patch).filter(|record| !self.linked.contains(&(at, record.path.as_str()))).collect()
    }

    pub(super) fn leaving(&self) -> impl Iterator<Item = &'a ObjectRecord> {
        let going = self.order.iter().enumerate().filter(|(_, patch)| patch.goes);
        let records = going.flat_map(|(at, patch)| objects(patch).map(move |record| (at, record)));
        let stays =
            |(at, record): &(usize, &ObjectRecord)| self.passed.contains(&(*at, record.path.as_str()));
        records.filter(move |one| !stays(one)).map(|(_, record)| record)
    }

    /// Returns a staying patch between run and heir with objects below the path.
    pub(super) fn used_below(&self, run: &ChainSegment<'_>) -> Option<&PatchId> {
        let until = run.heir.map_or(usize::MAX, |heir| heir.at);
        let between = run.saver().unwrap_or(run.first()).at + 1..until;
        let mut used = self.below.get(run.path()).into_iter().flatten();
        self.order.get(*used.rfind(|at| between.contains(at))?).map(|patch| &patch.id)
    }

    pub(super) fn heirs(&self) -> BTreeMap<usize, Inheritance<'_, 'a>> {
        let mut heirs: BTreeMap<usize, Inheritance<'_, 'a>> = BTreeMap::new();
        for run in &self.runs {
            for link in run.followers.iter().chain(&run.heir) {
                heirs.entry(link.at).or_default().runs.push(run);
            }
        }
        for directory in &self.directories {
            heirs.entry(directory.heir).or_default().directories.push(directory.made.record);
        }
        heirs
    }

    pub(super) fn moved(&self) -> impl Iterator<Item = (&PatchId, &'a ObjectRecord, &PatchId)> {
        let of_runs = self.runs.iter().filter_map(|run| Some((run.saver()?, run.heir?.at)));
        let of_directories = self.directories.iter().map(|directory| (directory.made, directory.heir));
        let id = |at: usize| self.order.get(at).map(|patch| &patch.id);
        let moved = of_runs.chain(of_directories);
        moved.filter_map(move |(from, to)| Some((id(from.at)?, from.record, id(to)?)))
    }
}

fn runs_of<'a>(links: &[Link<'a>], order: &[ChainPatch<'a>]) -> Vec<ChainSegment<'a>> {
    let goes = |link: &Link<'a>| order.get(link.at).is_some_and(|patch| patch.goes);
    let run = |links, heir| ChainSegment { links, heir, followers: Vec::new() };
    let mut runs: Vec<ChainSegment<'a>> = Vec::new();
    let mut open: Vec<Link<'a>> = Vec::new();
    for link in links {
        if goes(link) {
            open.push(*link);
        } else if !open.is_empty() {
            runs.push(run(std::mem::take(&mut open), Some(*link)));
        }
    }
    if !open.is_empty() {
        runs.push(run(open, None));
    }
    runs
}

fn objects<'a>(patch: &ChainPatch<'a>) -> impl Iterator<Item = &'a ObjectRecord> + use<'a> {
    patch.manifest.into_iter().flat_map(|manifest| &manifest.objects)
}

/// Directories created on the way do not count.
pub(super) fn is_delivered_or_deleted(record: &ObjectRecord) -> bool {
    record.has_path() && !is_made_on_the_way(record)
}

pub(super) fn is_made_on_the_way(record: &ObjectRecord) -> bool {
    let is_directory = record.became.as_ref().is_some_and(|became| became.kind == FileType::Directory);
    record.was.is_none() && is_directory && !record.delivered
}

pub(super) fn has_same_content(one: &RecordedState, other: &RecordedState) -> bool {
    let differ = StateDifferences::between(one, other);
    let are_known = one.b3.is_some() && other.b3.is_some();
    let has_other_bytes = if are_known { differ.bytes } else { differ.size };
    !(differ.kind || differ.target || differ.device || has_other_bytes)
}

/// The time belongs to the content: newer bytes keep their own.
pub(super) fn with_attributes_of(content: &RecordedState, attributes: &RecordedState) -> RecordedState {
    if content.kind != attributes.kind {
        return content.clone();
    }
    let RecordedState { mode, uid, gid, xattrs, .. } = attributes.clone();
    let is_same = has_same_content(content, attributes);
    let mtime = if is_same { attributes.mtime } else { content.mtime };
    RecordedState { mode, uid, gid, xattrs, mtime, ..content.clone() }
}

struct Heirs<'a> {
    below: HashMap<&'a str, Vec<usize>>,
    made: HashMap<&'a str, Vec<(usize, bool)>>,
}

impl<'a> Heirs<'a> {
    fn of(order: &[ChainPatch<'a>]) -> Self {
        let going: Vec<&ObjectRecord> = order.iter().filter(|patch| patch.goes).flat_map(objects).collect();
        let made = going.iter().filter(|record| is_made_on_the_way(record));
        let mut heirs = Self {
            below: going.iter().map(|record| (record.path.as_str(), Vec::new())).collect(),
            made: made.map(|record| (record.path.as_str(), Vec::new())).collect(),
        };
        for (at, patch) in order.iter().enumerate().filter(|(_, patch)| !patch.goes) {
            for record in objects(patch).filter(|record| record.has_path()) {
                heirs.note(at, record);
            }
        }
        heirs
    }

    fn note(&mut self, at: usize, record: &'a ObjectRecord) {
        if is_delivered_or_deleted(record)
            && let Some(known) = self.made.get_mut(record.path.as_str())
        {
            known.push((at, true));
        }
        let mut path = record.path.as_str();
        while let Some((above, _)) = path.rsplit_once('/').filter(|_| record.became.is_some()) {
            if let Some(known) = self.below.get_mut(above).filter(|known| known.last() != Some(&at)) {
                known.push(at);
            }
            if let Some(known) = self.made.get_mut(above).filter(|known| !known.contains(&(at, false))) {
                known.push((at, false));
            }
            path = above;
        }
    }

    /// The next patch that needs the directory, if it does not deliver it itself.
    fn user_of(&self, at: usize, record: &ObjectRecord) -> Option<usize> {
        let known = self.made.get(record.path.as_str()).filter(|_| is_made_on_the_way(record))?;
        let later = known.iter().filter(|(other, _)| *other > at);
        let next = later.clone().map(|(other, _)| *other).min()?;
        let is_delivered = later.clone().any(|(other, delivers)| *other == next && *delivers);
        (!is_delivered).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use patchadm_changeset::format::manifest::ManifestHeader;

    use super::*;

    fn state(content: &str) -> RecordedState {
        RecordedState {
            kind: if content == "/" { FileType::Directory } else { FileType::Regular },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: patchadm_rootfs::Timestamp::default(),
            size: Some(content.len() as u64),
            b3: Some(Box::new(patchadm_rootfs::Digest::of(content.as_bytes()).into())),
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            group: None,
        }
    }

    /// A manifest of `PATH BEFORE AFTER` triples; `-` is nothing, `/` a directory.
    fn manifest(objects: &[(&str, &str, &str)], delivered: bool) -> UndoManifest {
        let state = |text: &str| (text != "-").then(|| state(text));
        let objects = objects.iter().map(|(path, was, became)| ObjectRecord {
            path: (*path).to_owned(),
            was: state(was),
            became: state(became),
            delivered: delivered && *became != "-",
            ..NOTHING.clone()
        });
        let header = ManifestHeader::of("", "", "");
        UndoManifest { header, objects: objects.collect(), shlibs: Vec::new() }
    }

    fn chains<'a>(manifests: &'a [UndoManifest], going: &[usize]) -> Chains<'a> {
        let patch = |(at, manifest): (usize, &'a UndoManifest)| ChainPatch {
            id: PatchId::new(&format!("{}-01", 100 + at)).unwrap(),
            manifest: Some(manifest),
            goes: going.contains(&at),
        };
        Chains::of(manifests.iter().enumerate().map(patch).collect())
    }

    /// Each run: path, first and last patch, the heir.
    fn shown(chains: &Chains<'_>) -> Vec<(String, usize, usize, Option<usize>)> {
        let run = |run: &ChainSegment<'_>| {
            (run.path().to_owned(), run.first().at, run.last().at, run.heir.map(|heir| heir.at))
        };
        chains.runs.iter().map(run).collect()
    }

    #[test]
    fn the_worked_example() {
        let a = manifest(&[("/httpd", "h0", "hA"), ("/x", "-", "x")], true);
        let b = manifest(&[("/httpd", "hA", "hB"), ("/lib", "w0", "wB"), ("/x", "x", "xB")], true);
        let c = manifest(&[("/httpd", "hB", "hC")], true);
        let all = [a, b, c];
        let run = |path: &str, first, last, heir| (path.to_owned(), first, last, heir);
        assert_eq!(shown(&chains(&all, &[0])), [run("/httpd", 0, 0, Some(1)), run("/x", 0, 0, Some(1))]);
        assert_eq!(
            shown(&chains(&all, &[0, 1])),
            [run("/httpd", 0, 1, Some(2)), run("/lib", 1, 1, None), run("/x", 0, 1, None)]
        );
        assert_eq!(
            shown(&chains(&all, &[0, 2])),
            [run("/httpd", 0, 0, Some(1)), run("/httpd", 2, 2, None), run("/x", 0, 0, Some(1))]
        );
    }

    #[test]
    fn bytes_that_no_patch_made_are_an_administrators() {
        let all = [manifest(&[("/f", "f0", "fA")], true), manifest(&[("/f", "mine", "fB")], true)];
        let found = chains(&all, &[0]);
        let [run] = found.runs.as_slice() else { panic!() };
        let edited: Vec<_> = run.edited().iter().map(|(before, link)| (*before, link.at)).collect();
        assert_eq!(edited, [(0, 1)]);
        let back = [manifest(&[("/f", "f0", "fA")], true), manifest(&[("/f", "f0", "fB")], true)];
        assert!(chains(&back, &[0]).runs[0].edited().is_empty(), "what comes back anyway needs no copy");
    }

    #[test]
    fn a_patch_that_found_the_object_as_it_delivers_it_saved_nothing() {
        let all = [
            manifest(&[("/f", "f", "f")], true),
            manifest(&[("/f", "f", "fB")], true),
            manifest(&[("/f", "fB", "fC")], true),
        ];
        let found = chains(&all, &[0, 1]);
        let [run] = found.runs.as_slice() else { panic!() };
        assert_eq!((run.first().at, run.saver().map(|link| link.at)), (0, Some(1)));
        assert!(chains(&all, &[0]).runs[0].saver().is_none());
    }

    #[test]
    fn a_directory_made_on_the_way_is_a_link_only_for_a_patch_that_delivers_it() {
        let made = || manifest(&[("/d", "-", "/"), ("/d/a", "-", "a")], false);
        let uses = manifest(&[("/d/b", "-", "b")], true);
        let delivers = manifest(&[("/d", "/", "/")], true);
        let used = [made(), uses.clone()];
        assert_eq!(shown(&chains(&used, &[0])).len(), 1, "only /d/a");
        let found = chains(&used, &[0]);
        assert_eq!(found.heirs()[&1].directories[0].path, "/d", "and the other one has made it");
        assert!(found.others(0).is_empty());
        let delivered = [made(), delivers.clone()];
        assert_eq!(shown(&chains(&delivered, &[0]))[0], ("/d".to_owned(), 0, 0, Some(1)));
        let both = [made(), delivers, uses];
        assert_eq!(
            shown(&chains(&both, &[0, 1])).len(),
            2,
            "the attributes that the second gave go by themselves"
        );
    }
}

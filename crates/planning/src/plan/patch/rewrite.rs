//! Rewrites the undo data of a staying patch with states that gone patches had saved. An archive keeps its name and
//! compression. Every saved object passes through the run from the archive that has it; nothing is read from the live
//! tree. [`repack`] rewrites an archive in another form.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{
    MADE_PACKAGE, MANIFEST, ManifestHeader, ObjectRecord, RECORDS, RecordedState, UndoManifest, decode,
    encode,
};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::database::contents::has_other_owner;
use patchadm_inputs::inventory::Save;
use patchadm_rootfs::FileType;
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{ContentsLine, Ftype, Object, ObjectPath, PackagePath, Params, PkgInst};
use patchadm_svr4::places;

use super::backout_input::{BackoutArchive, LaterUndo};
use super::backout_records::{RecordsFound, TakenRecords};
use super::chains::{ChainSegment, Chains, Inheritance, is_made_on_the_way, with_attributes_of};
use super::undo::copying_scripts;
use crate::plan::parameters::is_restored;
use crate::plan::refusal::Reason;
use crate::plan::target::{PackageTarget, add_classes, classes};
use crate::plan::{
    LedgerChange, LedgerRewrite, Member, Plan, RecordChange, ReplacedVersion, RewrittenArchive, UndoArchive,
    UndoPart,
};

const MADE_ANEW: [&str; 3] = [MANIFEST, RECORDS, "deletes"];

#[derive(Debug)]
pub(super) struct RewrittenUndo {
    /// Indices in `passing` are relative to `versions`.
    pub(super) archive: UndoArchive,
    pub(super) versions: Vec<ReplacedVersion>,
}

struct SavedObject {
    entry: PkgmapEntry,
    from: (usize, PackagePath),
}

pub(super) struct Rewriting<'a> {
    later: &'a LaterUndo<'a>,
    sources: &'a HashMap<usize, &'a BackoutArchive<'a>>,
    objects: BTreeMap<String, ObjectRecord>,
    saved: BTreeMap<ObjectPath, SavedObject>,
    deletes: BTreeSet<ObjectPath>,
    /// From groups of a source archive to groups of this one.
    groups: BTreeMap<(usize, u32), u32>,
    next_group: u32,
}

impl<'a> Rewriting<'a> {
    pub(super) fn of(
        later: &'a LaterUndo<'a>,
        sources: &'a HashMap<usize, &'a BackoutArchive<'a>>,
    ) -> Result<Self, Reason> {
        let objects = &later.manifest.objects;
        let states = objects.iter().flat_map(|record| [&record.was, &record.became]).flatten();
        let last_group = states.filter_map(|state| state.group).max().unwrap_or(0);
        let mut rewriting = Self {
            later,
            sources,
            objects: objects.iter().map(|record| (record.path.clone(), record.clone())).collect(),
            saved: BTreeMap::new(),
            deletes: BTreeSet::new(),
            groups: BTreeMap::new(),
            next_group: last_group + 1,
        };
        rewriting.read_saved()?;
        Ok(rewriting)
    }

    fn read_saved(&mut self) -> Result<(), Reason> {
        let Some(archive) = &self.later.archive else { return Ok(()) };
        let target = target_of(self.later.package, archive.index, archive.image)?;
        for entry in archive.image.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            let from = (archive.index, entry.path.clone());
            self.saved.insert(target.resolve(&entry.path)?, SavedObject { entry: entry.clone(), from });
        }
        for path in &archive.image.deletes {
            self.deletes.insert(target.resolve(path)?);
        }
        Ok(())
    }

    pub(super) fn take(
        mut self,
        at: usize,
        inherited: &Inheritance<'_, 'a>,
        taken: &TakenRecords,
        chains: &Chains<'a>,
    ) -> Result<RewrittenUndo, Reason> {
        for run in &inherited.runs {
            let is_heir = run.heir.is_some_and(|heir| heir.at == at);
            if is_heir { self.inherit(run)? } else { self.follow(run) }
        }
        for directory in &inherited.directories {
            self.take_directory(directory);
        }
        self.name_partners(chains);
        self.leave_files_as_found();
        self.carry_content()?;
        self.finish(taken)
    }

    pub(super) fn unchanged(self) -> Result<RewrittenUndo, Reason> {
        self.finish(&TakenRecords::default())
    }

    fn take_directory(&mut self, directory: &ObjectRecord) {
        if !self.objects.contains_key(&directory.path) {
            self.deletes.extend(directory.object_path());
            self.objects.insert(directory.path.clone(), directory.clone());
        }
    }

    fn inherit(&mut self, run: &ChainSegment<'a>) -> Result<(), Reason> {
        let Some(mut record) = self.objects.remove(run.path()) else { return Ok(()) };
        let Some(path) = record.object_path() else { return Ok(()) };
        let (before, package) = (run.first().record.line.as_deref(), self.later.package);
        record.line = inherited_line(before, record.line.as_deref(), package);
        if run.before().is_none()
            && line_of(record.line.as_deref())
                .is_some_and(|line| has_other_owner(&line, line_of(before).as_ref()))
        {
            // Backing out the first patch alone would leave the object to them.
        } else if let Some(found) = found_in_place(run)
            && let Some(content) = &record.was
        {
            // This patch is the only one that could have saved the content.
            record.was = Some(with_attributes_of(content, found));
        } else if let Some(saver) = run.content_saver() {
            let back = run.before();
            let group = back.as_ref().and_then(|was| was.group);
            let group = group.map(|group| self.group(saver.at, group));
            record.was = back.map(|was| RecordedState { group, ..was });
            record.member = None;
            self.saved.remove(&path);
            if record.was.is_some() && (record.was != record.became || group.is_some()) {
                record.member.clone_from(&saver.record.member);
                self.save_from(saver.at, &path)?;
            }
        }
        if record.was.is_none() && record.became.is_some() && !record.kept {
            self.deletes.insert(path);
        } else {
            self.deletes.remove(&path);
        }
        self.objects.insert(record.path.clone(), record);
        Ok(())
    }

    /// Updates or drops a record that only mirrors the object.
    fn follow(&mut self, run: &ChainSegment<'a>) {
        let Some(mut record) = self.objects.remove(run.path()) else { return };
        let Some(saver) = run.content_saver() else {
            self.objects.insert(record.path.clone(), record);
            return;
        };
        let Some(was) = run.before().filter(|_| !is_made_on_the_way(&record)) else {
            if let Some(path) = record.object_path() {
                self.deletes.remove(&path);
            }
            return;
        };
        let group = was.group.map(|group| self.group(saver.at, group));
        record.was = Some(RecordedState { group, ..was });
        record.became.clone_from(&record.was);
        record.line =
            inherited_line(run.first().record.line.as_deref(), record.line.as_deref(), self.later.package);
        record.new_line.clone_from(&record.line);
        self.objects.insert(record.path.clone(), record);
    }

    fn group(&mut self, at: usize, number: u32) -> u32 {
        *self.groups.entry((at, number)).or_insert_with(|| {
            self.next_group += 1;
            self.next_group - 1
        })
    }

    fn save_from(&mut self, at: usize, path: &ObjectPath) -> Result<(), Reason> {
        let Some(source) = self.sources.get(&at).filter(|_| self.later.archive.is_some()) else {
            return Ok(());
        };
        let target = target_of(source.package, source.index, source.image)?;
        let written = target.write(path)?;
        let mut entries = source.image.pkgmap.entries.iter().filter(|entry| !entry.is_information());
        if let Some(entry) = entries.find(|entry| entry.path == written) {
            let from = (source.index, entry.path.clone());
            self.saved.insert(path.clone(), SavedObject { entry: entry.clone(), from });
        }
        Ok(())
    }

    /// Records other names of an inherited file, including those that the patch found as separate files: they are one
    /// file with the restored one.
    fn name_partners(&mut self, chains: &Chains<'a>) {
        for (&(at, number), &group) in &self.groups {
            let manifest = chains.order.get(at).and_then(|patch| patch.manifest);
            for record in manifest.into_iter().flat_map(|manifest| &manifest.objects) {
                let was = record.was.as_ref().filter(|was| was.group == Some(number));
                let Some(was) = was else { continue };
                let state = Some(RecordedState { group: Some(group), ..was.clone() });
                if let Some(own) = self.objects.get_mut(&record.path) {
                    let alone = Some(RecordedState { group: None, ..was.clone() });
                    if own.was == alone && own.became == alone {
                        (own.was, own.became) = (state.clone(), state);
                    }
                    continue;
                }
                let (was, became) = (state.clone(), state);
                let (line, new_line) = (record.line.clone(), record.line.clone());
                let partner = ObjectRecord {
                    was,
                    became,
                    line,
                    new_line,
                    delivered: false,
                    member: None,
                    ..record.clone()
                };
                self.objects.insert(record.path.clone(), partner);
            }
        }
    }

    /// Drops records of linked files that the patch delivers exactly as it would have found them; only group numbers
    /// differ.
    fn leave_files_as_found(&mut self) {
        for group in self.groups.values().copied().collect::<BTreeSet<u32>>() {
            let names = self.names_as_found(group).unwrap_or_default();
            for name in names {
                let Some(record) = self.objects.get_mut(&name) else { continue };
                record.member = None;
                for state in [&mut record.was, &mut record.became].into_iter().flatten() {
                    state.group = None;
                }
                if let Some(path) = record.object_path() {
                    self.saved.remove(&path);
                }
            }
        }
    }

    fn names_as_found(&self, group: u32) -> Option<Vec<String>> {
        let is_of = |state: &Option<RecordedState>, group| {
            state.as_ref().is_some_and(|state| state.group == Some(group))
        };
        let without_group =
            |state: &Option<RecordedState>| state.clone().map(|state| RecordedState { group: None, ..state });
        let before: Vec<&ObjectRecord> =
            self.objects.values().filter(|record| is_of(&record.was, group)).collect();
        let after = before.first()?.became.as_ref()?.group?;
        let is_same = |record: &&ObjectRecord| {
            is_of(&record.was, group)
                && is_of(&record.became, after)
                && without_group(&record.was) == without_group(&record.became)
        };
        let mut of_either =
            self.objects.values().filter(|record| is_of(&record.was, group) || is_of(&record.became, after));
        of_either
            .all(|record| is_same(&record))
            .then(|| before.iter().map(|record| record.path.clone()).collect())
    }

    /// Moves the content to the first remaining name if its carrier is not part of this patch.
    fn carry_content(&mut self) -> Result<(), Reason> {
        for (&(at, number), &group) in &self.groups {
            let is_own = |record: &&ObjectRecord| {
                let was = record.was.as_ref().filter(|was| was.group == Some(group));
                was.is_some_and(|was| was.kind == FileType::Regular) && !record.is_untouched()
            };
            let own: Vec<&ObjectRecord> = self.objects.values().filter(is_own).collect();
            let first = own.first().filter(|_| own.iter().all(|record| record.member.is_none()));
            let (Some(first), Some(source)) = (first, self.sources.get(&at)) else { continue };
            let Some(path) = first.object_path() else { continue };
            let Some((carrier, entry)) = carrier(source, number)? else { continue };
            let target = target_of(source.package, source.index, source.image)?;
            let written = target.write(&path)?;
            let (name, member) = (first.path.clone(), encode(written.as_bytes()));
            for other in own.iter().skip(1).filter_map(|record| record.object_path()) {
                if let Some(saved) =
                    self.saved.get_mut(&other).filter(|saved| saved.entry.object.ftype == Ftype::Link)
                {
                    saved.entry.object.target = Some(path.as_bytes().to_vec());
                }
            }
            let from = (source.index, carrier);
            self.saved.insert(path, SavedObject { entry: PkgmapEntry { path: written, ..entry }, from });
            if let Some(record) = self.objects.get_mut(&name) {
                record.member = Some(member.into());
            }
        }
        Ok(())
    }

    fn finish(self, taken: &TakenRecords) -> Result<RewrittenUndo, Reason> {
        let Self { later, mut objects, saved, deletes, .. } = self;
        let mut shlibs = later.manifest.shlibs.clone();
        if later.archive.is_none() {
            for record in objects.values_mut().chain(&mut shlibs) {
                record.member = None;
            }
        }
        let mut header = later.manifest.header.clone();
        into_header(&taken.records, &mut header);
        header.patch_info.extend(taken.patch_info.clone());
        if taken.makes_package && !header.made_package() {
            header.features.push(MADE_PACKAGE.to_owned());
        }
        let manifest = UndoManifest { header, objects: objects.into_values().collect(), shlibs };
        let Some(of) = &later.archive else {
            let archive = UndoArchive::manifest_only(later.package.clone(), later.patch.clone(), manifest);
            return Ok(RewrittenUndo { archive, versions: Vec::new() });
        };
        let target = target_of(later.package, of.index, of.image)?;
        let (mut passing, mut versions, mut entries) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (path, SavedObject { entry, from: (package, member) }) in saved {
            let content = version(later.package, &path, &entry, package, member, &manifest)?;
            let place = content.map(|version| {
                versions.push(version);
                versions.len() - 1
            });
            passing.insert(path.clone(), place);
            entries.push((entry, path));
        }
        // The contents of a directory go before it.
        let deletes = deletes.iter().rev().map(|path| target.write(path)).collect::<Result<_, _>>()?;
        let mut scripts = of.image.install.clone();
        scripts.retain(|name, _| !MADE_ANEW.contains(&name.as_str()));
        let regular = entries.iter().filter(|(entry, _)| entry.object.ftype.is_regular());
        for (name, text) in copying_scripts(regular.map(|(entry, _)| entry.object.class.as_str()).collect()) {
            scripts.entry(name).or_insert(text);
        }
        let (mut pkginfo, mut records) = (of.image.params.clone(), of.records.clone());
        into_pkginfo(taken, &mut pkginfo);
        into_records(taken, later.package, &mut records)?;
        name_classes(&mut pkginfo, entries.iter().map(|(entry, _)| &entry.object));
        let archive = UndoArchive {
            package: later.package.clone(),
            patch: later.patch.clone(),
            pkginfo,
            saved: entries,
            passing,
            deletes,
            scripts,
            records,
            kept_records: BTreeMap::new(),
            manifest,
            format: of.format,
            place: of.place(),
        };
        Ok(RewrittenUndo { archive, versions })
    }
}

fn name_classes<'o>(pkginfo: &mut Params, objects: impl Iterator<Item = &'o Object>) {
    let mut named = classes(pkginfo);
    let before = named.len();
    add_classes(&mut named, objects.map(|object| object.class.as_str()));
    if named.len() > before {
        pkginfo.set("CLASSES", named.join(" "));
    }
}

fn found_in_place<'a>(run: &ChainSegment<'a>) -> Option<&'a RecordedState> {
    let saver = run.content_saver().filter(|saver| saver.record.is_in_place())?;
    saver.record.was.as_ref()
}

fn version(
    package: &PkgInst,
    path: &ObjectPath,
    entry: &PkgmapEntry,
    archive: usize,
    member: PackagePath,
    manifest: &UndoManifest,
) -> Result<Option<ReplacedVersion>, Reason> {
    if !entry.object.ftype.is_regular() {
        return Ok(None);
    }
    let bad = || Reason::BadUndoData {
        package: package.clone(),
        reason: format!("the size or checksum of {path} is missing from its pkgmap"),
    };
    let content = &entry.object.content;
    let name = encode(path.as_bytes());
    let of = |records: &[ObjectRecord]| {
        let at = records.binary_search_by(|record| record.path.cmp(&name)).ok()?;
        records.get(at).filter(|record| record.member.is_some())?.was.clone()
    };
    let was = of(&manifest.objects).or_else(|| of(&manifest.shlibs));
    let member = Member {
        package: archive,
        path: member,
        size: content.size.ok_or_else(bad)?,
        cksum: content.cksum.ok_or_else(bad)?,
        b3: was.as_ref().and_then(RecordedState::digest).map(Box::new),
    };
    Ok(Some(ReplacedVersion { package: package.clone(), path: path.clone(), member }))
}

fn carrier(source: &BackoutArchive<'_>, number: u32) -> Result<Option<(PackagePath, PkgmapEntry)>, Reason> {
    let records = source.manifest.into_iter().flat_map(|manifest| &manifest.objects);
    let mut members = records.filter_map(|record| {
        let is_in = record.was.as_ref().is_some_and(|was| was.group == Some(number));
        record.member.as_deref().filter(|_| is_in)
    });
    let Some(member) = members.next() else { return Ok(None) };
    let path = PackagePath::new(&decode(member)).map_err(|error| Reason::BadUndoData {
        package: source.package.clone(),
        reason: format!("manifest: {error}"),
    })?;
    let found = source.image.files().find(|entry| entry.path == path).cloned();
    Ok(found.map(|entry| (path, entry)))
}

fn target_of<'i>(
    package: &PkgInst,
    index: usize,
    image: &'i patchadm_inputs::source::PackageImage,
) -> Result<PackageTarget<'i>, Reason> {
    PackageTarget::new(package.clone(), index, image, image.params.clone())
}

/// This package's ownership as before the run, other owners as the patch found them.
fn inherited_line(before: Option<&str>, found: Option<&str>, package: &PkgInst) -> Option<Box<str>> {
    let (Some(mut found), before) = (line_of(found), line_of(before)) else {
        return before.map(Into::into);
    };
    let is_shared = found.owners.iter().any(|owner| owner.package != *package);
    match before {
        Some(before) if !is_shared && before.owners.iter().all(|owner| owner.package == *package) => {
            return text_of(Some(before));
        }
        Some(before) => {
            if !before.is_owned_by(package) {
                found.owners.retain(|owner| owner.package != *package);
            }
            found.object = before.object;
        }
        None => found.owners.retain(|owner| owner.package != *package),
    }
    text_of(Some(found).filter(|found| !found.owners.is_empty()))
}

fn line_of(text: Option<&str>) -> Option<ContentsLine> {
    text.and_then(|text| ContentsLine::parse(&decode(text)).ok())
}

fn text_of(line: Option<ContentsLine>) -> Option<Box<str>> {
    line.map(|line| encode(&line.write()).into())
}

fn into_pkginfo(taken: &TakenRecords, pkginfo: &mut Params) {
    set(pkginfo, taken.parameters.iter().filter(|(name, _)| is_restored(name)));
}

fn into_records(
    taken: &TakenRecords,
    package: &PkgInst,
    records: &mut BTreeMap<Vec<u8>, RecordFile>,
) -> Result<(), Reason> {
    if let Some(saved) = records.get_mut(&b"pkginfo"[..])
        && !taken.parameters.is_empty()
    {
        let read = params::ParamFile::parse(&saved.bytes).map_err(|error| Reason::BadUndoData {
            package: package.clone(),
            reason: format!("the saved pkginfo: {error}"),
        })?;
        let mut params = read.params();
        set(&mut params, taken.parameters.iter());
        saved.bytes = params::write(&params).into();
    }
    for (name, file) in &taken.records {
        match file {
            Some(file) => drop(records.insert(name.clone(), file.clone())),
            None => drop(records.remove(name)),
        }
    }
    Ok(())
}

fn into_header(taken: &RecordsFound, header: &mut ManifestHeader) {
    for (name, file) in taken {
        let Ok(name) = String::from_utf8(name.clone()) else { continue };
        header.made_records.retain(|known| *known != name);
        if let Some(found) = &mut header.records {
            found.retain(|known| *known != name);
            if file.is_some() {
                found.push(name.clone());
                found.sort();
            }
        }
        if file.is_none() {
            header.made_records.push(name);
        }
    }
    header.made_records.sort();
}

fn set<'t>(params: &mut Params, values: impl Iterator<Item = (&'t String, &'t Option<Vec<u8>>)>) {
    for (name, value) in values {
        match value {
            Some(value) => params.set(name, value.clone()),
            None => params.remove(name),
        }
    }
}

// The archive gets another form with the same content: objects pass from the old archive through the run, the manifest
// stays, digest, ledger and pointer follow.

/// Adds the rewriting of an archive in another form to a plan. `save` is the save directory of the patch.
pub fn repack(plan: &mut Plan, later: &LaterUndo<'_>, save: &Save, format: UndoFormat) -> Result<(), Reason> {
    let RewrittenUndo { mut archive, versions } = Rewriting::of(later, &HashMap::new())?.unchanged()?;
    archive.format = format;
    for place in archive.passing.values_mut().flatten() {
        *place += plan.versions.len();
    }
    plan.records.extend(files_of(later, save, format, plan.undo.len())?);
    let used_up = later.archive.filter(|archive| archive.is_used_up);
    plan.discard.extend(used_up.and_then(|archive| archive.outside).map(Path::to_owned));
    plan.versions.extend(versions);
    plan.undo.push(archive);
    add_to_ledger(plan, later);
    Ok(())
}

fn files_of(
    later: &LaterUndo<'_>,
    save: &Save,
    format: UndoFormat,
    archive: usize,
) -> Result<Vec<RecordChange>, Reason> {
    let at = |name: &str| path_of(later.package, &later.patch, name);
    let undo = |name: &str, part| Ok::<_, Reason>(RecordChange::Undo { path: at(name)?, archive, part });
    let digest = undo("undo.b3", UndoPart::Digest)?;
    match (&save.archive, &save.remote) {
        (Some(name), _) => {
            let renamed = name_in(name, format);
            let mut records = vec![undo(&renamed, UndoPart::Archive)?, digest];
            if renamed != *name {
                records.push(RecordChange::RemoveFile(at(name)?));
            }
            Ok(records)
        }
        (None, Some(pointer)) => {
            let pointer = RemoteArchive::parse(pointer).map_err(|error| bad(later.package, &error))?;
            Ok(vec![digest, undo("remote", UndoPart::Pointer(pointer))?])
        }
        (None, None) => Err(Reason::NoUndoData(later.package.clone())),
    }
}

fn name_in(name: &str, format: UndoFormat) -> String {
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    format!("{stem}{}", format.suffix())
}

fn path_of(package: &PkgInst, patch: &str, name: &str) -> Result<ObjectPath, Reason> {
    let save = places::save(package).join(patch.as_bytes());
    save.and_then(|save| save.join(name.as_bytes())).map_err(|error| bad(package, &error))
}

fn bad(package: &PkgInst, error: &dyn ToString) -> Reason {
    Reason::BadUndoData { package: package.clone(), reason: error.to_string() }
}

fn add_to_ledger(plan: &mut Plan, later: &LaterUndo<'_>) {
    let (patch, archive) = (later.patch.clone(), RewrittenArchive::Anew);
    let rewrite = LedgerRewrite { patch, archive, is_adopted: false };
    let known = plan.records.iter_mut().find_map(|record| match record {
        RecordChange::Ledger(change) if change.package == *later.package => Some(change),
        _ => None,
    });
    if let Some(change) = known {
        change.rewritten.push(rewrite);
        return;
    }
    let change = LedgerChange { rewritten: vec![rewrite], ..LedgerChange::of(later.package) };
    plan.records.push(RecordChange::Ledger(change));
    plan.packages.push(later.package.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_keeps_its_stem() {
        for (name, format, expected) in [
            ("undo.gz", UndoFormat::Plain, "undo"),
            ("undo", UndoFormat::Compress, "undo.Z"),
            ("obsolete.Z", UndoFormat::Gzip, "obsolete.gz"),
            ("obsolete.files", UndoFormat::Zstd, "obsolete.zst"),
            ("undo.zst", UndoFormat::Gzip, "undo.gz"),
            ("undo.zst", UndoFormat::Xz, "undo.xz"),
            ("obsolete.xz", UndoFormat::Plain, "obsolete"),
        ] {
            assert_eq!(name_in(name, format), expected);
        }
    }
}

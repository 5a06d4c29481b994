//! `contents` made anew: from the pkgmaps of the packages as they were installed, over them the lines that each patch left,
//! in the order in which the patches were applied, and over these every line of the damaged file that can still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use super::traces::{PatchTraces, SpooledCopy, bound_archive};
use super::{MendedRecord, kept, write};
use crate::database::agreement::is_closed;
use crate::database::archive::kept_manifest;
use crate::database::contents::open;
use crate::database::{RecordDamage, RecordView, all, installed};
use crate::format::ledger::Ledger;
use crate::operation::failure::Failure;
use crate::operation::session::{RootAndPolicy, Session};
use crate::plan::RecordChange;
use crate::plan::package::regain::is_of_patch;
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_changeset::format::run::Run;
use patchadm_svr4::format::contents::{ContentsReader, is_comment};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, OwningPackage, Params, PkgInst, variables};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// So many paths are told by name.
const MOST_TOLD: usize = 20;

/// What is always lost with `contents`.
const LOST: &str = "what installf registered and removef gave up, and directories that were made on the way to an object, \
                    are not in the records of the packages";

type Lines = BTreeMap<ObjectPath, ContentsLine>;

/// Makes `contents` anew; `damage` is what is wrong with it.
pub(super) fn mend(session: &Session<'_>, damage: Vec<RecordDamage>) -> Result<Vec<MendedRecord>, Failure> {
    let root = &session.ground.root;
    let view = RecordView::live(root);
    let mut regained = RegainedContents::default();
    match all::params_of_all(&view) {
        Ok(packages) => regained.packages(&session.ground, &packages)?,
        // Which patches a package has decides what becomes of its lines.
        Err(error) => {
            let why = format!("it is made when the records of all packages can be read: {error}");
            let not_made =
                |damage| MendedRecord { damage, is_made: false, is_whole: false, said: vec![why.clone()] };
            return Ok(damage.into_iter().take(1).map(not_made).collect());
        }
    }
    let readable = readable_lines(&view);
    let is_lost = readable.is_empty();
    let mut said = Vec::new();
    if !is_lost {
        let new: Vec<String> = regained
            .lines
            .keys()
            .filter(|path| !readable.contains_key(*path))
            .map(|path| root.show(path))
            .collect();
        said.push(format!("{} lines can be read and stay as they are", readable.len()));
        if !new.is_empty() {
            let shown: Vec<&str> = new.iter().take(MOST_TOLD).map(String::as_str).collect();
            let more = if new.len() > MOST_TOLD { " …" } else { "" };
            let what = "objects are recorded again as packages and patches brought them";
            said.push(format!("{} {what}: {}{more}", new.len(), shown.join(" ")));
        }
        regained.lines.extend(readable);
    }
    said.push(LOST.to_owned());
    said.append(&mut regained.unknown);
    let kept = kept(root, &places::contents())?;
    said.extend(kept.iter().map(|kept| format!("the damaged file is kept as {}", kept.shown)));
    let Some(package) = installed::packages(&view)?.pop() else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    for line in regained.lines.values() {
        bytes.extend_from_slice(&line.write());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&session.caller.now.trailer(super::COMMAND, &package).write());
    let path = places::contents();
    let made = RecordChange::Write { path, bytes, mode: Mode::of(0o644), mtime: None };
    let kept = kept.and_then(|kept| kept.change);
    write(session, &package, std::iter::once(made).chain(kept).collect())?;
    let is_whole = regained.is_whole;
    let mut damage = damage.into_iter();
    let first = damage.next().map(|damage| MendedRecord { damage, is_made: true, is_whole, said });
    let others =
        damage.map(|damage| MendedRecord { damage, is_made: true, is_whole: true, said: Vec::new() });
    Ok(first.into_iter().chain(others).collect())
}

/// The lines of these packages as they and their patches brought them, as far as that is known.
pub(in crate::operation) fn regained_lines(
    ground: &RootAndPolicy,
    packages: &BTreeMap<PkgInst, Params>,
) -> Result<BTreeMap<ObjectPath, ContentsLine>, Failure> {
    let mut regained = RegainedContents::default();
    regained.packages(ground, packages)?;
    Ok(regained.lines)
}

/// The lines of the file that is there, as far as they can be read.
fn readable_lines(view: &RecordView<'_>) -> Lines {
    let mut lines = Lines::new();
    // Something else in its place has none.
    let Ok(Some(file)) = open(view) else { return lines };
    let is_closed = file.metadata().is_ok_and(|seen| is_closed(&file, seen.len()));
    let mut reader = ContentsReader::new(BufReader::with_capacity(1 << 18, file));
    let mut last = None;
    while let Ok(Some(raw)) = reader.next_line() {
        last = None;
        let Ok(line) = ContentsLine::parse(raw) else { continue };
        if is_comment(raw) {
            continue;
        }
        last = Some(line.path.clone());
        match lines.get_mut(&line.path) {
            Some(known) => known.adopt_owners(line),
            None => drop(lines.insert(line.path.clone(), line)),
        }
    }
    // A line that was cut may be that of another package than it says.
    if let Some(cut) = last.filter(|_| !is_closed) {
        lines.remove(&cut);
    }
    lines
}

/// A patch of a package, and when it was applied.
struct AppliedTo<'p> {
    run: u64,
    package: &'p PkgInst,
    manifest: Manifest,
}

/// The lines so far.
struct RegainedContents {
    lines: Lines,
    /// What could not be known.
    unknown: Vec<String>,
    is_whole: bool,
}

impl Default for RegainedContents {
    fn default() -> Self {
        Self { lines: Lines::new(), unknown: Vec::new(), is_whole: true }
    }
}

impl RegainedContents {
    fn packages(
        &mut self,
        ground: &RootAndPolicy,
        packages: &BTreeMap<PkgInst, Params>,
    ) -> Result<(), Failure> {
        let mut applied = Vec::new();
        for (package, params) in packages {
            let traces = PatchTraces::of(ground, package)?;
            let patches = installed::patch_records(&ground.root, package, params, &ground.policy.separator)?;
            let patches: Vec<PatchId> = patches.list.iter().cloned().collect();
            self.base(ground, package, params, &patches, &traces)?;
            self.patches(ground, package, &patches, &traces, &mut applied);
        }
        // Of one package they are in their order already.
        applied.sort_by_key(|one| one.run);
        for one in &applied {
            self.apply(one, packages);
        }
        Ok(())
    }

    /// The lines of a package as it was installed.
    fn base(
        &mut self,
        ground: &RootAndPolicy,
        package: &PkgInst,
        params: &Params,
        patches: &[PatchId],
        traces: &PatchTraces,
    ) -> Result<(), Failure> {
        let mut copy = SpooledCopy::of(ground, package)?;
        for patch in patches.iter().rev() {
            let old =
                traces.archives.iter().find(|(name, _)| PatchId::new(name).is_ok_and(|id| id == *patch));
            copy = match (copy, old) {
                (Some(copy), Some((_, old))) => copy.before(package, old).or(Some(copy)),
                (copy, _) => copy,
            };
        }
        let made = copy.filter(|copy| !is_of_patch(&copy.params)).and_then(|copy| {
            let map = Pkgmap::parse(&copy.pkgmap).ok()?;
            let classes = params.text("CLASSES").into_owned();
            let classes: Vec<&str> = classes.split_whitespace().collect();
            let is_chosen = |entry: &&PkgmapEntry| classes.contains(&entry.object.class.as_str());
            let entries = map.entries.iter().filter(|entry| !entry.is_information()).filter(is_chosen);
            entries.map(|entry| line(entry, params, package)).collect::<Option<Vec<_>>>()
        });
        let Some(made) = made else {
            self.is_whole = false;
            self.unknown.push(format!(
                "which objects package {package} was installed with is not known any more: install it again with pkgadd"
            ));
            return Ok(());
        };
        for line in made {
            match self.lines.get_mut(&line.path) {
                Some(known) => known.adopt_owners(line),
                None => drop(self.lines.insert(line.path.clone(), line)),
            }
        }
        Ok(())
    }

    /// Finds what each patch of a package did.
    fn patches<'p>(
        &mut self,
        ground: &RootAndPolicy,
        package: &'p PkgInst,
        patches: &[PatchId],
        traces: &PatchTraces,
        applied: &mut Vec<AppliedTo<'p>>,
    ) {
        let (mut run, mut unknown) = (0, Vec::new());
        for patch in patches {
            let mut lines = traces.ledger.iter().flat_map(Ledger::lines);
            let line = lines.find(|line| PatchId::new(&line.patch).is_ok_and(|id| id == *patch));
            let number = line.and_then(|line| Run::parse(&line.run)).map(|run| run.number);
            run = number.unwrap_or(run).max(run);
            let manifest = line.and_then(|line| {
                let view = RecordView::live(&ground.root);
                let mut ledger = Ledger::default();
                ledger.set(line.clone());
                let kept = kept_manifest(&view, package, &line.patch, &ledger).ok().flatten();
                kept.or_else(|| bound_archive(ground, package, line).map(|(_, manifest)| manifest))
            });
            match manifest {
                Some(manifest) => applied.push(AppliedTo { run, package, manifest }),
                None => unknown.push(patch.to_string()),
            }
        }
        if !unknown.is_empty() {
            self.is_whole = false;
            let patches = unknown.join(" ");
            self.unknown.push(format!("what {patches} changed in package {package} is not known any more"));
        }
    }

    /// Puts the lines of a patch over those of before.
    fn apply(&mut self, one: &AppliedTo<'_>, packages: &BTreeMap<PkgInst, Params>) {
        for record in one.manifest.objects.iter().filter(|record| record.line != record.new_line) {
            let Some(path) = record.object_path() else { continue };
            let new = record.new_line.as_ref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
            let known = self.lines.remove(&path);
            let mut line = match (new, known) {
                (Some(new), known) => {
                    let mut line = new;
                    if let Some(known) = known {
                        line.adopt_owners(known);
                    }
                    line
                }
                (None, Some(mut known)) => {
                    known.owners.retain(|owner| owner.package != *one.package);
                    known
                }
                (None, None) => continue,
            };
            line.owners.retain(|owner| packages.contains_key(&owner.package));
            if !line.owners.is_empty() {
                self.lines.insert(path, line);
            }
        }
    }
}

/// The line of an entry of a pkgmap; none where it makes no sense with these parameters.
fn line(entry: &PkgmapEntry, params: &Params, package: &PkgInst) -> Option<ContentsLine> {
    let base = match params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => ObjectPath::root(),
        Some(path) => ObjectPath::new(path).ok()?,
    };
    let path = entry.path.resolve(&base, |name| variables::value(params, name)).ok()?;
    let object = variables::expand_object(&entry.object, params).ok()?.into_owned();
    Some(ContentsLine { path, volume: None, object, owners: vec![OwningPackage::new(package.clone())] })
}

/// The paths that a package owns by these lines.
pub(super) fn paths_of<'l>(
    lines: impl IntoIterator<Item = &'l ContentsLine>,
    package: &PkgInst,
) -> BTreeSet<ObjectPath> {
    lines.into_iter().filter(|line| line.is_owned_by(package)).map(|line| line.path.clone()).collect()
}

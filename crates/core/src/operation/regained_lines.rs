//! The lines of packages as the packages and their patches brought them: from the pkgmaps of the packages as they were
//! installed, and over them the lines that each patch left, in the order in which the patches were applied.

use std::collections::BTreeMap;

use super::package_traces::{PatchTraces, SpooledCopy};
use crate::operation::failure::Failure;
use crate::operation::root_and_policy::RootAndPolicy;
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_changeset::format::run::Run;
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_planning::plan::package::package_records::is_of_patch;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{ContentsLine, ObjectPath, OwningPackage, Params, PkgInst, variables};
use patchadm_svr4::patch::PatchId;

/// Lines by path.
pub(super) type Lines = BTreeMap<ObjectPath, ContentsLine>;

/// Returns the lines of these packages as they and their patches brought them, as far as that is known. A signal ends it.
pub(super) fn regained_lines(
    ground: &RootAndPolicy,
    packages: &BTreeMap<PkgInst, Params>,
    interrupt: Interrupt<'_>,
) -> Result<Lines, Failure> {
    let mut regained = RegainedLines::default();
    regained.packages(ground, packages, interrupt)?;
    Ok(regained.lines)
}

/// Returns the lines of these packages by the existing copies of what was last delivered, regardless of later patches.
pub(super) fn delivered_lines(
    ground: &RootAndPolicy,
    packages: &BTreeMap<PkgInst, Params>,
) -> Result<Lines, Failure> {
    let mut regained = RegainedLines::default();
    for (package, params) in packages {
        let copy = SpooledCopy::of(ground, package)?;
        regained.delivered(package, params, copy.as_ref());
    }
    Ok(regained.lines)
}

/// A patch of a package, and the run that applied it.
struct AppliedTo<'p> {
    run: u64,
    package: &'p PkgInst,
    manifest: Manifest,
}

/// The lines so far.
pub(super) struct RegainedLines {
    /// The lines, by path.
    pub(super) lines: Lines,
    /// What could not be determined, in whole sentences.
    pub(super) unknown: Vec<String>,
    /// Whether everything could be determined.
    pub(super) is_whole: bool,
}

impl Default for RegainedLines {
    fn default() -> Self {
        Self { lines: Lines::new(), unknown: Vec::new(), is_whole: true }
    }
}

impl RegainedLines {
    /// Adds the known lines of these packages, until a signal comes.
    pub(super) fn packages(
        &mut self,
        ground: &RootAndPolicy,
        packages: &BTreeMap<PkgInst, Params>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), Failure> {
        let mut applied = Vec::new();
        for (package, params) in packages {
            let traces = PatchTraces::of(ground, package, interrupt)?;
            let patches = installed::patch_records(&ground.root, package, params, &ground.policy.separator)?;
            let patches: Vec<PatchId> = patches.list.iter().cloned().collect();
            self.base(ground, package, params, &patches, &traces)?;
            self.patches(ground, package, (&patches, &traces), interrupt, &mut applied);
            // An interrupted digest does not make an archive unknown.
            Failure::unless_interrupted(interrupt)?;
        }
        // The patches of one package are in order already.
        applied.sort_by_key(|one| one.run);
        for one in &applied {
            self.apply(one, packages);
        }
        Ok(())
    }

    /// Adds the lines of a package as it was installed.
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
        if !self.delivered(package, params, copy.as_ref().filter(|copy| !is_of_patch(&copy.params))) {
            self.is_whole = false;
            self.unknown.push(format!(
                "which objects package {package} was installed with is not known any more: install it again with pkgadd"
            ));
        }
        Ok(())
    }

    /// Adds the lines of the objects of a copy. Returns false if there is no valid copy.
    fn delivered(&mut self, package: &PkgInst, params: &Params, copy: Option<&SpooledCopy>) -> bool {
        let made = copy.and_then(|copy| {
            let map = Pkgmap::parse(&copy.pkgmap).ok()?;
            let classes = params.text("CLASSES").into_owned();
            let classes: Vec<&str> = classes.split_whitespace().collect();
            let is_chosen = |entry: &&PkgmapEntry| classes.contains(&entry.object.class.as_str());
            let entries = map.entries.iter().filter(|entry| !entry.is_information()).filter(is_chosen);
            entries.map(|entry| line(entry, params, package)).collect::<Option<Vec<_>>>()
        });
        let Some(made) = made else { return false };
        for line in made {
            match self.lines.get_mut(&line.path) {
                Some(known) => known.adopt_owners(line),
                None => drop(self.lines.insert(line.path.clone(), line)),
            }
        }
        true
    }

    /// Finds the changes of each patch of a package.
    fn patches<'p>(
        &mut self,
        ground: &RootAndPolicy,
        package: &'p PkgInst,
        (patches, traces): (&[PatchId], &PatchTraces),
        interrupt: Interrupt<'_>,
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
                let alone = Ledger::of_line(line.clone());
                let reader = ground.undo_data(&view, None);
                reader.known_manifest(package, &line.patch, &alone, interrupt).ok()?
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

    /// Puts the lines of a patch over the earlier ones.
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

/// Returns the line of an entry of a pkgmap; `None` if it makes no sense with these parameters.
fn line(entry: &PkgmapEntry, params: &Params, package: &PkgInst) -> Option<ContentsLine> {
    let base = match params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => ObjectPath::root(),
        Some(path) => ObjectPath::new(path).ok()?,
    };
    let path = entry.path.resolve(&base, |name| variables::value(params, name)).ok()?;
    let object = variables::expand_object(&entry.object, params).ok()?.into_owned();
    Some(ContentsLine { path, volume: None, object, owners: vec![OwningPackage::new(package.clone())] })
}

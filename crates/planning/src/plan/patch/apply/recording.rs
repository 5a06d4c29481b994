//! What a patch records: parameters, the records of its packages, undo archives, its own directory.

use super::ApplyPlanner;
use super::packages::Patched;
use super::placing::PlacedPatch;
use crate::plan::ledger::{LedgerChange, LedgerPatch};
use crate::plan::patch::engine::applying;
use crate::plan::patch::interrupted;
use crate::plan::patch::undo::{Undoing, tree_file};
use crate::plan::patch::validate::Match;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{self, RecordChanges, package_path, patch_path};
use crate::plan::refusal::Reason;
use crate::plan::scripts::is_kept;
use crate::plan::{RecordChange, TreeContent, UndoArchive, UndoFormat};
use patchadm_inputs::native::NativeRegistration;
use patchadm_svr4::format::patchinfo::PatchinfoFile;
use patchadm_svr4::package::Mode;

/// A patch with all that it records.
pub(super) struct RecordedPatch<'a> {
    pub(super) draft: PlanBuilder<'a>,
    pub(super) packages: Vec<Patched<'a>>,
    pub(super) records: Vec<RecordChange>,
    pub(super) undo: Vec<UndoArchive>,
}

impl ApplyPlanner<'_> {
    /// Adds what the patch records; nothing new where it is applied already.
    pub(super) fn record<'p>(&self, placed: PlacedPatch<'p>) -> Result<RecordedPatch<'p>, Reason> {
        let PlacedPatch { mut draft, packages } = placed;
        let (mut records, mut undo) = (Vec::new(), Vec::new());
        if self.validated.again {
            draft.notes.push(format!("{} is applied already; its files are installed again", self.id()));
        } else {
            (records, undo) = self.records(&draft, &packages)?;
            draft.notes.extend(self.why_archive(&packages).map(str::to_owned));
        }
        records.extend(self.traces_of_interruption()?);
        Ok(RecordedPatch { draft, packages, records, undo })
    }

    /// What an unfinished application of the same patch left, which goes when the patch is installed as a whole.
    fn traces_of_interruption(&self) -> Result<Vec<RecordChange>, Reason> {
        let mut changes = Vec::new();
        for Match { package, .. } in &self.validated.matches {
            if let Some(installed) = self.inventory.packages.get(package) {
                changes.extend(interrupted::forget(package, installed, self.id(), &self.policy.separator)?);
            }
        }
        Ok(changes)
    }

    /// The records of all packages and of the patch, and the undo archives.
    fn records(
        &self,
        draft: &PlanBuilder<'_>,
        patched: &[Patched<'_>],
    ) -> Result<(Vec<RecordChange>, Vec<UndoArchive>), Reason> {
        let mut changes = Vec::new();
        let mut undo = Vec::new();
        let format = self.why_archive(patched).map_or(self.options.undo_format, |_| UndoFormat::default());
        for package in patched {
            let target = &package.target;
            let files = records::files(&target.package, target.image, &target.params, is_kept)?;
            let mut records = RecordChanges::of(&target.package, package.installed, files)?;
            records.date(self.now.timestamp());
            let (name, id) = (&target.package, self.id());
            let (obsoletes, separator) = (&package.delivered.obsoletes, &self.policy.separator);
            changes.extend(records::supersede(name, package.installed, id, obsoletes, separator)?);
            changes.push(self.save(draft, package, (&records, format), &mut undo)?);
            changes.extend(records.changes);
            let patch = LedgerPatch {
                patch: id.as_str().to_owned(),
                is_without_undo: self.validated.no_undo,
                native: NativeRegistration::named_version(&target.params),
            };
            changes.push(RecordChange::Ledger(LedgerChange::of_application(name, patch)));
        }
        changes.extend(self.patch_directory()?);
        Ok((changes, undo))
    }

    /// Why the undo data is an archive of the default form although another form was asked for: old files that a script may
    /// change cannot stay as they are, and not every build writes every form.
    fn why_archive(&self, patched: &[Patched<'_>]) -> Option<&'static str> {
        if self.validated.no_undo {
            return None;
        }
        match self.options.undo_format {
            UndoFormat::Files => {}
            format if format.is_written() => return None,
            UndoFormat::Xz => {
                return Some("this build does not write xz, so the undo data is compressed by gzip");
            }
            _ => return Some("this build does not write zst, so the undo data is compressed by gzip"),
        }
        let has_scripts = |package: &Patched<'_>| package.chosen.has_scripts();
        let runs_scripts = patched.iter().any(has_scripts) || applying(&self.image.hooks).next().is_some();
        let by_scripts = runs_scripts.then_some("scripts run, so the undo data is an archive");
        self.options.only_archives.or(by_scripts)
    }

    /// The save directory of a package, with its undo archive, the pointer to it, or the manifest alone.
    fn save(
        &self,
        draft: &PlanBuilder<'_>,
        package: &Patched<'_>,
        (changed, format): (&RecordChanges, UndoFormat),
        undo: &mut Vec<UndoArchive>,
    ) -> Result<RecordChange, Reason> {
        let target = &package.target;
        if records::save_of(package.installed, self.id(), &self.policy.separator).is_some() {
            return Err(Reason::StaleSave(target.package.clone()));
        }
        let undoing = Undoing {
            id: self.id(),
            obsoletes: &package.delivered.obsoletes,
            old: &package.installed.params,
            saves: &package.installed.saves,
            set: &package.set,
            silent: &package.silent,
            format,
            directory: self.options.undo_dir.as_deref(),
            saves_nothing: self.validated.no_undo,
            runs_scripts: package.chosen.has_scripts() || applying(&self.image.hooks).next().is_some(),
        };
        let archive = undoing.archive(draft, target, &package.placed.delivered, changed)?;
        let files = undoing.saved_files(&archive.place, undo.len())?;
        undo.push(archive);
        let path = package_path(&target.package, format!("save/{}", self.id()).as_bytes())?;
        Ok(RecordChange::AddTree { path, files })
    }

    /// The manifest by which the patch was trusted, and its signature.
    fn signed_files(&self) -> Vec<(String, Vec<u8>, u32)> {
        let Some(signed) = &self.image.signature.files else { return Vec::new() };
        let mut files = vec![("MANIFEST".to_owned(), signed.manifest.clone(), 0o644)];
        if let Some((format, text)) = &signed.signature {
            files.push((format!("MANIFEST{}", format.ending()), text.clone(), 0o644));
        }
        files
    }

    /// `var/sadm/patch/<id>` with the README, the patchinfo and the scripts that patchrm(1M) runs.
    fn patch_directory(&self) -> Result<Vec<RecordChange>, Reason> {
        let path = patch_path(self.id().as_str())?;
        let readme = self.image.readme.as_ref();
        let patchinfo = self.image.patchinfo.as_ref().map(PatchinfoFile::write);
        let hooks = &self.image.hooks;
        let files = [
            (format!("README.{}", self.id()), readme.map(|(_, text)| text), 0o644),
            ("patchinfo".to_owned(), patchinfo.as_ref(), 0o644),
            ("prebackout".to_owned(), hooks.prebackout.as_ref(), 0o755),
            ("postbackout".to_owned(), hooks.postbackout.as_ref(), 0o755),
        ];
        let files = files.into_iter().filter_map(|(name, text, mode)| Some((name, text?.clone(), mode)));
        let files = files.chain(self.signed_files());
        if !self.inventory.live.contains_key(&path) {
            let files =
                files.map(|(name, text, mode)| tree_file(&name, TreeContent::Bytes(text), mode)).collect();
            return Ok(vec![RecordChange::AddTree { path, files }]);
        }
        let write = |(name, bytes, mode): (String, Vec<u8>, u32)| {
            let path = path.join(name.as_bytes()).map_err(|error| Reason::BadId(error.to_string()))?;
            Ok(RecordChange::Write { path, bytes, mode: Mode::of(mode), mtime: None })
        };
        files.map(write).collect()
    }
}

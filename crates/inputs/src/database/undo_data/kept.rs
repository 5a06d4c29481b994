//! The kept manifest of a patch without undo data, which tells the neighbouring patches which paths it has.
//!
//! Like an archive, it is trusted if the ledger of the root names its digest.

use patchadm_changeset::archive_file::{LARGEST_MANIFEST, UnreadContent, read_manifest};

use super::error::ArchiveError;
use super::{UndoReader, manifest};
use crate::database::RecordView;
use crate::format::ledger::{Ledger, LedgerUndo};
use patchadm_changeset::format::manifest::{KEPT_MANIFEST, Manifest, PatchedPaths};
use patchadm_rootfs::{Digest, Interrupt};
use patchadm_svr4::package::{Params, PkgInst, rule};
use patchadm_svr4::places;

impl UndoReader<'_> {
    /// Reads the manifest of `patch` for `package` if the ledger says that nothing was saved; `None` if the ledger names
    /// no manifest. A named manifest must exist and be the one that the run wrote.
    pub fn kept_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
        ledger: &Ledger,
    ) -> Result<Option<Manifest>, ArchiveError> {
        let line = ledger
            .line(patch)
            .filter(|line| matches!(line.undo, LedgerUndo::None(_) | LedgerUndo::Exported { .. }));
        let Some((line, digest)) = line.and_then(|line| Some((line, line.manifest?))) else {
            return Ok(None);
        };
        let (path, bytes) = read(self.view, package, patch)?;
        let unusable = |path: String, reason: String| ArchiveError::KeptManifest { path, reason };
        let run = &line.run;
        let Some(bytes) = bytes else {
            return Err(unusable(path, format!("it is not there, and run {run} kept it")));
        };
        if !rule::holds("manifest.kept.digest", Digest::of(&bytes) == digest) {
            let reason = format!("it is not the one that run {run} kept (an older copy, or somebody else's)");
            return Err(unusable(path, reason));
        }
        parsed(&bytes, package, patch).map(Some).map_err(|unread| match unread {
            UnreadContent::Earlier => ArchiveError::Earlier { path },
            UnreadContent::Damaged(reason) => unusable(path, reason),
        })
    }

    /// Reads the manifest of a patch without using its undo data, if the ledger binds it: that of the snapshot if there
    /// is one, or the kept one if nothing was saved. A signal ends it.
    pub fn known_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
        ledger: &Ledger,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<Manifest>, ArchiveError> {
        if let Some(kept) = self.kept_manifest(package, patch, ledger)? {
            return Ok(Some(kept));
        }
        self.find_with(package, patch, ledger)?.telling(self.view)?.bound_manifest(interrupt)
    }

    /// Does the same for readers, without comparing a digest. `params` are those of the package; with them, the paths in
    /// another program's archive are found.
    pub fn told(
        &self,
        (package, params): (&PkgInst, &Params),
        patch: &str,
        ledger: &Ledger,
    ) -> Result<PatchedPaths, ArchiveError> {
        if let Some(kept) = self.kept_manifest(package, patch, ledger)? {
            return Ok(PatchedPaths::Manifest(Box::new(kept)));
        }
        let undo = self.find_with(package, patch, ledger)?.telling(self.view)?;
        match undo.named_manifest()? {
            Some(manifest) => Ok(PatchedPaths::Manifest(Box::new(manifest))),
            None => Ok(PatchedPaths::Paths(undo.saved_paths(params))),
        }
    }

    /// Reads the kept manifest regardless of the ledger, with digest and size of the file, for adoption; `None` if there
    /// is no sensible one.
    pub fn unbound_manifest(
        &self,
        package: &PkgInst,
        patch: &str,
    ) -> Result<Option<(Manifest, Digest, u64)>, ArchiveError> {
        let (_, Some(bytes)) = read(self.view, package, patch)? else { return Ok(None) };
        let of_file = |manifest| (manifest, Digest::of(&bytes), bytes.len() as u64);
        Ok(parsed(&bytes, package, patch).ok().map(of_file))
    }
}

/// Returns the path for messages, and the content of the file.
fn read(
    view: &RecordView<'_>,
    package: &PkgInst,
    patch: &str,
) -> Result<(String, Option<Vec<u8>>), ArchiveError> {
    let save = places::save(package).join(patch.as_bytes());
    let Ok(path) = save.and_then(|save| save.join(KEPT_MANIFEST.as_bytes())) else {
        return Ok((view.root().show(&places::save(package)), None));
    };
    Ok((view.root().show(&path), view.read(&path, LARGEST_MANIFEST)?))
}

fn parsed(bytes: &[u8], package: &PkgInst, patch: &str) -> Result<Manifest, UnreadContent> {
    let mut opened = patchadm_container::open_container(bytes).map_err(|error| error.to_string())?;
    let parsed = read_manifest(&mut opened.reader)?;
    manifest::fault(&parsed, patch, package).map_or(Ok(parsed), |reason| Err(reason.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;
    use crate::database::undo_data::OutsideAccess;
    use crate::format::ledger::{LedgerLine, WhyNone};
    use patchadm_changeset::format::manifest::ManifestHeader;
    use patchadm_rootfs::Root;

    fn manifest(parameters: &[&str]) -> Vec<u8> {
        let header = ManifestHeader {
            parameters: parameters.iter().map(|name| (*name).to_owned()).collect(),
            ..ManifestHeader::of("100-01", "X", &"0".repeat(16))
        };
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&Manifest { header, objects: Vec::new(), shlibs: Vec::new() }.to_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_manifest_that_the_ledger_names_is_believed_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("var/sadm/pkg/X/save/100-01/manifest.gz");
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let kept = manifest(&["WORD"]);
        let line = LedgerLine {
            run: "1-0000000000000000".to_owned(),
            patch: "100-01".to_owned(),
            info: Digest([1; 32]),
            undo: LedgerUndo::None(WhyNone::NoUndo),
            scripts: [].into(),
            snapshot: None,
            manifest: Some(Digest::of(&kept)),
            applied_by: None,
            is_adopted: false,
            native: None,
        };
        let mut ledger = Ledger::default();
        ledger.set(line.clone());
        let root = Root::open(dir.path()).unwrap();
        let package = PkgInst::new("X").unwrap();
        let view = RecordView::live(&root);
        let reader = UndoReader { view: &view, host: &root, outside: OutsideAccess::default() };
        let known = |ledger: &Ledger| reader.kept_manifest(&package, "100-01", ledger);

        fs::write(&at, &kept).unwrap();
        let found = known(&ledger).unwrap().unwrap();
        assert_eq!(found.header.parameters, ["WORD"]);
        for (other, reason) in [(Some(manifest(&[])), "not the one that run 1-"), (None, "not there")] {
            fs::remove_file(&at).unwrap();
            if let Some(bytes) = other {
                fs::write(&at, bytes).unwrap();
            }
            let error = known(&ledger).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(at.to_str().unwrap()), "{error}");
            fs::write(&at, &kept).unwrap();
        }
        ledger.set(LedgerLine { manifest: None, ..line });
        assert!(known(&ledger).unwrap().is_none());
    }
}

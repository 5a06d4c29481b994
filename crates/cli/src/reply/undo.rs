//! Undo data of patches in words, and of planned patches.

use super::words::human;
use patchadm_changeset::plan::UndoFormat;
use patchadm_core::operation::patches::undo_states::{PackageUndo, UndoState};
use patchadm_inputs::database::RecordView;
use patchadm_planning::plan::{Plan, UndoArchive, UndoPlace};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// By package. `bytes` returns the size of each written archive by its index in the plan; before that, the sizes of
/// saved objects count.
pub(super) fn of_plan(root: &Root, plan: &Plan, bytes: &dyn Fn(usize) -> Option<u64>) -> Vec<PackageUndo> {
    let of = |package: &PkgInst| {
        let mut archives = plan.undo.iter().enumerate();
        let kept = archives
            .find(|(_, undo)| undo.package == *package && undo.place != UndoPlace::ManifestOnly)
            .map(|(at, undo)| {
                (
                    bytes(at).map_or_else(|| saved_bytes(undo), |bytes| on_disk(root, undo, bytes)),
                    undo_path(root, undo),
                )
            });
        let state = if kept.is_some() { UndoState::Saved } else { UndoState::None };
        let (bytes, path) = kept.unzip();
        let (package, bytes) = (package.clone(), bytes.unwrap_or_default());
        PackageUndo { package, state, bytes, path: path.flatten() }
    };
    plan.packages.iter().map(of).collect()
}

/// Returns true if the old files are kept as they were.
fn is_files(undo: &PackageUndo) -> bool {
    undo.path.as_ref().is_some_and(|path| path.ends_with(UndoFormat::Files.suffix()))
}

/// With the size of kept data.
pub fn undo_words(undo: &PackageUndo) -> String {
    match undo.state {
        UndoState::Saved | UndoState::Classic if undo.bytes == 0 => "kept elsewhere".to_owned(),
        UndoState::Saved if is_files(undo) => format!("files ({})", human(undo.bytes)),
        UndoState::Saved => human(undo.bytes),
        UndoState::Classic => format!("{} (of another tool)", human(undo.bytes)),
        UndoState::Exported => "exported: `undo-data import` restores it".to_owned(),
        UndoState::Committed => "dropped: the patch can no longer be removed".to_owned(),
        state @ (UndoState::None | UndoState::Lost | UndoState::Damaged) => {
            format!("{}: the patch cannot be removed", state.word())
        }
    }
}

/// Returns the worst state of all packages, else the size of all.
pub fn undo_in_brief(undo: &[PackageUndo]) -> String {
    let any = |state: UndoState| undo.iter().any(|one| one.state == state);
    for state in [UndoState::Lost, UndoState::Damaged] {
        if any(state) {
            return state.word().to_owned();
        }
    }
    if any(UndoState::Exported) {
        return UndoState::Exported.word().to_owned();
    }
    if any(UndoState::Committed) {
        return "dropped".to_owned();
    }
    if !undo.iter().any(|one| one.state.is_kept()) {
        return UndoState::None.word().to_owned();
    }
    match undo.iter().map(|one| one.bytes).sum() {
        0 => "elsewhere".to_owned(),
        bytes if undo.iter().any(is_files) => format!("files ({})", human(bytes)),
        bytes => human(bytes),
    }
}

/// Returns the size of the objects that an archive keeps, before compression.
pub(super) fn saved_bytes(undo: &UndoArchive) -> u64 {
    undo.saved.iter().filter_map(|(entry, _)| entry.object.content.size).sum()
}

/// Returns the bytes on disk, as every query shows them. `written` are the archive's bytes, with old files that are
/// kept elsewhere.
fn on_disk(root: &Root, undo: &UndoArchive, written: u64) -> u64 {
    if undo.format == UndoFormat::Files || undo.place != UndoPlace::Save {
        return written;
    }
    let view = RecordView::live(root);
    let allocated = |path: Option<ObjectPath>| Some(view.look(&path?).ok()??.allocated);
    let archive = archive_path(undo);
    let digest = archive.as_ref().and_then(|path| path.parent()?.join(b"undo.b3").ok());
    allocated(archive).map_or(written, |bytes| bytes + allocated(digest).unwrap_or_default())
}

fn archive_path(undo: &UndoArchive) -> Option<ObjectPath> {
    let name = match &undo.place {
        UndoPlace::Remote(_) | UndoPlace::Beside(_) => return None,
        UndoPlace::Snapshot => "snapshot/undo.gz".to_owned(),
        UndoPlace::Save | UndoPlace::ManifestOnly => format!("undo{}", undo.format.suffix()),
    };
    let save = places::save(&undo.package).join(undo.patch.as_bytes()).ok()?;
    save.join(name.as_bytes()).ok()
}

fn undo_path(root: &Root, undo: &UndoArchive) -> Option<String> {
    match &undo.place {
        UndoPlace::Remote(path) | UndoPlace::Beside(path) => Some(path.display().to_string()),
        _ => archive_path(undo).map(|path| root.show(&path)),
    }
}

//! Remaining undo data by package, from names, sizes and ledgers; archives are not read. Without access to a ledger,
//! names tell: an archive or pointer means saved, a manifest alone means unwanted, an empty directory means lost.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Serialize, Serializer};

use super::later_patches::LedgerCache;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::escaped::as_text;
use patchadm_inputs::database::ledger::LedgerFault;
use patchadm_inputs::database::undo_data::{ArchiveError, must_have_size};
use patchadm_inputs::database::{RecordView, marker};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine, LedgerUndo, WhyNone};
use patchadm_inputs::inventory::{Installed, Save};
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchId};
use patchadm_svr4::places;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoState {
    /// Saved by a run of this root.
    Saved,
    /// None was wanted.
    None,
    /// Deleted on purpose.
    Committed,
    Exported,
    /// Saved, but gone.
    Lost,
    /// Differs from what was saved.
    Damaged,
    /// Saved by another tool.
    Classic,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageUndo {
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    pub state: UndoState,
    /// Bytes on disk, with old files elsewhere.
    pub bytes: u64,
    /// Present or former host path.
    pub path: Option<String>,
}

impl UndoState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::None => "none",
            Self::Committed => "committed",
            Self::Exported => "exported",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Classic => "classic",
        }
    }

    pub fn is_kept(self) -> bool {
        matches!(self, Self::Saved | Self::Classic)
    }

    /// Maps the reason why a backout cannot use it.
    pub fn of_error(error: &ArchiveError) -> Self {
        match error {
            ArchiveError::Lost { .. } | ArchiveError::Missing { .. } => Self::Lost,
            ArchiveError::Exported { .. } => Self::Exported,
            ArchiveError::Outside { .. } | ArchiveError::Earlier { .. } => Self::Saved,
            error if error.is_closed() => Self::Saved,
            _ => Self::Damaged,
        }
    }

    /// The ledger tells why nothing is kept.
    pub fn without(line: Option<&LedgerLine>) -> Self {
        match line.map(|line| &line.undo) {
            Some(LedgerUndo::None(WhyNone::Committed)) => Self::Committed,
            Some(LedgerUndo::Exported { .. }) => Self::Exported,
            _ => Self::None,
        }
    }
}

impl Serialize for UndoState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// With the reason why a backout could not use it.
#[derive(Debug)]
pub(in crate::operation) struct SeenUndo {
    pub(in crate::operation) undo: PackageUndo,
    pub(in crate::operation) error: Option<ArchiveError>,
    /// The run that deleted it on purpose.
    pub(in crate::operation) dropped_by: Option<String>,
}

pub(in crate::operation) type UndoOfPatches = BTreeMap<(PatchId, PkgInst), SeenUndo>;

/// Without `ground`, looks at names only.
pub(in crate::operation) fn undo_states(
    view: &RecordView<'_>,
    ground: Option<&RootAndPolicy>,
    separator: &str,
    applied: &AppliedPatches,
    packages: &BTreeMap<PkgInst, Installed>,
) -> Result<UndoOfPatches, Failure> {
    let marker = marker(view.root()).ok().flatten();
    let reader = UndoStatesReader { view, ground, ledgers: LedgerCache::default(), marker };
    let mut found = UndoOfPatches::new();
    for of in applied.packages().iter().filter(|of| !of.list.is_empty()) {
        let (package, Some(installed)) = (&of.package, packages.get(&of.package)) else { continue };
        let ledger = reader.ledger(package)?;
        let saves = by_id(installed.saves.iter().map(|(name, save)| (name.as_str(), save)), separator);
        let lines = match &ledger {
            SeenLedger::Read(ledger) => {
                by_id(ledger.lines().iter().map(|line| (line.patch.as_str(), line)), separator)
            }
            SeenLedger::Closed | SeenLedger::Damaged { .. } => BTreeMap::new(),
        };
        for patch in &of.list {
            let (name, save) =
                saves.get(patch).map_or((patch.as_str(), None), |(name, save)| (*name, Some(*save)));
            let of = PatchSave { package, name, save };
            let seen = match &ledger {
                SeenLedger::Read(_) => reader.known(of, lines.get(patch).map(|(_, line)| *line)),
                SeenLedger::Closed => reader.by_names(of),
                SeenLedger::Damaged { path, reason } => {
                    let fault = LedgerFault::Damaged { path: path.clone(), reason: reason.clone() };
                    reader.seen(of, UndoState::Damaged, Some(ArchiveError::Ledger(fault)))
                }
            };
            found.insert((patch.clone(), package.clone()), seen);
        }
    }
    Ok(found)
}

fn by_id<'a, T>(
    named: impl Iterator<Item = (&'a str, &'a T)>,
    separator: &str,
) -> BTreeMap<PatchId, (&'a str, &'a T)> {
    named.filter_map(|(name, of)| Some((PatchId::parse(name, separator).ok()?, (name, of)))).collect()
}

#[derive(Clone, Copy)]
struct PatchSave<'a> {
    package: &'a PkgInst,
    name: &'a str,
    save: Option<&'a Save>,
}

enum SeenLedger {
    Read(Rc<Ledger>),
    /// Unreadable for the caller.
    Closed,
    Damaged {
        path: String,
        reason: String,
    },
}

struct UndoStatesReader<'a> {
    view: &'a RecordView<'a>,
    ground: Option<&'a RootAndPolicy>,
    ledgers: LedgerCache,
    marker: Option<String>,
}

impl UndoStatesReader<'_> {
    fn ledger(&self, package: &PkgInst) -> Result<SeenLedger, Failure> {
        if self.ground.is_none() {
            return Ok(SeenLedger::Closed);
        }
        match self.ledgers.of(self.view, package) {
            Ok(ledger) => Ok(SeenLedger::Read(ledger)),
            Err(ArchiveError::Ledger(LedgerFault::Damaged { path, reason })) => {
                Ok(SeenLedger::Damaged { path, reason })
            }
            Err(error) if error.is_closed() => Ok(SeenLedger::Closed),
            Err(error) => Err(error.into()),
        }
    }

    fn by_names(&self, of: PatchSave<'_>) -> SeenUndo {
        let state = match of.save {
            Some(save) if save.has_archive() => UndoState::Saved,
            Some(save) if save.has_manifest => UndoState::None,
            _ => UndoState::Lost,
        };
        self.seen(of, state, None)
    }

    fn known(&self, of: PatchSave<'_>, line: Option<&LedgerLine>) -> SeenUndo {
        let Some(save) = of.save.filter(|save| save.has_archive()) else {
            return self.without_archive(of, line);
        };
        let is_classic = match line.map(|line| &line.undo) {
            Some(LedgerUndo::Kept { is_classic, .. }) => *is_classic,
            _ => true,
        };
        let state = if is_classic { UndoState::Classic } else { UndoState::Saved };
        let size = line.and_then(LedgerLine::archive).map(|(_, size)| size);
        match (line, size, &save.archive) {
            (Some(line), Some(size), Some(_)) => {
                let path = self.path(of).unwrap_or_default();
                let seen = self.seen(of, state, must_have_size(&path, line, size, save.size).err());
                let bytes = seen.undo.bytes.saturating_add(line.files().unwrap_or_default());
                SeenUndo { undo: PackageUndo { bytes, ..seen.undo }, ..seen }
            }
            _ => self.opened(of, state),
        }
    }

    /// Opens an archive that is elsewhere, or that no line names.
    fn opened(&self, of: PatchSave<'_>, state: UndoState) -> SeenUndo {
        let find = |ground: &RootAndPolicy| {
            let ledger = self.ledgers.of(self.view, of.package)?;
            let undo = ground.undo_data(self.view, None).find_with(of.package, of.name, &ledger)?;
            undo.at_a_glance(self.marker.as_deref())
                .map(|()| undo.allocated().unwrap_or_else(|_| undo.size()))
        };
        match self.ground.map(find) {
            Some(Ok(bytes)) => {
                let seen = self.seen(of, state, None);
                SeenUndo { undo: PackageUndo { bytes, ..seen.undo }, ..seen }
            }
            Some(Err(error)) if error.is_closed() => self.seen(of, state, None),
            Some(Err(error)) => self.seen(of, state, Some(error)),
            None => self.by_names(of),
        }
    }

    fn without_archive(&self, of: PatchSave<'_>, line: Option<&LedgerLine>) -> SeenUndo {
        let lost = line
            .zip(self.ground)
            .and_then(|(line, ground)| ground.undo_data(self.view, None).lost(line, of.package));
        let dropped_by = line.and_then(LedgerLine::dropped_by).map(str::to_owned);
        SeenUndo { dropped_by, ..self.seen(of, UndoState::without(line), lost) }
    }

    /// An error overrides `state`.
    fn seen(&self, of: PatchSave<'_>, state: UndoState, error: Option<ArchiveError>) -> SeenUndo {
        let state = error.as_ref().map_or(state, UndoState::of_error);
        let path = match &error {
            Some(ArchiveError::Lost { path, .. }) => Some(path.clone()),
            _ => self.path(of),
        };
        let bytes = of.save.filter(|save| save.archive.is_some()).map_or(0, |save| save.allocated);
        let undo = PackageUndo { package: of.package.clone(), state, bytes, path };
        SeenUndo { undo, error, dropped_by: None }
    }

    /// In the save directory, or behind the pointer.
    fn path(&self, of: PatchSave<'_>) -> Option<String> {
        let save = of.save?;
        if let Some(archive) = &save.archive {
            let at = places::save(of.package).join(of.name.as_bytes()).ok()?.join(archive.as_bytes()).ok()?;
            return Some(self.view.root().show(&at));
        }
        let remote = RemoteArchive::parse(save.remote.as_deref()?).ok()?;
        Some(String::from_utf8_lossy(remote.find_at()).into_owned())
    }
}

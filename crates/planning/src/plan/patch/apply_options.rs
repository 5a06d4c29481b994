//! What the user of patchadd(1M) may choose.

use std::collections::BTreeMap;
use std::path::PathBuf;

use patchadm_changeset::plan::UndoFormat;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::PatchList;

use super::engine::ScriptChoice;
use crate::plan::edits::EditChoice;

/// The choices of one command, and what is known when it plans a patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// `-d`: keep no undo data.
    pub no_undo: bool,
    /// `-B`: where undo archives go instead of the save directories; a path of the host.
    pub undo_dir: Option<PathBuf>,
    /// How undo archives are compressed.
    pub undo_format: UndoFormat,
    /// Why undo data as files is not possible here, in a whole sentence.
    pub only_archives: Option<&'static str>,
    /// What happens to edited files. `-u` is `replace`.
    pub edits: EditChoice,
    /// `-u`: a patch that is applied may be applied again.
    pub unconditional: bool,
    /// Whether the user can be asked something.
    pub conversation: bool,
    /// Other operands of the same command that touch no installed package: what they provide counts as there.
    pub not_applicable: PatchList,
    /// Whether it is only planned: then the plan says what the maker of the patch wants to know as well.
    pub is_rehearsal: bool,
    /// Which scripts run.
    pub scripts: ScriptChoice,
    /// What the packages' own checkinstall scripts answered, by their place in the image.
    pub answers: BTreeMap<usize, Params>,
}

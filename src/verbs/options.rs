//! Options that several verbs share.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::as_owner::options::OwnerOptions;
use crate::classic::pkgadd::environment;
use crate::many_roots::list::ManyRoots;
use crate::patch_command::{ApplyCommand, fetching};
use patchadm_changeset::plan::UndoFormat;
use patchadm_cli::arguments::fetching::{DepotOption, FetchOptions};
use patchadm_cli::arguments::options::ROOT_LISTS;
pub(crate) use patchadm_cli::arguments::verbs::{
    BriefVerbOptions, DryRunOption, PolicylessOptions, RootlessOptions, SignatureOptions, UndoDirOption,
    VerbOptions, WaitOption, YesOption,
};
use patchadm_cli::arguments::{
    LibraryOptions, NamedPath, SELECTING, ScriptOptions, directory_of_root, meant_by, named_text,
    object_path, one_of, undo_format, word_for,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::patches::EndCodes;
use patchadm_core::operation::patches::apply::{
    ApplyRequest, DepotOperands, PatchOperands, SignatureRequest,
};
use patchadm_core::operation::patches::prepared::PreparationRequest;
use patchadm_inputs::format::plan_file::{PlanFileError, PlanOptions};
use patchadm_inputs::policy::Edited;
use patchadm_inputs::sign::DemandWord;
use patchadm_planning::resolve::SetRequest;
use patchadm_svr4::package::ObjectPath;

const CHOICES: [(&str, Edited); 3] =
    [("stop", Edited::Stop), ("replace", Edited::Replace), ("keep", Edited::Keep)];

/// The option with what the history tells of a change.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NoteOption {
    /// Record this line of text with the run in the history
    #[arg(long = "note", value_name = "TEXT", value_parser = note_text)]
    pub(crate) text: Option<String>,
}

/// In bytes.
const LONGEST_NOTE: usize = 1_000;

/// A note is one line that is not blank.
fn note_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > LONGEST_NOTE {
        return Err(format!("it is longer than {LONGEST_NOTE} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("it has control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Options that name directories whose changes should become visible at once.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ExchangeOptions {
    /// Make all changes below DIR visible atomically, or refuse if that is impossible; repeatable
    #[arg(long, value_name = "DIR", value_parser = directory_of_root, action = clap::ArgAction::Append)]
    pub(crate) exchange: Vec<ObjectPath>,
}

/// The option that lets registrations follow their package manager first.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct RefreshOption {
    /// First update the registrations of adopted packages, as `adopt --refresh` does
    #[arg(long, help_heading = SELECTING)]
    pub(crate) refresh: bool,
}

/// Options about what comes before patches that are applied.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct PreparationOptions {
    #[command(flatten)]
    pub(super) refresh: RefreshOption,
    /// Also adopt installed dpkg or rpm packages that the patches are for
    #[arg(long)]
    adopt: bool,
}

impl PreparationOptions {
    pub(super) fn is_any(self) -> bool {
        self.refresh.refresh || self.adopt
    }

    pub(crate) fn request(self, call: &Invocation) -> PreparationRequest {
        PreparationRequest {
            refresh: self.refresh.refresh,
            adopt: self.adopt,
            environment: environment(call),
        }
    }
}

/// Options of the verbs that change a root.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ChangeOptions {
    #[command(flatten)]
    pub(crate) dry_run: DryRunOption,
    #[command(flatten)]
    pub(crate) yes: YesOption,
    /// Show the changed lines of text files
    #[arg(long, requires = "dry_run", conflicts_with = ROOT_LISTS)]
    pub(crate) diff: bool,
    #[command(flatten)]
    pub(crate) wait: WaitOption,
    #[command(flatten)]
    pub(crate) note: NoteOption,
    #[command(flatten)]
    pub(crate) scripts: ScriptOptions,
    #[command(flatten)]
    pub(crate) libraries: LibraryOptions,
    #[command(flatten)]
    pub(crate) many: ManyRoots,
    #[command(flatten)]
    pub(crate) owner: OwnerOptions,
}

/// The option that takes patches that no trusted key signed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct UnsignedOption {
    /// Accept unsigned patches, even from the network; bad signatures are still refused
    #[arg(long, conflicts_with = "signature")]
    allow_unsigned: bool,
}

impl UnsignedOption {
    pub(crate) fn added_to(self, request: SignatureRequest) -> SignatureRequest {
        request.allowing_unsigned(self.allow_unsigned)
    }

    pub(crate) fn said(self) -> [(&'static str, bool); 1] {
        [("--allow-unsigned", self.allow_unsigned)]
    }
}

/// Options that say where undo data goes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct UndoOptions {
    /// Do not save undo data; the patches cannot be removed later
    #[arg(long, conflicts_with = "undo_dir")]
    pub(crate) no_undo: bool,
    /// Use DIR for undo data instead of the package database
    #[arg(long, value_name = "DIR")]
    pub(crate) undo_dir: Option<PathBuf>,
    /// Set the format of undo data: gz, Z, none, zst, xz, or files [default: policy]
    #[arg(long, value_name = "FORM", value_parser = undo_format(&UndoFormat::ALL), hide_possible_values = true)]
    pub(crate) undo_format: Option<UndoFormat>,
}

/// Options that say what happens to edited files.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct EditOptions {
    /// For locally modified files: stop, replace, or keep [default: policy]
    #[arg(long, value_name = "CHOICE", value_parser = one_of(&CHOICES), hide_possible_values = true)]
    pub(crate) edited: Option<Edited>,
    /// Replace this locally modified file, or symbolic link to a directory; repeatable
    #[arg(long = "replace-edited", value_name = "PATH", value_parser = NamedPath::parse, action = clap::ArgAction::Append)]
    pub(crate) overridden: Vec<NamedPath>,
    /// Keep this locally modified file; repeatable
    #[arg(long = "keep-edited", value_name = "PATH", value_parser = NamedPath::parse, action = clap::ArgAction::Append)]
    pub(crate) preserved: Vec<NamedPath>,
}

/// Options that say where undo data goes, what happens to edited files, and what is demanded of signatures.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ApplyingOptions {
    #[command(flatten)]
    pub(crate) undo: UndoOptions,
    #[command(flatten)]
    pub(crate) edits: EditOptions,
    #[command(flatten)]
    pub(crate) signature: SignatureOptions,
    #[command(flatten)]
    pub(crate) unsigned: UnsignedOption,
}

impl ApplyingOptions {
    pub(crate) fn signature(&self) -> SignatureRequest {
        self.unsigned.added_to(self.signature.clone().request())
    }

    pub(super) fn write(&self, options: &mut PlanOptions) -> Result<(), String> {
        let paths =
            |paths: &[NamedPath]| NamedPath::all(paths).iter().map(path_text).collect::<Result<Vec<_>, _>>();
        options.no_undo = self.undo.no_undo;
        options.undo_dir = self.undo.undo_dir.as_ref().map(named_text).transpose()?;
        options.undo_format = word_for(&UndoFormat::ALL, self.undo.undo_format);
        options.edited = word_for(&CHOICES, self.edits.edited);
        (options.overridden, options.preserved) =
            (paths(&self.edits.overridden)?, paths(&self.edits.preserved)?);
        options.signature = word_for(&DemandWord::ALL, self.signature.signature);
        options.keys = self.signature.keys.as_ref().map(named_text).transpose()?;
        Ok(())
    }

    pub(super) fn of_plan(options: &PlanOptions) -> Result<Self, PlanFileError> {
        let paths = |field, paths: &[String]| {
            let path = |text: &String| {
                let path = object_path(text).map(NamedPath::from);
                path.map_err(|_| PlanFileError::Field { field, value: text.clone() })
            };
            paths.iter().map(path).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            undo: UndoOptions {
                no_undo: options.no_undo,
                undo_dir: options.undo_dir.as_ref().map(PathBuf::from),
                undo_format: meant_by(&UndoFormat::ALL, "undo_format", options.undo_format.as_deref())?,
            },
            edits: EditOptions {
                edited: meant_by(&CHOICES, "edited", options.edited.as_deref())?,
                overridden: paths("override", &options.overridden)?,
                preserved: paths("preserve", &options.preserved)?,
            },
            signature: SignatureOptions {
                signature: meant_by(&DemandWord::ALL, "signature", options.signature.as_deref())?,
                keys: options.keys.as_ref().map(PathBuf::from),
            },
            unsigned: UnsignedOption::default(),
        })
    }
}

/// Options that name a depot and say which of its patches are applied.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SetOptions {
    #[command(flatten)]
    depot: DepotOption,
    #[command(flatten)]
    choices: ChoiceOptions,
    #[command(flatten)]
    fetching: FetchOptions,
}

/// Options that say which patches of a depot are applied.
#[derive(Clone, Debug, Default, clap::Args)]
struct ChoiceOptions {
    /// Apply all patches in one transaction, or change nothing
    #[arg(long)]
    all_or_nothing: bool,
    /// Apply withdrawn patches that are named with their revision
    #[arg(long)]
    allow_withdrawn: bool,
    /// Do not add required patches
    #[arg(long)]
    no_requires: bool,
    /// Leave out this patch; repeatable
    #[arg(long, value_name = "ID", action = clap::ArgAction::Append, help_heading = SELECTING)]
    exclude: Vec<String>,
}

impl ChoiceOptions {
    fn request(self) -> SetRequest {
        let Self { all_or_nothing, allow_withdrawn: withdrawn, no_requires, exclude } = self;
        SetRequest { all_or_nothing, withdrawn, no_requires, exclude, ..SetRequest::default() }
    }
}

impl SetOptions {
    /// Writes sources to a plan file, without the way of fetching.
    pub(crate) fn write(&self, options: &mut PlanOptions) -> Result<(), String> {
        let ChoiceOptions { all_or_nothing, allow_withdrawn, no_requires, exclude } = self.choices.clone();
        options.depot = self.depot.depot.as_ref().map(named_text).transpose()?;
        (options.all_or_nothing, options.withdrawn) = (all_or_nothing, allow_withdrawn);
        (options.no_requires, options.exclude) = (no_requires, exclude);
        Ok(())
    }

    pub(crate) fn read(&mut self, options: &PlanOptions) {
        self.depot.depot = options.depot.as_ref().map(OsString::from);
        self.choices = ChoiceOptions {
            all_or_nothing: options.all_or_nothing,
            allow_withdrawn: options.withdrawn,
            no_requires: options.no_requires,
            exclude: options.exclude.clone(),
        };
    }

    /// Applies these options to a request: with a depot, the operands are the depot's.
    pub(crate) fn command(
        self,
        call: &Invocation,
        mut apply: ApplyRequest,
        wait: Option<u64>,
    ) -> ApplyCommand {
        apply.choices = self.choices.request();
        if let Some(depot) = self.depot.depot {
            let ids = std::mem::take(&mut apply.patches).into_iter().map(PathBuf::into_os_string);
            let patches = PatchOperands::Words(ids.collect());
            apply.depot = Some(DepotOperands { depot: Some(depot), patches });
        }
        ApplyCommand { apply, fetching: fetching(call, self.fetching, wait), codes: EndCodes::default() }
    }
}

/// Options of the verbs that apply patches.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ApplicationOptions {
    #[command(flatten)]
    pub(super) set: SetOptions,
    #[command(flatten)]
    pub(super) choices: ApplyingOptions,
    #[command(flatten)]
    pub(super) preparation: PreparationOptions,
}

/// The option that reads a plan file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct PlanOption {
    /// Apply the plan saved in FILE with its options, if it is still valid
    #[arg(long = "plan", id = "plan_file", value_name = "FILE")]
    pub(super) plan: Option<PathBuf>,
}

pub(super) fn path_text(path: &ObjectPath) -> Result<String, String> {
    let text = str::from_utf8(path.as_bytes()).map(str::to_owned);
    text.map_err(|_| format!("a plan file cannot name {path}, which is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_that_says_something() {
        assert_eq!(note_text("for ticket 4711, ü"), Ok("for ticket 4711, ü".to_owned()));
        for bad in ["", "  ", "two\nlines", "\u{1b}[31mred", &"x".repeat(1_001)] {
            assert!(note_text(bad).is_err(), "{bad:?}");
        }
        assert!(note_text(&"x".repeat(1_000)).is_ok());
    }
}

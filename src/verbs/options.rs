//! Options that several verbs share.

use std::path::PathBuf;

use crate::arguments::{Extensions, RootOption, ScriptOptions, object_path};
use crate::as_owner::options::OwnerOptions;
use crate::many_roots::list::ManyRoots;
use patchadm_changeset::plan::UndoFormat;
use patchadm_core::policy::Edited;
use patchadm_svr4::package::ObjectPath;

/// Options of every verb.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct VerbOptions {
    #[command(flatten)]
    pub(crate) root: RootOption,
    #[command(flatten)]
    _extensions: Extensions,
}

/// Options of the verbs that ask about a root.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct QueryOptions {
    /// Print only what is wrong
    #[arg(short = 'q', long = "quiet", conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more: synopses, paths
    #[arg(short = 'v', long = "verbose")]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) many: ManyRoots,
    #[command(flatten)]
    pub(crate) common: VerbOptions,
}

/// Options of the verbs that change a root.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ChangeOptions {
    /// Print the plan, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait this many seconds for another command to finish
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
    #[command(flatten)]
    pub(crate) scripts: ScriptOptions,
    /// Refuse what needs a procedure script to be run
    #[arg(long)]
    pub(crate) no_scripts: bool,
    #[command(flatten)]
    pub(crate) many: ManyRoots,
    #[command(flatten)]
    pub(crate) owner: OwnerOptions,
}

/// Options that say where undo data goes and what happens to edited files.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ApplyingOptions {
    /// Keep no undo data: the patch cannot be backed out
    #[arg(long, conflicts_with = "undo_dir")]
    pub(crate) no_undo: bool,
    /// Keep undo data below this directory instead of the package database
    #[arg(long, value_name = "DIR")]
    pub(crate) undo_dir: Option<PathBuf>,
    /// How undo data is compressed
    #[arg(long, value_name = "FORMAT", value_parser = undo_format)]
    pub(crate) undo_format: Option<UndoFormat>,
    /// What happens to files that were edited: stop, replace or keep
    #[arg(long, value_name = "CHOICE", value_parser = edited)]
    pub(crate) edited: Option<Edited>,
    /// Replace this edited file or symbolic link to a directory in any case; may be repeated
    #[arg(long = "override", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    pub(crate) overridden: Vec<ObjectPath>,
    /// Keep this edited file in any case; may be repeated
    #[arg(long = "preserve", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    pub(crate) preserved: Vec<ObjectPath>,
}

fn undo_format(text: &str) -> Result<UndoFormat, String> {
    match text {
        "gz" => Ok(UndoFormat::Gzip),
        "Z" => Ok(UndoFormat::Compress),
        "none" => Ok(UndoFormat::Plain),
        _ => Err("it is gz, Z or none".to_owned()),
    }
}

fn edited(text: &str) -> Result<Edited, String> {
    match text {
        "stop" => Ok(Edited::Stop),
        "replace" => Ok(Edited::Replace),
        "keep" => Ok(Edited::Keep),
        _ => Err("it is stop, replace or keep".to_owned()),
    }
}

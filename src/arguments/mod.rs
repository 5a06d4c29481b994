//! The command line: what the options and operands of several commands mean.

mod age;
pub(crate) mod fetching;
mod later;
pub(crate) mod options;
mod paths;
mod scripts;
pub(crate) mod set;
mod shlibs;
pub(crate) mod suggest;
pub(crate) mod synopsis;
mod trial;
mod words;

pub(crate) use age::age;
pub(crate) use options::{
    CategoryOption, ColourOption, Extensions, HelpOption, JsonOption, PolicyOption, QuietOption, RootOption,
    VerboseOption, VersionOption, listed, parse, refuse_unsupported,
};
pub(crate) use paths::{directory_of_root, inside, object_path};
pub(crate) use scripts::{ScriptOptions, script_settings};
pub(crate) use shlibs::LibraryOptions;
pub(crate) use trial::TrialOptions;
pub(crate) use words::{meant_by, named_text, one_of, undo_format, word_for};

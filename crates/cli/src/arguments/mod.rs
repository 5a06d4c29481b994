//! The command line: options and operands of several commands.

pub mod comparison;
pub mod duration;
pub mod fetching;
mod later;
mod libraries;
pub mod named_paths;
pub mod options;
mod paths;
mod scripts;
mod sections;
pub mod suggest;
pub mod synopsis;
mod trial;
pub mod verbs;
mod words;

pub use duration::{age, days, seconds};
pub use libraries::LibraryOptions;
pub use options::{
    CategoryOption, ColourOption, Extensions, HelpOption, JsonOption, PolicyOption, QuietOption, RootOption,
    VerboseOption, VersionOption, listed, parse, refuse_unsupported,
};
pub use paths::{absolute_root, directory_of_root, inside, object_path};
pub use scripts::{ScriptOptions, ScriptTimeout, script_settings};
pub use sections::SELECTING;
pub use trial::TrialOptions;
pub use words::{meant_by, named_text, one_of, undo_format, word_for};

//! The command line: options and operands of several commands.

mod change;
pub mod comparison;
pub mod duration;
pub mod fetching;
mod later;
pub mod options;
pub mod paths;
mod sections;
pub mod suggest;
pub mod synopsis;
mod typed;
pub mod verbs;
mod words;

pub use change::{LibraryOptions, ScriptOptions, ScriptTimeout, TrialOptions, script_settings};
pub use duration::{age, days, seconds};
pub use options::{
    CategoryOption, ColourOption, Extensions, HelpOption, JsonOption, PolicyOption, QuietOption, RootOption,
    VerboseOption, VersionOption, listed, parse, refuse_unsupported,
};
pub use paths::{NamedPath, directory_of_root, inside, object_path};
pub use sections::SELECTING;
pub use typed::SecretText;
pub(crate) use typed::typed_line;
pub use words::{meant_by, named_text, one_of, undo_format, word_for};

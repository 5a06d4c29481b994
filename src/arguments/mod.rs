//! The command line: what the options and operands of several commands mean.

pub(crate) mod options;
mod paths;
mod scripts;

pub(crate) use options::{CategoryOption, Extensions, RootOption, listed, parse, refuse_unsupported};
pub(crate) use paths::{inside, object_path};
pub(crate) use scripts::{ScriptOptions, script_settings};

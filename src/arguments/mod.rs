//! The command line: what the options and operands of several commands mean.

pub(crate) mod options;
pub(crate) mod paths;
pub(crate) mod scripts;

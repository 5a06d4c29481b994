//! The settings of scripts, as the command line hands them down.

use std::ffi::OsString;
use std::path::PathBuf;

/// The settings of scripts that only the command line knows.
#[derive(Clone, Debug, Default)]
pub struct ScriptSettings {
    /// The program itself, which is started once more to run them.
    pub executable: PathBuf,
    /// The directory below which private directories are made.
    pub temporary: PathBuf,
    /// Whether the shell shows each command (`pkgadd -v`).
    pub trace: bool,
    /// The seconds that one script may take, 0 for no limit; `None` leaves it to the policy of the root.
    pub limit: Option<u64>,
    /// Language and time zone of the caller.
    pub locale: Vec<(String, OsString)>,
}

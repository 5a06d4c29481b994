//! A stage of another user, in which the superuser does nothing: what was to be done, why not, and who can do it.

use std::fmt::{Display, Formatter};
use std::path::PathBuf;

/// What the superuser would do in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undertaking {
    /// Run a command.
    Enter,
    /// Bring changes of the live tree.
    Refresh,
}

/// A stage of another user, in which the superuser does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignStage {
    /// Its name.
    pub name: String,
    /// Its directory, as it was named.
    pub path: PathBuf,
    /// What was to be done in it.
    pub undertake: Undertaking,
    /// The reason why it counts as another user's.
    pub reason: String,
    /// The user who can do it; `None` if nobody can before the stage is root's alone.
    pub user: Option<u32>,
}

impl Display for ForeignStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let does = match self.undertake {
            Undertaking::Enter => "enter",
            Undertaking::Refresh => "refresh",
        };
        write!(f, "root does not {does} the stage {}: {}", self.name, self.reason)
    }
}

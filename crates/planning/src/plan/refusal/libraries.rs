//! The loss of a library to a consumer, as a refusal reports it.

use std::fmt;

use patchadm_svr4::package::ObjectPath;

/// The most consumers that are named.
const MOST_NAMED: usize = 3;

/// A library that a consumer loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryLoss {
    /// The name under which it is needed.
    pub library: String,
    /// The missing versions and symbols, if another library has the name.
    pub missing: Vec<String>,
    /// Why it does not stay, in words.
    pub why: &'static str,
    /// Its consumers.
    pub consumers: Vec<ObjectPath>,
}

impl fmt::Display for LibraryLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.consumers.iter().take(MOST_NAMED).map(ToString::to_string);
        write!(f, "{}", named.collect::<Vec<_>>().join(", "))?;
        if self.consumers.len() > MOST_NAMED {
            write!(f, " and {} more", self.consumers.len() - MOST_NAMED)?;
        }
        write!(f, " would lose {}", self.library)?;
        if let [first, rest @ ..] = self.missing.as_slice() {
            write!(f, " ({first}{})", if rest.is_empty() { "" } else { ", …" })?;
        }
        write!(f, ": {}", self.why)
    }
}

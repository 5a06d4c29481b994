//! A request to a server.

use super::address::Address;

/// The values that distinguish one state of a file from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The strong entity tag.
    pub etag: Option<String>,
    /// The date of the file as the server wrote it.
    pub modified: Option<String>,
}

/// A question for a file.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// The file.
    pub address: &'a Address,
    /// The state of the file that is known already: if it is still that, nothing is sent.
    pub known: Option<&'a Validators>,
    /// The number of bytes that are there already, and the state of the file that they are of.
    pub rest: Option<(u64, &'a Validators)>,
}

impl Validators {
    /// Returns the value for a server to compare before it sends the rest of a file.
    pub fn condition(&self) -> Option<&str> {
        self.etag.as_deref().or(self.modified.as_deref())
    }
}

impl<'a> HttpRequest<'a> {
    /// A question for a whole file.
    pub fn whole(address: &'a Address) -> Self {
        Self { address, known: None, rest: None }
    }
}

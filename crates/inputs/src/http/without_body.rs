//! The content of files in a build without a network: there is none.

use super::error::HttpError;
use super::request::Validators;

/// The content of a file, which does not exist in this build.
#[derive(Debug)]
pub enum HttpBody {}

impl HttpBody {
    /// Returns the number of bytes that the server leaves out at the beginning.
    pub fn from(&self) -> u64 {
        match *self {}
    }

    /// Returns the size of the whole file, if the server says it.
    pub fn size(&self) -> Option<u64> {
        match *self {}
    }

    /// Returns the state of the file.
    pub fn validators(&self) -> &Validators {
        match *self {}
    }

    /// Returns the next bytes.
    pub fn next_bytes(&mut self, _interrupt: &dyn Fn() -> Option<i32>) -> Result<Option<Vec<u8>>, HttpError> {
        match *self {}
    }
}

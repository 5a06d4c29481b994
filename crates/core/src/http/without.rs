//! The client of a build without a network: it reaches nobody.

use super::error::{HttpError, HttpProblem};
use super::request::{HttpAnswer, HttpRequest, Validators};
use super::settings::{HttpSettings, Patience};

/// A client that reaches nobody.
#[derive(Debug)]
pub struct HttpClient {
    patience: Patience,
}

/// The content of a file, of which there is none.
#[derive(Debug)]
pub enum HttpBody {}

impl HttpClient {
    /// Makes the client.
    pub fn new(settings: &HttpSettings) -> Self {
        Self { patience: settings.patience.clone() }
    }

    /// How long servers may take.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Fails: this build reaches nobody.
    pub fn get(
        &self,
        request: &HttpRequest<'_>,
        _interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<HttpAnswer, HttpError> {
        Err(HttpError { address: request.address.to_string(), problem: HttpProblem::NotBuilt })
    }
}

impl HttpBody {
    /// The number of bytes that the server leaves out at the beginning.
    pub fn from(&self) -> u64 {
        match *self {}
    }

    /// The size of the whole file, if the server says it.
    pub fn size(&self) -> Option<u64> {
        match *self {}
    }

    /// The state of the file.
    pub fn validators(&self) -> &Validators {
        match *self {}
    }

    /// The next bytes.
    pub fn next_bytes(&mut self, _interrupt: &dyn Fn() -> Option<i32>) -> Result<Option<Vec<u8>>, HttpError> {
        match *self {}
    }
}

//! The client of a build without network support: it reaches no server.

use super::{HttpAnswer, HttpError, HttpProblem, HttpRequest, HttpSettings, Patience, Validators};

/// A client that reaches no server.
#[derive(Debug)]
pub struct HttpClient {
    patience: Patience,
}

impl HttpClient {
    pub fn new(settings: &HttpSettings) -> Self {
        Self { patience: settings.patience.clone() }
    }

    /// Returns how long servers may take.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Fails: this build reaches no server.
    pub fn get(
        &self,
        request: &HttpRequest<'_>,
        _interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<HttpAnswer, HttpError> {
        Err(HttpError { address: request.address.to_string(), problem: HttpProblem::NotBuilt })
    }
}

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

    pub fn next_bytes(&mut self, _interrupt: &dyn Fn() -> Option<i32>) -> Result<Option<Vec<u8>>, HttpError> {
        match *self {}
    }
}

//! The client of a build without network support: it reaches no server.

use super::{HttpAnswer, HttpError, HttpProblem, HttpRequest, HttpSettings, Patience, Validators};

#[derive(Debug)]
pub struct HttpClient {
    patience: Patience,
}

impl HttpClient {
    pub fn new(settings: &HttpSettings) -> Self {
        Self { patience: settings.patience.clone() }
    }

    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    pub fn get(
        &self,
        request: &HttpRequest<'_>,
        _interrupt: &dyn Fn() -> Option<i32>,
    ) -> Result<HttpAnswer, HttpError> {
        Err(HttpError { address: request.address.to_string(), problem: HttpProblem::NotBuilt })
    }
}

#[derive(Debug)]
pub enum HttpBody {}

impl HttpBody {
    pub fn from(&self) -> u64 {
        match *self {}
    }

    pub fn size(&self) -> Option<u64> {
        match *self {}
    }

    pub fn validators(&self) -> &Validators {
        match *self {}
    }

    pub fn next_bytes(&mut self, _interrupt: &dyn Fn() -> Option<i32>) -> Result<Option<Vec<u8>>, HttpError> {
        match *self {}
    }
}

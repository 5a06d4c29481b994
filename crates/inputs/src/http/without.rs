//! The client of a build without network support: it reaches no server.

use super::answer::HttpAnswer;
use super::error::{HttpError, HttpProblem};
use super::request::HttpRequest;
use super::settings::{HttpSettings, Patience};

/// A client that reaches no server.
#[derive(Debug)]
pub struct HttpClient {
    patience: Patience,
}

impl HttpClient {
    /// Makes the client.
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

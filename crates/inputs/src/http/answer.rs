//! The answer of a server.

#[cfg(feature = "http")]
use super::connection::HttpBody;
#[cfg(not(feature = "http"))]
use super::without_body::HttpBody;

/// The answer of a server.
pub enum HttpAnswer {
    /// The file, or the rest of it.
    Content(Box<HttpBody>),
    /// The file is as it is known.
    Unchanged,
}

//! Files of web servers, read once and in order, over `http:` and `https:`.
//!
//! An address is a value that was checked. [`HttpClient::get`] asks for a file, or for the rest of one, follows
//! redirects (never from `https:` to `http:`), and hands the bytes on as they come. Only a few buffers are in memory. A
//! caller is never stuck: a server that says nothing, or next to nothing, counts as broken, and the caller is asked
//! every moment whether it wants to end. The caller decides what to ask for again after an error.
//!
//! The network itself is behind the feature `http`. A build without it knows addresses and reaches none. Proxies,
//! certificates and limits are handed down as [`HttpSettings`]; nothing here reads the environment or a root.

mod address;
#[cfg(feature = "http")]
mod agents;
mod answer;
#[cfg(feature = "http")]
mod certificates;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod connection;
mod error;
mod request;
mod settings;
#[cfg(feature = "http")]
mod tls_problem;
#[cfg(not(feature = "http"))]
mod without;
#[cfg(not(feature = "http"))]
mod without_body;

pub use crate::password::{without_password, without_passwords};
pub use address::{Address, AddressError};
pub use answer::HttpAnswer;
#[cfg(feature = "http")]
pub use client::HttpClient;
#[cfg(feature = "http")]
pub use connection::HttpBody;
pub use error::{HttpError, HttpProblem};
pub use request::{HttpRequest, Validators};
pub use settings::{HttpSettings, Patience, Proxies};
#[cfg(not(feature = "http"))]
pub use without::HttpClient;
#[cfg(not(feature = "http"))]
pub use without_body::HttpBody;

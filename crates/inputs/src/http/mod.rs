//! Files of web servers, read once and in order, over `http:` and `https:`.
//!
//! [`HttpClient::get`] requests a file or the rest of one, follows redirects (never from `https:` to `http:`), and
//! passes the bytes on with bounded memory. A caller never hangs: a server that sends next to nothing counts as broken,
//! and the caller may stop at any moment. Retries are up to the caller.
//!
//! The network is behind the feature `http`; without it, no server can be reached. Proxies, certificates and limits
//! come in [`HttpSettings`]; nothing here reads the environment or a root.

mod address;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod distant;
#[cfg(feature = "http")]
mod tls;
#[cfg(not(feature = "http"))]
mod without;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use address::{Address, AddressError};
#[cfg(feature = "http")]
pub use client::{HttpBody, HttpClient};
#[cfg(not(feature = "http"))]
pub use without::{HttpBody, HttpClient};

/// Values that distinguish the states of a file.
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
    pub address: &'a Address,
    /// The known state of the file: if it is unchanged, nothing is sent.
    pub known: Option<&'a Validators>,
    /// The number of existing bytes, and the state of their file.
    pub rest: Option<(u64, &'a Validators)>,
}

impl Validators {
    /// Returns the value that a server compares before it sends the rest of a file.
    pub fn condition(&self) -> Option<&str> {
        self.etag.as_deref().or(self.modified.as_deref())
    }
}

impl<'a> HttpRequest<'a> {
    /// Requests a whole file.
    pub fn whole(address: &'a Address) -> Self {
        Self { address, known: None, rest: None }
    }
}

/// The answer of a server.
pub enum HttpAnswer {
    /// The file, or the rest of it.
    Content(Box<HttpBody>),
    /// The file has the known state.
    Unchanged,
}

/// The reason a file was not fetched.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {problem}")]
pub struct HttpError {
    pub address: String,
    pub problem: HttpProblem,
}

/// A problem between a server and this program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpProblem {
    /// The server has no such file.
    #[error("the server does not have it (status {0})")]
    NotThere(u16),
    /// The server refuses, or cannot answer.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// The connection cannot be made, or breaks.
    #[error("{0}")]
    Broken(String),
    /// The certificate is of an unknown authority.
    #[error("no authority that is believed issued the certificate of the server")]
    UnknownIssuer,
    /// The server, or its certificate, is not trusted.
    #[error("{0}")]
    Untrusted(String),
    /// The server sends next to nothing.
    #[error("the server sends fewer than {0} bytes a second")]
    Slow(u64),
    /// The file ends too early.
    #[error("the connection ended after {got} of {size} bytes")]
    Cut {
        got: u64,
        /// The size of the file.
        size: u64,
    },
    /// The file has another size than it should.
    #[error("it has {found}, and should have {size} bytes")]
    Size {
        found: String,
        /// The size that it should have.
        size: u64,
    },
    /// The server sends another part than the requested one.
    #[error("the server sends another part of the file than it was asked for")]
    OtherRange,
    /// There are too many redirects.
    #[error("it is redirected more than 5 times")]
    Redirects,
    /// A redirect has no valid target.
    #[error("it is redirected to what is no address: {0}")]
    BadRedirect(String),
    /// A redirect leads away from `https:`.
    #[error("it is redirected from https to <{0}>")]
    Downgrade(String),
    /// The server compresses although it was told not to.
    #[error("the server sends it compressed as <{0}>, which nobody asked for")]
    Compressed(String),
    /// The certificates of authorities cannot be read.
    #[error("the certificates in {path} cannot be used: {reason}")]
    Certificates { path: String, reason: String },
    /// A proxy cannot be used.
    #[error("<{0}> is no proxy; one is named as host:port")]
    Proxy(String),
    /// A proxy needs an unsupported protocol.
    #[error("<{0}> is a SOCKS proxy, and only HTTP proxies are supported; one is named as host:port")]
    Socks(String),
    /// The host is this machine or on its link.
    #[error("{0} has an address of this machine or its link")]
    Local(String),
    /// A proxy on a command line has a password.
    #[error("<{0}> has a password, which every user of this machine sees on a command line")]
    SeenPassword(String),
    /// The HTTP library failed by a defect of its own.
    #[error("the HTTP library failed: {0}")]
    Library(String),
    /// The program was built without network support.
    #[error("this program was built without HTTP")]
    NotBuilt,
    /// The caller wants it to end.
    #[error("ended by signal {0}")]
    Interrupted(i32),
}

impl HttpProblem {
    /// True if another attempt may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Broken(_) | Self::Slow(_) | Self::Cut { .. } | Self::OtherRange => true,
            _ => false,
        }
    }
}

/// How servers are reached and trusted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HttpSettings {
    /// A file of additional certificates of authorities (`--ca`, the policy).
    pub authorities: Option<PathBuf>,
    /// A file of certificates instead of the system's (`SSL_CERT_FILE`).
    pub certificate_file: Option<PathBuf>,
    /// Directories of certificates instead of the system's (`SSL_CERT_DIR`).
    pub certificate_directories: Vec<PathBuf>,
    pub proxies: Proxies,
    /// If the addresses are those of strangers: the hosts that may have an address of this machine or its link.
    pub local_hosts: Option<Vec<String>>,
    /// How long it waits.
    pub patience: Patience,
}

/// Proxies by scheme, and hosts without a proxy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proxies {
    /// For `http:`.
    pub http: Option<String>,
    /// For `https:`.
    pub https: Option<String>,
    /// For schemes without one of their own.
    pub all: Option<String>,
    /// Hosts and domains, separated by commas; `*` is every host.
    pub none: String,
    /// True if they were on a command line, which every user of the machine sees.
    pub is_seen_by_all: bool,
}

/// Time limits for servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// For the connection.
    pub connect: Duration,
    /// For the first byte of the answer.
    pub first_byte: Duration,
    /// How long it may send less than [`Patience::slowest`].
    pub slow: Duration,
    /// Bytes a second that count as slow.
    pub slowest: u64,
    /// Pauses before further attempts.
    pub pauses: Vec<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            slow: Duration::from_secs(30),
            slowest: 1024,
            pauses: [1, 2, 4].map(Duration::from_secs).to_vec(),
        }
    }
}

impl Proxies {
    /// Returns one proxy for every host.
    pub fn only(proxy: String) -> Self {
        Self { all: Some(proxy), ..Self::default() }
    }

    /// Returns the proxy for an address.
    pub fn of(&self, address: &Address) -> Option<String> {
        if self.none.split([',', ' ']).any(|entry| excludes(entry.trim(), address)) {
            return None;
        }
        let own = if address.is_secure() { &self.https } else { &self.http };
        let proxy = own.as_deref().or(self.all.as_deref()).filter(|proxy| !proxy.is_empty())?;
        Some(if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") })
    }
}

fn excludes(entry: &str, address: &Address) -> bool {
    if entry == "*" {
        return true;
    }
    let (entry, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (entry, None),
    };
    let entry = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    let host = address.host().trim_matches(['[', ']']);
    let is_host = host == entry.trim_matches(['[', ']'])
        || host.strip_suffix(&entry).is_some_and(|rest| rest.ends_with('.'));
    !entry.is_empty() && is_host && port.is_none_or(|port: u16| port == address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(proxies: &Proxies, address: &str) -> Option<String> {
        proxies.of(&Address::parse(address).unwrap())
    }

    #[test]
    fn each_kind_of_address_has_its_proxy() {
        let proxies = Proxies {
            http: Some("a:1".to_owned()),
            https: None,
            all: Some("http://b:2".to_owned()),
            none: "own, .example.org,h:81".to_owned(),
            is_seen_by_all: false,
        };
        assert_eq!(proxy(&proxies, "http://x/").unwrap(), "http://a:1");
        assert_eq!(proxy(&proxies, "https://x/").unwrap(), "http://b:2");
        for without in ["http://own/", "http://a.example.org/", "http://example.org/", "http://h:81/"] {
            assert_eq!(proxy(&proxies, without), None, "{without}");
        }
        for with in ["http://down/", "http://badexample.org/", "http://h:82/"] {
            assert!(proxy(&proxies, with).is_some(), "{with}");
        }
        let none = Proxies { none: "*".to_owned(), ..proxies };
        assert_eq!(proxy(&none, "http://x/"), None);
        assert_eq!(proxy(&Proxies::only(String::new()), "http://x/"), None);
    }
}

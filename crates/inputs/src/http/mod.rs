//! Files of web servers, read once and in order with bounded memory ([`HttpClient::get`]). A caller never hangs, and
//! retries itself. Redirects never lead from `https:` to `http:`. Without the feature `http`, no server can be reached.

mod address;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod distant;
#[cfg(feature = "http")]
mod overhead;
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

/// They distinguish the states of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// Only a strong one.
    pub etag: Option<String>,
    /// As the server wrote it.
    pub modified: Option<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    pub address: &'a Address,
    /// If the file is unchanged, nothing is sent.
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
    pub fn whole(address: &'a Address) -> Self {
        Self { address, known: None, rest: None }
    }
}

pub enum HttpAnswer {
    Content(Box<HttpBody>),
    Unchanged,
}

#[derive(Debug, thiserror::Error)]
#[error("{address}: {problem}")]
pub struct HttpError {
    pub address: String,
    pub problem: HttpProblem,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpProblem {
    #[error("the server does not have it (status {0})")]
    NotThere(u16),
    #[error("the server responds with status {0}")]
    Status(u16),
    #[error("{0}")]
    Broken(String),
    /// No answer of HTTP, or one that is too large.
    #[error("the response of the server is malformed: {0}")]
    Malformed(String),
    #[error("no trusted authority issued the certificate of the server")]
    UnknownIssuer,
    #[error("{0}")]
    Untrusted(String),
    #[error("the server sends fewer than {0} bytes a second")]
    Slow(u64),
    #[error("the connection ended after {got} of {size} bytes")]
    Cut { got: u64, size: u64 },
    #[error("it has {found}, but should have {size} bytes")]
    Size { found: String, size: u64 },
    #[error("the server sends a part of the file that was not requested")]
    OtherRange,
    #[error("it is redirected more than 5 times")]
    Redirects,
    #[error("it is redirected to an invalid URL: {0}")]
    BadRedirect(String),
    #[error("it is redirected from https to <{0}>")]
    Downgrade(String),
    #[error("the server sends it compressed as <{0}>, which was not requested")]
    Compressed(String),
    #[error("the certificates in {path} cannot be used: {reason}")]
    Certificates { path: String, reason: String },
    #[error("<{0}> is not a proxy; specify one as host:port")]
    Proxy(String),
    #[error("<{0}> is a SOCKS proxy, and only HTTP proxies are supported; specify one as host:port")]
    Socks(String),
    /// The host is this machine or on its link.
    #[error("{0} has a local address")]
    Local(String),
    /// A proxy on a command line has a password.
    #[error("<{0}> has a password, which every user of this machine sees on a command line")]
    SeenPassword(String),
    #[error("the HTTP library failed: {0}")]
    Library(String),
    #[error("this program was built without HTTP")]
    NotBuilt,
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

impl HttpProblem {
    /// Another attempt may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => *status == 429 || *status >= 500,
            Self::Broken(_) | Self::Slow(_) | Self::Cut { .. } | Self::OtherRange => true,
            _ => false,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HttpSettings {
    /// Additional certificates of authorities (`--ca`, the policy).
    pub authorities: Option<PathBuf>,
    /// Instead of the system's (`SSL_CERT_FILE`).
    pub certificate_file: Option<PathBuf>,
    /// Instead of the system's (`SSL_CERT_DIR`).
    pub certificate_directories: Vec<PathBuf>,
    pub proxies: Proxies,
    /// If the addresses are those of strangers: the hosts that may have an address of this machine or its link.
    pub local_hosts: Option<Vec<String>>,
    /// How long it waits.
    pub patience: Patience,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// For schemes without one of their own.
    pub all: Option<String>,
    /// Hosts and domains, separated by commas; `*` is every host.
    pub none: String,
    /// They were on a command line, which every user of the machine sees.
    pub is_seen_by_all: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    pub connect: Duration,
    pub first_byte: Duration,
    /// How long it may send less than [`Patience::slowest`].
    pub slow: Duration,
    /// Bytes a second that count as slow.
    pub slowest: u64,
    /// Before further attempts.
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
    pub fn only(proxy: String) -> Self {
        Self { all: Some(proxy), ..Self::default() }
    }

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

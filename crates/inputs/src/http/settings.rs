//! The settings from the program's surroundings: proxies, certificates, and time limits.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::Address;

/// How servers are reached and whom it believes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HttpSettings {
    /// A file of certificates of authorities that count beside those of the system (`--ca`, the policy).
    pub authorities: Option<PathBuf>,
    /// The file of certificates that counts instead of the system's (`SSL_CERT_FILE`).
    pub certificate_file: Option<PathBuf>,
    /// Directories of certificates that count instead of the system's (`SSL_CERT_DIR`).
    pub certificate_directories: Vec<PathBuf>,
    /// The proxies.
    pub proxies: Proxies,
    /// How long it waits.
    pub patience: Patience,
}

/// The proxies by kind of address, and the hosts that are reached without one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proxies {
    /// For `http:`.
    pub http: Option<String>,
    /// For `https:`.
    pub https: Option<String>,
    /// For both, unless they have one of their own.
    pub all: Option<String>,
    /// Hosts and domains, between commas; `*` is every host.
    pub none: String,
    /// Whether they were said on a command line, which every user of the machine sees.
    pub is_seen_by_all: bool,
}

/// How long a server may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Until it can be talked to.
    pub connect: Duration,
    /// Until it answers.
    pub first_byte: Duration,
    /// How long it may send less than [`Patience::slowest`].
    pub slow: Duration,
    /// The bytes a second that count as slow.
    pub slowest: u64,
    /// The pauses before it is tried again.
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
    /// The one proxy for every host.
    pub fn only(proxy: String) -> Self {
        Self { all: Some(proxy), ..Self::default() }
    }

    /// Returns the proxy of an address, as an address of its own.
    pub fn of(&self, address: &Address) -> Option<String> {
        if self.none.split([',', ' ']).any(|entry| excludes(entry.trim(), address)) {
            return None;
        }
        let own = if address.is_secure() { &self.https } else { &self.http };
        let proxy = own.as_deref().or(self.all.as_deref()).filter(|proxy| !proxy.is_empty())?;
        Some(if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") })
    }
}

/// Tells whether an entry of `no_proxy` is about the host of an address.
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

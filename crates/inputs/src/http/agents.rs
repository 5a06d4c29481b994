//! The connections of a client: one set for each proxy, and one for servers that are reached directly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::address::Address;
use super::certificates::believed;
use super::connection::without_panic;
use super::error::HttpProblem;
use super::settings::HttpSettings;
use crate::password::without_password;

/// The name that the program gives to servers.
const NAME: &str = concat!("patchadm/", env!("CARGO_PKG_VERSION"));

/// The largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// The buffer of a connection, in bytes.
const BUFFER: usize = 128 << 10;

/// The connections by proxy.
#[derive(Debug, Default)]
pub(super) struct Agents {
    by_proxy: Mutex<BTreeMap<(Option<String>, bool), Agent>>,
}

impl Agents {
    /// Returns the connections for an address. Certificates are read when the first secure address is asked for.
    pub(super) fn of(&self, address: &Address, settings: &HttpSettings) -> Result<Agent, HttpProblem> {
        let key = (settings.proxies.of(address), address.is_secure());
        let mut agents = self.by_proxy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = without_panic(|| agent(key.0.as_deref(), key.1, settings))?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn agent(proxy: Option<&str>, is_secure: bool, settings: &HttpSettings) -> Result<Agent, HttpProblem> {
    if let Some(named) = proxy.filter(|named| settings.proxies.is_seen_by_all && named.contains('@')) {
        return Err(HttpProblem::SeenPassword(shown(named)));
    }
    let used = proxy.map(usable).transpose()?;
    let certificates = if is_secure { believed(settings)? } else { Vec::new() };
    let patience = &settings.patience;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(used)
        .user_agent(NAME)
        .accept_encoding("identity")
        .timeout_connect(Some(patience.connect))
        .timeout_resolve(Some(patience.connect))
        .timeout_recv_response(Some(patience.first_byte))
        .timeout_per_read(Some(patience.slow))
        .max_response_header_size(LARGEST_HEAD)
        .input_buffer_size(BUFFER)
        .tls_config(tls(&certificates))
        .build();
    Ok(config.new_agent())
}

/// Returns a proxy that the library can use. It panics at some of those that it cannot use.
fn usable(named: &str) -> Result<Proxy, HttpProblem> {
    let (scheme, rest) = named.split_once("://").unwrap_or(("", named));
    if scheme.to_ascii_lowercase().starts_with("socks") {
        return Err(HttpProblem::Socks(shown(named)));
    }
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host).trim_end_matches('/');
    let is_known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_known || Address::parse(&format!("http://{host}")).is_err() {
        return Err(HttpProblem::Proxy(shown(named)));
    }
    Proxy::new(named).map_err(|_| HttpProblem::Proxy(shown(named)))
}

fn shown(proxy: &str) -> String {
    without_password(proxy).chars().take(200).flat_map(char::escape_debug).collect()
}

fn tls(certificates: &[Certificate<'static>]) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::super::settings::Proxies;
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
        for (named, shown) in [
            ("http://joe:secret@", "<http://...@> is no proxy"),
            ("http://joe:secret@h:99999", "<http://...@h:99999> is no proxy"),
            ("ftp://joe:secret@h:1", "<ftp://...@h:1> is no proxy"),
            ("http://https:joe:secret@h h", "<http://...@h h> is no proxy"),
            ("socks5://joe:secret@h:1", "<socks5://...@h:1> is a SOCKS proxy"),
            ("SOCKS4A://h:1", "<SOCKS4A://h:1> is a SOCKS proxy"),
        ] {
            let said = usable(named).unwrap_err().to_string();
            assert!(said.starts_with(shown) && !said.contains("secret"), "{said}");
        }
        let seen = HttpSettings {
            proxies: Proxies { is_seen_by_all: true, ..Proxies::default() },
            ..HttpSettings::default()
        };
        let said = agent(Some("http://joe:secret@h:1"), false, &seen).unwrap_err().to_string();
        assert!(said.contains("sees on a command line") && !said.contains("secret"), "{said}");
        assert!(agent(Some("http://joe:secret@h:1"), false, &HttpSettings::default()).is_ok());
        for named in ["http://h:1", "https://h", "http://joe:secret@h:1", "http://[::1]:3128/"] {
            assert!(usable(named).is_ok(), "{named}");
        }
    }
}

//! Addresses of this machine and its link, to which the address of a stranger must not lead.

use std::io;
use std::net::IpAddr;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::HttpProblem;
use super::address::Address;

/// A resolver that refuses hosts with a local address, except for some.
#[derive(Debug)]
pub(super) struct DistantResolver {
    pub(super) excepted: Vec<String>,
}

/// A host with a local address.
#[derive(Debug, thiserror::Error)]
#[error("{0} is local")]
pub(super) struct LocalHost(pub(super) String);

impl Resolver for DistantResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = DefaultResolver::default().resolve(uri, config, timeout)?;
        let host = without_brackets(uri.host().unwrap_or_default());
        if addresses.iter().any(|address| is_local(address.ip())) && !is_excepted(host, &self.excepted) {
            let local = LocalHost(host.to_owned());
            return Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, local)));
        }
        Ok(addresses)
    }
}

/// Refuses an address that is local by its text. A proxy resolves the names of others.
pub(super) fn must_be_distant(address: &Address, excepted: &[String]) -> Result<(), HttpProblem> {
    let host = without_brackets(address.host());
    let name = host.trim_end_matches('.');
    let is_local_name = name == "localhost" || name.ends_with(".localhost");
    if host.parse().map_or(is_local_name, is_local) && !is_excepted(host, excepted) {
        return Err(HttpProblem::Local(host.to_owned()));
    }
    Ok(())
}

fn without_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

fn is_excepted(host: &str, excepted: &[String]) -> bool {
    excepted.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Returns true for an address of this machine that needs no network, or of the link that it is connected to.
fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_link_local() || matches!(address.octets(), [0, ..])
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_the_machine_and_its_link_are_local_and_no_others() {
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.0.1",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for distant in ["10.0.0.1", "192.168.1.1", "128.0.0.1", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(!is_local(distant.parse().unwrap()), "{distant}");
        }
    }

    #[test]
    fn an_address_is_local_by_its_text_unless_it_is_excepted() {
        let excepted = ["127.0.0.1".to_owned(), "fe80::1".to_owned()];
        let is_refused = |text: &str| must_be_distant(&Address::parse(text).unwrap(), &excepted).is_err();
        for refused in [
            "http://localhost/",
            "https://LOCALHOST.:1/",
            "http://a.localhost/",
            "http://[::1]:8/",
            "http://127.0.0.2/",
        ] {
            assert!(is_refused(refused), "{refused}");
        }
        for accepted in
            ["http://127.0.0.1:80/", "http://[fe80::1]/", "http://example.org/", "http://notlocalhost/"]
        {
            assert!(!is_refused(accepted), "{accepted}");
        }
    }
}

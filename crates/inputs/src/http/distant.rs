//! Addresses of this machine and its link, to which the address of a stranger must not lead.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    let number = name.parse::<IpAddr>().ok().or_else(|| ipv4_of(name).map(IpAddr::V4));
    if number.map_or(is_local_name, is_local) && !is_excepted(host, excepted) {
        return Err(HttpProblem::Local(host.to_owned()));
    }
    Ok(())
}

/// Reads an IPv4 address as `inet_aton`(3) does: one to four numbers, decimal, octal or hexadecimal. The last one fills the
/// rest of the address.
fn ipv4_of(text: &str) -> Option<Ipv4Addr> {
    let parts = text.split('.').map(number_of).collect::<Option<Vec<u32>>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let mut address = 0_u64;
    for byte in bytes {
        address = address << 8 | u64::from(*byte);
    }
    let bits = 8 * (4 - bytes.len());
    let last = u64::from(*last);
    if last >> bits != 0 {
        return None;
    }
    u32::try_from(address << bits | last).ok().map(Ipv4Addr::from)
}

fn number_of(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some("") => return Some(0),
        Some(digits) => (digits, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| is_number)
}

fn without_brackets(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

fn is_excepted(host: &str, excepted: &[String]) -> bool {
    excepted.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Returns true for an address of this machine that needs no network, or of the link that it is connected to.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_ipv4(address),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || ipv4_inside(address).is_some_and(is_local_ipv4)
        }
    }
}

fn is_local_ipv4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_link_local() || matches!(address.octets(), [0, ..])
}

/// Returns the IPv4 address in an IPv4-compatible, IPv4-mapped or NAT64 address.
fn ipv4_inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
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
            "::127.0.0.1",
            "::169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for distant in [
            "10.0.0.1",
            "192.168.1.1",
            "128.0.0.1",
            "2001:db8::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::127.0.0.1",
        ] {
            assert!(!is_local(distant.parse().unwrap()), "{distant}");
        }
    }

    #[test]
    fn a_number_is_an_address_as_the_resolver_of_a_proxy_reads_it() {
        let shown = |text: &str| ipv4_of(text).map(|address| address.to_string());
        for (text, address) in [
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("0x", "0.0.0.0"),
            ("2852039166", "169.254.169.254"),
            ("10.1.65535", "10.1.255.255"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(address), "{text}");
        }
        for name in
            ["", "1.", "127.0.0.0.1", "256.1", "127.16777216", "4294967296", "08.1", "0x+1", "+1", "1.org"]
        {
            assert_eq!(shown(name), None, "{name}");
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
            "http://127.0.0.2./",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::127.0.0.1]/",
            "http://2852039166/",
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

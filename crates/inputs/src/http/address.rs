use std::fmt;

use crate::password::{has_scheme, without_password};

const LONGEST: usize = 4096;

/// Absolute, `http:` or `https:`, of valid characters, without user name, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    is_secure: bool,
    authority: String,
    /// Begins with a slash; includes the query.
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is not a valid URL: {reason}")]
pub struct AddressError {
    /// Cut to a readable length.
    pub text: String,
    pub reason: &'static str,
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let fault = |reason| AddressError { text: shown(text), reason };
        if text.len() > LONGEST {
            return Err(fault("it is longer than 4096 bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(fault("it contains characters that a URL cannot contain"));
        }
        let (is_secure, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err(fault("it does not begin with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(fault("a URL must not contain a user name or password"));
        }
        if !is_authority(authority) {
            return Err(fault("it names no host, or a port that is not a number"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_secure, authority: authority.to_ascii_lowercase(), path })
    }

    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns the name of the host, without port.
    pub fn host(&self) -> &str {
        host_and_port(&self.authority).0
    }

    /// Returns the port, or the default one.
    pub fn port(&self) -> u16 {
        let usual = if self.is_secure { 443 } else { 80 };
        host_and_port(&self.authority).1.and_then(|port| port.parse().ok()).unwrap_or(usual)
    }

    /// Nothing can be below an address with a query.
    pub fn has_query(&self) -> bool {
        self.path.contains('?')
    }

    pub fn redirected(&self, location: &str) -> Result<Self, AddressError> {
        if has_scheme(location) {
            return Self::parse(location);
        }
        let scheme = if self.is_secure { "https" } else { "http" };
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let own = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{own}{location}")
        } else {
            format!("{}{location}", &own.get(..=own.rfind('/').unwrap_or(0)).unwrap_or("/"))
        };
        Self::parse(&format!("{scheme}://{}{}", self.authority, without_dots(&path)))
    }

    /// Returns the address with a slash at the end.
    #[must_use]
    pub fn as_directory(&self) -> Self {
        let slash = if self.path.ends_with('/') { "" } else { "/" };
        Self { path: format!("{}{slash}", self.path), ..self.clone() }
    }

    /// Returns the address of something below a directory; invalid characters become `%XX`.
    #[must_use]
    pub fn below(&self, relative: &str) -> Self {
        let directory = self.as_directory();
        Self { path: format!("{}{}", directory.path, escaped(relative)), ..directory }
    }

    /// Returns the last component of the path, without the query; empty for a directory.
    pub fn file_name(&self) -> &str {
        self.path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority.get(after_brackets..).and_then(|rest| rest.rfind(':')) {
        Some(colon) => {
            let colon = after_brackets + colon;
            (authority.get(..colon).unwrap_or_default(), authority.get(colon + 1..))
        }
        None => (authority, None),
    }
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = host_and_port(authority);
    let is_plain =
        |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && is_plain(host),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Resolves `.` and `..`, never above the first slash.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = Vec::new();
    let mut ends_in_directory = false;
    for part in path.split('/').skip(1) {
        ends_in_directory = matches!(part, "." | ".." | "");
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if ends_in_directory && !parts.is_empty() { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{slash}{query}", parts.join("/"))
}

fn escaped(relative: &str) -> String {
    use fmt::Write as _;
    let mut text = String::new();
    for byte in relative.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+,=@:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn shown(text: &str) -> String {
    without_password(text).chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn an_address_is_read_and_written() {
        for (text, written, host, port) in [
            ("http://Host/a?b#c", "http://host/a?b", "host", 80),
            ("HTTPS://h:8443", "https://h:8443/", "h", 8443),
            ("https://[::1]:8/x", "https://[::1]:8/x", "[::1]", 8),
            ("https://[::1]/x", "https://[::1]/x", "[::1]", 443),
        ] {
            let address = address(text);
            assert_eq!(address.to_string(), written);
            assert_eq!((address.host(), address.port()), (host, port));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for text in [
            "ftp://h/",
            "http:///x",
            "http://h:0/",
            "http://h:x/",
            "http://a b/",
            "http://h/\n",
            "http://[1]/",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        let error = Address::parse("https://joe:secret@host/x").unwrap_err().to_string();
        assert_eq!(
            error,
            "<https://...@host/x> is not a valid URL: a URL must not contain a user name or password"
        );
    }

    #[test]
    fn a_redirect_leads_where_it_says() {
        let from = address("https://h/a/b?q");
        for (location, to) in [
            ("http://o/x", "http://o/x"),
            ("//o/x", "https://o/x"),
            ("/x/../y/", "https://h/y/"),
            ("c", "https://h/a/c"),
            ("../../../c?d", "https://h/c?d"),
            ("?z", "https://h/a/b?z"),
            ("c?next=http://o/x", "https://h/a/c?next=http://o/x"),
            ("/c?next=http://o/x", "https://h/c?next=http://o/x"),
            ("?next=http://o/x", "https://h/a/b?next=http://o/x"),
        ] {
            assert_eq!(from.redirected(location).unwrap().to_string(), to, "{location}");
        }
    }

    #[test]
    fn what_is_below_a_directory_has_its_name_escaped() {
        let depot = address("http://h/depot");
        assert_eq!(depot.below("index.json").to_string(), "http://h/depot/index.json");
        assert_eq!(depot.below("a b%?#é.zip").to_string(), "http://h/depot/a%20b%25%3F%23%C3%A9.zip");
        assert_eq!(depot.below("x").file_name(), "x");
    }
}

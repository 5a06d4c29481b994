use std::ffi::OsString;
use std::path::{Path, PathBuf};

use patchadm_inputs::http::Proxies;

/// The cache of a machine, if the caller may use it.
const OF_THE_MACHINE: &str = "/var/cache/patchadm";

#[derive(Clone, Debug, Default)]
pub struct NetworkSurroundings {
    /// `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`.
    pub proxies: Proxies,
    /// `PATCHADM_PROXY`: counts like the option, but shows no password on the command line.
    pub own_proxy: Option<String>,
    /// `SSL_CERT_FILE`.
    pub certificate_file: Option<PathBuf>,
    /// `SSL_CERT_DIR`, separated by colons.
    pub certificate_directories: Vec<PathBuf>,
    /// Below `XDG_CACHE_HOME`, else below the home directory.
    own_cache: Option<PathBuf>,
}

impl NetworkSurroundings {
    pub(super) fn of(set: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| set(name).and_then(|value| value.into_string().ok());
        let absolute = |name| set(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let directories = set("SSL_CERT_DIR").map(|value| std::env::split_paths(&value).collect());
        let own = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self {
            proxies: Proxies {
                http: text("http_proxy"),
                https: text("https_proxy"),
                all: text("all_proxy"),
                none: text("no_proxy").unwrap_or_default(),
                is_seen_by_all: false,
            },
            own_proxy: text("PATCHADM_PROXY"),
            certificate_file: set("SSL_CERT_FILE").map(PathBuf::from),
            certificate_directories: directories.unwrap_or_default(),
            own_cache: own.map(|cache| cache.join("patchadm")),
        }
    }

    /// The default directory: that of the machine for the superuser and users with access to it, else the caller's own.
    pub fn cache(&self) -> Option<PathBuf> {
        let machine = Path::new(OF_THE_MACHINE);
        let is_usable = rustix::process::geteuid().is_root()
            || rustix::fs::access(machine, rustix::fs::Access::WRITE_OK).is_ok();
        if is_usable { Some(machine.to_owned()) } else { self.own_cache.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_proxies_certificates_and_a_cache() {
        let network = NetworkSurroundings::of(|name| {
            let value = match name {
                "https_proxy" => "proxy:1",
                "no_proxy" => "own",
                "SSL_CERT_DIR" => "/a:/b",
                "HOME" => "/home/joe",
                _ => return None,
            };
            Some(OsString::from(value))
        });
        assert_eq!(network.proxies.https.as_deref(), Some("proxy:1"));
        assert_eq!(network.proxies.none, "own");
        assert_eq!(network.certificate_directories, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(network.own_cache, Some(PathBuf::from("/home/joe/.cache/patchadm")));
    }
}

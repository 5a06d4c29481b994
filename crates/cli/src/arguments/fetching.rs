use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::call::Invocation;
use crate::surroundings::Surroundings;
use crate::surroundings::fetch_bar::FetchBar;
use patchadm_core::operation::depots::{DepotAccess, DepotProgress};
use patchadm_inputs::http::{HttpSettings, Patience, Proxies};
use patchadm_inputs::policy::Policy;

/// The option that names a depot.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DepotOption {
    /// Use the patches in DEPOT, a directory or a file:, http: or https: URL
    #[arg(short = 'M', long = "depot", id = "depot", value_name = "DEPOT")]
    pub depot: Option<OsString>,
}

/// The option of every verb that may use a network. How it does is set by the policy, else by the environment.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct OfflineOption {
    /// Do not use the network
    #[arg(long)]
    pub offline: bool,
}

/// Options of the verbs that mostly fetch; what they do not set is set by the policy, else by the environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FetchOptions {
    #[command(flatten)]
    pub network: OfflineOption,
    /// Keep downloads in DIR [default: policy, else the user's cache directory]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Also trust the CA certificates in FILE
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Download through this proxy [default: policy, else environment]
    #[arg(short = 'x', long = "proxy", id = "proxy", value_name = "HOST:PORT")]
    pub proxy: Option<String>,
    /// True to give up a server that does not respond within seconds: the answer can do without it.
    #[arg(skip)]
    pub is_impatient: bool,
}

impl From<OfflineOption> for FetchOptions {
    fn from(network: OfflineOption) -> Self {
        Self { network, ..Self::default() }
    }
}

impl OfflineOption {
    pub fn said(self) -> [(&'static str, bool); 1] {
        [("--offline", self.offline)]
    }
}

impl FetchOptions {
    /// `wait` limits the time for which another command may hold up a download.
    pub fn access<'a>(
        &self,
        surroundings: &Surroundings,
        policy: &Policy,
        wait: Option<u64>,
        interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
        progress: &'a (dyn Fn(DepotProgress<'_>) + Sync),
    ) -> DepotAccess<'a> {
        let network = &surroundings.network;
        let hidden = network.own_proxy.clone().or_else(|| policy.proxy.clone());
        let proxies = match (self.proxy.clone(), hidden) {
            (Some(proxy), _) => Proxies { is_seen_by_all: true, ..Proxies::only(proxy) },
            (None, Some(proxy)) => Proxies::only(proxy),
            (None, None) => network.proxies.clone(),
        };
        let cache = self.cache.clone().or_else(|| policy.cache.clone());
        DepotAccess {
            cache: cache.or_else(|| network.cache()),
            temporary: surroundings.temporary.clone(),
            cache_limit: policy.cache_limit,
            is_offline: self.network.offline,
            http: HttpSettings {
                authorities: self.ca.clone().or_else(|| policy.ca.clone()),
                certificate_file: network.certificate_file.clone(),
                certificate_directories: network.certificate_directories.clone(),
                proxies,
                local_hosts: None,
                patience: if self.is_impatient { impatience() } else { Patience::default() },
            },
            wait: wait.map(Duration::from_secs),
            now: surroundings.now,
            interrupt,
            progress,
        }
    }
}

/// Returns how long a server is waited for whose answer is welcome and not necessary.
fn impatience() -> Patience {
    let (connect, first_byte, slow) =
        (Duration::from_secs(2), Duration::from_secs(3), Duration::from_secs(3));
    Patience { connect, first_byte, slow, pauses: Vec::new(), ..Patience::default() }
}

pub fn fetch_bar(call: &Invocation) -> FetchBar {
    let surroundings = &call.surroundings;
    FetchBar::new(&call.bar, surroundings.stderr_is_terminal && !surroundings.is_quiet && !call.in_json)
}

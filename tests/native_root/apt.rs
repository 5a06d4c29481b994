//! The real apt on roots of dpkg, without a network: it installs packages made by a test.

use std::fs;
use std::process::Command;

use super::dpkg::hooks;
use super::{DpkgRoot, PATH};
use crate::scenario::Run;

impl DpkgRoot {
    /// Calls apt-get with these words, with the hooks of apt and dpkg; `[NAME_VERSION]` is the file of a package.
    pub(crate) fn apt(&self, environment: &[(&str, &str)], words: &str) -> Run {
        let root = self.stage.root();
        let root = root.to_str().unwrap();
        for directory in ["lists/partial", "mirrors/partial"] {
            self.stage.directory(&format!("/var/lib/apt/{directory}"));
        }
        self.stage.directory("/var/cache/apt/archives/partial");
        self.stage.directory("/var/log/apt");
        for directory in ["apt.conf.d", "preferences.d", "sources.list.d", "trusted.gpg.d"] {
            self.stage.directory(&format!("/etc/apt/{directory}"));
        }
        // apt cannot tell records of the same second and length apart.
        let mut settings = format!(
            "Dir \"{root}\";\nDir::State::status \"{root}/var/lib/dpkg/status\";\n\
             Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n\
             Dir::Bin::methods \"/usr/lib/apt/methods\";\nAPT::Sandbox::User \"root\";\n"
        );
        let options = [format!("--root={root}"), "--force-unsafe-io".to_owned()].into_iter();
        for option in options.chain(hooks()) {
            let option = option.replace('"', "\\\"");
            settings += &format!("DPkg::Options {{ \"{option}\"; }};\n");
        }
        let hook = include_str!("../../packaging/hooks/80patchadm");
        let hook = hook.replace("/usr/bin/patchadm", env!("CARGO_BIN_EXE_patchadm"));
        settings += &hook.replace("/var/sadm/pkg", &format!("{root}/var/sadm/pkg"));
        fs::write(self.stage.beside("apt.conf"), settings).unwrap();
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-y", "--allow-downgrades"]).args(self.words(words)).env_clear();
        command.env("PATH", PATH).env("LC_ALL", "C").env("APT_CONFIG", self.stage.beside("apt.conf"));
        command.env("DEBIAN_FRONTEND", "noninteractive").env("PATCHADM_EVENTS", "none");
        // The hook of apt works on the root of the running system, which this variable replaces.
        command.env("PKG_INSTALL_ROOT", root).envs(environment.iter().copied());
        self.told(&command.current_dir(self.stage.beside("debs")).output().unwrap())
    }
}

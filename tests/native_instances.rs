//! Packages that dpkg or rpm has installed several times: each is a separate instance with its own patches.
//!
//! The tests run the real dpkg and rpm in roots of their own, with packages that dpkg-deb(1) and rpmbuild(8) make.

/// dpkg, and libraries for two architectures.
mod dpkg;
/// rpm, with several kernels, and libraries for two architectures.
mod rpm;

use crate::delivery::Patch;
use crate::scenario::{Run, Scenario};

/// A root whose packages are adopted and patched.
struct PatchedRoot {
    stage: Scenario,
}

impl PatchedRoot {
    fn run(&self, line: &str) -> Run {
        self.stage.run(&format!("{line} -R @ROOT@"))
    }

    fn parameter(&self, package: &str, name: &str) -> String {
        self.stage.run(&format!("pkgparam -R @ROOT@ {package} {name}")).ok().trim().to_owned()
    }

    /// Applies a patch.
    #[track_caller]
    fn add(&self, options: &str, patch: &Patch) -> String {
        let at = patch.directory(&self.stage);
        self.stage.run(&format!("add {options} -R @ROOT@ {}", at.display())).ok()
    }

    /// Asserts that the records of both programs are in order.
    #[track_caller]
    fn is_in_order(&self) {
        assert_eq!(self.stage.run("pkgchk -R @ROOT@").ok(), "");
        self.run("check --contents").ok();
    }
}

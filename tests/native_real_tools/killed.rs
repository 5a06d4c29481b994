//! apt is killed while it upgrades a patched package, with our hooks in use: the next apt and the next patchadm go
//! on.

use std::time::{Duration, Instant};

use super::Debian;
use super::table::{CONTAINED, content, files};

/// The number of moments of one upgrade that are tried.
const MOMENTS: u32 = 50;

const UPGRADE: &str = "apt-get -qq -y -o DPkg::Lock::Timeout=60 install /srv/acme_1.0-2_all.deb";

#[derive(Debug, Clone, Copy)]
enum Killed {
    /// apt, dpkg and the hooks, all at once.
    Everything,
    /// Only apt; the processes that it started go on.
    Apt,
}

/// The first command afterwards.
#[derive(Debug, Clone, Copy)]
enum Next {
    Apt,
    Patchadm,
}

impl Debian {
    /// Kills an upgrade after this time.
    fn kill_upgrade(&self, killed: Killed, after: Duration) {
        match killed {
            Killed::Everything => {
                let mut upgrade = self.entering(UPGRADE).spawn().unwrap();
                std::thread::sleep(after);
                upgrade.kill().unwrap();
                upgrade.wait().unwrap();
            }
            Killed::Apt => {
                let seconds = after.as_secs_f64();
                let rest = "while cat /proc/[0-9]*/comm 2>/dev/null | grep -qxE 'dpkg|patchadm'; do sleep 0.05; done";
                self.inside(&format!("timeout --foreground --signal=KILL {seconds} {UPGRADE}; {rest}"));
            }
        }
    }

    fn go_on(&self, next: Next) {
        if let Next::Patchadm = next {
            self.done("patchadm list");
            self.done("patchadm adopt --refresh --wait 60");
        }
        // A killed process may hold the lock of dpkg for another moment.
        self.done("for attempt in $(seq 100); do dpkg --configure -a && exit 0; sleep 0.1; done; exit 1");
        self.done(UPGRADE);
        self.done("patchadm adopt --refresh");
    }
}

#[test]
fn after_apt_was_killed_at_any_moment_the_next_apt_and_the_next_patchadm_go_on() {
    let Some(debian) = Debian::fresh("apt is killed") else { return };
    for version in ["1.0-1", "1.0-2"] {
        debian.package("acme", version, &files(version));
    }
    CONTAINED.prepare(&debian, true);
    let began = Instant::now();
    debian.done(UPGRADE);
    let whole = began.elapsed();
    for moment in 0..MOMENTS {
        let killed = if moment % 2 == 0 { Killed::Everything } else { Killed::Apt };
        let next = if moment % 4 < 2 { Next::Apt } else { Next::Patchadm };
        CONTAINED.prepare(&debian, true);
        debian.kill_upgrade(killed, whole * moment / MOMENTS);
        println!("moment {moment} of {MOMENTS}: {killed:?} killed, {next:?} goes on");
        debian.go_on(next);
        for (path, expected) in CONTAINED.expected() {
            assert_eq!(content(&debian.at(path)), expected, "{path}");
        }
        let listed = debian.done("patchadm list --check");
        assert_eq!(listed, "100-01  contained in acme 1.0-2 (dpkg)\n");
        assert_eq!(debian.done("dpkg --verify acme; dpkg --audit; patchadm pkgchk"), "");
        debian.done("patchadm check --contents");
        debian.assert_settled();
    }
}

//! Operations of dpkg and apt on a package with a patch of every kind, and the state after the refresh.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Debian;
use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};

const LIB: &str = "/usr/lib/acme/libacme.so";
const TOOL: &str = "/usr/lib/acme/tool";
const DATA: &str = "/usr/share/acme/data";
const MORE: &str = "/usr/share/acme/more";
const CONF: &str = "/etc/acme.conf";
/// The diverted location of dpkg's library.
const NATIVE: &str = "/usr/lib/acme/native.so";

/// The files of a version.
pub(super) fn files(version: &str) -> Vec<(&'static str, u32, Vec<u8>)> {
    let of = |what: &str| format!("{what} of {version}\n").into_bytes();
    let mut files = vec![
        (LIB, 0o644, of("library")),
        (TOOL, 0o755, of("tool")),
        (DATA, 0o644, of("data")),
        ("/usr/share/acme/same", 0o644, b"the same\n".to_vec()),
    ];
    match version {
        "1.0-4" => {}
        "1.0-3" => files.push((CONF, 0o644, b"setting=3\n".to_vec())),
        _ => files.push((CONF, 0o644, b"setting=1\n".to_vec())),
    }
    files
}

/// The package as a patch for a version delivers it.
fn delivered(version: &str) -> Package {
    Package::new("DEBacme").param("BASEDIR", "/").param("ARCH", "all").param("VERSION", version)
}

fn replaces(package: Package) -> Package {
    package.file("usr/lib/acme/libacme.so", 0o644, "library fixed\n")
}

fn replaces_two(package: Package) -> Package {
    replaces(package).file("usr/lib/acme/tool", 0o755, "tool fixed\n")
}

fn replaces_tool(package: Package) -> Package {
    package.file("usr/lib/acme/tool", 0o755, "tool fixed\n")
}

fn adds(package: Package) -> Package {
    package.file("usr/share/acme/more", 0o644, "more\n")
}

fn deletes(package: Package) -> Package {
    package.deletes(&["/usr/share/acme/data"])
}

fn retypes(package: Package) -> Package {
    package.symlink("usr/share/acme/data", "same")
}

fn all_at_once(package: Package) -> Package {
    retypes(adds(replaces_two(package)))
}

fn is_fixed_in_2(package: Package) -> Package {
    replaces(package).param("PATCH_FIXED_IN", "dpkg acme >= 1.0-2")
}

fn sets(package: Package) -> Package {
    package.content('e', "etc/acme.conf", 0o644, "root root", DELIVERED, "setting=fixed\n")
}

fn sets_and_replaces(package: Package) -> Package {
    sets(replaces(package))
}

/// Content of a path without an object in the table. Other paths have bytes, or a link to somewhere.
const GONE: &str = "nothing";

/// A case: the patch, the operation of the package manager, and the state after the refresh.
pub(super) struct Case {
    reason: &'static str,
    /// The version that is adopted and patched.
    from: &'static str,
    patch: fn(Package) -> Package,
    /// Commands of the administrator before the package is installed.
    beforehand: &'static str,
    /// Commands of the administrator after the patch.
    administrator: &'static str,
    /// Commands of the package manager.
    native: &'static str,
    /// The version whose files are there afterwards; `None` if they are gone.
    to: Option<&'static str>,
    /// Objects at other paths, or different from the version.
    but: &'static [(&'static str, &'static str)],
    /// Paths that dpkg finds changed.
    changed: &'static [&'static str],
    /// The beginning of the output of `list --check`, and its exit code.
    listed: (&'static str, i32),
    /// True if the patch is in force, so that it can be backed out.
    stands: bool,
    /// Objects after the backout.
    backed_out: &'static [(&'static str, &'static str)],
}

const UPGRADED: Case = Case {
    reason: "",
    from: "1.0-1",
    patch: replaces,
    beforehand: "true",
    administrator: "true",
    native: "dpkg -i /srv/acme_1.0-2_all.deb",
    to: Some("1.0-2"),
    but: &[],
    changed: &[],
    listed: ("100-01  LOST to acme 1.0-2 (dpkg)\n", 4),
    stands: false,
    backed_out: &[],
};

pub(super) const CONTAINED: Case = Case {
    reason: "the version has the fix",
    patch: is_fixed_in_2,
    listed: ("100-01  contained in acme 1.0-2 (dpkg)\n", 0),
    ..UPGRADED
};

const CASES: &[Case] = &[
    Case { reason: "dpkg -i upgrades: what was replaced is native", ..UPGRADED },
    Case { reason: "apt-get upgrades", native: "apt-get -qq -y install /srv/acme_1.0-2_all.deb", ..UPGRADED },
    Case { reason: "what a patch only added goes with it", patch: adds, ..UPGRADED },
    Case { reason: "what was deleted is there again", patch: deletes, ..UPGRADED },
    Case { reason: "what got another type has its own again", patch: retypes, ..UPGRADED },
    Case { reason: "all of it at once", patch: all_at_once, ..UPGRADED },
    CONTAINED,
    Case {
        reason: "apt-get downgrades",
        from: "1.0-2",
        native: "apt-get -qq -y --allow-downgrades install /srv/acme_1.0-1_all.deb",
        to: Some("1.0-1"),
        listed: ("100-01  LOST to acme 1.0-1 (dpkg)\n", 4),
        ..UPGRADED
    },
    Case {
        reason: "the same version is installed again",
        native: "apt-get -qq -y --reinstall install /srv/acme_1.0-1_all.deb",
        to: Some("1.0-1"),
        listed: ("100-01  LOST to acme 1.0-1 (dpkg)\n", 4),
        ..UPGRADED
    },
    Case {
        reason: "a path filter: dpkg lists the file, takes the old one away and puts none there",
        administrator: "echo path-exclude=/usr/lib/acme/libacme.so >/etc/dpkg/dpkg.cfg.d/filter",
        but: &[(LIB, GONE)],
        changed: &[LIB],
        ..UPGRADED
    },
    Case {
        reason: "a diversion keeps the file that was replaced, and dpkg writes its own beside it",
        administrator: "dpkg-divert --quiet --no-rename --divert /usr/lib/acme/native.so --add /usr/lib/acme/libacme.so",
        but: &[(LIB, "library fixed\n"), (NATIVE, "library of 1.0-2\n")],
        listed: ("100-01  effective", 0),
        stands: true,
        backed_out: &[(LIB, "library of 1.0-1\n"), (NATIVE, "library of 1.0-2\n")],
        ..UPGRADED
    },
    Case {
        reason: "a diversion from before keeps its file where it is",
        beforehand: "dpkg-divert --quiet --rename --divert /usr/lib/acme/native.so --add /usr/lib/acme/libacme.so",
        patch: replaces_tool,
        but: &[(LIB, GONE), (NATIVE, "library of 1.0-2\n")],
        ..UPGRADED
    },
    Case {
        reason: "an edited configuration file stays as it is",
        administrator: "echo mine >/etc/acme.conf",
        native: "dpkg -i --force-confold /srv/acme_1.0-3_all.deb",
        to: Some("1.0-3"),
        but: &[(CONF, "mine\n")],
        changed: &[CONF],
        listed: ("100-01  LOST to acme 1.0-3 (dpkg)\n", 4),
        ..UPGRADED
    },
    Case {
        reason: "a configuration file that the patch wrote and dpkg left holds the patch",
        patch: sets,
        native: "dpkg -i --force-confold /srv/acme_1.0-3_all.deb",
        to: Some("1.0-3"),
        but: &[(CONF, "setting=fixed\n")],
        changed: &[CONF],
        listed: ("100-01  effective", 0),
        stands: true,
        backed_out: &[(CONF, "setting=1\n")],
        ..UPGRADED
    },
    Case {
        reason: "one file of two is native, so that the patch stands in part",
        patch: sets_and_replaces,
        native: "dpkg -i --force-confold /srv/acme_1.0-3_all.deb",
        to: Some("1.0-3"),
        but: &[(CONF, "setting=fixed\n")],
        changed: &[CONF],
        listed: ("100-01  effective, partly overtaken", 0),
        stands: true,
        backed_out: &[(CONF, "setting=1\n")],
        ..UPGRADED
    },
    Case {
        reason: "a configuration file that dpkg wrote over the one of the patch is native",
        patch: sets,
        native: "dpkg -i --force-confnew /srv/acme_1.0-3_all.deb",
        to: Some("1.0-3"),
        listed: ("100-01  LOST to acme 1.0-3 (dpkg)\n", 4),
        ..UPGRADED
    },
    Case {
        reason: "a removed package takes its patch along, and leaves its configuration",
        patch: all_at_once,
        native: "apt-get -qq -y remove acme",
        to: None,
        but: &[(CONF, "setting=1\n")],
        listed: ("No patches are applied.\n", 0),
        ..UPGRADED
    },
    Case {
        reason: "a removed package leaves the configuration that the patch wrote, too",
        patch: sets,
        native: "apt-get -qq -y remove acme",
        to: None,
        but: &[(CONF, "setting=fixed\n")],
        changed: &[CONF],
        listed: ("No patches are applied.\n", 0),
        ..UPGRADED
    },
    Case {
        reason: "a configuration file that the new version has no longer stays, and holds the patch",
        patch: sets,
        native: "dpkg -i /srv/acme_1.0-4_all.deb",
        to: Some("1.0-4"),
        but: &[(CONF, "setting=fixed\n")],
        changed: &[CONF],
        listed: ("100-01  effective", 0),
        stands: true,
        backed_out: &[(CONF, "setting=1\n")],
        ..UPGRADED
    },
    Case {
        reason: "a purged package leaves nothing",
        patch: all_at_once,
        native: "apt-get -qq -y purge acme",
        to: None,
        listed: ("No patches are applied.\n", 0),
        ..UPGRADED
    },
];

impl Case {
    /// Plays the case; returns the deviations from the table, one line each.
    fn play(&self, debian: &Debian, by_hook: bool) -> Vec<String> {
        self.prepare(debian, by_hook);
        debian.done(self.administrator);
        debian.done(self.native);
        let mut wrong = Vec::new();
        let mut compare = |what: &str, found: String, expected: &str| {
            if found != expected {
                wrong.push(format!("{what}: {found:?} instead of {expected:?}"));
            }
        };
        if !by_hook {
            let refused = debian.inside("patchadm remove --dry-run 100-01");
            compare("plan before the refresh", refused.code.to_string(), "11");
        }
        debian.refresh(by_hook);
        for (path, expected) in self.expected() {
            compare(path, content(&debian.at(path)), &expected);
        }
        let changed = debian.inside("dpkg --verify acme").stdout;
        let changed: Vec<&str> = changed.lines().filter_map(|line| line.split_whitespace().last()).collect();
        compare("dpkg --verify", changed.join(" "), &self.changed.join(" "));
        let listed = debian.inside("patchadm list --check");
        let is_listed = listed.stdout.starts_with(self.listed.0) && listed.stderr.is_empty();
        let (told, expected) = (listed.stdout + &listed.stderr, self.listed.0.to_owned());
        compare("list", if is_listed { expected.clone() } else { told }, &expected);
        compare("list --check", listed.code.to_string(), &self.listed.1.to_string());
        compare("verify", debian.inside("patchadm check --contents").code.to_string(), "0");
        compare("pkgchk", debian.inside("patchadm pkgchk").stdout, "");
        let version = debian.inside("patchadm pkgparam DEBacme NATIVE_VERSION").stdout;
        compare("version", version, &self.to.map(|version| format!("{version}\n")).unwrap_or_default());
        let planned = debian.inside("patchadm remove --dry-run 100-01").code;
        compare("plan", (planned == 0).to_string(), &self.stands.to_string());
        debian.assert_settled();
        if self.stands {
            compare("remove", debian.inside("patchadm remove 100-01").stderr, "");
            compare("pkgchk", debian.inside("patchadm pkgchk").stdout, "");
            for (path, expected) in self.backed_out {
                compare(path, content(&debian.at(path)), expected);
            }
        }
        wrong
    }

    /// Installs the package in its first version, adopts and patches it.
    pub(super) fn prepare(&self, debian: &Debian, by_hook: bool) {
        debian.done("dpkg --purge acme 2>/dev/null || true");
        debian.done("rm -rf /var/sadm /usr/share/acme /usr/lib/acme /etc/acme* /etc/dpkg/dpkg.cfg.d/filter");
        debian.done("dpkg-divert --quiet --no-rename --remove /usr/lib/acme/libacme.so");
        debian.done("patchadm setup hooks remove");
        let Self { from, patch, .. } = self;
        debian.done(self.beforehand);
        debian.done(&format!("dpkg -i /srv/acme_{from}_all.deb"));
        debian.done("patchadm adopt --dpkg acme");
        debian.patch(&Patch::of("100-01", patch(delivered(from))));
        debian.done("patchadm add /srv/patches/100-01");
        if by_hook {
            debian.done("patchadm setup hooks install");
        }
    }

    /// The expected content of each path.
    pub(super) fn expected(&self) -> Vec<(&'static str, String)> {
        let native = |path: &str| {
            let files = self.to.map(files).unwrap_or_default();
            let found = files.into_iter().find(|(known, ..)| *known == path);
            found.map_or(GONE.to_owned(), |(_, _, bytes)| String::from_utf8(bytes).unwrap())
        };
        let at = |path: &'static str| {
            let other = self.but.iter().find(|(known, _)| *known == path);
            (path, other.map_or_else(|| native(path), |(_, text)| (*text).to_owned()))
        };
        [LIB, TOOL, DATA, MORE, CONF, NATIVE].map(at).to_vec()
    }
}

pub(super) fn content(path: &Path) -> String {
    match fs::read_link(path) {
        Ok(target) => format!("link to {}", target.display()),
        Err(_) => fs::read_to_string(path).unwrap_or_else(|_| GONE.to_owned()),
    }
}

#[test]
fn what_dpkg_and_apt_do_to_a_patched_package_is_what_the_table_says_by_hand_and_by_hook() {
    let Some(debian) = Debian::fresh("what dpkg and apt do to a patched package") else { return };
    for version in ["1.0-1", "1.0-2", "1.0-3", "1.0-4"] {
        debian.package("acme", version, &files(version));
    }
    let mut wrong = String::new();
    for case in CASES {
        for by_hook in [false, true] {
            let how = if by_hook { "by hook" } else { "by hand" };
            for line in case.play(&debian, by_hook) {
                writeln!(wrong, "{} ({how}): {line}", case.reason).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn apt_is_stopped_where_the_policy_says_so_until_the_loss_is_accepted() {
    let Some(debian) = Debian::fresh("apt is stopped by the policy") else { return };
    for version in ["1.0-1", "1.0-2"] {
        debian.package("acme", version, &files(version));
    }
    let upgrade = "apt-get -qq -y install /srv/acme_1.0-2_all.deb";
    for way_on in ["PATCHADM_NATIVE_UPGRADE=warn", "patchadm adopt --refresh --accept 100-01;"] {
        UPGRADED.prepare(&debian, true);
        debian.write("/etc/patchadm/policy", 0o644, "native_upgrade=stop\n");
        let stopped = debian.inside(upgrade);
        assert_eq!(stopped.code, 100, "{}", stopped.stderr);
        assert!(stopped.stderr.contains("100-01 would be LOST to acme 1.0-2"), "{}", stopped.stderr);
        assert!(debian.done("dpkg-query --show acme").contains("1.0-1"));
        assert_eq!(content(&debian.at(LIB)), "library fixed\n");
        debian.done(&format!("{way_on} {upgrade}"));
        assert_eq!(content(&debian.at(LIB)), "library of 1.0-2\n");
        let is_accepted = way_on.contains("--accept");
        assert_eq!(debian.inside("patchadm list --check").code, if is_accepted { 0 } else { 4 });
        debian.assert_settled();
        fs::remove_file(debian.at("/etc/patchadm/policy")).unwrap();
    }
}

//! The procedure scripts that a package brings into a run, the provider of each class script, and the files
//! of `install` that stay in the package's directory of the database.
//!
//! The policy decides whether a script may run at all (patchadm-policy(5)). Stock patch scripts are no
//! obstacle to applying a patch natively: the program itself does their work. A script that did not come with
//! the package is no more trusted than one of its own if it runs what the package delivered, or if a package
//! put it there as one of its files.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::Reason;
use super::target::classes;
use patchadm_changeset::format::manifest::MANIFEST;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::source::{PackageImage, sun_scripts};
use patchadm_svr4::package::{Params, PkgInst};

const SCRIPTS: &[&str] = &["request", "checkinstall", "preinstall", "postinstall", "preremove", "postremove"];

/// The provider of a class script: the first of these that has one (pkgadd(1M)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deliverer {
    /// The package: `install/i.<class>`, run from its directory in the database.
    Package,
    /// The root: `usr/sadm/install/scripts/i.<class>` below it.
    Root,
    /// The running system: `/usr/sadm/install/scripts/i.<class>`.
    Host,
    /// This program: a script of a standard class.
    Standard,
}

/// The class action scripts other than those of packages: file names such as `i.build`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemScripts {
    /// The scripts of the root.
    pub root: BTreeSet<String>,
    /// The scripts of the running system.
    pub host: BTreeSet<String>,
    /// The scripts of this program.
    pub standard: BTreeSet<String>,
    /// The scripts of root and running system that a package delivered as an ordinary file, and symbolic
    /// links, which may be such files. It is filled in only if the policy asks for it.
    pub delivered: BTreeSet<(Deliverer, String)>,
}

/// Their scripts execute what a package delivers: sed(1) has `e` and `w`, awk(1) has `system` and pipes, and
/// files of class build are scripts.
const RUN_WHAT_IS_DELIVERED: [&str; 3] = ["sed", "awk", "build"];

/// The scripts that take part in the installation of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallScripts {
    /// True if it has a `request`.
    pub request: bool,
    /// True if it has a `checkinstall`.
    pub checkinstall: bool,
    /// True if it has a `preinstall`.
    pub preinstall: bool,
    /// True if it has a `postinstall`.
    pub postinstall: bool,
    /// The classes whose files a script installs, with the provider of the script.
    pub classes: BTreeMap<String, Deliverer>,
    /// The classes whose script neither came with the package nor is known.
    pub unknown: BTreeSet<String>,
}

impl SystemScripts {
    /// Returns the provider of a script of this name, if the package does not deliver it.
    pub fn deliverer(&self, name: &str) -> Option<Deliverer> {
        let places = [
            (&self.root, Deliverer::Root),
            (&self.host, Deliverer::Host),
            (&self.standard, Deliverer::Standard),
        ];
        places.into_iter().find(|(names, _)| names.contains(name)).map(|(_, deliverer)| deliverer)
    }

    fn unknown(&self, prefix: &str, classes: &BTreeMap<String, Deliverer>) -> BTreeSet<String> {
        let is_unknown = |class: &str, deliverer: Deliverer| {
            RUN_WHAT_IS_DELIVERED.contains(&class)
                || self.delivered.contains(&(deliverer, format!("{prefix}{class}")))
        };
        let elsewhere = classes.iter().filter(|(_, deliverer)| **deliverer != Deliverer::Package);
        let unknown = elsewhere.filter(|(class, deliverer)| is_unknown(class, **deliverer));
        unknown.map(|(class, _)| class.clone()).collect()
    }
}

impl InstallScripts {
    /// Returns the scripts of a package that is installed with these parameters (CLASSES among them). A class
    /// script of the package's own runs even if it has nothing to install. One of the system runs only if the
    /// package delivers files of its class and is not the undo archive of a patch: the script has already
    /// processed the files of an archive. A file that the pkgmap does not name is not a script of the
    /// package: nothing vouches for its bytes.
    pub fn of(image: &PackageImage, params: &Params, system: &SystemScripts) -> Self {
        let entries = image.pkgmap.entries.iter().filter(|entry| entry.is_information());
        let listed: BTreeSet<&[u8]> = entries.map(|entry| entry.path.as_bytes()).collect();
        let has = |name: &str| image.install.contains_key(name) && listed.contains(name.as_bytes());
        let scripted = classes(params).into_iter().filter_map(|class| {
            let name = format!("i.{class}");
            let deliverer = if has(&name) {
                Some(Deliverer::Package)
            } else if !has(MANIFEST) && image.files().any(|entry| entry.object.class == class) {
                system.deliverer(&name)
            } else {
                None
            };
            deliverer.map(|deliverer| (class, deliverer))
        });
        let classes = scripted.collect();
        Self {
            unknown: system.unknown("i.", &classes),
            classes,
            request: has("request"),
            checkinstall: has("checkinstall"),
            preinstall: has("preinstall"),
            postinstall: has("postinstall"),
        }
    }

    /// Returns true if any script runs while the root is changed: such an installation is a run with scripts.
    pub fn take_part(&self) -> bool {
        self.preinstall || self.postinstall || !self.classes.is_empty()
    }

    /// Returns true if one of the scripts that change the root came with the package. Scripts of the root, of
    /// the system and of this program do not count: the user who installed them has answered for them.
    pub fn are_own(&self) -> bool {
        self.preinstall || self.postinstall || has_own(&self.classes)
    }

    /// Returns the names of these scripts, in the order in which they run.
    pub fn own_names(&self) -> Vec<String> {
        let own = self.classes.iter().filter(|(_, deliverer)| **deliverer == Deliverer::Package);
        let before = self.preinstall.then(|| "preinstall".to_owned());
        let after = self.postinstall.then(|| "postinstall".to_owned());
        before.into_iter().chain(own.map(|(class, _)| format!("i.{class}"))).chain(after).collect()
    }

    /// Refuses scripts that the policy of the root does not allow. Stock patch scripts are known.
    pub fn check(&self, image: &PackageImage, package: &str, policy: ScriptPolicy) -> Result<(), Reason> {
        let fixed = [
            ("request", self.request),
            ("checkinstall", self.checkinstall),
            ("preinstall", self.preinstall),
            ("postinstall", self.postinstall),
        ];
        let text = |name: &str| image.install.get(name).map(Vec::as_slice);
        check(fixed, "i.", (&self.classes, &self.unknown), text, package, policy)
    }
}

/// The scripts that take part in the removal of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveScripts {
    /// True if it has a `preremove`.
    pub preremove: bool,
    /// True if it has a `postremove`.
    pub postremove: bool,
    /// The classes whose objects a script removes, with the provider of the script.
    pub classes: BTreeMap<String, Deliverer>,
    /// The classes whose script neither came with the package nor is known.
    pub unknown: BTreeSet<String>,
}

impl RemoveScripts {
    /// Returns the scripts of an installed package that owns objects of the classes `owned`. A class script
    /// of the package itself, for a class of CLASSES or of `owned`, runs even if there is nothing to remove;
    /// one of the system only if there is.
    pub fn of(installed: &Installed, owned: &BTreeSet<&str>, system: &SystemScripts) -> Self {
        let has = |name: &str| installed.records.contains_key(format!("install/{name}").as_bytes());
        let own = classes(&installed.params);
        let all: BTreeSet<&str> = own.iter().map(String::as_str).chain(owned.iter().copied()).collect();
        let scripted = all.into_iter().filter_map(|class| {
            let name = format!("r.{class}");
            let deliverer = if has(&name) {
                Some(Deliverer::Package)
            } else if owned.contains(class) {
                system.deliverer(&name)
            } else {
                None
            };
            deliverer.map(|deliverer| (class.to_owned(), deliverer))
        });
        let classes = scripted.collect();
        Self {
            unknown: system.unknown("r.", &classes),
            classes,
            preremove: has("preremove"),
            postremove: has("postremove"),
        }
    }

    /// Returns true if there are any: such a removal is a run with scripts.
    pub fn take_part(&self) -> bool {
        self.preremove || self.postremove || !self.classes.is_empty()
    }

    /// Returns true if one of them came with the package.
    pub fn are_own(&self) -> bool {
        self.preremove || self.postremove || has_own(&self.classes)
    }

    /// Refuses scripts that the policy of the root does not allow.
    pub fn check(
        &self,
        installed: &Installed,
        package: &PkgInst,
        policy: ScriptPolicy,
    ) -> Result<(), Reason> {
        let fixed = [("preremove", self.preremove), ("postremove", self.postremove)];
        let text = |name: &str| {
            let record = installed.records.get(format!("install/{name}").as_bytes());
            record.map(|record| record.bytes.as_slice())
        };
        check(fixed, "r.", (&self.classes, &self.unknown), text, package.as_str(), policy)
    }
}

/// Scripts from the package and from the system.
pub(super) fn class_scripts(installed: &Installed, class: &str, system: &SystemScripts) -> Vec<String> {
    let delivered = |name: &str| {
        let ending = format!("install/{name}").into_bytes();
        installed.records.keys().any(|record| {
            *record == ending || record.starts_with(b"save/pspool/") && record.ends_with(&ending)
        })
    };
    let names = ["i.", "r."].map(|prefix| format!("{prefix}{class}"));
    names.into_iter().filter(|name| delivered(name) || system.deliverer(name).is_some()).collect()
}

fn has_own(classes: &BTreeMap<String, Deliverer>) -> bool {
    classes.values().any(|deliverer| *deliverer == Deliverer::Package)
}

fn check<'t, const N: usize>(
    fixed: [(&str, bool); N],
    prefix: &str,
    (classes, unknown): (&BTreeMap<String, Deliverer>, &BTreeSet<String>),
    text: impl Fn(&str) -> Option<&'t [u8]>,
    package: &str,
    policy: ScriptPolicy,
) -> Result<(), Reason> {
    let fixed = fixed.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
    let is_for_none = matches!(policy, ScriptPolicy::None | ScriptPolicy::Unwanted);
    let forbidden = |class: &String, deliverer: Deliverer| {
        is_for_none || deliverer == Deliverer::Package || unknown.contains(class)
    };
    let of_classes = classes.iter().filter(|(class, deliverer)| forbidden(class, **deliverer));
    let is_known = |name: &str| {
        let text = text(name).filter(|_| policy == ScriptPolicy::Known);
        text.is_some_and(|text| sun_scripts::role(name, text).is_some())
    };
    let mut all = fixed.chain(of_classes.map(|(class, _)| format!("{prefix}{class}")));
    match all.find(|name| policy != ScriptPolicy::Run && !is_known(name)) {
        Some(script) => {
            let by_option = policy == ScriptPolicy::Unwanted;
            Err(Reason::ScriptForbidden { package: Some(package.to_owned()), script, by_option })
        }
        None => Ok(()),
    }
}

fn is_script(name: &str) -> bool {
    SCRIPTS.contains(&name) || name.starts_with("i.") || name.starts_with("r.")
}

pub(super) fn is_kept(name: &str) -> bool {
    let patch_only = name.starts_with("patch_") || name.starts_with("u.");
    !is_script(name) && !patch_only && name != "deletes" && is_recorded(name)
}

pub(super) fn is_recorded(name: &str) -> bool {
    !matches!(name, "pkginfo" | "pkgmap") && !name.starts_with("patchadm.")
}

pub(super) fn is_passing(name: &str) -> bool {
    matches!(name, "preinstall" | "postinstall") || name.starts_with("i.")
}

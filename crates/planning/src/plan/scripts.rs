//! The procedure scripts of a package, the provider of each class script, and the files of `install` that stay. The
//! policy decides if a script may run (patchadm-policy(5)). A system script is trusted like one of the package if it
//! runs delivered content, or if a package delivered it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::refusal::Reason;
use super::target::classes;
use patchadm_changeset::format::manifest::MANIFEST;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::source::{PackageImage, sun_scripts};
use patchadm_svr4::package::{Params, PkgInst};

const SCRIPTS: &[&str] = &["request", "checkinstall", "preinstall", "postinstall", "preremove", "postremove"];

/// The first of these that has a class script provides it (pkgadd(1M)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deliverer {
    /// `install/i.<class>`, run from the package's directory in the database.
    Package,
    /// `usr/sadm/install/scripts/i.<class>` below the root.
    Root,
    /// `/usr/sadm/install/scripts/i.<class>` of the running system.
    Host,
    /// The program's script of a standard class.
    Standard,
}

/// File names of class action scripts, such as `i.build`, other than those of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemScripts {
    pub root: BTreeSet<String>,
    pub host: BTreeSet<String>,
    pub standard: BTreeSet<String>,
    /// Scripts of root and running system that a package delivered as an ordinary file, and symbolic links, which may
    /// be such files. Filled in only if the policy asks for it.
    pub delivered: BTreeSet<(Deliverer, String)>,
}

/// Their scripts execute delivered content: sed(1) has `e` and `w`, awk(1) has `system` and pipes, and files of class
/// build are scripts.
const RUN_WHAT_IS_DELIVERED: [&str; 3] = ["sed", "awk", "build"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallScripts {
    pub request: bool,
    pub checkinstall: bool,
    pub preinstall: bool,
    pub postinstall: bool,
    /// Classes whose files a script installs.
    pub classes: BTreeMap<String, Deliverer>,
    /// Classes whose script neither came with the package nor is known.
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
    /// `params` must have CLASSES. A class script of the package's own runs even if it has nothing to install; one of
    /// the system only if the package delivers files of its class and is not an undo archive, whose files it has
    /// processed already. A file that the pkgmap does not name is no script: nothing vouches for its bytes.
    pub fn of(image: &PackageImage, params: &Params, system: &SystemScripts) -> Self {
        let entries = image.pkgmap.entries.iter().filter(|entry| entry.is_information());
        let listed: BTreeSet<&[u8]> = entries.map(|entry| entry.path.as_bytes()).collect();
        let has = |name: &str| image.install.contains_key(name) && listed.contains(name.as_bytes());
        let of_files = OnceCell::new();
        let has_files = |class: &str| {
            let of_files = of_files.get_or_init(|| {
                image.files().map(|entry| entry.object.class.as_str()).collect::<HashSet<&str>>()
            });
            of_files.contains(class)
        };
        let scripted = classes(params).into_iter().filter_map(|class| {
            let name = format!("i.{class}");
            let deliverer = if has(&name) {
                Some(Deliverer::Package)
            } else if !has(MANIFEST) && has_files(&class) {
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

    /// Returns true if one of the scripts that change the root came with the package. Scripts of the root, of the
    /// system and of this program do not count: the user who installed them has answered for them.
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveScripts {
    pub preremove: bool,
    pub postremove: bool,
    /// Classes whose objects a script removes.
    pub classes: BTreeMap<String, Deliverer>,
    /// Classes whose script neither came with the package nor is known.
    pub unknown: BTreeSet<String>,
}

impl RemoveScripts {
    /// `owned` are the classes of its objects. A class script of the package itself, for a class of CLASSES or of
    /// `owned`, runs even if there is nothing to remove; one of the system only if there is.
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

    pub fn are_own(&self) -> bool {
        self.preremove || self.postremove || has_own(&self.classes)
    }

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

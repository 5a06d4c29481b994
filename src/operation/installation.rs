//! What installing one package means: the instances that it may go into, and the plan in the words of pkgadd(1M).

use std::collections::{BTreeMap, BTreeSet};

use crate::format::admin::{Admin, Basedir};
use crate::package::{Installed, ObjectPath, Params, PkgInst, Touched};
use crate::plan::{Action, Body, Plan};
use crate::source::PackageImage;

/// What installing a package means.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The instance that it goes into.
    pub instance: String,
    /// Its name for people.
    pub name: String,
    /// What is done.
    pub plan: Plan,
    /// The answers that were given in advance.
    pub admin: Admin,
    /// Where its relative paths lie; none where it has none.
    pub basedir: Option<ObjectPath>,
    /// Whether the same architecture and version is installed already and is overwritten.
    pub is_update: bool,
    /// How many of its objects are there already, properly installed.
    pub already: usize,
    /// The directories that are made because something lies below them.
    pub implied: BTreeSet<ObjectPath>,
}

/// The instances that a package may go into, each with the parameters that decide where its objects lie: those that
/// are installed, and the one that would be new.
pub(super) fn instances(
    package: &PackageImage,
    present: &BTreeMap<PkgInst, Installed>,
    admin: &Admin,
    response: &Params,
) -> BTreeMap<PkgInst, Installed> {
    let name = package.params.text("PKG").trim().to_owned();
    let taken = |instance: &PkgInst| present.contains_key(instance);
    let numbered = (2..).map(|number| format!("{name}.{number}")).take(present.len() + 1);
    let mut free = std::iter::once(name.clone()).chain(numbered);
    let new = free.find_map(|name| PkgInst::new(&name).ok().filter(|instance| !taken(instance)));
    let old = present.iter().map(|(instance, installed)| (instance.clone(), Some(&installed.params)));
    let all = old.chain(new.map(|instance| (instance, None)));
    all.map(|(instance, old)| {
        let params = as_installed(package, &instance, old, admin, response);
        (instance, Installed { params, ..Installed::default() })
    })
    .collect()
}

/// The parameters of a package as far as its paths depend on them.
fn as_installed(
    package: &PackageImage,
    instance: &PkgInst,
    old: Option<&Params>,
    admin: &Admin,
    response: &Params,
) -> Params {
    let mut params = package.params.clone();
    for (name, value) in response.iter() {
        params.set(name, value);
    }
    let demanded = match &admin.basedir {
        Basedir::Path(path) => {
            Some(String::from_utf8_lossy(path).replace("$PKGINST", instance.as_str()).into_bytes())
        }
        Basedir::Default | Basedir::Ask => None,
    };
    let there = old.and_then(|old| old.get("BASEDIR")).map(<[u8]>::to_vec);
    let delivered = package.params.get("BASEDIR").map(<[u8]>::to_vec);
    if let Some(basedir) = there.or(demanded).or(delivered) {
        params.set("BASEDIR", basedir);
    }
    for name in ["CLASSES", "PKGINST"] {
        if let Some(value) = old.and_then(|old| old.get(name)) {
            params.set(name, value);
        }
    }
    params
}

/// The plan with what an attendant wants to know of it. `instances` are those of [`instances`], `present` those that
/// are installed.
pub(super) fn described(
    plan: Plan,
    package: &PackageImage,
    instances: &BTreeMap<PkgInst, Installed>,
    present: &BTreeMap<PkgInst, Installed>,
    admin: &Admin,
) -> Installation {
    let chosen = plan.packages.first();
    let mut own = Touched::default();
    let (mut basedir, mut is_update) = (None, false);
    if let Some((instance, as_installed)) = chosen.and_then(|chosen| instances.get_key_value(chosen)) {
        own.add(instance, 0, package, &as_installed.params);
        let path = as_installed.params.get("BASEDIR").map(<[u8]>::trim_ascii);
        basedir = path.and_then(|path| ObjectPath::new(path).ok()).filter(|_| is_relocatable(package));
        let version = |params: &Params| params.text("VERSION").into_owned();
        is_update = present.get(instance).is_some_and(|old| version(&old.params) == version(&package.params));
    }
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let made = plan
        .changes
        .iter()
        .filter(|change| matches!(&change.action, Action::Add(new) if matches!(new.body, Body::Directory)));
    let implied = made.map(|change| change.path.clone()).filter(|path| !own.paths.contains(path));
    Installation {
        instance: chosen.map(ToString::to_string).unwrap_or_default(),
        name: package.params.text("NAME").into_owned(),
        admin: admin.clone(),
        basedir,
        is_update,
        already: own.paths.iter().filter(|path| !changed.contains(path)).count(),
        implied: implied.collect(),
        plan,
    }
}

/// Whether some of its paths are relative to BASEDIR.
fn is_relocatable(package: &PackageImage) -> bool {
    let mut paths = package.pkgmap.entries.iter().filter(|entry| !entry.is_information());
    paths.any(|entry| !entry.path.is_absolute() && !entry.path.as_bytes().starts_with(b"$"))
}

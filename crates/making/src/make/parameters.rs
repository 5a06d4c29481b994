//! The pkginfo of a new package, with warnings for the maker of a patch.
//!
//! Parameters of the command line come first, then those of the pkginfo, then missing mandatory ones. Variables (small
//! first letter, or set by the prototype) are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use super::MakeRequest;
use super::mapping::{FoundContent, PackageItem};
use super::messages::{MakeError, MakeWarning, MakeWatch};
use super::reading::{PrototypeVariables, open};
use patchadm_rootfs::{Root, accounts_of};
use patchadm_svr4::format::deletes;
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile, compact};
use patchadm_svr4::package::{Ftype, Params, PkgInst};
use patchadm_svr4::patch::PatchId;

const LONGEST_ABBREVIATION: usize = 32;
const LONGEST_VALUE: usize = 256;
const LONGEST_WORD: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterDefaults {
    pub arch: String,
    pub version: String,
    pub pstamp: String,
}

pub(super) fn read(source: &FoundContent) -> Result<Params, MakeError> {
    let FoundContent::File(path) = source else { return Ok(Params::new()) };
    let mut text = Vec::new();
    let limit = LARGEST_FILE as u64;
    open(path)
        .and_then(|(file, _)| file.take(limit + 1).read_to_end(&mut text))
        .map_err(|error| MakeError::Read { path: path.clone(), error })?;
    let file = ParamFile::parse(&text).map_err(|error| MakeError::Pkginfo { path: path.clone(), error })?;
    Ok(file.params())
}

pub(super) fn compose(
    request: &MakeRequest,
    variables: &PrototypeVariables,
    path: &Path,
    classes: &[String],
    watch: &mut MakeWatch<'_>,
) -> Result<Params, MakeError> {
    let mut params = Params::new();
    let layers = [variables.command(), &variables.pkginfo];
    for (name, value) in layers.into_iter().flat_map(Params::iter) {
        if name.starts_with(|c: char| c.is_ascii_uppercase()) && params.get(name).is_none() {
            params.push(name, value);
        }
    }
    for name in ["PKG", "NAME", "CATEGORY"] {
        if params.get(name).is_none() {
            return Err(MakeError::Parameter { name, path: path.to_owned() });
        }
    }
    let given = params.clone();
    let defaults = &request.defaults;
    let usual = [
        ("ARCH", defaults.arch.clone()),
        ("VERSION", defaults.version.clone()),
        ("PSTAMP", defaults.pstamp.clone()),
        ("CLASSES", classes.join(" ")),
    ];
    for (name, value) in usual {
        if params.get(name).is_none() {
            params.push(name, value.clone());
            watch.warn(MakeWarning::Parameter { name, value });
        }
    }
    check(&params)?;
    compare_classes(&params, classes, watch);
    look_at_parameters(&params, |name| given.get(name).is_some(), watch);
    Ok(params)
}

fn check(params: &Params) -> Result<(), MakeError> {
    let wrong = |name, reason| Err(MakeError::Value { name, reason });
    for name in ["NAME", "ARCH", "VERSION", "CATEGORY"] {
        let value = params.get(name).unwrap_or_default();
        let words = matches!(name, "ARCH" | "CATEGORY");
        let value = if words { compact(value) } else { value.to_vec() };
        if value.is_empty() {
            return wrong(name, "may not be empty");
        }
        if !words && value.len() > LONGEST_VALUE {
            return wrong(name, "is longer than 256 bytes");
        }
        if words && value.split(|&byte| byte == b',').any(|word| word.len() > LONGEST_WORD) {
            return wrong(name, "has a word of more than 16 bytes");
        }
    }
    if params.get("VERSION").is_some_and(|version| version.starts_with(b"(")) {
        return wrong("VERSION", "may not begin with a parenthesis");
    }
    Ok(())
}

fn compare_classes(params: &Params, classes: &[String], watch: &mut MakeWatch<'_>) {
    let text = params.text("CLASSES").into_owned();
    let named: BTreeSet<&str> = text.split_whitespace().collect();
    for class in classes.iter().filter(|class| !named.contains(class.as_str())) {
        watch.warn(MakeWarning::Class(class.clone()));
    }
}

pub(super) fn check_scripts(params: &Params, items: &[PackageItem], watch: &mut MakeWatch<'_>) {
    let text = params.text("CLASSES").into_owned();
    for item in items.iter().filter(|item| item.entry.object.ftype == Ftype::Information) {
        let script = item.entry.path.to_string();
        let class = script.strip_prefix("i.").or_else(|| script.strip_prefix("r."));
        if let Some(class) = class.filter(|class| !text.split_whitespace().any(|word| word == *class)) {
            watch.warn(MakeWarning::Script { class: class.to_owned(), script });
        }
    }
}

pub(super) fn instance(params: &Params, wanted: Option<&PkgInst>) -> Result<PkgInst, MakeError> {
    let name = params.text("PKG").into_owned();
    let fits = (1..=LONGEST_ABBREVIATION).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-+_".contains(c));
    let own = PkgInst::new(&name).ok().filter(|_| fits);
    let own = own.ok_or_else(|| MakeError::Abbreviation(name.escape_debug().to_string()))?;
    match wanted {
        None => Ok(own),
        Some(instance) if instance.abbreviation() == name => Ok(instance.clone()),
        Some(instance) => Err(MakeError::Instance { parameter: name, instance: instance.clone() }),
    }
}

const FIRST_PERSON: u32 = 1000;

/// Warns about an invalid id, and about missing VERSION and ARCH: they must equal those of the patched package.
pub(super) fn look_at_parameters(
    params: &Params,
    is_given: impl Fn(&str) -> bool,
    watch: &mut MakeWatch<'_>,
) {
    let id = params.text("SUNW_PATCHID").trim().to_owned();
    if params.get("SUNW_PATCHID").is_none() {
        return;
    }
    if let Err(error) = PatchId::parse(&id, "-") {
        watch.warn(MakeWarning::PatchId(error.to_string()));
    }
    for name in ["ARCH", "VERSION"] {
        if !is_given(name) {
            watch.warn(MakeWarning::OfPatch { name, value: params.text(name).into_owned() });
        }
    }
}

/// Warns about a `deletes` that has no effect, is unreadable, or names delivered paths.
pub(super) fn look_at_deletes(params: &Params, items: &[PackageItem], watch: &mut MakeWatch<'_>) {
    let is_deletes = |item: &&PackageItem| {
        item.entry.object.ftype == Ftype::Information && item.entry.path.as_bytes() == b"deletes"
    };
    let Some(item) = items.iter().find(is_deletes) else { return };
    if params.get("SUNW_PATCHID").is_none() {
        watch.warn(MakeWarning::DeletesOfNoPatch);
    }
    let text = match &item.source {
        Some(FoundContent::File(path)) => read_file(path),
        _ => Some(Vec::new()),
    };
    // An unreadable file is reported when it is copied.
    let Some(text) = text else { return };
    let paths = match deletes::parse(&text) {
        Ok(paths) => paths,
        Err(error) => return watch.warn(MakeWarning::Deletes(error.to_string())),
    };
    let objects = items.iter().filter(|item| !item.entry.is_information());
    let delivered: BTreeSet<&[u8]> = objects.map(|item| item.entry.path.as_bytes()).collect();
    for path in paths.iter().filter(|path| delivered.contains(path.as_bytes())) {
        watch.warn(MakeWarning::Deletes(format!("<{path}> is delivered as well, and stays")));
    }
}

fn read_file(path: &Path) -> Option<Vec<u8>> {
    let (file, _) = open(path).ok()?;
    let mut text = Vec::new();
    file.take(LARGEST_FILE as u64).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Warns once about each owner and group that is a person of this machine, unknown to other roots.
pub(super) fn look_at_owners(items: &[PackageItem], watch: &mut MakeWatch<'_>) {
    let Some(accounts) = Root::open(Path::new("/")).ok().and_then(|host| accounts_of(&host, &host).ok())
    else {
        return;
    };
    let mut met: BTreeMap<(&'static str, &str), (String, usize)> = BTreeMap::new();
    for item in items.iter().filter(|item| !item.entry.is_information()) {
        let attributes = &item.entry.object.attributes;
        let owner = attributes.owner.as_deref().map(|name| ("owner", name, accounts.uid(name)));
        let group = attributes.group.as_deref().map(|name| ("group", name, accounts.gid(name)));
        for (kind, name, number) in owner.into_iter().chain(group) {
            if number.is_some_and(|number| number >= FIRST_PERSON) {
                met.entry((kind, name)).or_insert_with(|| (item.entry.path.to_string(), 0)).1 += 1;
            }
        }
    }
    for ((kind, name), (path, count)) in met {
        let others = count - 1;
        watch.warn(MakeWarning::Account { kind, name: name.to_owned(), path, others });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(changes: &[(&str, &str)]) -> Params {
        let usual =
            [("PKG", "ACMEfoo"), ("NAME", "Foo"), ("ARCH", "all"), ("VERSION", "1"), ("CATEGORY", "system")];
        let mut params: Params = usual.into_iter().collect();
        for (name, value) in changes {
            params.set(name, *value);
        }
        params
    }

    #[test]
    fn values_are_those_that_a_package_can_have() {
        assert!(check(&params(&[("ARCH", "sparc.sun4u, i386"), ("CATEGORY", "system,x")])).is_ok());
        let long = "x".repeat(257);
        for (name, value) in [
            ("NAME", ""),
            ("NAME", &long),
            ("VERSION", "(1)"),
            ("ARCH", "seventeen-letters"),
            ("CATEGORY", " "),
        ] {
            assert!(check(&params(&[(name, value)])).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn an_instance_is_pkg_with_or_without_a_suffix() {
        let named = |name| Some(PkgInst::new(name).unwrap());
        let params = params(&[]);
        assert_eq!(instance(&params, None).unwrap().as_str(), "ACMEfoo");
        assert_eq!(instance(&params, named("ACMEfoo.2").as_ref()).unwrap().as_str(), "ACMEfoo.2");
        assert!(instance(&params, named("ACMEbar").as_ref()).is_err());
        for bad in ["", "a.b", "all", "../x", &"x".repeat(33)] {
            let params = self::params(&[("PKG", bad)]);
            assert!(matches!(instance(&params, None), Err(MakeError::Abbreviation(_))), "{bad}");
        }
    }
}

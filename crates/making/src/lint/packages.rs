//! Checks of a package's objects (types, classes, owners, modes, names, duplicates) and scripts.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::findings::{LintCode, LintFindings};
use super::subject::{LintPackage, LintSubject};
use patchadm_inputs::source::sun_scripts;
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{Ftype, ObjectPath, escape};

const WORLD_WRITABLE: u32 = 0o002;
const STICKY: u32 = 0o1000;

pub(super) fn check_objects(subject: &LintSubject<'_>, found: &mut LintFindings) {
    for package in &subject.packages {
        if package.objects.is_empty() && package.deletes.is_empty() {
            found.of_package(LintCode::EmptyPackage, package.directory(), "it delivers and deletes nothing");
        }
        let classes = package.image.params.text("CLASSES").into_owned();
        let classes: HashSet<&str> = classes.split_whitespace().collect();
        for entry in package.objects.values() {
            check_type(package, entry, &classes, found);
            check_attributes(package, entry, found);
        }
        for (path, written) in &package.deletes {
            if package.objects.contains_key(path) {
                let text = "it is delivered and deleted";
                found.of_path(LintCode::DeletesDelivered, package.directory(), written, text);
            }
        }
        let written =
            package.objects.values().map(|entry| &entry.path).chain(package.deletes.values().copied());
        for path in written.filter(|path| escape(path.as_bytes()).len() > path.as_bytes().len()) {
            let text = "classic tools cannot read this name";
            found.of_path(LintCode::Escape, package.directory(), path, text);
        }
    }
    check_between_packages(subject, found);
}

fn check_type(
    package: &LintPackage<'_>,
    entry: &PkgmapEntry,
    classes: &HashSet<&str>,
    found: &mut LintFindings,
) {
    let mut add = |code, text: &str| found.of_path(code, package.directory(), &entry.path, text);
    let class = entry.object.class.as_str();
    let is_known = if classes.is_empty() { class == "none" } else { classes.contains(class) };
    if !is_known {
        add(LintCode::Type, &format!("CLASSES has no class {class}, so it would not be installed"));
    }
    match entry.object.ftype {
        Ftype::Block | Ftype::Character => add(LintCode::Device, "it is a device"),
        Ftype::Symlink | Ftype::Link if entry.object.target.as_deref().unwrap_or_default().is_empty() => {
            add(LintCode::Type, "it is a link without a target");
        }
        _ => {}
    }
}

fn check_attributes(package: &LintPackage<'_>, entry: &PkgmapEntry, found: &mut LintFindings) {
    let (object, attributes) = (&entry.object, &entry.object.attributes);
    if object.ftype.is_link() {
        return;
    }
    let mut add = |code, text: &str| found.of_path(code, package.directory(), &entry.path, text);
    for (what, name) in [("owner", &attributes.owner), ("group", &attributes.group)] {
        match name.as_deref() {
            Some(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => {
                add(LintCode::Owner, &format!("its {what} is the number {name}"));
            }
            None if object.ftype.is_regular() => add(LintCode::Owner, &format!("it has no {what}")),
            _ => {}
        }
    }
    match attributes.mode {
        None if object.ftype.is_regular() => add(LintCode::Mode, "it has no mode"),
        Some(mode) => {
            let is_guarded = object.ftype.is_directory() && mode.bits() & STICKY != 0;
            let is_open = matches!(object.ftype, Ftype::Pipe | Ftype::Block | Ftype::Character);
            if mode.bits() & WORLD_WRITABLE != 0 && !is_guarded && !is_open {
                add(LintCode::Mode, &format!("everyone can write to it: {mode}"));
            }
            if object.ftype.is_regular() && mode.is_set_id() {
                add(LintCode::Setuid, &format!("its mode is {mode}"));
            }
        }
        None => {}
    }
}

fn check_between_packages(subject: &LintSubject<'_>, found: &mut LintFindings) {
    let mut known: BTreeMap<&ObjectPath, &LintPackage<'_>> = BTreeMap::new();
    for package in &subject.packages {
        for (path, entry) in &package.objects {
            let Some(first) = known.insert(path, package) else { continue };
            // Packages of one name are for different installed ones.
            let is_directory = |package: &LintPackage<'_>| {
                package.objects.get(path).is_some_and(|entry| entry.object.ftype.is_directory())
            };
            if first.name().0 != package.name().0 && !(is_directory(first) && is_directory(package)) {
                let text = format!("package {} delivers it as well", first.directory());
                found.of_path(LintCode::Duplicate, package.directory(), &entry.path, text);
            }
        }
    }
}

/// Scripts with a fixed name that run at installation or removal.
const PROCEDURES: [&str; 8] = [
    "request",
    "checkinstall",
    "preinstall",
    "postinstall",
    "preremove",
    "postremove",
    "patch_checkinstall",
    "patch_postinstall",
];

/// Scripts that keep a patch's records under a classic pkgadd.
const OF_PATCHES: [&str; 5] =
    ["checkinstall", "preinstall", "postinstall", "patch_checkinstall", "patch_postinstall"];

pub type SyntaxCheck<'a> = dyn Fn(&[u8]) -> Result<(), String> + 'a;

pub(super) fn check_scripts(subject: &LintSubject<'_>, syntax: &SyntaxCheck<'_>, found: &mut LintFindings) {
    let hooks = &subject.image.hooks;
    for (name, text) in [
        ("prepatch", &hooks.prepatch),
        ("postpatch", &hooks.postpatch),
        ("prebackout", &hooks.prebackout),
        ("postbackout", &hooks.postbackout),
    ] {
        let Some(text) = text else { continue };
        let path = || Some(name.to_owned());
        found.push(LintCode::ScriptUnknown, None, path(), "it is a script of the patch's own");
        if let Err(reason) = read(name, text, syntax) {
            found.push(LintCode::ScriptSyntax, None, path(), reason);
        }
    }
    for package in &subject.packages {
        check_package(package, syntax, found);
    }
}

fn check_package(package: &LintPackage<'_>, syntax: &SyntaxCheck<'_>, found: &mut LintFindings) {
    let install = &package.image.install;
    let is_script = |name: &str| {
        PROCEDURES.contains(&name)
            || ["i.", "r.", "u."]
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|class| !class.is_empty()))
    };
    let (mut known, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for (name, text) in install.iter().filter(|(name, _)| is_script(name)) {
        if sun_scripts::role(name, text).is_some() {
            known.insert(name.as_str());
            continue;
        }
        unknown.insert(name.as_str());
        found.of_path(LintCode::ScriptUnknown, package.directory(), name, "it is not a known script");
        if let Err(reason) = read(name, text, syntax) {
            found.of_path(LintCode::ScriptSyntax, package.directory(), name, reason);
        }
    }
    let own = unknown.iter().find(|name| OF_PATCHES.contains(name));
    if let Some(own) = own.filter(|_| known.iter().any(|name| OF_PATCHES.contains(name))) {
        let text = format!("{own} is not a known script, and others are");
        found.of_package(LintCode::ScriptMixed, package.directory(), text);
    }
    let missing: Vec<&str> = OF_PATCHES.into_iter().filter(|name| !install.contains_key(*name)).collect();
    if !missing.is_empty() {
        let text = format!("it has no {}", missing.join(", "));
        found.of_package(LintCode::NoScripts, package.directory(), text);
    }
    for name in unknown.iter().filter(|name| name.starts_with("i.")) {
        let undo = format!("u.{}", name.get(2..).unwrap_or_default());
        if !install.contains_key(&undo) {
            found.of_path(LintCode::ClassNoUndo, package.directory(), name, format!("there is no {undo}"));
        }
    }
}

fn read(name: &str, text: &[u8], syntax: &SyntaxCheck<'_>) -> Result<(), String> {
    if text.contains(&0) {
        return Err(format!("{name} has a NUL byte"));
    }
    if text.split(|&byte| byte == b'\n').any(|line| line.ends_with(b"\r")) {
        return Err(format!("a line of {name} ends with a carriage return"));
    }
    syntax(text)
}

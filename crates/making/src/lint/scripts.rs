//! Checks of the scripts in `install` and of those beside the packages.

use std::collections::BTreeSet;

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::{LintPackage, LintSubject};
use patchadm_inputs::source::sun_scripts;

/// Scripts with a fixed name that run when a package is installed or taken back.
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

/// The scripts that keep the records of a patch under a classic pkgadd.
const OF_PATCHES: [&str; 5] =
    ["checkinstall", "preinstall", "postinstall", "patch_checkinstall", "patch_postinstall"];

/// Reads the text of a script and tells what a shell finds wrong with it.
pub type SyntaxCheck<'a> = dyn Fn(&[u8]) -> Result<(), String> + 'a;

/// Checks every script.
pub(super) fn check(subject: &LintSubject<'_>, syntax: &SyntaxCheck<'_>, found: &mut LintFindings) {
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
        let text = format!("{own} is no known script, and others are");
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

/// Reads a script: bytes that no shell expects first, then its syntax.
fn read(name: &str, text: &[u8], syntax: &SyntaxCheck<'_>) -> Result<(), String> {
    if text.contains(&0) {
        return Err(format!("{name} has a NUL byte"));
    }
    if text.split(|&byte| byte == b'\n').any(|line| line.ends_with(b"\r")) {
        return Err(format!("a line of {name} ends with a carriage return"));
    }
    syntax(text)
}

//! The parameters of a package after an installation or patch (pkginfo(4)), in the order of pkgadd(1M): CLASSES,
//! BASEDIR, the environment, delivered parameters, PKGINST, PKGSAV, then the rest in its old order. Variables that only
//! steer a run are not stored.

use std::borrow::Cow;
use std::collections::HashMap;

use patchadm_inputs::native::{NATIVE_OVERTAKEN, is_native_parameter};
use patchadm_svr4::places;

use patchadm_svr4::package::{Params, PkgInst, exports};
use patchadm_svr4::patch::{PatchId, PatchList, is_fix_record};

use super::clock::Now;
use super::target::{add_classes, classes};

const ENVIRONMENT: &[&str] = &["LANG", "TZ", "PATH", "OAMBASE"];

/// Set when a package was installed over an installed one.
const UPDATE: &str = "UPDATE";

const FORMER: &str = "PATCH_FORMER";

/// Describe the run, not the package.
const NEVER_STORED: &[&str] = &[
    "CLIENT_BASEDIR",
    "INST_DATADIR",
    "PKG_CAS_PASSRELATIVE",
    "PKG_DST_QKVERIFY",
    "PKG_INIT_INSTALL",
    "PKG_INSTALL_ROOT",
    "PKG_SRC_NOVERIFY",
    "SUNW_PKGCOND_GLOBAL_DATA",
    "SUNW_PKG_DIR",
    "SUNW_PKG_INSTALL_ZONENAME",
    UPDATE,
    "SCRIPTS_DIR",
    "OLDLIST",
    "PATCH_NO_UNDO",
    "INTERRUPTION",
    "PATCH_PROGRESSIVE",
    "PATCH_UNCONDITIONAL",
    "PATCH_BUILD_DIR",
    "PATCH_UNDO_ARCHIVE",
    FORMER,
];

const OWN: &[&str] = &["CLASSES", "BASEDIR", "PKGINST", "PKGSAV", "INSTDATE"];

/// The last patch describes itself with these. A patch that omits one clears it.
const LAST_PATCH: &[&str] = &["SUNW_PATCHID", "SUNW_OBSOLETES", "SUNW_REQUIRES", "SUNW_INCOMPAT"];

/// Out of date at a backout; the classic scripts omit them, too.
const NOT_RESTORED: &[&str] = &[
    "ACTIVE_OBSOLETES",
    "Obsoletes_label",
    "ACTIVE_PATCH",
    "Patch_label",
    UPDATE,
    "SCRIPTS_DIR",
    "PATCH_NO_UNDO",
    "INSTDATE",
    "PKGINST",
    "OAMBASE",
    "PATH",
];

pub(super) const TOLD_TO_SCRIPTS: [&str; 2] = ["Patch_label", "Obsoletes_label"];

pub(super) fn is_stored(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && !NEVER_STORED.contains(&name)
        && !OWN.contains(&name)
        && !is_patch_record(name)
        && !is_fix_record(name)
        && !is_native_parameter(name)
}

pub(super) const PATCH_INFO: &str = "PATCH_INFO_";

pub(super) fn patch_of_info(name: &str) -> Option<&str> {
    name.strip_prefix(PATCH_INFO)
}

pub(super) fn is_patch_record(name: &str) -> bool {
    matches!(name, "PATCHLIST" | "PATCH_OBSOLETES") || patch_of_info(name).is_some()
}

/// PATH is not reported: no script ever got it from a package.
pub(super) fn kept_out(package: &PkgInst, delivered: &Params) -> Vec<String> {
    let told = |(name, reason): (&str, &str)| {
        format!("package {package}: parameter {name} is not passed to scripts: {reason}")
    };
    exports::kept_out(delivered).filter(|(name, _)| *name != "PATH").map(told).collect()
}

pub(super) fn is_restored(name: &str) -> bool {
    !NOT_RESTORED.contains(&name) && !is_patch_record(name) && !is_native_parameter(name)
}

pub(super) fn forget_overtaken(id: &PatchId, params: &mut Params) {
    let before = params.text(NATIVE_OVERTAKEN).into_owned();
    let left: Vec<&str> = before.split_whitespace().filter(|word| *word != id.as_str()).collect();
    match left.as_slice() {
        _ if before.is_empty() => {}
        [] => params.remove(NATIVE_OVERTAKEN),
        left => params.set(NATIVE_OVERTAKEN, left.join(" ")),
    }
}

fn is_environment(name: &str) -> bool {
    ENVIRONMENT.contains(&name) || name.starts_with("LC_")
}

pub(super) fn merged(
    package: &PkgInst,
    old: &Params,
    delivered: &Params,
    environment: &Params,
    now: &Now,
) -> Params {
    let mut new = Params::with_room_of(old);
    let known = if old.is_empty() { Vec::new() } else { classes(old) };
    new.set("CLASSES", union_of_classes(known, &classes(delivered)).join(" "));
    let basedir = old.get("BASEDIR").or_else(|| delivered.get("BASEDIR"));
    if let Some(basedir) = basedir {
        new.set("BASEDIR", basedir);
    }
    for (name, value) in environment.iter().chain(old.iter()).filter(|(name, _)| is_environment(name)) {
        if new.get(name).is_none() {
            new.set(name, value);
        }
    }
    for (name, value) in delivered.iter().filter(|(name, _)| is_stored(name) && !is_environment(name)) {
        if new.get(name).is_none() {
            new.set(name, value);
        }
    }
    new.set("PKGINST", package.as_str());
    new.set("PKGSAV", places::save(package).to_string());
    for (name, value) in old.iter() {
        if new.get(name).is_none() {
            new.set(name, value);
        }
    }
    new.set("INSTDATE", now.instdate());
    new
}

/// Class `none` always comes first.
pub(super) fn union_of_classes(mut known: Vec<String>, delivered: &[String]) -> Vec<String> {
    add_classes(&mut known, delivered.iter().map(String::as_str));
    known.sort_by_key(|class| class != "none");
    known
}

pub(super) fn speak_for_last_patch(new: &mut Params, delivered: &Params, id: &str, obsoletes: &str) {
    for name in LAST_PATCH.iter().filter(|name| delivered.get(name).is_none()) {
        if new.get(name).is_some() {
            new.set(name, if *name == "SUNW_PATCHID" { id } else { "" });
        }
    }
    // The classic scripts keep the list of an earlier patch, and later backouts count it again
    if !obsoletes.is_empty() || new.get("ACTIVE_OBSOLETES").is_some() {
        new.set("ACTIVE_OBSOLETES", obsoletes);
    }
    for (name, last) in [("Patch_label", id), ("Obsoletes_label", "")] {
        if new.get(name).is_some() {
            new.set(name, last);
        }
    }
}

/// Names that a patch delivers, changes, or would clear by omission. The last kind counts even if already empty: the
/// patch that emptied it may be backed out first. Patch records are excluded.
pub(super) fn set_by(old: &Params, new: &Params, delivered: &Params) -> Vec<String> {
    let mut names: Vec<String> = new
        .iter()
        .filter(|(name, value)| {
            let speaks = is_stored(name) && delivered.get(name).is_some() || is_word_of_last_patch(name);
            !is_patch_record(name) && (speaks || old.get(name) != Some(*value))
        })
        .map(|(name, _)| name.to_owned())
        .collect();
    names.dedup();
    names
}

/// Names without a value of the patch's own: neither delivered nor answered nor derived.
pub(super) fn silent_among(
    set: &[String],
    delivered: &Params,
    obsoletes: &PatchList,
    answers: Option<&Params>,
) -> Vec<String> {
    let says = |name: &str| {
        delivered.get(name).is_some()
            || answers.is_some_and(|answers| answers.get(name).is_some())
            || name == "ACTIVE_OBSOLETES" && !obsoletes.is_empty()
    };
    let is_silent = |name: &&String| is_cleared_by_silence(name) && !says(name);
    set.iter().filter(is_silent).cloned().collect()
}

fn is_cleared_by_silence(name: &str) -> bool {
    is_word_of_last_patch(name) && !is_word_of_every_run(name)
}

pub(super) fn is_word_of_every_run(name: &str) -> bool {
    matches!(name, "INSTDATE" | UPDATE)
}

pub(super) fn note_update(new: &mut Params) {
    new.set(UPDATE, "yes");
}

pub(super) fn is_word_of_last_patch(name: &str) -> bool {
    LAST_PATCH.contains(&name)
        || matches!(name, "ACTIVE_OBSOLETES" | "Patch_label" | "Obsoletes_label" | "INSTDATE" | UPDATE)
}

/// Restores `names` from `old` unless a later patch set them. Keeps the order of `old`, then of `current`.
pub(super) fn taken_back(
    current: &Params,
    old: &Params,
    names: &[String],
    set_later: impl Fn(&str) -> bool,
) -> Params {
    let mut values = current.clone();
    let is_own = |name: &&String| !is_patch_record(name) && !is_native_parameter(name);
    for name in names.iter().filter(is_own).filter(|name| !set_later(name)) {
        match old.get(name) {
            Some(value) => values.set(name, value),
            None => values.remove(name),
        }
    }
    values.in_order_of(&with_info_of(old, current))
}

/// Inserts the patch lines that the archive omitted, each after the line that it follows now.
fn with_info_of<'a>(old: &'a Params, current: &Params) -> Cow<'a, Params> {
    let mut following: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut leader = None;
    for (name, _) in current.iter() {
        match leader {
            _ if patch_of_info(name).is_none() => leader = None,
            _ if old.get(name).is_some() => leader = Some(name),
            Some(leader) => following.entry(leader).or_default().push(name),
            None => {}
        }
    }
    if following.is_empty() {
        return Cow::Borrowed(old);
    }
    let mut whole = Params::with_room_of(current);
    for (name, value) in old.iter() {
        whole.push(name, value);
        following.remove(name).into_iter().flatten().for_each(|name| whole.push(name, ""));
    }
    Cow::Owned(whole)
}

/// Like [`taken_back`] for a classic backout package, which does not list the names.
pub(super) fn taken_back_from_foreign(
    current: &Params,
    delivered: &Params,
    set_later: impl Fn(&str) -> bool,
) -> Params {
    let mut values = current.clone();
    let old = |name: &str| is_stored(name) && name != "ACTIVE_PATCH" && !set_later(name);
    for (name, value) in delivered.iter().filter(|(name, _)| old(name)) {
        values.set(name, value);
    }
    for name in LAST_PATCH.iter().filter(|name| delivered.get(name).is_none() && !set_later(name)) {
        values.remove(name);
    }
    values.remove(FORMER);
    // Such an archive does not tell if the word was present before. Without another patch it probably was not.
    let list = current.text("PATCHLIST");
    let mut patches = list.split_whitespace();
    let first = patches.next();
    if !set_later(UPDATE) && patches.all(|id| Some(id) == first) {
        values.remove(UPDATE);
    }
    for name in ["ACTIVE_OBSOLETES", "Patch_label", "Obsoletes_label"] {
        if values.get(name).is_some() && !set_later(name) {
            values.set(name, "");
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_patches_that_an_archive_left_out_come_back_where_they_stood() {
        let whole: Params =
            ["PKG", "PATCHLIST", "PATCH_INFO_1-01", "PATCH_INFO_2-01", "NOTE", "PATCH_INFO_3-01"]
                .into_iter()
                .map(|name| (name, name))
                .collect();
        let saved: Params = whole.iter().filter(|(name, _)| *name != "PATCH_INFO_2-01").collect();
        let mut current = whole.clone();
        current.set("PATCH_INFO_4-01", "the patch that goes");
        current.set("NOTE", "as it says");
        let names = ["NOTE".to_owned()];
        let expected = taken_back(&current, &whole, &names, |_| false);
        let before: Vec<_> = expected.iter().take(6).collect();
        assert_eq!(before, whole.iter().collect::<Vec<_>>());
        assert_eq!(taken_back(&current, &saved, &names, |_| false), expected);
    }
}

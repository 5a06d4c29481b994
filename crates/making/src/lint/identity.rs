//! Checks of a patch's self-description: id, lists, parameters, package names, fixes, README.

use std::collections::BTreeSet;

use super::findings::{LintCode, LintFindings};
use super::subject::{LintPackage, LintSubject, SEPARATOR};
use patchadm_inputs::native::{FIXED_IN, FixedIn};
use patchadm_svr4::format::readme;
use patchadm_svr4::package::exports;
use patchadm_svr4::patch::{
    FIXES, FixId, FixList, PatchId, PatchList, PatchMacros, PatchMacrosError, Requirement, Requirements,
};

const LONGEST_NAME: usize = 32;

/// As in patchinfo(5).
const PROPERTIES: [&str; 8] = [
    "standard",
    "nobackout",
    "interactive",
    "nokeepshlibs",
    "rebootafter",
    "rebootimmediate",
    "reconfigafter",
    "reconfigimmediate",
];

const SHORTEST_IN_COMMON: usize = 4;

pub(super) fn check_identity(subject: &LintSubject<'_>, found: &mut LintFindings) {
    check_ids(subject, found);
    for package in &subject.packages {
        check_macros(package, found);
        check_names(package, found);
        check_fixed_in(package, found);
        for (name, reason) in exports::kept_out(&package.image.params) {
            found.of_path(LintCode::Parameter, package.directory(), &name, reason);
        }
    }
    let mut names = BTreeSet::new();
    for package in &subject.packages {
        let (name, arch) = package.name();
        let version = package.image.params.text("VERSION").trim().to_owned();
        if !names.insert((name.clone(), arch, version)) {
            let text = format!("the patch has {name} in the same architecture and version twice");
            found.of_package(LintCode::Duplicate, package.directory(), text);
        }
    }
    check_patchinfo(subject, found);
    check_fixes(subject, found);
    check_properties(subject, found);
}

fn check_ids(subject: &LintSubject<'_>, found: &mut LintFindings) {
    let ids: BTreeSet<&str> =
        subject.packages.iter().filter_map(|package| Some(package.macros.as_ref()?.id.as_str())).collect();
    if subject.id.is_none() && ids.len() > 1 {
        let ids: Vec<&str> = ids.into_iter().collect();
        found.of_patch(LintCode::Id, format!("its packages belong to several patches: {}", ids.join(" ")));
    }
    for package in &subject.packages {
        let read = PatchMacros::from_params(&package.image.params, SEPARATOR);
        match read {
            Ok(None) => found.of_package(LintCode::Id, package.directory(), "it has no SUNW_PATCHID"),
            Err(PatchMacrosError::Id { name, source }) => {
                found.of_path(LintCode::Id, package.directory(), &name, source);
            }
            _ => {}
        }
    }
}

fn check_macros(package: &LintPackage<'_>, found: &mut LintFindings) {
    let params = &package.image.params;
    match PatchMacros::from_params(params, SEPARATOR) {
        Ok(Some(macros)) => check_revision(package, &macros, found),
        // The check of ids names it.
        Ok(None) | Err(PatchMacrosError::Id { .. }) => {}
        Err(error) => found.of_package(LintCode::Macro, package.directory(), error),
    }
    let lists = ["SUNW_OBSOLETES", "Obsoletes_label"].map(|name| params.text(name).into_owned());
    let [sunw, label] = lists.each_ref().map(|text| words(text));
    if !sunw.is_empty() && !label.is_empty() && sunw != label {
        let text = format!("SUNW_OBSOLETES is <{}>, but Obsoletes_label is <{}>", lists[0], lists[1]);
        found.of_package(LintCode::Macro, package.directory(), text);
    }
}

fn check_fixed_in(package: &LintPackage<'_>, found: &mut LintFindings) {
    let text = package.image.params.text(FIXED_IN);
    if let Err(error) = text.parse::<FixedIn>()
        && !text.trim().is_empty()
    {
        found.of_path(LintCode::Macro, package.directory(), &FIXED_IN, error);
    }
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect()
}

fn check_revision(package: &LintPackage<'_>, macros: &PatchMacros, found: &mut LintFindings) {
    let id = &macros.id;
    if id.revision().bytes().all(|digit| digit == b'0') {
        found.of_package(LintCode::Revision, package.directory(), format!("{id} is revision 0"));
    }
    let required = macros.requires.iter().flat_map(Requirement::ids);
    let named = macros.obsoletes.iter().map(|each| ("SUNW_OBSOLETES", each));
    let named = named.chain(required.map(|each| ("SUNW_REQUIRES", each)));
    for (name, each) in named.chain(macros.incompatibles.iter().map(|each| ("SUNW_INCOMPAT", each))) {
        if each.contains(id) {
            found.of_path(LintCode::Revision, package.directory(), &name, format!("it names {each}"));
        }
    }
}

fn check_names(package: &LintPackage<'_>, found: &mut LintFindings) {
    let params = &package.image.params;
    let (name, _) = package.name();
    if name.len() > LONGEST_NAME {
        let text = format!("PKG has {} characters", name.len());
        found.of_package(LintCode::PkgName, package.directory(), text);
    }
    let directory = package.directory().split('.').next().unwrap_or_default();
    if directory != name {
        found.of_package(LintCode::PkgName, package.directory(), format!("PKG is {name}"));
    }
    for name in ["ARCH", "VERSION"] {
        if params.text(name).trim().is_empty() {
            found.of_path(LintCode::Arch, package.directory(), &name, "it is missing or empty");
        }
    }
}

fn check_patchinfo(subject: &LintSubject<'_>, found: &mut LintFindings) {
    let Some(info) = &subject.image.patchinfo else { return };
    let mut wrong = |text: String| found.push(LintCode::Patchinfo, None, Some("patchinfo".to_owned()), text);
    let named = PatchId::parse(&info.patch_id, SEPARATOR);
    match (&subject.id, named) {
        (_, Err(error)) if !info.patch_id.is_empty() => wrong(format!("PATCHID: {error}")),
        (Some(id), Ok(named)) if named != *id => {
            wrong(format!("PATCHID is {named}, but the packages are for {id}"));
        }
        _ => {}
    }
    for (name, list) in [("PATCH_OBSOLETES", &info.obsoletes), ("PATCH_INCOMPAT", &info.incompat)] {
        if let Err(error) = PatchList::parse(&list.join(" "), SEPARATOR) {
            wrong(format!("{name}: {error}"));
        }
    }
    if let Err(error) = Requirements::parse(&info.requires.join(" "), SEPARATOR) {
        wrong(format!("PATCH_REQUIRES: {error}"));
    }
    for (name, theirs, ours) in [
        ("PATCH_OBSOLETES", &info.obsoletes, union(subject, |macros| macros.obsoletes.to_string())),
        ("PATCH_REQUIRES", &info.requires, union(subject, |macros| macros.requires.joined(" "))),
        ("PATCH_INCOMPAT", &info.incompat, union(subject, |macros| macros.incompatibles.to_string())),
        ("PATCH_FIXES", &info.fixes, union(subject, |macros| macros.fixes.to_string())),
    ] {
        let theirs: BTreeSet<String> = theirs.iter().cloned().collect();
        if let Some(missing) = ours.difference(&theirs).next().filter(|_| !theirs.is_empty()) {
            wrong(format!("{name} is missing {missing}, which a package names"));
        }
    }
}

fn union(subject: &LintSubject<'_>, list: impl Fn(&PatchMacros) -> String) -> BTreeSet<String> {
    let macros = subject.packages.iter().filter_map(|package| package.macros.as_ref());
    macros.flat_map(|macros| list(macros).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

// Scanners know a vulnerability only by the exact text of its id.

const PATCHINFO: &str = "patchinfo";

/// Checks each package and the patchinfo separately, although they usually agree.
fn check_properties(subject: &LintSubject<'_>, found: &mut LintFindings) {
    let by_package = subject.packages.iter().map(|package| PatchMacros::properties_of(&package.image.params));
    let by_patchinfo = subject.image.patchinfo.iter().map(|info| info.properties.clone());
    let words: BTreeSet<String> = by_package.chain(by_patchinfo).flatten().collect();
    for word in words.iter().filter(|word| !PROPERTIES.contains(&word.as_str())) {
        let meant = properties_like(word);
        let meant =
            if meant.is_empty() { String::new() } else { format!("; did you mean {}?", meant.join(" or ")) };
        found.of_patch(LintCode::Property, format!("the property <{word}> has no effect{meant}"));
    }
}

/// Known words with the longest beginning in common, if it is long enough.
fn properties_like(word: &str) -> Vec<&'static str> {
    let in_common =
        |known: &str| known.bytes().zip(word.bytes()).take_while(|(one, other)| one == other).count();
    let longest = PROPERTIES.iter().map(|known| in_common(known)).max().unwrap_or(0);
    let is_alike = |known: &&'static str| longest >= SHORTEST_IN_COMMON && in_common(known) == longest;
    PROPERTIES.into_iter().filter(is_alike).collect()
}

pub(super) fn check_fixes(subject: &LintSubject<'_>, found: &mut LintFindings) {
    for package in &subject.packages {
        let text = package.image.params.text(FIXES);
        let words = text.split(|letter: char| letter.is_ascii_whitespace() || letter == ',');
        for (code, fault) in faults(words.filter(|word| !word.is_empty())) {
            found.of_path(code, package.directory(), &FIXES, fault);
        }
    }
    let listed = subject.image.patchinfo.iter().flat_map(|info| &info.fixes).map(String::as_str);
    for (code, fault) in faults(listed) {
        found.push(code, None, Some(PATCHINFO.to_owned()), format!("{FIXES}: {fault}"));
    }
}

fn faults<'w>(words: impl Iterator<Item = &'w str>) -> Vec<(LintCode, String)> {
    let (mut known, mut faults, mut count) = (BTreeSet::new(), Vec::new(), 0_usize);
    for word in words {
        count += 1;
        match FixId::new(word) {
            Err(error) => faults.push((LintCode::Fixes, error.to_string())),
            Ok(id) => {
                let cve =
                    id.cve_fault().map(|fault| format!("<{id}> is not the id of a CVE record: {fault}"));
                faults.extend(cve.map(|fault| (LintCode::Fixes, fault)));
                let text = id.to_string();
                if !known.insert(id) {
                    faults.push((LintCode::FixesTwice, format!("it names {text} twice")));
                }
            }
        }
    }
    if count > FixList::LIMIT {
        let fault = format!("it has {count} entries, and at most {} are recorded", FixList::LIMIT);
        faults.push((LintCode::Fixes, fault));
    }
    faults
}

const FIELDS: [&str; 3] = ["Patch-ID#", "Synopsis", "Date"];
const OBJECTS: &str = "patchadm.objects";

pub(super) fn check_files_beside(subject: &LintSubject<'_>, found: &mut LintFindings) {
    check_readme(subject, found);
    for package in &subject.packages {
        let Some(text) = package.image.install.get(OBJECTS) else { continue };
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
        if lines > 1 {
            let objects =
                if lines == 2 { "1 object has".to_owned() } else { format!("{} objects have", lines - 1) };
            let text = format!("{objects} attributes that no pkgmap can express");
            found.of_path(LintCode::Xattr, package.directory(), &OBJECTS, text);
        }
    }
}

fn check_readme(subject: &LintSubject<'_>, found: &mut LintFindings) {
    let Some((name, text)) = &subject.image.readme else {
        return found.of_patch(LintCode::Readme, "there is no README beside the packages");
    };
    let Some(id) = &subject.id else { return };
    if *name != format!("README.{id}") && *name != format!("{id}.README") {
        found.push(LintCode::Readme, None, Some(name.clone()), format!("it is not called README.{id}"));
    }
    let mut add = |field: &str, text: String| {
        found.push(LintCode::ReadmeField, None, Some(field.to_owned()), text);
    };
    for field in FIELDS {
        match readme::field(text, field) {
            None => add(field, "the README is missing this field".to_owned()),
            Some(value) if value.is_empty() => add(field, "the field is empty".to_owned()),
            Some(value) if field == "Patch-ID#" && value.lines().next() != Some(id.as_str()) => {
                add(field, format!("it says {}", value.lines().next().unwrap_or_default()));
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_and_what_only_looks_like_that_of_a_cve_record_is_told() {
        let words = ["CVE-2026-1234", "CVE-26-1", "cve-2026-1234", "A/B", "ACME-17", "ACME-17"];
        let told: Vec<(LintCode, String)> = faults(words.into_iter());
        let codes: Vec<LintCode> = told.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, [LintCode::Fixes, LintCode::Fixes, LintCode::Fixes, LintCode::FixesTwice]);
        assert!(told[0].1.contains("its year does not have four digits"), "{told:?}");
        assert!(told[3].1.contains("ACME-17"), "{told:?}");
        let many: Vec<String> = (0..=FixList::LIMIT).map(|number| format!("X-{number}")).collect();
        assert_eq!(faults(many.iter().map(String::as_str)).len(), 1);
    }
}

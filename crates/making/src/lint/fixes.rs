//! Checks of what a patch says that it fixes: scanners know a vulnerability by the exact text of its id alone.

use std::collections::BTreeSet;

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::LintSubject;
use patchadm_svr4::patch::{FIXES, FixId, FixList};

/// The name of the file beside the packages.
const PATCHINFO: &str = "patchinfo";

/// Checks the lists of every package and of the patchinfo, each by itself: they usually say the same.
pub(super) fn check_fixes(subject: &LintSubject<'_>, found: &mut LintFindings) {
    for package in &subject.packages {
        let text = package.image.params.text(FIXES);
        let words = text.split(|letter: char| letter.is_ascii_whitespace() || letter == ',');
        for (code, told) in faults(words.filter(|word| !word.is_empty())) {
            found.of_path(code, package.directory(), &FIXES, told);
        }
    }
    let listed = subject.image.patchinfo.iter().flat_map(|info| &info.fixes).map(String::as_str);
    for (code, told) in faults(listed) {
        found.push(code, None, Some(PATCHINFO.to_owned()), format!("{FIXES}: {told}"));
    }
}

/// Returns the faults of a list.
fn faults<'w>(words: impl Iterator<Item = &'w str>) -> Vec<(LintCode, String)> {
    let (mut known, mut faults, mut count) = (BTreeSet::new(), Vec::new(), 0_usize);
    for word in words {
        count += 1;
        match FixId::new(word) {
            Err(error) => faults.push((LintCode::Fixes, error.to_string())),
            Ok(id) => {
                let cve =
                    id.cve_fault().map(|fault| format!("<{id}> is not the id of a CVE record: {fault}"));
                faults.extend(cve.map(|told| (LintCode::Fixes, told)));
                let text = id.to_string();
                if !known.insert(id) {
                    faults.push((LintCode::FixesTwice, format!("it names {text} twice")));
                }
            }
        }
    }
    if count > FixList::LIMIT {
        let told = format!("it has {count} entries, and at most {} are recorded", FixList::LIMIT);
        faults.push((LintCode::Fixes, told));
    }
    faults
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

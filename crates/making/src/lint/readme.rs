//! Checks of the files beside the packages: the README, the signature, and attributes for this program alone.

use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::LintSubject;
use patchadm_svr4::format::readme;

/// The fields that a README should have.
const FIELDS: [&str; 3] = ["Patch-ID#", "Synopsis", "Date"];

/// The file of a package with attributes that a pkgmap cannot express.
const OBJECTS: &str = "patchadm.objects";

/// Checks the README and the attributes.
pub(super) fn check(subject: &LintSubject<'_>, found: &mut LintFindings) {
    check_readme(subject, found);
    for package in &subject.packages {
        let Some(text) = package.image.install.get(OBJECTS) else { continue };
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
        if lines > 1 {
            let text = format!("{} objects have attributes that no pkgmap can express", lines - 1);
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
            None => add(field, "the README lacks this field".to_owned()),
            Some(value) if value.is_empty() => add(field, "the field is empty".to_owned()),
            Some(value) if field == "Patch-ID#" && value.lines().next() != Some(id.as_str()) => {
                add(field, format!("it says {}", value.lines().next().unwrap_or_default()));
            }
            Some(_) => {}
        }
    }
}

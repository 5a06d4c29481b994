//! The effects of a patch on libraries and their consumers.

use super::*;
use crate::elf_files::library;
use patchadm_releases::ReleaseObject;

fn program(object: &mut ReleaseObject) {
    object.mode = patchadm_svr4::package::Mode::of(0o755);
}

fn with_library(soname: &str, versions: &[&str]) -> MadePackage {
    let needs: &[&str] = &["ACME_1.0"];
    MadePackage::tree()
        .file("/bin/web", library(None, &["libacme.so.1"], &[], &[("libacme.so.1", needs)]))
        .but(program)
        .file("/lib/libacme.so", library(Some(soname), &[], versions, &[]))
}

#[test]
fn a_library_that_something_needs_does_not_go_unless_that_is_wanted() {
    let from = with_library("libacme.so.1", &["ACME_1.0"]).release();
    for (to, lost) in [
        (with_library("libacme.so.2", &["ACME_1.0"]), "ACME_1.0 of libacme.so.1"),
        (with_library("libacme.so.1", &["ACME_2.0"]), "ACME_1.0 of libacme.so.1"),
    ] {
        let to = to.release();
        let mut request = request("900-01");
        let said = draft_patch(&from, &to, None, &[], &request).unwrap_err();
        assert!(matches!(said, BuildError::AbiBreak(_)), "{said}");
        request.allow_abi_break = true;
        let allowed = draft_patch(&from, &to, None, &[], &request).unwrap();
        let said: Vec<String> = allowed
            .findings
            .iter()
            .map(|finding| match finding {
                BuildFinding::Abi(finding) => finding.to_string(),
                BuildFinding::SameTime(finding) => finding.to_string(),
                BuildFinding::ManyDeletions(finding) => finding.to_string(),
                BuildFinding::SideFiles(finding) => finding.to_string(),
            })
            .collect();
        let expected = format!("tree: /bin/web needs {lost}, which tree: /lib/libacme.so no longer provides");
        assert!(said.contains(&expected), "{said:?}");
    }
    let more = with_library("libacme.so.1", &["ACME_1.0", "ACME_1.1"]).release();
    assert!(draft_patch(&from, &more, None, &[], &request("900-01")).unwrap().findings.is_empty());
}

#[test]
fn what_needs_a_lost_library_may_change_with_it() {
    let from = with_library("libacme.so.1", &["ACME_1.0"]).release();
    let to = MadePackage::tree()
        .file("/bin/web", library(None, &["libacme.so.2"], &[], &[]))
        .but(program)
        .file("/lib/libacme.so", library(Some("libacme.so.2"), &[], &[], &[]))
        .release();
    assert!(draft_patch(&from, &to, None, &[], &request("900-01")).unwrap().findings.is_empty());
}

#[test]
fn what_only_another_patch_provides_should_be_required() {
    let base = with_library("libacme.so.1", &["ACME_1.0"]).release();
    let extended = with_library("libacme.so.1", &["ACME_1.0", "ACME_1.1"]).release();
    let place = tempfile::tempdir().unwrap();
    written(&draft(&base, &extended, "901-01"), &place.path().join("901-01.zip"), PatchForm::Zip);
    let others = OtherPatch::open_all(&place.path().join("901-01.zip")).unwrap();
    let needs: &[&str] = &["ACME_1.1"];
    let web = library(None, &["libacme.so.1"], &[], &[("libacme.so.1", needs)]);
    let to = MadePackage::tree()
        .file("/bin/web", web)
        .but(program)
        .but(|object| object.mtime.seconds += 1)
        .file("/lib/libacme.so", library(Some("libacme.so.1"), &[], &["ACME_1.0"], &[]))
        .release();
    let draft = draft_patch(&base, &to, None, &others, &request("900-01")).unwrap();
    let [BuildFinding::Abi(finding)] = &draft.findings[..] else { panic!("{:?}", draft.findings) };
    assert_eq!(
        finding.to_string(),
        "tree: /bin/web needs ACME_1.1 of libacme.so.1, which only 901-01 provides; it should be required"
    );
    assert_eq!(finding.code(), "requires");
}

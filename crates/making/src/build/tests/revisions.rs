//! Revisions that contain the ones before them, and patches beside them.

use super::*;

/// Returns the effect of a patch on each path.
fn told(draft: &PatchDraft<'_>) -> Vec<String> {
    let sparse = &draft.packages[0].sparse;
    let delivered = sparse.delivered.iter().map(|(path, one)| {
        let again = if one.why == DeliveryReason::Again { "again" } else { "new" };
        format!("{path} {again}")
    });
    delivered.chain(sparse.deleted.iter().map(|path| format!("{path} deleted"))).collect()
}

/// Writes a patch and reads it as an earlier revision.
fn as_previous(draft: &PatchDraft<'_>, form: PatchForm) -> PreviousPatch {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("patch");
    written(draft, &path, form);
    PreviousPatch::read(&path).unwrap()
}

#[test]
fn a_revision_undoes_what_the_one_before_it_did_and_it_does_not() {
    let (base, first) = (old().release(), new().release());
    let mut request_of_first = request("900-01");
    request_of_first.lists.requires = Requirements::parse("850-01", "-").unwrap();
    let one = draft_patch(&base, &first, None, &[], &request_of_first).unwrap();
    let second = old().file("/bin/more", "more").release();
    for (form, _) in FORMS {
        let previous = as_previous(&one, form);
        let two = draft_patch(&base, &second, Some(&previous), &[], &request("900-02")).unwrap();
        assert_eq!(
            told(&two),
            [
                "/bin/more new",
                "/bin/web again",
                "/gone again",
                "/lib/one again",
                "/lib/two again",
                "/now again",
                "/fresh file deleted"
            ],
            "{form:?}"
        );
        assert_eq!(two.packages[0].sparse.params.text("SUNW_REQUIRES"), "850-01");
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("patch");
        written(&two, &path, form);
        let three = PreviousPatch::read(&path).unwrap();
        let back = draft_patch(&base, &base, Some(&three), &[], &request("900-03")).unwrap();
        assert_eq!(told(&back).len(), 7, "a third revision without changes takes all back");
    }
}

#[test]
fn attributes_that_a_revision_gave_are_taken_away_again() {
    let base = old().release();
    let given = old()
        .file("/bin/web", "one")
        .but(|file| {
            file.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
        })
        .release();
    // The list has the path once.
    let mut given = given;
    let objects = &mut given.packages[0].objects;
    objects.dedup_by(|later, first| {
        let same = later.path == first.path;
        if same {
            first.xattrs.append(&mut later.xattrs);
        }
        same
    });
    let one = draft_patch(&base, &given, None, &[], &request("900-01")).unwrap();
    assert_eq!(one.packages[0].sparse.counts().attributes, 1);
    let previous = as_previous(&one, PatchForm::Tar);
    let two = draft_patch(&base, &base, Some(&previous), &[], &request("900-02")).unwrap();
    assert_eq!(told(&two), ["/bin/web again"]);
    let said = &two.packages[0].sparse.information["patchadm.objects"];
    assert_eq!(said, b"{\"objects\":1}\n{\"path\":\"bin/web\",\"xattrs\":{}}\n");
}

#[test]
fn a_revision_before_it_must_be_one_of_the_same_packages() {
    let (base, first) = (old().release(), new().release());
    let previous = as_previous(&draft(&base, &first, "900-02"), PatchForm::Zip);
    let refused = |change: &dyn Fn(&mut BuildRequest)| {
        let mut request = request("900-03");
        change(&mut request);
        draft_patch(&base, &first, Some(&previous), &[], &request).unwrap_err().to_string()
    };
    for id in ["900-01", "900-2", "901-03"] {
        let said = refused(&|request| request.id = PatchId::new(id).unwrap());
        assert_eq!(said, format!("{id} is not a later revision of 900-02"));
    }
    let said = refused(&|request| request.naming.base_version = Some("2.1".to_owned()));
    assert!(said.contains("package ACMEweb of architecture all and version 2.0"), "{said}");
}

#[test]
fn two_patches_have_no_path_in_common_unless_one_names_the_other() {
    let (base, first) = (old().release(), new().release());
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("901-01");
    written(&draft(&base, &first, "901-01"), &path, PatchForm::Directory);
    let others = OtherPatch::open_all(place.path()).unwrap();
    assert_eq!(others.len(), 1);
    let made = |change: &dyn Fn(&mut BuildRequest)| {
        let mut request = request("900-01");
        change(&mut request);
        draft_patch(&base, &first, None, &others, &request).map(|draft| told(&draft))
    };
    assert_eq!(
        made(&|_| {}).unwrap_err().to_string(),
        "900-01 and 901-01 both have /bin/web of package ACMEweb, and 5 more; neither requires nor obsoletes the other"
    );
    assert!(made(&|request| request.id = PatchId::new("901-02").unwrap()).is_ok());
    let requires = Requirements::parse("901-01", "-").unwrap();
    assert!(made(&|request| request.lists.requires = requires.clone()).is_ok());
}

#[test]
fn a_file_that_only_its_bytes_tell_from_the_one_before_it_is_named() {
    let tree = |text: &str, later: i64| {
        MadePackage::tree().file("/lib/m.py", text).but(|object| object.mtime.seconds += later)
    };
    let (old, new) = (tree("X=1\n", 0).release(), tree("X=2\n", 0).release());
    let said = |draft: &PatchDraft<'_>| {
        draft
            .findings
            .iter()
            .map(|finding| match finding {
                BuildFinding::SameTime(finding) => finding.to_string(),
                BuildFinding::ManyDeletions(finding) => finding.to_string(),
                BuildFinding::SideFiles(finding) => finding.to_string(),
                BuildFinding::Abi(finding) => finding.to_string(),
            })
            .collect::<Vec<_>>()
    };
    let first = draft_patch(&old, &new, None, &[], &request("900-01")).unwrap();
    let [finding] = &said(&first)[..] else { panic!("{:?}", first.findings) };
    assert!(finding.contains("/lib/m.py has different contents from the old release"), "{finding}");
    let based = BuildRequest { basedir: ObjectPath::new(b"/opt/acme").unwrap(), ..request("900-01") };
    let first_of_based = draft_patch(&old, &new, None, &[], &based).unwrap();
    let [finding] = &said(&first_of_based)[..] else { panic!("{:?}", first_of_based.findings) };
    assert!(finding.contains("/opt/acme/lib/m.py has different contents"), "{finding}");
    assert!(finding.contains("the same size and modification time"), "{finding}");

    let later = tree("X=2\n", 1).release();
    let previous = as_previous(&first, PatchForm::Directory);
    assert!(said(&draft_patch(&old, &later, None, &[], &request("900-01")).unwrap()).is_empty());
    let third = tree("X=3\n", 0).release();
    let second = draft_patch(&old, &third, Some(&previous), &[], &request("900-02")).unwrap();
    let of_second = said(&second);
    assert!(of_second.len() == 2 && of_second[1].contains("contents from 900-01"), "{of_second:?}");
}

#[test]
fn a_file_that_patchadm_put_beside_an_edited_one_is_named() {
    let tree = || MadePackage::tree().with(directory("/etc")).file("/etc/web.conf", "one");
    let (old, clean) = (tree().release(), tree().file("/etc/v1.patch-notes", "n").release());
    assert!(draft(&old, &clean, "900-01").findings.is_empty(), "no file has the rest of the name");
    let left =
        tree().file("/etc/web.conf.edited-800-01", "mine").file("/etc/web.conf.patch-800-02", "theirs");
    let left = left.release();
    let said = draft(&old, &left, "900-01").findings;
    let [BuildFinding::SideFiles(finding)] = &said[..] else { panic!("{said:?}") };
    let paths: Vec<String> = finding.paths.iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["/etc/web.conf.edited-800-01", "/etc/web.conf.patch-800-02"]);
    assert!(finding.to_string().contains("are copies that patchadm put beside"), "{finding}");
}

#[test]
fn a_patch_that_deletes_most_of_the_old_release_says_so() {
    let tree = || MadePackage::tree().with(directory("/bin"));
    let whole =
        tree().file("/bin/web", "one").file("/bin/more", "m").file("/bin/less", "l").file("/news", "n");
    let (old, changed) = (whole.release(), tree().file("/bin/web", "two!").release());
    let said = draft(&old, &changed, "900-01").findings;
    let [BuildFinding::ManyDeletions(finding)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((finding.deleted, finding.objects), (3, 5));
    let most = tree().file("/bin/web", "two!").file("/news", "n").release();
    assert!(draft(&old, &most, "900-01").findings.is_empty());
}

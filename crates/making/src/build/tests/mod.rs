//! Patches made in memory, written in every form and read again.

mod libraries;
pub(crate) mod made_up;
mod revisions;
mod writing;

use std::path::{Path, PathBuf};

use super::*;
use crate::release::Release;
use made_up::{DELIVERED, MadePackage, directory, file, symlink};
use patchadm_releases::CompareOptions;
use patchadm_rootfs::{Interrupt, WorkMeter, WorkStep, never};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

const FORMS: [(PatchForm, &str); 5] = [
    (PatchForm::Directory, "patch"),
    (PatchForm::Zip, "patch.zip"),
    (PatchForm::Tar, "patch.tar"),
    (PatchForm::TarGz, "patch.tar.gz"),
    (PatchForm::Datastream, "patch.pkg"),
];

fn request(id: &str) -> BuildRequest {
    BuildRequest {
        id: PatchId::new(id).unwrap(),
        date: DELIVERED + 100,
        naming: PairNaming {
            pkg: Some("ACMEweb".to_owned()),
            arch: Some("all".to_owned()),
            base_version: Some("2.0".to_owned()),
            ..PairNaming::default()
        },
        choices: ListChoices::default(),
        compare: CompareOptions::default(),
        basedir: ObjectPath::root(),
        lists: PatchLists::default(),
        properties: Vec::new(),
        fixed_in: None,
        readme: ReadmeText::default(),
        with_scripts: false,
        class_scripts: BTreeMap::new(),
        restricted: None,
        allow_abi_break: false,
    }
}

/// Returns a tree with one of everything.
fn old() -> MadePackage {
    MadePackage::tree()
        .with(directory("/bin"))
        .file("/bin/web", "one")
        .file("/bin/same", "same")
        .file("/gone", "old")
        .link("/lib/one", "linked", 1)
        .link("/lib/two", "linked", 1)
        .with(symlink("/now", "bin"))
}

fn new() -> MadePackage {
    MadePackage::tree()
        .with(directory("/bin"))
        .file("/bin/web", "two!")
        .file("/bin/same", "same")
        .file("/fresh file", "new")
        .link("/lib/one", "relinked", 5)
        .link("/lib/two", "relinked", 5)
        .with(symlink("/now", "lib"))
}

fn draft<'r>(from: &'r Release, to: &'r Release, id: &str) -> PatchDraft<'r> {
    draft_patch(from, to, None, &[], &request(id)).unwrap()
}

fn destination(path: &Path, form: PatchForm) -> PatchDestination {
    PatchDestination { path: path.to_owned(), form, replaces: false }
}

fn write_to(draft: &PatchDraft<'_>, to: &PatchDestination) -> Result<WrittenPatch, BuildError> {
    write_watched(draft, to, &never)
}

fn write_watched(
    draft: &PatchDraft<'_>,
    to: &PatchDestination,
    interrupt: Interrupt<'_>,
) -> Result<WrittenPatch, BuildError> {
    let meter = WorkMeter::default();
    let written = write_patch(draft, to, WriteWatch { interrupt, meter: &meter });
    let is_counted = |step: WorkStep| step.done() == step.units();
    assert!(written.is_err() || meter.step().is_some_and(is_counted), "all bytes are counted");
    written
}

fn written(draft: &PatchDraft<'_>, path: &Path, form: PatchForm) -> WrittenPatch {
    write_to(draft, &destination(path, form)).unwrap()
}

/// Returns the paths below a directory with their bytes.
fn files(top: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(top).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn a_draft_says_what_the_patch_is_before_a_byte_is_written() {
    let (from, to) = (old().release(), new().release());
    let mut request = request("900-01");
    request.lists.obsoletes = "890-02".split(' ').map(|id| PatchId::new(id).unwrap()).collect();
    request.properties = vec!["rebootafter".to_owned()];
    request.readme.synopsis = Some("web server".to_owned());
    let draft = draft_patch(&from, &to, None, &[], &request).unwrap();
    let sparse = &draft.packages[0].sparse;
    assert_eq!(sparse.counts(), ChangeCounts { added: 1, replaced: 4, deleted: 1, attributes: 0 });
    assert_eq!(
        String::from_utf8(patchadm_svr4::format::params::write(&sparse.params)).unwrap(),
        "PKG=ACMEweb\nNAME=ACMEweb\nARCH=all\nVERSION=2.0\nCATEGORY=application\nBASEDIR=/\nCLASSES=none\n\
         SUNW_PATCHID=900-01\nSUNW_OBSOLETES=890-02\nSUNW_PATCH_PROPERTIES=rebootafter\n\
         Patch_label=900-01\nObsoletes_label=890-02\n"
    );
    let pkgmap = String::from_utf8(sparse.pkgmap.write()).unwrap();
    let (_, entries) = pkgmap.split_once('\n').unwrap();
    assert_eq!(
        entries,
        "1 f none bin/web 0644 root root 4 379 1577836800\n1 i deletes 5 435 1577836900\n\
         1 f none fresh\\040file 0644 root root 3 330 1577836800\n\
         1 f none lib/one 0644 root root 8 846 1577836800\n1 l none lib/two=one\n1 s none now=lib\n\
         1 i pkginfo 208 15899 1577836900\n"
    );
    assert_eq!(sparse.information["deletes"], b"gone\n");
    assert_eq!(
        String::from_utf8(draft.beside["README.900-01"].clone()).unwrap(),
        "Patch-ID# 900-01\nKeywords:\n\nSynopsis: web server\n\nDate: Jan/01/20\n\n\
         Install Requirements: Reboot after installing this patch\n\nRelevant Architectures: all\n\n\
         Bugs fixed with this patch:\n\nPatches accumulated and obsoleted by this patch: 890-02\n\n\
         Patches which conflict with this patch:\n\nPatches required with this patch:\n\nObsoleted by:\n\n\
         Files included with this patch:\n/bin/web 4\n/fresh\\040file 3\n/gone (deleted)\n/lib/one 8\n\
         /lib/two 8\n/now\n"
    );
    assert_eq!(
        String::from_utf8(draft.beside["patchinfo"].clone()).unwrap(),
        "PATCHINFOVERSION=\"1.0\"\nPATCHID=\"900-01\"\nPATCH_CORRECTS=\"all:ACMEweb:2.0\"\nPATCH_ARCH=\"all\"\n\
         PATCH_PROPERTIES=\"rebootafter\"\nPATCH_OBSOLETES=\"890-02\"\n"
    );
}

#[test]
fn what_a_pkgmap_cannot_say_is_in_a_file_of_its_own() {
    let from = old().file("/n", "a").release();
    let to = old()
        .file("/n", "b")
        .but(|file| {
            file.mtime.nanoseconds = 7;
            file.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
        })
        .release();
    let draft = draft(&from, &to, "900-01");
    let said = &draft.packages[0].sparse.information["patchadm.objects"];
    let expected = "{\"objects\":1}\n{\"path\":\"n\",\"mtime_ns\":7,\"xattrs\":{\"user.note\":\"78\"}}\n";
    assert_eq!(String::from_utf8(said.clone()).unwrap(), expected);
    // And they are removed if the new object has none.
    let back = draft_patch(&to, &from, None, &[], &request("901-01")).unwrap();
    let said = &back.packages[0].sparse.information["patchadm.objects"];
    assert_eq!(said, b"{\"objects\":1}\n{\"path\":\"n\",\"xattrs\":{}}\n");
}

#[test]
fn classes_take_their_scripts_along() {
    let (from, to) = (old().release(), new().release());
    let mut request = request("900-01");
    request.choices.classes = vec![(PathGlob::parse("web").unwrap(), "cfg".into())];
    request.class_scripts.insert("i.cfg".to_owned(), b"exit 0\n".to_vec());
    request.class_scripts.insert("i.other".to_owned(), b"exit 1\n".to_vec());
    request.with_scripts = true;
    let draft = draft_patch(&from, &to, None, &[], &request).unwrap();
    let sparse = &draft.packages[0].sparse;
    assert_eq!(sparse.params.text("CLASSES"), "cfg none");
    let names: Vec<&str> = sparse.information.keys().map(String::as_str).collect();
    let stock = ["patch_checkinstall", "patch_postinstall", "postinstall", "preinstall"];
    assert_eq!(names[..4], ["checkinstall", "deletes", "i.cfg", "i.none"]);
    assert_eq!(names[4..], stock);
    assert_eq!(sparse.information["i.cfg"], b"exit 0\n", "its own");
}

#[test]
fn what_cannot_be_in_a_package_is_refused_by_its_path() {
    let refused = |to: MadePackage| {
        let (from, to) = (old().release(), to.release());
        draft_patch(&from, &to, None, &[], &request("900-01")).unwrap_err().to_string()
    };
    let nameless = |object: &mut ReleaseObject| {
        object.owner = ObjectOwner { name: None, id: Some(1000) };
    };
    assert_eq!(
        refused(new().file("/x", "x").but(nameless)),
        "ACMEweb: /x belongs to number 1000, which is not a valid account name"
    );
    assert!(refused(new().file("/a/$HOME", "x")).contains("takes for a variable"));
    let labelled = |object: &mut ReleaseObject| {
        object.xattrs.insert(b"security.selinux".to_vec(), b"x".to_vec());
    };
    assert_eq!(
        refused(new().file("/x", "x").but(labelled)),
        "ACMEweb: /x has the extended attribute security.selinux, which packages must not set"
    );
    assert_eq!(refused(old()), "release and release do not differ: there is nothing to deliver");
}

#[test]
fn a_restricted_patch_has_an_id_of_its_own() {
    let (from, to) = (old().release(), new().release());
    let mut request = request("900-01");
    request.restricted = Some("^(T|IDR)[0-9]".to_owned());
    let said = draft_patch(&from, &to, None, &[], &request).unwrap_err().to_string();
    assert_eq!(said, "900-01 is not the id of a restricted patch: its base does not match ^(T|IDR)[0-9]");
    request.id = PatchId::new("IDR900-01").unwrap();
    assert!(draft_patch(&from, &to, None, &[], &request).is_ok());
}

#[test]
fn choices_leave_out_what_is_excluded_and_mark_the_rest() {
    let glob = |text| PathGlob::parse(text).unwrap();
    let choices = ListChoices {
        exclude: vec![glob("usr/share/doc")],
        editable: vec![glob("etc/**")],
        volatile: vec![glob("*.log")],
        classes: vec![(glob("etc/**"), "cfg".into()), (glob("etc/own"), "own".into())],
        owner: Some(("root".into(), "sys".into())),
    };
    let list = [directory("/etc"), file("/etc/a", ""), file("/etc/a.log", ""), file("/etc/own", "")];
    let list: Vec<_> = list.into_iter().chain([file("/usr/share/doc/x/y", "")]).collect();
    let made = choices.applied(&list);
    let told: Vec<String> = made
        .iter()
        .map(|object| {
            let upkeep = match &object.kind {
                ReleaseObjectKind::File { upkeep, .. } => format!("{upkeep:?}"),
                _ => String::new(),
            };
            format!("{} {upkeep} {}", object.path, object.class)
        })
        .collect();
    assert_eq!(told, ["/etc  ", "/etc/a Editable cfg", "/etc/a.log Volatile cfg", "/etc/own Editable own"]);
    assert!(made.iter().all(|object| object.group.name == Some("sys".into())));
}

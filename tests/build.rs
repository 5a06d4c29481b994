//! Patches built from two trees. Applied to the old tree, they produce the new one, and a backout restores the old one.
//!
//! The releases are lists in memory, like those of staging. The tests apply the patches that were written.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};
use patchadm_making::build::{
    BuildRequest, ListChoices, PairNaming, PatchDestination, PatchForm, PatchLists, PreviousPatch,
    ReadmeText, WriteWatch, draft_patch, write_patch,
};
use patchadm_making::release::{ContentReader, Release, ReleaseForm, ReleasePackage};
use patchadm_releases::CompareOptions;
use patchadm_releases::{FileContent, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{Sums, Timestamp, WorkMeter};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::patch::PatchId;

const FORMS: [(PatchForm, &str); 5] = [
    (PatchForm::Directory, "patch"),
    (PatchForm::Zip, "patch.zip"),
    (PatchForm::Tar, "patch.tar"),
    (PatchForm::TarGz, "patch.tar.gz"),
    (PatchForm::Datastream, "patch.pkg"),
];

/// The base directory of the package.
const PLACE: &str = "/opt/ACMEweb";

struct TreeContents(PathBuf);

impl ContentReader for TreeContents {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        for object in objects(&self.0).iter().filter(|object| object.content().is_some()) {
            if wanted(&object.path) {
                let path = self.0.join(object.path.to_string().trim_start_matches('/'));
                sink(&object.path, &mut fs::File::open(path)?)?;
            }
        }
        Ok(())
    }
}

/// The objects below a directory, sorted.
fn objects(top: &Path) -> Vec<ReleaseObject> {
    let (mut found, mut open, mut groups) = (Vec::new(), vec![top.to_owned()], BTreeMap::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let seen = fs::symlink_metadata(&path).unwrap();
            let kind = if seen.is_dir() {
                open.push(path.clone());
                ReleaseObjectKind::Directory { exclusive: false }
            } else if seen.is_symlink() {
                ReleaseObjectKind::Symlink(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                let Sums { size, cksum, b3 } = Sums::of(&mut fs::File::open(&path).unwrap()).unwrap();
                let next = LinkGroup(u32::try_from(groups.len()).unwrap());
                let links = (seen.nlink() > 1).then(|| *groups.entry(seen.ino()).or_insert(next));
                let content = FileContent { size, cksum, digest: b3 };
                ReleaseObjectKind::File { content, upkeep: Upkeep::Delivered, links }
            };
            let name = Path::new("/").join(path.strip_prefix(top).unwrap());
            found.push(ReleaseObject {
                path: ObjectPath::new(name.as_os_str().as_bytes()).unwrap(),
                kind,
                mode: Mode::of(seen.mode()),
                owner: ObjectOwner::default(),
                group: ObjectOwner::default(),
                mtime: Timestamp::whole(seen.mtime()),
                xattrs: BTreeMap::new(),
                class: "".into(),
            });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn package(top: &Path, name: Option<&str>) -> ReleasePackage {
    ReleasePackage {
        origin: name.unwrap_or("tree").to_owned(),
        form: ReleaseForm::Svr4,
        name: name.map(str::to_owned),
        arch: name.map(|_| "i386".to_owned()),
        version: name.map(|_| "1.0".to_owned()),
        source: None,
        summary: None,
        scripts: Vec::new(),
        svr4: None,
        objects: objects(top),
        contents: Box::new(TreeContents(top.to_owned())),
    }
}

fn tree(top: &Path) -> Release {
    Release { name: top.display().to_string(), packages: vec![package(top, None)] }
}

fn request(id: &str) -> BuildRequest {
    BuildRequest {
        id: PatchId::new(id).unwrap(),
        date: DELIVERED,
        naming: PairNaming {
            pkg: Some("ACMEweb".to_owned()),
            arch: Some("i386".to_owned()),
            base_version: Some("1.0".to_owned()),
            ..PairNaming::default()
        },
        choices: ListChoices { owner: Some(("root".into(), "root".into())), ..ListChoices::default() },
        compare: CompareOptions::default(),
        basedir: ObjectPath::new(PLACE.as_bytes()).unwrap(),
        lists: PatchLists::default(),
        properties: Vec::new(),
        fixed_in: None,
        readme: ReadmeText::default(),
        with_scripts: true,
        class_scripts: BTreeMap::new(),
        restricted: None,
        allow_abi_break: false,
    }
}

/// Builds a patch and returns its path.
fn made(
    stage: &Scenario,
    (from, to): (&Release, &Release),
    previous: Option<&Path>,
    request: &BuildRequest,
    (form, name): (PatchForm, &str),
) -> PathBuf {
    let previous = previous.map(|path| PreviousPatch::read(path).unwrap());
    let draft = draft_patch(from, to, previous.as_ref(), &[], request).unwrap();
    let path = stage.beside(&format!("{}-{name}", request.id));
    let to = PatchDestination { path: path.clone(), form, replaces: false };
    let watch = WriteWatch { interrupt: &|| None, meter: &WorkMeter::default() };
    write_patch(&draft, &to, watch).unwrap();
    path
}

/// The old release, installed.
fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb")
        .directory("bin")
        .file("bin/httpd", 0o755, "one\n")
        .file("bin/same", 0o755, "same\n")
        .file("bin/private", 0o644, "private\n")
        .directory("lib")
        .file("lib/one", 0o644, "linked\n")
        .link("lib/two", "one")
        .directory("share")
        .directory("share/turns")
        .file("share/turns/inside", 0o644, "inside\n")
        .file("share/gone", 0o644, "gone\n")
        .symlink("current", "lib/one")])
}

/// A copy of the old release below `beside`, ready for changes.
fn copy(stage: &Scenario, name: &str) -> PathBuf {
    let top = stage.beside(name);
    let copied = std::process::Command::new("cp").arg("-a").arg(stage.at(PLACE)).arg(&top).status().unwrap();
    assert!(copied.success());
    top
}

/// Writes a file with the modification time of new files.
fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(DELIVERED.unsigned_abs() + 1000);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// The new release, with one change of every kind.
fn new(stage: &Scenario) -> PathBuf {
    let top = copy(stage, "new");
    fs::remove_file(top.join("bin/httpd")).unwrap();
    write(&top.join("bin/httpd"), "two\n", 0o755);
    fs::set_permissions(top.join("bin/private"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["lib/one", "lib/two"] {
        fs::remove_file(top.join(name)).unwrap();
    }
    write(&top.join("lib/one"), "linked again\n", 0o644);
    fs::hard_link(top.join("lib/one"), top.join("lib/two")).unwrap();
    fs::hard_link(top.join("lib/one"), top.join("lib/three")).unwrap();
    fs::remove_dir_all(top.join("share/turns")).unwrap();
    symlink("../lib", top.join("share/turns")).unwrap();
    fs::remove_file(top.join("share/gone")).unwrap();
    write(&top.join("fresh/deep/file"), "fresh\n", 0o640);
    fs::remove_file(top.join("current")).unwrap();
    symlink("lib/two", top.join("current")).unwrap();
    top
}

fn installed(stage: &Scenario) -> Tree {
    Tree::of(&stage.at(PLACE), &[]).without_owners()
}

#[test]
fn a_patch_of_two_trees_turns_the_old_one_into_the_new_one_and_back() {
    for form in FORMS {
        let stage = stage();
        let before = installed(&stage);
        let everything = stage.tree();
        let to = new(&stage);
        let (old, new) = (tree(&stage.at(PLACE)), tree(&to));
        let patch = made(&stage, (&old, &new), None, &request("900-01"), form);
        let run = stage.run(&format!("patchadd -R @ROOT@ {}", patch.display()));
        assert_eq!(run.code, 0, "{:?}: {}{}", form, run.stdout, run.stderr);
        assert_same(&installed(&stage), &Tree::of(&to, &[]).without_owners());
        let run = stage.run("patchrm -R @ROOT@ 900-01");
        assert_eq!(run.code, 0, "{:?}: {}{}", form, run.stdout, run.stderr);
        assert_same(&installed(&stage), &before);
        assert_same(&stage.tree(), &everything);
    }
}

#[test]
fn the_third_revision_leaves_the_same_tree_over_whatever_came_before_it() {
    let stage = stage();
    let base = tree(&copy(&stage, "base"));
    let first = tree(&new(&stage));
    let top = copy(&stage, "second");
    write(&top.join("bin/second"), "second\n", 0o755);
    fs::remove_file(top.join("bin/same")).unwrap();
    let second = tree(&top);
    let top = copy(&stage, "third");
    write(&top.join("bin/third"), "third\n", 0o755);
    let third = tree(&top);
    let dir = FORMS[0];
    let one = made(&stage, (&base, &first), None, &request("900-01"), dir);
    let two = made(&stage, (&base, &second), Some(&one), &request("900-02"), dir);
    let three = made(&stage, (&base, &third), Some(&two), &request("900-03"), dir);
    let wanted = Tree::of(&top, &[]).without_owners();
    for before in [&[][..], &[&one], &[&two], &[&one, &two]] {
        let mut trees = vec![installed(&stage)];
        for patch in before.iter().copied().chain([&three]) {
            let run = stage.run(&format!("patchadd -R @ROOT@ {}", patch.display()));
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
            trees.push(installed(&stage));
        }
        assert_same(trees.last().unwrap(), &wanted);
        let ids = before.iter().map(|path| if *path == &one { "900-01" } else { "900-02" });
        let ids: Vec<&str> = ids.chain(["900-03"]).collect();
        for (id, tree) in ids.iter().zip(&trees).rev() {
            let run = stage.run(&format!("patchrm -R @ROOT@ {id}"));
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
            assert_same(&installed(&stage), tree);
        }
    }
}

#[test]
fn an_object_that_goes_to_another_package_is_there_in_any_order_of_packages() {
    for (from, to) in [("ACMEone", "ACMEtwo"), ("ACMEtwo", "ACMEone")] {
        let in_place = |name: &str| Package::new(name).param("BASEDIR", PLACE);
        let stage = Scenario::with(&[
            in_place(from).file("moves", 0o644, "old\n").file(from, 0o644, "x\n"),
            in_place(to).file(to, 0o644, "x\n"),
        ]);
        let before = installed(&stage);
        let trees =
            ["old", "new"].map(|side| [from, to].map(|package| stage.beside(&format!("{side}-{package}"))));
        for (side, text) in [(0, "old\n"), (1, "new\n")] {
            for (at, package) in [from, to].iter().enumerate() {
                write(&trees[side][at].join(package), "x\n", 0o644);
            }
            write(&trees[side][side].join("moves"), text, 0o644);
        }
        let release = |side: usize| {
            let mut packages = vec![package(&trees[side][0], Some(from)), package(&trees[side][1], Some(to))];
            packages.sort_by(|one, other| one.name.cmp(&other.name));
            Release { name: "release".to_owned(), packages }
        };
        let request = BuildRequest { naming: PairNaming::default(), ..request("900-01") };
        let patch = made(&stage, (&release(0), &release(1)), None, &request, FORMS[0]);
        let run = stage.run(&format!("patchadd -R @ROOT@ {}", patch.display()));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        assert_eq!(stage.text(&format!("{PLACE}/moves")), "new\n", "from {from}");
        stage.run("patchrm -R @ROOT@ 900-01");
        assert_same(&installed(&stage), &before);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_makes_no_patch() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    let there = patch.directory(&stage);
    for (line, said) in [
        ("build", "required"),
        ("build --id 900 --from a --to b -o c", "<900> is not a patch id"),
        ("build --id 900-01 --from a --to b -o c --owner root", "USER:GROUP"),
        ("build --id 900-01 --from a --to b -o c --exclude [", "is not a pattern for paths"),
        ("build --id 900-01 --from a --to b -o c --class etc", "has no `=`"),
        ("build --id 900-01 --from a --to b -o c --requires 1", "<1> is not a patch id"),
        ("build --id 900-01 --from a --to b -o c --class-script script", "is not called i.CLASS"),
    ] {
        let told = stage.run(line).fails(2);
        assert!(told.contains(said), "{line}: {told}");
    }
    let line = format!("build --id 900-01 --from a --to b -o {}", there.display());
    assert!(stage.run(&line).fails(3).contains("exists already"));
}

#[test]
fn a_previous_patch_of_another_version_is_refused_with_the_way_on() {
    let stage = Scenario::new();
    for (name, text) in [("old", "one\n"), ("new", "two two\n")] {
        fs::create_dir(stage.beside(name)).unwrap();
        fs::write(stage.beside(name).join("file"), text).unwrap();
    }
    let build = |id: &str, version: &str, more: &str| {
        let named = format!("--pkg ACMEweb --arch all --base-version {version}");
        format!("build --id {id} --from old --to new -o {id} {named} {more}")
    };
    stage.run(&build("100-01", "1.0", "")).ok();
    let said = stage.run(&build("100-02", "2.0", "--previous 100-01")).fails(3);
    assert!(said.contains("and version 1.0, but the releases do not\n"), "{said}");
    assert!(said.contains("if the patch is for another version, leave out `--previous`\n"), "{said}");
    let alone = stage.run(&build("100-02", "2.0", ""));
    assert!(alone.code == 0 && alone.stderr.contains("with `--previous`"), "{alone:?}");
}

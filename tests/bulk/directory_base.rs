//! A directory with a whole system as the base of builds: they see it instead of the machine, and a change in it
//! causes rebuilds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::whole_tree::libraries_of;
use super::{BulkBuild, BulkRun, everybody, for_everybody};
use crate::tree::{Tree, assert_same};

for_everybody! {
    what_is_built_on_a_directory_sees_that_system_only_and_is_built_again_when_it_changes,
}

const PROGRAMS: [&str; 9] = ["sh", "cat", "mkdir", "find", "cp", "ln", "ls", "rm", "sleep"];

/// Makes a system with a shell, a few programs, and the libraries that they need.
pub(super) fn make_system(at: &Path) {
    let put = |from: &Path, to: &str| {
        let to = at.join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    for name in PROGRAMS {
        let places = ["/bin", "/usr/bin"].map(|directory| Path::new(directory).join(name));
        let program = places.into_iter().find(|path| path.exists()).unwrap();
        for library in libraries_of(&program) {
            put(Path::new(&library), &library);
        }
        put(&program, &format!("/bin/{name}"));
    }
    // The sandbox also runs the program that installs packages.
    for library in libraries_of(Path::new(env!("CARGO_BIN_EXE_patchadm"))) {
        put(Path::new(&library), &library);
    }
    fs::create_dir_all(at.join("etc")).unwrap();
    fs::write(at.join("etc/issue"), "a small system\n").unwrap();
    for directory in ["tmp", "dev", "proc", "var/tmp", "usr/bin"] {
        fs::create_dir_all(at.join(directory)).unwrap();
    }
}

fn what_is_built_on_a_directory_sees_that_system_only_and_is_built_again_when_it_changes(is_ordinary: bool) {
    let test = "what_is_built_on_a_directory…";
    let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 2\n") else { return };
    let system = build.scenario.beside("system");
    make_system(&system);
    // Without `base_id`, the content identifies the base.
    let conf = build.work().join("bulk.conf");
    let text = fs::read_to_string(&conf).unwrap().replace("\nbase_id=echo base\n", "\n");
    fs::write(&conf, format!("{text}base={}\n", system.display())).unwrap();
    let script = "cat /etc/issue > \"$DESTDIR/issue-of-$PKGNAME\"\nls /bin > \"$DESTDIR/bin-of-$PKGNAME\"\n\
                  cat /issue-of-* > \"$DESTDIR/needed-by-$PKGNAME\" 2> /dev/null || :\n";
    build.recipe("one", "", script);
    build.recipe("two", "ALL_DEPENDS=one-[0-9]*\n", script);
    let package_of =
        |run: &BulkRun| build.work().join(format!("sets/{}/packages/two.pkg", run.report["run"]));
    let hidden = build.scenario.beside("hidden");
    let libraries = libraries_of(Path::new(env!("CARGO_BIN_EXE_patchadm")));
    let of_c = libraries.iter().find(|path| path.contains("/libc.")).unwrap();
    let of_c = system.join(of_c.trim_start_matches('/'));
    fs::rename(&of_c, &hidden).unwrap();
    let said = build.run("").ends(1).said;
    assert!(
        said.contains("patchadm does not run in it: exit 127; the base must have the libraries"),
        "{said}"
    );
    fs::rename(&hidden, &of_c).unwrap();
    if !is_ordinary {
        // The state of the base does not cover capabilities. Writing a file changes the state.
        set_capability(&system.join("bin/ls"));
        fs::write(system.join("etc/issue"), "a small system\n").unwrap();
    }
    let run = build.run("").ends(0);
    let says = "/bin/ls of the base has capabilities, and its copy in sandboxes has none";
    let notes = |run: &BulkRun| run.report["notes"].to_string();
    assert_eq!(notes(&run).contains(says), !is_ordinary, "{}", notes(&run));
    assert_eq!(run.in_state("done"), ["one", "two"]);
    let package = package_of(&run);
    let mut programs = PROGRAMS;
    programs.sort_unstable();
    let of = |name: &str| content(&build, &package, name);
    assert_eq!(of("bin-of-two-1.0"), programs.join("\n") + "\n");
    assert_eq!(
        (of("issue-of-two-1.0"), of("needed-by-two-1.0")),
        ("a small system\n".to_owned(), "a small system\n".to_owned())
    );
    let run = build.run("").ends(0);
    assert_eq!(run.in_state("up-to-date"), ["one", "two"]);
    assert!(!notes(&run).contains(says), "it is copied once: {}", notes(&run));

    fs::write(system.join("etc/issue"), "a larger system\n").unwrap();
    let before = Tree::of(&system, &[]);
    let run = build.run("").ends(0);
    assert_eq!(run.in_state("done"), ["one", "two"], "{:#}", run.report);
    let package = package_of(&run);
    assert_eq!(content(&build, &package, "issue-of-two-1.0"), "a larger system\n");
    let why = build.action("why @WORK@ one").ok();
    assert!(why.contains("base"), "{why}");
    if !is_ordinary {
        assert!(copies(&build).len() > 1, "{:?}", copies(&build));
        let used = fs::read_to_string(build.work().join("build/base.copy")).unwrap();
        build.action("prune @WORK@").ok();
        assert_eq!(copies(&build), [used]);
        assert_eq!(build.run("").ends(0).in_state("up-to-date"), ["one", "two"]);
    }
    assert_same(&Tree::of(&system, &[]), &before);
}

#[test]
fn nobody_else_gets_anything_into_a_base_by_its_directories_for_temporary_files() {
    for is_ordinary in everybody() {
        let test = "nobody_else_gets_anything_into_a_base…";
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 1\n") else { return };
        let system = build.scenario.beside("system");
        make_system(&system);
        let conf = build.work().join("bulk.conf");
        let text = fs::read_to_string(&conf).unwrap().replace("\nbase_id=echo base\n", "\n");
        fs::write(&conf, format!("{text}base={}\n", system.display())).unwrap();
        for directory in ["tmp", "var/tmp"] {
            fs::set_permissions(system.join(directory), fs::Permissions::from_mode(0o1777)).unwrap();
        }
        fs::create_dir(system.join("tmp/theirs")).unwrap();
        fs::write(system.join("var/tmp/theirs"), "").unwrap();
        build.recipe(
            "looks",
            "",
            "for file in /tmp/theirs /var/tmp/theirs; do [ ! -e $file ] || exit 7; done; echo > $DESTDIR/well\n",
        );
        let run = build.run("").ends(0);
        assert_eq!(run.in_state("done"), ["looks"], "{}", build.who());
        for number in 0..20 {
            fs::write(system.join(format!("var/tmp/more-{number}")), "").unwrap();
        }
        let run = build.run("").ends(0);
        assert_eq!(run.in_state("up-to-date"), ["looks"], "{}: {}", build.who(), run.said);
        if !is_ordinary {
            assert_eq!(copies(&build).len(), 1, "{:?}", copies(&build));
        }
    }
}

/// Gives a program the capability to bind low ports.
fn set_capability(program: &Path) {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(program, "security.capability", &capability, flags).unwrap();
}

/// The copies of the base that belong to the ids of sandboxes.
fn copies(build: &BulkBuild) -> Vec<String> {
    let entries = fs::read_dir(build.work().join("build/bases")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut copies: Vec<String> = names.filter(|name| name.starts_with("copy-")).collect();
    copies.sort();
    copies
}

/// The content of a file of a package, after installation in an empty root.
fn content(build: &BulkBuild, package: &Path, name: &str) -> String {
    let root = build.scenario.beside("installed");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir(&root).unwrap();
    let admin = build.scenario.beside("admin");
    fs::write(&admin, crate::scenario::ADMIN).unwrap();
    let line = format!("pkgadd -n -R {} -a {} -d {} all", root.display(), admin.display(), package.display());
    let added = build.scenario.command(&line).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn the_base_has_its_paths_and_what_takes_one_is_left_out() {
    let test = "the_base_has_its_paths…";
    let settings = "slot=local 2\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes(test, !crate::scenario::is_root(), settings) else { return };
    let system = build.scenario.beside("system");
    make_system(&system);
    fs::create_dir(system.join("etc/special")).unwrap();
    build.set(&format!("base={}\n", system.display()));
    let good = "mkdir -p $DESTDIR/etc/special $DESTDIR/bin; echo > $DESTDIR/etc/special/own; echo > $DESTDIR/bin/own\n";
    build.recipe("good", "", good);
    build.recipe("file", "", "mkdir $DESTDIR/etc; echo > $DESTDIR/etc/issue\n");
    build.recipe("link", "", "mkdir $DESTDIR/etc; ln -s nowhere $DESTDIR/etc/issue\n");
    build.recipe("above", "", "mkdir $DESTDIR/etc; ln -s nowhere $DESTDIR/etc/special\n");
    // `/opt/l` of this package leads to `/etc`.
    build.recipe("leads", "", "mkdir $DESTDIR/opt; ln -s ../etc $DESTDIR/opt/l\n");
    build.recipe(
        "behind",
        "ALL_DEPENDS=leads-[0-9]*\n",
        "mkdir -p $DESTDIR/opt/l; echo > $DESTDIR/opt/l/issue\n",
    );
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["behind", "good", "leads"], "{}", run.said);
    for (package, path) in
        [("file-1.0", "/etc/issue"), ("link-1.0", "/etc/issue"), ("above-1.0", "/etc/special")]
    {
        assert_eq!(run.package(package)["cause"], "result");
        assert_eq!(run.detail(package), format!("it delivers {path}, which belongs to the base"));
    }
    let left = &run.report["set"]["left_out"];
    assert_eq!(
        (&left[0]["package"], &left[0]["holder"]),
        (&"behind-1.0".into(), &"the base".into()),
        "{left}"
    );
    assert_eq!(left[0]["name"], "/opt/l/issue");
    assert_eq!(run.report["set"]["packages"], 2);
}

//! The class action scripts of the standard classes, each under every shell: their effect on files, and their output.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchadm_core::script::standard::standard;

/// Shells, with their arguments.
const SHELLS: [&[&str]; 6] =
    [&["sh"], &["dash"], &["bash", "--posix"], &["busybox", "sh"], &["ksh93"], &["mksh"]];

fn shells() -> Vec<&'static [&'static str]> {
    let works = |shell: &&[&str]| {
        let run = Command::new(shell[0]).args(&shell[1..]).args(["-c", "exit 0"]).output();
        let is_here = run.is_ok_and(|output| output.status.success());
        if !is_here {
            crate::missing(shell[0], "scripts of the standard classes");
        }
        is_here
    };
    SHELLS.into_iter().filter(works).collect()
}

/// A root with a file in it, and a package beside it.
struct Scene {
    dir: tempfile::TempDir,
    shell: &'static [&'static str],
}

impl Scene {
    fn new(shell: &'static [&'static str], name: &str) -> Self {
        assert!(standard(name).is_some());
        let scene = Self { dir: crate::scenario::directory(), shell };
        for directory in ["root/etc", "save", "package"] {
            fs::create_dir_all(scene.at(directory)).unwrap();
        }
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn file(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// Runs the script. Returns its code and its output, without the path of the root.
    fn run(&self, name: &str, list: &str) -> (i32, String) {
        let script = self.at(name);
        fs::write(&script, standard(name).unwrap()).unwrap();
        let mut child = Command::new(self.shell[0])
            .args(&self.shell[1..])
            .arg(&script)
            .arg("ENDOFCLASS")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PKGSAV", self.at("save"))
            .env("PKG_INSTALL_ROOT", self.at("root"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let left = fs::read_dir(self.at("save")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.as_encoded_bytes().starts_with(b".")).collect();
        assert!(left.is_empty(), "{name} left {left:?}");
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said.replace(self.at("root").to_str().unwrap(), ""))
    }

    /// Installs `package/file` as `/etc/file`.
    fn install(&self, name: &str) -> (i32, String) {
        let (source, destination) = (self.at("package/file"), self.at("root/etc/file"));
        self.run(name, &format!("/dev/null {1}\n{0} {1}\n", source.display(), destination.display()))
    }

    fn remove(&self, name: &str) -> (i32, String) {
        self.run(name, &format!("{}\n", self.at("root/etc/file").display()))
    }

    fn is_there(&self, path: &str) -> bool {
        Path::new(&self.at(path)).exists()
    }
}

fn modified() -> (i32, String) {
    (0, "Modifying /etc/file\n".to_owned())
}

#[test]
fn build_makes_the_file_and_unmakes_it() {
    for shell in shells() {
        let scene = Scene::new(shell, "i.build");
        scene.file(
            "package/file",
            "#!/sbin/sh\ncase $1 in install) echo built;; remove) grep -v built $PKG_INSTALL_ROOT/etc/file;; esac\nexit 0\n",
        );
        assert_eq!(scene.install("i.build"), modified());
        assert_eq!(scene.text("root/etc/file"), "built\n");
        scene.file("root/etc/file", "built\nlocal\n");
        assert_eq!(scene.remove("r.build"), modified());
        assert_eq!(scene.text("root/etc/file"), "local\n");
        assert_eq!(scene.install("i.build"), modified());
        assert_eq!(scene.remove("r.build"), modified());
        assert!(!scene.is_there("root/etc/file") && !scene.is_there("save/build/etc/file"));
    }
}

#[test]
fn a_build_script_that_fails_is_2_and_the_others_are_done() {
    for shell in shells() {
        let scene = Scene::new(shell, "i.build");
        scene.file("package/bad", "exit 1\n");
        scene.file("package/good", "echo good\n");
        let pair = |name: &str| {
            let (package, root) = (scene.at("package"), scene.at("root/etc"));
            format!("{0}/{name} {1}/{name}\n", package.display(), root.display())
        };
        let (code, _) = scene.run("i.build", &(pair("bad") + &pair("good")));
        assert_eq!((code, scene.text("root/etc/good").as_str()), (2, "good\n"));
        assert!(!scene.is_there("root/etc/bad"));
    }
}

#[test]
fn sed_and_awk_change_the_file_there_and_back() {
    let of_sed = "# a comment\n!install\n/^one$/a\\\ntwo\n!remove\n/^two$/d\n";
    let of_awk = "!remove\n$1 != \"two\" { print }\n!install\n# a comment\n{ print }\n$1 == \"one\" { print \"two\" }\n";
    for (class, object) in [("sed", of_sed), ("awk", of_awk)] {
        for shell in shells() {
            let (install, remove) = (format!("i.{class}"), format!("r.{class}"));
            let scene = Scene::new(shell, &install);
            scene.file("package/file", object);
            scene.file("root/etc/file", "one\nthree\n");
            assert_eq!(scene.install(&install), modified());
            assert_eq!(scene.text("root/etc/file"), "one\ntwo\nthree\n", "{class} {shell:?}");
            assert_eq!(scene.remove(&remove), modified());
            assert_eq!(scene.text("root/etc/file"), "one\nthree\n", "{class} {shell:?}");
            assert!(!scene.is_there("save/sed/etc/file"));
        }
    }
}

#[test]
fn a_section_that_does_not_run_leaves_the_file() {
    for shell in shells() {
        let scene = Scene::new(shell, "i.sed");
        scene.file("package/file", "!install\nthis is no sed\n");
        scene.file("root/etc/file", "kept\n");
        assert_eq!(scene.install("i.sed").0, 2);
        assert_eq!(scene.text("root/etc/file"), "kept\n");
    }
}

#[test]
fn no_script_writes_through_a_symbolic_link() {
    for shell in shells() {
        for class in ["build", "sed", "awk", "preserve", "renamenew", "renameold", "manifest"] {
            let name = format!("i.{class}");
            let scene = Scene::new(shell, &name);
            scene.file("package/file", "!install\necho taken over\n");
            scene.file("outside", "kept\n");
            std::os::unix::fs::symlink(scene.at("outside"), scene.at("root/etc/file")).unwrap();
            scene.install(&name);
            assert_eq!(scene.text("outside"), "kept\n", "{class} {shell:?}");
        }
    }
}

#[test]
fn three_classes_treat_a_file_that_is_there_in_three_ways() {
    for shell in shells() {
        for (class, live, beside) in [
            ("i.preserve", "local", None),
            ("i.renamenew", "local", Some(("new", "delivered"))),
            ("i.renameold", "delivered", Some(("old", "local"))),
        ] {
            let scene = Scene::new(shell, class);
            scene.file("package/file", "delivered");
            assert_eq!(scene.install(class), (0, String::new()));
            assert_eq!(scene.text("root/etc/file"), "delivered", "{class}");
            assert_eq!(scene.install(class), (0, String::new()));
            assert_eq!(fs::read_dir(scene.at("root/etc")).unwrap().count(), 1, "{class}: nothing beside it");
            scene.file("root/etc/file", "local");
            assert_eq!(scene.install(class), (0, String::new()));
            assert_eq!(scene.text("root/etc/file"), live, "{class}");
            if let Some((suffix, text)) = beside {
                assert_eq!(scene.text(&format!("root/etc/file.{suffix}")), text, "{class}");
            }
        }
    }
}

#[test]
fn manifests_come_and_go() {
    for shell in shells() {
        let scene = Scene::new(shell, "i.manifest");
        scene.file("package/file", "<service/>\n");
        let (code, said) = scene.install("i.manifest");
        assert_eq!((code, said.contains("no service repository")), (0, true), "{said}");
        assert_eq!(scene.text("root/etc/file"), "<service/>\n");
        assert_eq!(scene.remove("r.manifest"), (0, String::new()));
        assert!(!scene.is_there("root/etc/file"));
    }
}

#[test]
fn a_class_without_a_script_has_none() {
    assert!(standard("i.none").is_none() && standard("r.preserve").is_none());
}

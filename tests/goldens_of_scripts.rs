//! Packages with scripts: the same packages and scenarios as with the classic tools have the same results.
//!
//! The scripts are third-party code, so they run as an ordinary user on a root that belongs to that user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::everyman::{as_ordinary_user, copy_program, ordinary_ids};
use crate::packages::files;
use crate::scenario::{ADMIN, PROGRAM, Run, Scenario, shared};
use crate::tree::assert_same;

/// The response file of a patch.
const RESPONSE: &str = "PATCH_PROGRESSIVE=false\nPATCH_NO_UNDO=false\nPATCH_UNCONDITIONAL=false\nPATCH_BUILD_DIR=\n\
                        PATCH_UNDO_ARCHIVE=none\nINTERRUPTION=no\n";

/// A root of an ordinary user, and the packages of the classic tools beside it.
struct Stage {
    scenario: Scenario,
    goldens: PathBuf,
}

impl Stage {
    fn new(test: &str) -> Option<Self> {
        let goldens = shared(test, "goldens")?;
        let scenario = Scenario::new();
        let (uid, gid) = ordinary_ids(&scenario);
        scenario.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
        scenario.file("/etc/group", format!("root:x:{gid}:\nbin:x:{gid}:\nsys:x:{gid}:\n"));
        for directory in ["/opt/SUNWstuf", "/var/tmp", "/tmp", "/envdump"] {
            scenario.directory(directory);
        }
        scenario.file("/var/sadm/install/admin/golden", ADMIN);
        for (from, to) in files_of(&goldens.join("pkgs"), &scenario.beside("pkgs")) {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).unwrap();
        }
        Some(Self { scenario, goldens })
    }

    fn run(&self, line: &str) -> Run {
        let own = [self.scenario.root(), self.scenario.beside("pkgs")];
        let own: Vec<&Path> = own.iter().map(PathBuf::as_path).collect();
        let line = line.replace("@PKGS@", self.scenario.beside("pkgs").to_str().unwrap());
        // Scripts call pkgproto and pkgmk.
        copy_program(&self.scenario, PROGRAM.as_ref(), "patchadm-make");
        let output = as_ordinary_user(&self.scenario, &line, &own).output().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let text = text.replace(self.scenario.root().to_str().unwrap(), "@ROOT@");
            text.replace(self.scenario.beside("pkgs").to_str().unwrap(), "@PKGS@")
        };
        Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn base(&self, options: &str) -> Run {
        let run = self.run(&format!("pkgadd {options} -R @ROOT@ -a golden -d @PKGS@/base SUNWstuf"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run
    }

    fn golden(&self, file: &str) -> String {
        fs::read_to_string(self.goldens.join(file)).unwrap()
    }
}

/// The files of the package sets that are used here, with their copies.
fn files_of(from: &Path, to: &Path) -> Vec<(PathBuf, PathBuf)> {
    let sets = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
    let is_used = |set: &PathBuf| {
        let name = set.file_name().unwrap().to_str().unwrap();
        name == "base" || name == "base-req" || name.starts_with("fail-")
    };
    let mut found = Vec::new();
    for set in sets.filter(|set| set.is_dir() && is_used(set)) {
        let copy = to.join(set.file_name().unwrap());
        found.extend(files(&set).into_iter().map(|name| (set.join(&name), copy.join(&name))));
    }
    found
}

/// Masks the names of private directories, which always differ, and the notice of an update, which each tool words in
/// its own way.
fn comparable(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut in_notice = false;
    for line in text.lines() {
        if line.contains("same architecture and") {
            in_notice = true;
            lines.pop();
            lines.push("<update>".to_owned());
        } else if in_notice {
            in_notice = !line.is_empty();
        } else {
            let words = line.split(' ').map(|word| if word.contains("/resp") { "<response>" } else { word });
            lines.push(words.collect::<Vec<_>>().join(" "));
        }
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n").replace("## Software contents file initialized\n", "")
}

/// Removes the first line of our notice, which the classic tools word differently.
fn without_notice(text: &str) -> String {
    text.replace("Package <SUNWstuf> is installed already in the\n", "\n")
}

#[test]
fn the_base_package_ends_as_with_the_classic_tools() {
    let Some(stage) = Stage::new("the base package with its scripts") else { return };
    let run = stage.base("-n");
    assert_eq!(comparable(&run.stdout), comparable(&stage.golden("01-base-install/out/base/stdout")));
    assert_eq!(comparable(&run.stderr), comparable(&stage.golden("01-base-install/out/base/stderr")));
    // For scripted files, we record the final content, and the classic tools record the delivered one.
    let scripted = |line: &&str| line.split(' ').nth(2).is_some_and(|class| class != "build");
    let golden = stage.golden("01-base-install/out/base/snap/contents");
    let golden: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).filter(scripted).collect();
    let ours = stage.scenario.lines();
    let implied = |line: &&str| !["/opt d ", "/opt/SUNWstuf d "].iter().any(|path| line.starts_with(path));
    let ours: Vec<&str> = ours.iter().map(String::as_str).filter(implied).filter(scripted).collect();
    assert_eq!(ours, golden);
    let snapshot = stage.goldens.join("01-base-install/out/base/snap/pkg/SUNWstuf/install");
    let own = stage.scenario.at("/var/sadm/pkg/SUNWstuf/install");
    assert_eq!(files(&own), files(&snapshot));
    let built = fs::read_to_string(stage.scenario.at("/opt/SUNWstuf/etc/build.conf")).unwrap();
    assert!(built.starts_with("built for SUNWstuf\n"), "{built}");
}

#[test]
fn the_messages_of_a_package_with_scripts_are_those_of_the_classic_tools() {
    let Some(stage) = Stage::new("the messages with scripts") else { return };
    let run = stage.base("");
    let golden = stage.golden("26-messages/out/base/stderr");
    // The implied directories depend on the records.
    let said: String = run
        .stderr
        .lines()
        .filter(|line| !line.contains("<implied"))
        .map(|line| format!("{line}\n"))
        .collect();
    let already = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("already properly installed"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(already(&comparable(&said)), already(&comparable(&golden)));
    assert_eq!(comparable(&run.stdout), comparable(&stage.golden("26-messages/out/base/stdout")));
}

#[test]
fn questions_are_asked_answered_and_refused_as_with_the_classic_tools() {
    let Some(stage) = Stage::new("questions") else { return };
    let asked = stage.scenario.beside("pkgs/asked");
    fs::create_dir_all(asked.parent().unwrap()).unwrap();
    let run = stage.run(&format!("pkgask -R @ROOT@ -r {} -d @PKGS@/base-req SUNWstuf", asked.display()));
    let golden = stage.golden("25-request/out/pkgask/stderr").replace("@GOLDENS@/25-request/out", "@PKGS@");
    assert_eq!((run.code, run.stderr, run.stdout.as_str()), (0, golden, ""));
    assert_eq!(fs::read_to_string(&asked).unwrap(), stage.golden("25-request/out/asked"));

    let add = |options: &str| {
        stage.run(&format!("pkgadd {options} -R @ROOT@ -a golden -d @PKGS@/base-req SUNWstuf"))
    };
    let refused = add("-n");
    let step = |name: &str, stream: &str| stage.golden(&format!("25-request/out/{name}/{stream}"));
    assert_eq!((refused.code, refused.stderr), (5, step("pkgadd-n-norequest", "stderr")));
    let answered = add(&format!("-n -r {}", asked.display()));
    assert_eq!((answered.code, answered.stderr), (0, step("pkgadd-resp", "stderr")));
    assert_eq!(
        comparable(&answered.stdout.replace("/base/", "/base-req/")),
        comparable(&step("pkgadd-resp", "stdout"))
    );
    let again = add("");
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(comparable(&again.stdout), comparable(&step("pkgadd-interactive", "stdout")));
    let golden = comparable(&step("pkgadd-interactive", "stderr"));
    assert_eq!(comparable(&without_notice(&again.stderr)), golden);
    assert_eq!(stage.run("pkgparam -R @ROOT@ SUNWstuf STUF_REQ STUF_ASKED").ok(), "a b\nyes it is\n");
}

#[test]
fn scripts_that_fail_end_with_the_classic_codes_and_leave_nothing_behind() {
    let Some(stage) = Stage::new("scripts that fail") else { return };
    stage.base("-n");
    let response = stage.scenario.beside("pkgs/response");
    fs::write(&response, RESPONSE).unwrap();
    let before = stage.scenario.everything();
    let mut met = 0;
    for script in ["checkinstall", "preinstall", "i.none", "postinstall"] {
        for code in [1, 3, 4, 5] {
            let name = format!("fail-{script}-{code}");
            if !stage.scenario.beside("pkgs").join(&name).is_dir() {
                continue;
            }
            let run = stage.run(&format!(
                "pkgadd -S -n -R @ROOT@ -a golden -r {} -d @PKGS@/{name} SUNWstuf",
                response.display()
            ));
            if run.stderr.contains("they cannot be put there") {
                crate::skipped("scripts that fail: there are no user namespaces here");
                return;
            }
            let golden = |file: &str| stage.golden(&format!("16-script-fails/out/{name}/apply/{file}"));
            assert_eq!(run.code.to_string(), golden("rc").trim(), "{name}: {}", run.stderr);
            let words = |text: &str| {
                let text =
                    comparable(&without_notice(text)).replace("\nNo changes were made to the system.", "");
                text.lines()
                    .filter(|line| line.starts_with("pkgadd:") || line.starts_with("Installation"))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert_eq!(words(&run.stderr), words(&golden("stderr")), "{name}");
            assert!(run.stderr.ends_with("\nNo changes were made to the system.\n"), "{name}");
            // The scripts of a patch choose where they build their archive; patchadd gives them a private place.
            let _ = fs::remove_dir_all(stage.scenario.at("/var/tmp/103201-01.SUNWstuf"));
            assert_same(&stage.scenario.everything(), &before);
            met += 1;
        }
    }
    assert!(met > 8, "{met} packages that fail");
}

#[test]
fn a_package_with_scripts_goes_as_with_the_classic_tools() {
    let Some(stage) = Stage::new("a removal with scripts") else { return };
    stage.base("-n");
    let step = |line: &str| {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{line}: {}", run.stderr);
        run
    };
    step("pkgadd -n -R @ROOT@ -a golden -d @PKGS@/base SUNWstux");
    stage.scenario.file("/opt/SUNWstuf/made", "made\n");
    stage.scenario.mtime("/opt/SUNWstuf/made", 1_795_158_251);
    stage.scenario.directory("/opt/SUNWstuf/mdir");
    for package in ["SUNWstuf", "SUNWstux"] {
        step(&format!("installf -R @ROOT@ {package} /opt/SUNWstuf/made f 0640 root sys"));
        step(&format!("installf -f -R @ROOT@ {package}"));
    }
    step("installf -R @ROOT@ SUNWstuf /opt/SUNWstuf/mdir d 0750 root bin");
    step("installf -f -R @ROOT@ SUNWstuf");
    let run = step("pkgrm -n -R @ROOT@ -a golden SUNWstuf");
    let golden = |file: &str| stage.golden(&format!("19-pkgrm-installf/out/pkgrm/{file}"));
    assert_eq!(run.stdout, golden("stdout"));
    // For the port that made the golden, directories that are not empty are a failure; others only report them.
    assert!(run.stderr.ends_with("\nRemoval of <SUNWstuf> was successful.\n"), "{}", run.stderr);
    let golden_lines = golden("snap/contents");
    let golden_lines: Vec<&str> = golden_lines.lines().filter(|line| !line.starts_with('#')).collect();
    let ours = stage.scenario.lines();
    let implied = |line: &&str| !["/opt d ", "/opt/SUNWstux d "].iter().any(|path| line.starts_with(path));
    assert_eq!(ours.iter().map(String::as_str).filter(implied).collect::<Vec<_>>(), golden_lines);
    let built = fs::read_to_string(stage.scenario.at("/opt/SUNWstuf/etc/build.conf")).unwrap();
    let tree = golden("snap/tree");
    let size = |path: &str| {
        let line = tree.lines().find(|line| line.split(' ').nth(6) == Some(path)).unwrap();
        line.split(' ').nth(4).unwrap().to_owned()
    };
    assert_eq!(built.len().to_string(), size("./opt/SUNWstuf/etc/build.conf"));
    assert_eq!(
        files(&stage.scenario.at("/opt/SUNWstuf")),
        ["made", "etc/build.conf", "share/script.dat"],
        "what the scripts left, and what is shared"
    );
    assert!(!stage.scenario.at("/var/sadm/pkg/SUNWstuf").exists());
    let run = step("pkgrm -n -R @ROOT@ -a golden SUNWstux");
    assert_eq!(run.stderr.lines().last(), Some("Removal of <SUNWstux> was successful."));
    assert_eq!(stage.scenario.lines(), [""; 0]);
}

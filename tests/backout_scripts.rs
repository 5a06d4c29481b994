//! Runs the scripts of our backout packages as another pkgadd would, with every installed shell and awk. They run in a
//! directory of the test, with a removef(1M) that only prints and records its arguments.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use patchadm_svr4::patch::{ObsoleteCounts, PatchId, PatchList};
use proptest::prelude::*;

use crate::scenario::Run;

const CHECKINSTALL: &str = include_str!("../crates/inputs/src/patch_scripts/undo_checkinstall.sh");
const CLASS: &str = include_str!("../crates/inputs/src/patch_scripts/undo_class.sh");
const POSTINSTALL: &str = include_str!("../crates/inputs/src/patch_scripts/undo_postinstall.sh");

const SHELLS: [&str; 6] = ["sh", "dash", "bash", "ksh93", "mksh", "busybox sh"];
/// The last is the nawk of System V, at its path in a Heirloom toolchest.
const AWKS: [&str; 6] = ["awk", "mawk", "gawk", "original-awk", "busybox awk", "/usr/5bin/nawk"];

/// Prints the paths that may be removed. Skips the paths in the file `shared`, and fails for those in the file
/// `refused`.
const REMOVEF: &str = r#"#!/bin/sh
here=`dirname "$0"`
printf '%s|' "$@" >>"$here/asked"
echo >>"$here/asked"
if [ "$1" = -f ]; then exit 0; fi
if grep -qxF "$2" "$here/refused"; then exit 1; fi
if grep -qxF "$2" "$here/shared"; then exit 0; fi
echo "$PKG_INSTALL_ROOT$2"
"#;

/// A shell and an awk, and their working directory.
struct Bench {
    dir: tempfile::TempDir,
    shell: Vec<String>,
    name: String,
}

/// The installed programs of a list. Reports missing ones, except those with a path, which no distribution has.
fn found<'a>(programs: &'a [&'a str]) -> impl Iterator<Item = (&'a str, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    programs.iter().filter_map(move |program| {
        let name = program.split(' ').next()?;
        let found = directories.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        if found.is_none() && !name.starts_with('/') {
            crate::missing(name, "scripts of backout packages");
        }
        Some((*program, found?))
    })
}

/// A bench for each shell, with any awk, and for each awk, with any shell.
fn benches() -> Vec<Bench> {
    let (shells, awks): (Vec<_>, Vec<_>) = (found(&SHELLS).collect(), found(&AWKS).collect());
    let pairs = shells.iter().map(|shell| (shell, &awks[0]));
    pairs.chain(awks.iter().skip(1).map(|awk| (&shells[0], awk))).map(|(s, a)| Bench::new(s, a)).collect()
}

impl Bench {
    fn new(shell: &(&str, PathBuf), awk: &(&str, PathBuf)) -> Self {
        let applet = |(name, path): &(&str, PathBuf)| {
            let rest = name.split(' ').skip(1).map(str::to_owned);
            std::iter::once(path.display().to_string()).chain(rest).collect::<Vec<_>>()
        };
        let bench = Self {
            dir: crate::scenario::directory(),
            shell: applet(shell),
            name: format!("{}, {}", shell.0, awk.0),
        };
        bench.program("removef", REMOVEF);
        bench.program("nawk", &format!("#!/bin/sh\nexec {} \"$@\"\n", applet(awk).join(" ")));
        for (name, text) in [("checkinstall", CHECKINSTALL), ("i.conf", CLASS), ("postinstall", POSTINSTALL)]
        {
            bench.write(&format!("install/{name}"), text);
        }
        bench
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.write(&format!("bin/{name}"), text);
        fs::set_permissions(self.at("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, script: &str, argument: Option<&Path>, environment: &[(&str, &str)]) -> Run {
        let path = format!("{}:/usr/bin:/bin", self.at("bin").display());
        let output = Command::new(&self.shell[0])
            .args(&self.shell[1..])
            .arg(self.at("install").join(script))
            .args(argument)
            .env_clear()
            .env("PATH", path)
            .envs(environment.iter().copied())
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs checkinstall with this response. Returns the run, and the lines that it added to the response.
    fn check(&self, response: &str, environment: &[(&str, &str)]) -> (Run, String) {
        let file = self.at("response");
        fs::write(&file, response).unwrap();
        let run = self.run("checkinstall", Some(&file), environment);
        let after = fs::read_to_string(file).unwrap();
        (run, after.strip_prefix(response).unwrap().to_owned())
    }

    /// The lists without a patch, as checkinstall computes them. Asserts that it adds nothing else to the response.
    #[track_caller]
    fn lists(&self, patch: &str, response: &str, environment: &[(&str, &str)]) -> (String, String) {
        let with_patch: Vec<_> = environment.iter().copied().chain([("ACTIVE_PATCH", patch)]).collect();
        let (run, added) = self.check(response, &with_patch);
        assert_eq!((run.code, &*run.stdout, &*run.stderr), (0, "", ""), "{}: {patch}", self.name);
        let lines: Vec<&str> = added.lines().skip_while(|line| line.is_empty()).collect();
        let [list, label, info, counts, active, obsoletes] = lines[..] else { panic!("{added}") };
        assert_eq!([label, active, obsoletes], ["Patch_label=", "ACTIVE_OBSOLETES=", "Obsoletes_label="]);
        assert_eq!(info, format!("PATCH_INFO_{patch}=backed out"));
        let value = |line: &str, name: &str| line.strip_prefix(name).unwrap().to_owned();
        (value(list, "PATCHLIST="), value(counts, "PATCH_OBSOLETES="))
    }

    #[track_caller]
    fn refuses(&self, patch: &str, applied: &str, expected: &str) {
        let (run, added) = self.check(&format!("OLDLIST=\"{applied}\"\n"), &[("ACTIVE_PATCH", patch)]);
        assert_eq!((run.code, &*run.stdout, &*run.stderr), (3, expected, ""), "{}", self.name);
        assert_eq!(added, "", "{}: nothing is said in the response", self.name);
    }
}

#[test]
fn a_patch_is_taken_out_of_the_list_wherever_it_stands() {
    for bench in benches() {
        let left = |patch: &str, applied: &str| {
            bench.lists(patch, &format!("PATCH_NO_UNDO=\nOLDLIST=\"{applied}\"\n"), &[]).0
        };
        assert_eq!(left("100-02", "90-01 100-02 200-01"), "90-01 200-01");
        assert_eq!(left("100-02", "100-02"), "");
        assert_eq!(left("100-02", " 100-02  100-02 90-01 "), "90-01", "an id that is listed twice");
        assert_eq!(left("100-10", "100-9 100-10"), "100-9", "nine is before ten");
        assert_eq!(left("100-5", "90-01 100-05"), "90-01", "leading zeros do not count");
        assert_eq!(left("100-02", "100-02 1000-05 99100-03"), "1000-05 99100-03", "other bases");
        assert_eq!(left("ACME-web-3", "ACME-web-3 ACME-web-9-1 ACME-9"), "ACME-web-9-1 ACME-9");
    }
}

#[test]
fn a_patch_with_a_later_revision_stays() {
    for bench in benches() {
        for (patch, applied, later) in [
            ("100-02", "100-02 100-03", "100-03"),
            ("100-02", "100-10 100-02", "100-10"),
            ("100-009", "100-9 100-0010", "100-0010"),
            ("100-8", "100-8 100-123456789012345678901", "100-123456789012345678901"),
            ("a-b-1", "a-b-1 a-b-2", "a-b-2"),
        ] {
            let message = format!("PaTcH_MsG 6 Patch {patch} cannot go before its later revision {later}.\n");
            bench.refuses(patch, applied, &message);
        }
    }
}

#[test]
fn a_patch_that_is_not_applied_cannot_go() {
    for bench in benches() {
        for applied in ["", "90-01 200-01", "100-01"] {
            bench.refuses("100-02", applied, "PaTcH_MsG 2 Patch 100-02 is not applied to this package.\n");
        }
    }
}

#[test]
fn obsoletions_are_counted_back() {
    for bench in benches() {
        let left = |patch: &str, gone: &str, counts: &str| {
            let response = "OLDLIST='100-01 200-01 300-02'\n";
            bench.lists(patch, response, &[("PATCH_OBSOLETES", counts), ("ACTIVE_OBSOLETES", gone)]).1
        };
        let three = "100-01@2 101-03@1 200-01@1";
        assert_eq!(left("300-02", "100-01 200-01", three), "100-01@1 101-03@1");
        assert_eq!(left("200-01", "100-01 101-03", "100-01@1 101-03@1"), "");
        assert_eq!(left("200-01", "", three), three, "a patch that obsoletes nothing");
        assert_eq!(left("200-01", "7-1 100-1", three), "100-01@1 101-03@1 200-01@1");
        assert_eq!(left("200-01", "100-01 100-1", three), "100-01@1 101-03@1 200-01@1", "one id twice");
    }
}

#[test]
fn every_awk_counts_back_a_patch_that_obsoletes_nothing_and_one_that_does() {
    let here: Vec<_> = found(&AWKS).collect();
    let shell = found(&SHELLS).next().unwrap();
    for awk in &here {
        let bench = Bench::new(&shell, awk);
        let left = |gone: &str, counts: &str| {
            let environment = [("PATCH_OBSOLETES", counts), ("ACTIVE_OBSOLETES", gone)];
            bench.lists("100-02", "OLDLIST=\"90-01 100-02\"\n", &environment)
        };
        let plain = |counts: &str| ("90-01".to_owned(), counts.to_owned());
        assert_eq!(left("", "1-01@2 3-01@1"), plain("1-01@2 3-01@1"), "{}", bench.name);
        assert_eq!(left("1-01 3-01", "1-01@2 3-01@1"), plain("1-01@1"), "{}", bench.name);
        assert_eq!(left("", ""), plain(""), "{}", bench.name);
    }
}

/// The nawk of System V fails at `key in array` if no array of that name exists yet, even if it is an omitted argument.
/// This awk is hard to install, so the test reads the scripts.
#[test]
fn an_array_has_an_element_before_in_is_asked_of_it() {
    for script in [CHECKINSTALL, POSTINSTALL] {
        for function in script.split("\nfunction ").skip(1) {
            for (at, asked) in function.match_indices(" in ") {
                let after = &function[at + 4..];
                let name = after.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                let is_asked = after[name.len()..].starts_with(')');
                let made = format!("\n\t{name}[\"\"] = 1\n");
                assert!(!is_asked || function[..at].contains(&made), "{asked}{name}: {function}");
            }
        }
    }
}

#[test]
fn what_the_response_says_goes_before_what_the_package_says() {
    for bench in benches() {
        let installed = [("PATCHLIST", "100-02 300-01"), ("PATCH_OBSOLETES", "7-01@1")];
        let lists = |response: &str, more: &[(&str, &str)]| {
            bench.lists("100-02", response, &[&installed[..], more].concat())
        };
        let plain = |list: &str, counts: &str| (list.to_owned(), counts.to_owned());
        assert_eq!(lists("", &[]), plain("300-01", "7-01@1"), "no response at all");
        let left_over = [("OLDLIST", "1-01 2-01")];
        assert_eq!(lists("X=1\n", &left_over), plain("300-01", "7-01@1"), "OLDLIST of an earlier backout");
        assert_eq!(lists("OLDLIST=100-02 4-01\n", &[]), plain("4-01", "7-01@1"));
        assert_eq!(lists("OLDLIST=\"100-02\"\nPATCH_OBSOLETES=8-01@2", &[]), plain("", "8-01@2"));
    }
}

#[test]
fn nothing_in_a_response_is_run() {
    for bench in benches() {
        let response = "OLDLIST=\"100-02 `touch it` $(touch it)\"\ntouch it\nPATCH_INFO_7-01=backed out\n'\n";
        bench.lists("100-02", response, &[]);
        assert!(!bench.at("it").exists(), "{}", bench.name);
    }
}

#[test]
fn a_call_without_response_or_patch_is_an_error() {
    for bench in benches() {
        let said = "checkinstall: a response file and ACTIVE_PATCH are needed\n";
        assert_eq!(bench.run("checkinstall", None, &[("ACTIVE_PATCH", "1-01")]).fails(1), said);
        let (run, added) = bench.check("OLDLIST=1-01\n", &[]);
        assert_eq!((run.fails(1), added), (said.to_owned(), String::new()), "{}", bench.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_lists_are_those_that_this_program_computes(
        applied in proptest::collection::vec("[a1]-?[0-9]{1,2}-0?[0-9]{1,2}", 1..6),
        gone in proptest::collection::vec("[a1]-0?[1-3]", 0..4),
        counts in proptest::collection::vec(("[a1]-0?[1-3]", 0..4u32), 0..5),
        which: prop::sample::Index,
    ) {
        let bench = benches().remove(0);
        let patch = PatchId::new(which.get::<String>(&applied)).unwrap();
        let list: Vec<PatchId> = applied.iter().map(|id| PatchId::new(id).unwrap()).collect();
        let counts = counts.iter().map(|(id, n)| format!("{id}@{n}")).collect::<Vec<_>>().join(" ");
        let response = format!("OLDLIST=\"{}\"\nPATCH_OBSOLETES=\"{counts}\"\n", applied.join(" "));
        let gone = gone.join(" ");
        let environment = [("ACTIVE_PATCH", patch.as_str()), ("ACTIVE_OBSOLETES", &*gone)];
        if list.iter().any(|other| other.is_later_than(&patch)) {
            prop_assert_eq!(bench.check(&response, &environment).0.code, 3);
        } else {
            let mut expected = ObsoleteCounts::parse(&counts, "-").unwrap();
            expected.count_down(&PatchList::parse(&gone, "-").unwrap());
            let rest: Vec<&str> = list.iter().filter(|id| **id != patch).map(PatchId::as_str).collect();
            let lists = bench.lists(patch.as_str(), &response, &environment[1..]);
            prop_assert_eq!(lists, (rest.join(" "), expected.to_string()));
        }
    }
}

/// A bench whose package directory and root are in the state after the old objects were restored.
fn patched(mut bench: Bench, deletes: &str) -> Bench {
    bench.name = format!("{}: {deletes:?}", bench.name);
    for file in ["deletes", "patchadm.manifest", "patchadm.records", "copyright"] {
        bench.write(&format!("install/{file}"), if file == "deletes" { deletes } else { "x\n" });
    }
    for id in ["90-01", "100-02"] {
        bench.write(&format!("save/{id}/undo.Z"), "x\n");
    }
    for file in ["asked", "shared", "refused"] {
        bench.write(&format!("bin/{file}"), "");
    }
    bench
}

/// The environment of a postinstall script.
fn environment(bench: &Bench) -> BTreeMap<&'static str, String> {
    let at = |path: &str| bench.at(path).display().to_string();
    BTreeMap::from([
        ("PKGINST", "ACMEweb".to_owned()),
        ("ACTIVE_PATCH", "100-02".to_owned()),
        ("CLIENT_BASEDIR", "/opt/ACMEweb".to_owned()),
        ("PKG_INSTALL_ROOT", at("root")),
        ("PKGSAV", at("save")),
    ])
}

fn postinstall(bench: &Bench, environment: &BTreeMap<&str, String>) -> Run {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    bench.run("postinstall", None, &environment)
}

#[test]
fn what_the_patch_added_and_its_undo_data_are_deleted() {
    for bench in benches() {
        let deletes =
            "opt\\040files/a\\040b\n /etc/it's \"$HOME\" *\\134\t\nbin/new\nlink\nnew/dir/x\nnew/dir\nnew\n";
        let bench = patched(bench, deletes);
        let added = ["opt files/a b", "../../etc/it's \"$HOME\" *\\", "bin/new", "new/dir/x"];
        let kept = ["opt files/a", "b", "bin/old", "new/theirs", "../../etc/it's", "elsewhere/file"];
        for path in added.iter().chain(&kept) {
            fs::create_dir_all(bench.at("root/opt/ACMEweb")).unwrap();
            bench.write(&format!("root/opt/ACMEweb/{path}"), "x\n");
        }
        symlink("elsewhere", bench.at("root/opt/ACMEweb/link")).unwrap();
        assert_eq!(postinstall(&bench, &environment(&bench)).ok(), "", "{}", bench.name);
        for path in added.iter().chain(&["link", "new/dir"]) {
            let path = bench.at(&format!("root/opt/ACMEweb/{path}"));
            assert!(path.symlink_metadata().is_err(), "{}: {}", bench.name, path.display());
        }
        for path in kept {
            assert!(bench.at(&format!("root/opt/ACMEweb/{path}")).exists(), "{}: {path}", bench.name);
        }
        let left = |path: &str| {
            let entries = fs::read_dir(bench.at(path)).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(left("install"), ["copyright", "i.conf"], "{}", bench.name);
        assert_eq!(left("save"), ["90-01"], "{}", bench.name);
        let asked = fs::read_to_string(bench.at("bin/asked")).unwrap();
        let expected = "ACMEweb|/opt/ACMEweb/opt files/a b|\nACMEweb|/etc/it's \"$HOME\" *\\|\n\
                        ACMEweb|/opt/ACMEweb/bin/new|\nACMEweb|/opt/ACMEweb/link|\n\
                        ACMEweb|/opt/ACMEweb/new/dir/x|\nACMEweb|/opt/ACMEweb/new/dir|\n\
                        ACMEweb|/opt/ACMEweb/new|\n-f|ACMEweb|\n";
        assert_eq!(asked, expected, "{}", bench.name);
    }
}

#[test]
fn what_another_package_has_too_stays() {
    for bench in benches() {
        let bench = patched(bench, "bin/new\nbin/ours\n");
        bench.write("bin/shared", "/bin/new\n");
        bench.write("root/bin/new", "x\n");
        bench.write("root/bin/ours", "x\n");
        let mut environment = environment(&bench);
        environment.insert("CLIENT_BASEDIR", "/".to_owned());
        postinstall(&bench, &environment).ok();
        assert!(bench.at("root/bin/new").exists() && !bench.at("root/bin/ours").exists(), "{}", bench.name);
    }
}

/// Runs the class action script with this list, and returns its exit code.
fn put_back(bench: &Bench, list: &str) -> Option<i32> {
    bench.write("list", list);
    let mut script = Command::new(&bench.shell[0]);
    script.args(&bench.shell[1..]).arg(bench.at("install/i.conf")).arg("ENDOFCLASS");
    script.env_clear().env("PATH", "/usr/bin:/bin").current_dir(bench.dir.path());
    let status = script.stdin(fs::File::open(bench.at("list")).unwrap()).stderr(Stdio::null()).status();
    status.unwrap().code()
}

#[test]
fn saved_files_of_a_class_replace_what_is_there_and_not_what_it_leads_to() {
    for bench in benches() {
        let saved = ["saved/a", "saved/b\\c", "saved/d"];
        for path in saved {
            bench.write(path, path);
        }
        fs::set_permissions(bench.at("saved/a"), fs::Permissions::from_mode(0o640)).unwrap();
        for path in ["root/a", "root/other"] {
            bench.write(path, "new\n");
        }
        symlink("other", bench.at("root/d")).unwrap();
        let list = "saved/a root/a\nsaved/b\\c root/b\\c\nsaved/d root/d\n";
        assert_eq!(put_back(&bench, list), Some(0), "{}", bench.name);
        for path in saved {
            let back = bench.at(&path.replace("saved", "root"));
            assert!(back.symlink_metadata().unwrap().is_file(), "{}: {path}", bench.name);
            assert_eq!(fs::read_to_string(back).unwrap(), path, "{}", bench.name);
        }
        assert_eq!(fs::metadata(bench.at("root/a")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(bench.at("root/other")).unwrap(), "new\n", "{}", bench.name);
        assert_eq!(put_back(&bench, "saved/none root/a\n"), Some(1), "{}: a file is missing", bench.name);
        assert_eq!(put_back(&bench, ""), Some(0), "{}: nothing to do", bench.name);
    }
}

#[test]
fn without_anything_to_delete_the_records_are_not_touched() {
    for bench in benches() {
        let bench = patched(bench, "");
        fs::remove_file(bench.at("install/deletes")).unwrap();
        postinstall(&bench, &environment(&bench)).ok();
        assert_eq!(fs::read_to_string(bench.at("bin/asked")).unwrap(), "", "{}", bench.name);
        assert!(!bench.at("save/100-02").exists(), "{}", bench.name);
    }
}

#[test]
fn undo_data_stays_while_something_of_the_patch_does() {
    for bench in benches() {
        let bench = patched(bench, "bin/new\nbin/other\n");
        bench.write("bin/refused", "/opt/ACMEweb/bin/new\n");
        bench.write("root/opt/ACMEweb/bin/other", "x\n");
        let said = postinstall(&bench, &environment(&bench)).fails(2);
        assert_eq!(said, "postinstall: removef refuses /opt/ACMEweb/bin/new\n", "{}", bench.name);
        assert!(bench.at("save/100-02/undo.Z").exists(), "{}", bench.name);
        assert!(!bench.at("root/opt/ACMEweb/bin/other").exists(), "{}: the others go", bench.name);
    }
}

#[test]
fn no_other_directory_is_taken_for_the_undo_data() {
    for patch in ["", ".", "..", "90-01/../90-01", "/"] {
        for bench in benches() {
            let bench = patched(bench, "");
            let mut environment = environment(&bench);
            environment.insert("ACTIVE_PATCH", patch.to_owned());
            let said = postinstall(&bench, &environment).fails(2);
            assert_eq!(said, format!("postinstall: ACTIVE_PATCH is no patch: {patch}\n"));
            assert!(bench.at("save/90-01/undo.Z").exists() && bench.at("save/100-02/undo.Z").exists());
        }
    }
}

#[test]
fn shellcheck_has_nothing_to_warn_of() {
    let Some((_, shellcheck)) = found(&["shellcheck"]).next() else {
        crate::missing("shellcheck", "shellcheck_has_nothing_to_warn_of");
        return;
    };
    let scripts = ["checkinstall", "class", "postinstall"]
        .map(|name| format!("crates/inputs/src/patch_scripts/undo_{name}.sh"));
    let mut shellcheck = Command::new(shellcheck);
    shellcheck.args(["--norc", "--severity=warning"]).args(scripts).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = shellcheck.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

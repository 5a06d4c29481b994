//! Completion in shells: by the script in a real shell, and by the program that the script runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::delivery::{Patch, archive};
use crate::links::verbs;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::terminal::typed_in_shell;

/// A root with two packages and two applied patches, a directory of patches beside it, and the program in `bin`.
fn stage() -> Scenario {
    let packages = ["ACMEweb", "ACMElib"].map(|name| Package::new(name).file("bin/tool", 0o755, "one\n"));
    let mut stage = Scenario::with(&packages);
    let patch = |id: &str, name: &str| Patch::of(id, Package::new(name).file("bin/tool", 0o755, id));
    stage.patchadd("", &patch("105181-05", "ACMEweb")).ok();
    stage.patchadd("", &patch("106793-01", "ACMElib")).ok();
    let patches = stage.beside("patches");
    archive(&patch("200100-01", "ACMEweb").write(&patches), ".zip");
    fs::remove_dir_all(patches.join("200100-01")).unwrap();
    patch("200200-01", "ACMEweb").write(&patches);
    fs::write(patches.join("README"), "").unwrap();
    fs::create_dir(stage.beside("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_patchadm"), stage.beside("bin/patchadm")).unwrap();
    stage.set("PATH", format!("{}:/usr/bin:/bin", stage.beside("bin").display()));
    stage
}

/// The candidates for the last word of a line, which is empty after a space.
fn candidates(stage: &Scenario, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = stage.command("__complete zsh");
    command.arg((words.len() - 1).to_string());
    command.args(words.iter().map(|word| word.replace("@ROOT@", stage.root().to_str().unwrap())));
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{line}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn verbs_commands_and_options_are_completed() {
    let stage = stage();
    let all = candidates(&stage, "patchadm ");
    assert!(verbs().iter().all(|verb| all.contains(verb)) && all.contains(&"patchrm".to_owned()), "{all:?}");
    assert_eq!(candidates(&stage, "patchadm rem"), ["remove", "removef"]);
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ che"), ["check"]);
    assert_eq!(candidates(&stage, "patchadm --color never hist"), ["history"]);
    assert_eq!(candidates(&stage, "patchadm add --ed"), ["--edited"]);
    assert_eq!(candidates(&stage, "patchrm --tr"), ["--trust-root"]);
    assert_eq!(candidates(&stage, "patchadm patchrm --tr"), ["--trust-root"]);
    assert!(candidates(&stage, "patchadm --").contains(&"--policy".to_owned()));
    assert_eq!(candidates(&stage, "patchadm help pkgp"), ["pkgparam", "pkgproto"]);
    assert_eq!(candidates(&stage, "patchadm setup completions "), ["bash", "zsh", "fish"]);
    assert_eq!(candidates(&stage, "patchadm bulk re"), ["report", "release"]);
    assert_eq!(candidates(&stage, "patchadm bulk run work --stop"), ["--stop-on-failure"]);
    assert_eq!(candidates(&stage, "patchadm bulk --json release --fo"), ["--force"]);
    assert_eq!(candidates(&stage, "patchadm keygen --no-p"), ["--no-password"]);
    assert_eq!(candidates(&stage, "patchadm nosuch "), candidates(&stage, "patchadm "));
}

#[test]
fn values_are_those_of_the_root_that_is_named() {
    let mut stage = stage();
    let ids = ["105181-05", "106793-01"];
    for line in [
        "patchadm -R @ROOT@ remove ",
        "patchadm remove -R @ROOT@ ",
        "patchrm -R @ROOT@ ",
        "patchrm -aR @ROOT@ ",
        "patchadm patchrm -R@ROOT@ ",
        "patchadm remove --dry-run -R @ROOT@ ",
        "patchadm remove -R ~/root ",
    ] {
        assert_eq!(candidates(&stage, line), ids, "{line}");
    }
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ remove 105"), ["105181-05"]);
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ remove 105181-05 106"), ["106793-01"]);
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ check --contents ACMEw"), ["ACMEweb"]);
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ show 10"), ["105181-05", "106793-01", ":files"]);
    assert_eq!(candidates(&stage, "pkginfo -R @ROOT@ "), ["ACMElib", "ACMEweb"]);
    assert_eq!(
        candidates(&stage, "patchadm add patches/"),
        ["patches/200100-01.zip", "patches/200200-01", ":directories"]
    );
    assert_eq!(candidates(&stage, "patchadm add --edited "), ["stop", "replace", "keep"]);
    assert_eq!(candidates(&stage, "patchadm add --edited=k"), ["keep"]);
    assert_eq!(candidates(&stage, "patchadm list --color="), ["auto", "always", "never"]);
    assert_eq!(candidates(&stage, "patchadm -R "), [":directories"]);
    assert_eq!(candidates(&stage, "patchadm add --roots "), [":files"]);
    stage.set("PKG_INSTALL_ROOT", stage.root());
    assert_eq!(candidates(&stage, "patchadm remove "), ids);
}

#[test]
fn trouble_is_no_candidate_and_no_error() {
    let stage = stage();
    let before = stage.everything();
    for line in [
        "patchadm -R /no/such/root remove ",
        "patchadm remove --nosuch ",
        "patchadm -R @ROOT@/etc/passwd show x",
    ] {
        candidates(&stage, line);
    }
    for line in [
        "__complete",
        "__complete bash",
        "__complete bash x patchadm",
        "__complete bash 999 patchadm add",
        "__complete tcsh 0 patchadm",
        "__complete bash 2 patchadm",
    ] {
        let run = stage.run(line);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{line}");
    }
    stage.file("/var/sadm/pkg/ACMEweb/pkginfo", b"\0\0\0");
    candidates(&stage, "patchadm -R @ROOT@ remove ");
    stage.file("/var/sadm/pkg/ACMEweb/pkginfo", "PKG=ACMEweb\n");
    fs::write(stage.beside("patches/300300-01\n$(touch owned).zip"), "").unwrap();
    assert_eq!(candidates(&stage, "patchadm add patches/300").last().unwrap(), ":directories");
    for name in ["ACMEok", "ok;touch HACKED"] {
        fs::create_dir_all(stage.beside("pk").join(name)).unwrap();
        fs::write(stage.beside("pk").join(name).join("pkginfo"), "").unwrap();
    }
    assert_eq!(candidates(&stage, "patchadm pkgadd -n -d pk "), ["ACMEok"]);
    drop(before);
}

#[test]
fn a_lock_is_not_waited_for() {
    let stage = stage();
    let held = crate::locked::hold(&stage);
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ remove 105"), ["105181-05"]);
    drop(held);
}

#[test]
fn five_thousand_patches_are_all_there() {
    let stage = Scenario::new();
    for number in 0..50 {
        let ids: Vec<String> = (0..100).map(|at| format!("{}-01", 100_000 + number * 100 + at)).collect();
        let info = "Installed: Fri Nov 20 06:37:39 UTC 2026 From: a Obsoletes:  Requires:  Incompatibles: ";
        let infos: String = ids.iter().map(|id| format!("PATCH_INFO_{id}={info}\n")).collect();
        let name = format!("ACME{number}");
        stage.package(&name, &format!("PKG={name}\nPATCHLIST={}\n{infos}", ids.join(" ")));
    }
    // Completion gives up after a second. On a busy machine, the first read of the records may take longer.
    crate::workshop::eventually("all are there", || {
        candidates(&stage, "patchadm -R @ROOT@ remove ").len() == 5_000
    });
    assert_eq!(candidates(&stage, "patchadm -R @ROOT@ remove 10499").len(), 10);
}

/// The line in an interactive shell after a tab.
fn completed(shell: &str, stage: &Scenario, line: &str) -> Option<String> {
    let root = stage.root().display().to_string();
    let load = match shell {
        "zsh" => "autoload -Uz compinit; compinit -u -D; source <(patchadm setup completions zsh)",
        _ => "source <(patchadm setup completions bash)",
    };
    typed_in_shell(shell, stage, load, &line.replace("@ROOT@", &root))
        .map(|line| line.replace(&root, "@ROOT@"))
}

#[test]
fn bash_quotes_whatever_the_program_offers() {
    let stage = stage();
    let directory = stage.beside("other");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("patchadm"), "#!/bin/sh\necho 'ok;touch HACKED'\n").unwrap();
    fs::set_permissions(directory.join("patchadm"), fs::Permissions::from_mode(0o755)).unwrap();
    let script = stage.run("setup completions bash").stdout;
    let asked = "COMP_WORDS=(patchadm pkgadd o); COMP_CWORD=2; _patchadm; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", &format!("{script}\n{asked}")]);
    let Ok(output) = bash.env("PATH", format!("{}:/usr/bin:/bin", directory.display())).output() else {
        crate::missing("bash", "bash_quotes_whatever_the_program_offers");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "ok\\;touch\\ HACKED");
}

#[test]
fn bash_and_zsh_complete_what_is_typed() {
    let stage = stage();
    fs::write(stage.beside("patches/a;b $(c)"), "").unwrap();
    for shell in ["bash", "zsh"] {
        for (typed, becomes) in [
            ("patchadm hist", "patchadm history"),
            ("patchadm -R @ROOT@ show 1051", "patchadm -R @ROOT@ show 105181-05"),
            ("patchadm -R @ROOT@ remove 106", "patchadm -R @ROOT@ remove 106793-01"),
            ("patchadm -R @ROOT@ check --contents ACMEw", "patchadm -R @ROOT@ check --contents ACMEweb"),
            ("patchadm list --color=al", "patchadm list --color=always"),
            ("patchadm add patches/2001", "patchadm add patches/200100-01.zip"),
            ("patchadm add --roots patches/REA", "patchadm add --roots patches/README"),
            ("patchadm add --roots patches/a", "patchadm add --roots patches/a;b $(c)"),
            ("patchrm -R @ROOT@ 1051", "patchrm -R @ROOT@ 105181-05"),
        ] {
            let Some(line) = completed(shell, &stage, typed) else { break };
            assert_eq!(line, becomes, "{shell}");
        }
    }
}

#[test]
fn fish_completes_what_is_typed() {
    let stage = stage();
    for (typed, expected) in [
        ("patchadm hist", "history"),
        ("patchadm -R @ROOT@ remove 105", "105181-05"),
        ("patchadm -R @ROOT@ check --contents ACMEw", "ACMEweb"),
        ("patchadm list --color=al", "--color=always"),
        ("patchadm add patches/2001", "patches/200100-01.zip"),
        ("patchrm -R @ROOT@ 106", "106793-01"),
    ] {
        let typed = typed.replace("@ROOT@", stage.root().to_str().unwrap());
        let script = format!("patchadm setup completions fish | source; complete -C '{typed}'");
        let program = stage.command("");
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", &script]).current_dir(stage.beside("")).env_clear();
        fish.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let Ok(output) = fish.output() else {
            crate::missing("fish", "fish_completes_what_is_typed");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let values: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(values, [expected], "{typed}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

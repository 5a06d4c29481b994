//! Refusals of patches and of backouts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Row, command_of, last_line, type_it, until_accepted};
use crate::delivery::{Patch, indexed_depot};
use crate::elf_sample::Sample;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::scenario::Scenario;

pub(super) const ROWS: &[Row] = &[
    ("Reason::LibrariesLost", libraries_lost),
    ("Reason::Edited", edited),
    ("Reason::KeepWithoutUndo", keep_without_undo),
    ("Reason::OtherBaseDirectory", other_base_directory),
    ("Reason::Required", required),
    ("Reason::Promotion", conflict_of_trees),
    ("Reason::Promotion", too_much_deleted),
    ("Reason::Promotion", patches_in_between),
    ("Reason::Hook", hook_of_nobody),
    ("Reason::Hook", hook_forbidden),
    ("Reason::InSet", own_run),
    ("Reason::InSet", withdrawn),
    ("Reason::InSet", required_nowhere),
    ("Reason::InSet", not_in_depot),
    ("Reason::InSet", two_contents),
    ("Reason::Restricted", restricted),
    ("Reason::Incompatible", incompatible),
    ("Reason::AlreadyApplied", already_applied),
    ("Reason::Superseded", superseded),
    ("Reason::Obsoleted", obsoleted),
    ("Reason::Needed", needed),
    ("Reason::ChangedLater", changed_for_another_package),
    ("Reason::NotHandedOn", not_handed_on),
    ("Reason::NotHandedOn", chain),
    ("Reason::NotHandedOn", blocked),
    ("Reason::UsedLater", used_later),
    ("Reason::NotApplied", not_applied),
    ("Reason::NotInstalled", of_another_architecture),
    ("Reason::Interrupted", interrupted),
    ("Reason::OtherInterrupted", other_interrupted),
    ("Reason::RecordsByScripts", records_by_scripts),
    ("Reason::NoWayBack", crate::way_back::advised),
    ("Reason::BeyondScripts", crate::beyond_scripts::advised),
    ("Reason::ScriptForbidden", script_forbidden),
    ("Reason::Excluded", excluded),
    ("Reason::NoSpace", no_space),
    ("Reason::UndoMismatch", undo_mismatch),
    ("Reason::StaleSave", stale_save),
];

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("bin/tool", 0o755, "one\n")
}

fn stage() -> Scenario {
    Scenario::with(&[web()])
}

/// A patch of the file `bin/httpd`.
fn patch(id: &str) -> Patch {
    of_file(id, "bin/httpd")
}

fn of_file(id: &str, file: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file(file, 0o755, format!("as of {id}\n")))
}

/// A root with a staged tree.
fn staged() -> Scenario {
    let stage = Scenario::new();
    for name in ["a", "b", "c"] {
        stage.file(&format!("/usr/pkg/{name}"), "1\n");
    }
    stage.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    stage
}

fn conflict_of_trees() {
    let stage = staged();
    stage.file("/usr/pkg/a", "live\n");
    fs::write(stage.beside("web/usr/pkg/a"), "stage\n").unwrap();
    let text = stage.run("stage refresh web -R @ROOT@").fails(3);
    assert!(text.contains("use the live files with `--edited replace`"), "{text}");
    let text = stage.run("stage promote web -R @ROOT@").fails(3);
    assert!(text.contains("promote them with `--edited replace`"), "{text}");
    stage.run("stage promote web -R @ROOT@ --edited replace").ok();
}

fn too_much_deleted() {
    let stage = staged();
    fs::remove_file(stage.beside("web/usr/pkg/a")).unwrap();
    let text = stage.run("stage promote web -R @ROOT@").fails(3);
    assert!(text.contains("`--max-delete N` or `--max-delete N%`"), "{text}");
    stage.run("stage promote web -R @ROOT@ --max-delete 1").ok();
}

fn patches_in_between() {
    let live = stage();
    live.run("stage new web -R @ROOT@ --records --path opt").ok();
    let of_stage = patch("100-01").directory(&live);
    live.run(&format!("patchadd -R {} {}", live.beside("web").display(), of_stage.display())).ok();
    live.patchadd("", &of_file("200-01", "bin/tool")).ok();
    until_accepted(&live, "stage promote web -R @ROOT@");
}

/// A root with a staged tree and a hook that is not executable yet.
fn hooked() -> Scenario {
    let stage = staged();
    fs::write(stage.beside("web/usr/pkg/new"), "new\n").unwrap();
    stage.file("/etc/hook", "#!/bin/sh\n");
    stage.file("/etc/patchadm/policy", "promote_after=/etc/hook\n");
    stage
}

fn hook_of_nobody() {
    let stage = hooked();
    let said = stage.run("stage promote web -R @ROOT@").fails(3);
    let typed = last_line(&said).trim().replace("@ROOT@", stage.root().to_str().unwrap());
    let words: Vec<&str> = typed.split(' ').collect();
    assert!(std::process::Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{typed}");
    stage.run("stage promote web -R @ROOT@").ok();
}

fn hook_forbidden() {
    let stage = hooked();
    stage.mode("/etc/hook", 0o755);
    stage.file("/etc/patchadm/policy", "promote_after=/etc/hook\nscripts=known\n");
    let said = stage.run("stage promote web -R @ROOT@").fails(3);
    assert!(last_line(&said).contains("promote without it: use `--no-hooks`"), "{said}");
    stage.run("stage promote web -R @ROOT@ --no-hooks").ok();
    let said = stage.run("remove -R @ROOT@ web-01").fails(3);
    assert!(last_line(&said).contains("remove it without the hook: use `--scripts refuse`"), "{said}");
    stage.run("remove -R @ROOT@ --scripts refuse web-01").ok();
}

fn own_run() {
    let stage = stage();
    patch("100-01").directory(&stage);
    let scripted = of_file("200-01", "bin/tool").beside("prepatch", "#!/bin/sh\nexit 0\n").directory(&stage);
    fs::set_permissions(scripted.join("prepatch"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = stage.run("plan --all-or-nothing -R @ROOT@ -M delivered").fails(3);
    assert!(last_line(&said).contains("leave out `--all-or-nothing`"), "{said}");
    assert_eq!(stage.run("plan -R @ROOT@ -M delivered").code, 0);
}

fn withdrawn() {
    let stage = stage();
    patch("100-01").directory(&stage);
    fs::write(stage.beside("delivered/flags"), "100-01 withdrawn\n").unwrap();
    let said = stage.run("add -R @ROOT@ -M delivered 100").fails(3);
    assert!(last_line(&said).contains("specify it with its revision and use `--allow-withdrawn`"), "{said}");
    stage.run("add -R @ROOT@ -M delivered --allow-withdrawn 100-01").ok();
}

fn required_nowhere() {
    let stage = stage();
    patch("100-01").says("SUNW_REQUIRES", "200-01").directory(&stage);
    let add = "add -R @ROOT@ -M delivered";
    let said = stage.run(add).fails(3);
    assert!(
        last_line(&said).contains("add it to the depot, or leave out this patch with `--exclude`"),
        "{said}"
    );
    stage.run(&format!("{add} --exclude 100-01")).ok();
    of_file("200-01", "bin/tool").directory(&stage);
    stage.run(add).ok();
}

fn not_in_depot() {
    let stage = stage();
    patch("100-01").directory(&stage);
    let said = stage.run("add -R @ROOT@ -M delivered 100-02").fails(1);
    assert!(last_line(&said).contains("`patchadm -R @ROOT@ missing -M delivered total`"), "{said}");
    assert!(stage.run("missing -R @ROOT@ -M delivered total").ok().contains("\n100 "));
    stage.run("add -R @ROOT@ -M delivered 100").ok();
}

fn two_contents() {
    let stage = stage();
    let first = patch("100-01").directory(&stage);
    let twin = first.with_file_name("twin");
    fs::rename(&first, &twin).unwrap();
    of_file("100-01", "bin/tool").directory(&stage);
    let add = format!("add --all-or-nothing -R @ROOT@ {} {}", first.display(), twin.display());
    let said = stage.run(&add).fails(3);
    assert!(last_line(&said).contains("remove one of the two"), "{said}");
    stage.run(&format!("add -R @ROOT@ {}", first.display())).ok();
}

/// Delivers patches and applies them, in this order.
fn applied(stage: &Scenario, patches: &[&Patch]) {
    for patch in patches {
        let at = patch.directory(stage);
        stage.run(&format!("add -R @ROOT@ {}", at.display())).ok();
    }
}

fn add(options: &str, id: &str) -> String {
    format!("add {options} -R @ROOT@ delivered/{id}")
}

fn edited() {
    let edited = || {
        let stage = stage();
        patch("100-01").directory(&stage);
        fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
        stage
    };
    let said = edited().run(&add("", "100-01")).fails(3);
    let hint = last_line(&said);
    for option in ["--edited replace", "--edited keep", "--replace-edited PATH", "--keep-edited PATH"] {
        assert!(hint.contains(option), "{option}: {hint}");
        let option = option.replace("PATH", "@ROOT@/opt/ACMEweb/bin/httpd");
        edited().run(&add(&option, "100-01")).ok();
    }
    let said = edited().run(&add("--no-undo", "100-01")).fails(3);
    let hint = last_line(&said);
    assert!(!hint.contains("keep") && !hint.contains("--keep-edited"), "{hint}");
    for option in ["--edited replace", "--replace-edited PATH"] {
        assert!(hint.contains(option), "{option}: {hint}");
        let option = option.replace("PATH", "/opt/ACMEweb/bin/httpd");
        assert_eq!(edited().run(&add(&format!("--no-undo {option}"), "100-01")).code, 0, "{option}");
    }
}

fn keep_without_undo() {
    let edited = || {
        let stage = stage();
        patch("100-01").directory(&stage);
        fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
        stage
    };
    let said = edited().run(&add("--no-undo --edited keep", "100-01")).fails(3);
    assert!(last_line(&said).contains("leave out `--no-undo`, or use `--edited replace`"), "{said}");
    edited().run(&add("--edited keep", "100-01")).ok();
    assert_eq!(edited().run(&add("--no-undo --edited replace", "100-01")).code, 0);
}

fn other_base_directory() {
    let of = |base: &str, path: &str| {
        Patch::of("100-01", Package::new("ACMEweb").param("BASEDIR", base).file(path, 0o755, "two\n"))
    };
    let wrong = stage();
    of("/export", "export/httpd").directory(&wrong);
    let said = wrong.run(&add("", "100-01")).fails(3);
    let installed = wrong.run("pkgparam -R @ROOT@ ACMEweb BASEDIR").ok();
    assert!(last_line(&said).contains(&format!("with `--basedir {}`", installed.trim_end())), "{said}");
    let right = stage();
    of(installed.trim_end(), "bin/httpd").directory(&right);
    right.run(&add("", "100-01")).ok();
}

fn required() {
    let needy = || of_file("200-01", "bin/tool").says("SUNW_REQUIRES", "100-01");
    let delivered = || {
        let stage = stage();
        patch("100-01").directory(&stage);
        needy().directory(&stage);
        stage
    };
    let stage = delivered();
    let said = stage.run(&add("", "200-01")).fails(3);
    assert_eq!(last_line(&said), "apply patch 100-01 first, or apply both in one command");
    stage.run(&add("", "100-01")).ok();
    stage.run(&add("", "200-01")).ok();
    delivered().run(&add("delivered/200-01", "100-01")).ok();
}

fn restricted() {
    let stage = stage();
    applied(&stage, &[&patch("T100-01")]);
    of_file("200-01", "bin/tool").directory(&stage);
    assert_eq!(until_accepted(&stage, &add("", "200-01")), ["patchadm -R @ROOT@ remove T100-01"]);
}

fn incompatible() {
    let stage = stage();
    applied(&stage, &[&patch("100-01")]);
    of_file("200-01", "bin/tool").says("SUNW_INCOMPAT", "100-01").directory(&stage);
    assert_eq!(until_accepted(&stage, &add("", "200-01")), ["patchadm -R @ROOT@ remove 100-01"]);
}

/// Nothing to do for the verbs; if a message names a command, that command works.
fn already_applied() {
    let stage = stage();
    applied(&stage, &[&patch("100-01")]);
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
    let run = stage.run(&add("", "100-01"));
    if run.stderr.contains('`') {
        type_it(&stage, &run.stderr, &[("PATCH", "delivered/100-01")]).ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "as of 100-01\n");
    }
}

/// Runs the one command that the refusal to remove `100-01` names, and returns its ids.
#[track_caller]
fn removed_together(stage: &Scenario) -> String {
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    type_it(stage, &said, &[]).ok();
    let command = command_of(&said, &[]);
    command.strip_prefix("patchadm -R @ROOT@ remove ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn superseded() {
    let stage = stage();
    applied(&stage, &[&patch("100-01"), &patch("100-02"), &patch("100-03")]);
    for line in ["remove -R @ROOT@ --dry-run 100-01", "remove -R @ROOT@ --with-dependents 100-01"] {
        let said = stage.run(line).fails(3);
        assert_eq!(command_of(&said, &[]), "patchadm -R @ROOT@ remove 100-01 100-02 100-03", "{said}");
    }
    assert_eq!(removed_together(&stage), "100-01 100-02 100-03");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

fn obsoleted() {
    let stage = stage();
    applied(&stage, &[&patch("100-01"), &patch("200-01").says("SUNW_OBSOLETES", "100-01")]);
    assert_eq!(removed_together(&stage), "100-01 200-01");
}

/// One of the two patches that need it also needs the other one.
fn needed() {
    let stage = stage();
    let second = of_file("200-01", "bin/tool").says("SUNW_REQUIRES", "100-01");
    let third = of_file("300-01", "bin/third").says("SUNW_REQUIRES", "100-01 200-01");
    applied(&stage, &[&patch("100-01"), &second, &third]);
    assert_eq!(removed_together(&stage), "100-01 200-01 300-01");
}

/// A patch of an editable file.
fn settings(id: &str, file: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").of_class("none", 'e', file, 0o755, format!("as of {id}\n")))
}

/// The later patch delivers the file for another package.
fn changed_for_another_package() {
    let add = Package::new("ACMEadd").param("BASEDIR", "/opt/ACMEweb").file("bin/httpd", 0o755, "one\n");
    let stage = Scenario::with(&[web(), add]);
    let other = Package::new("ACMEadd").param("BASEDIR", "/opt/ACMEweb").file("bin/httpd", 0o755, "two\n");
    applied(&stage, &[&patch("100-01"), &Patch::of("200-01", other)]);
    assert_eq!(removed_together(&stage), "100-01 200-01");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

fn not_handed_on() {
    let stage = stage();
    let file = "bin/httpd";
    applied(&stage, &[&settings("100-01", file), &settings("200-01", file)]);
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.ends_with("remove 100-01 200-01`, and apply the later ones again afterwards\n"), "{said}");
    applied(&stage, &[&settings("300-01", file)]);
    assert_eq!(removed_together(&stage), "100-01 200-01 300-01");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

/// The second patch changes the file of the first one, and another file that a third patch changed.
fn chain() {
    let stage = stage();
    let both = Package::new("ACMEweb")
        .of_class("none", 'e', "bin/httpd", 0o755, "two\n")
        .of_class("none", 'e', "bin/tool", 0o755, "two\n");
    applied(&stage, &[&patch("100-01"), &Patch::of("200-01", both), &of_file("300-01", "bin/tool")]);
    let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
    assert!(said.contains("patch 200-01"), "{said}");
    assert!(last_line(&said).starts_with("remove these patches in one command: `"), "{said}");
    assert_eq!(removed_together(&stage), "100-01 200-01 300-01");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

/// If the patch in the way has no undo data, the refusal names no command that would be refused as well.
fn blocked() {
    let stage = stage();
    applied(&stage, &[&patch("100-01")]);
    settings("200-01", "bin/httpd").directory(&stage);
    stage.run(&add("--no-undo", "200-01")).ok();
    for line in ["remove -R @ROOT@ 100-01", "remove --dry-run -R @ROOT@ 100-01"] {
        let said = stage.run(line).fails(3);
        assert!(last_line(&said).starts_with("patch 200-01 cannot be removed either: "), "{said}");
        assert!(!said.contains('`'), "{said}");
    }
}

fn used_later() {
    let stage = stage();
    let directory = Patch::of("100-01", Package::new("ACMEweb").directory("share"));
    applied(&stage, &[&directory, &of_file("200-01", "share/a"), &of_file("300-01", "share/b")]);
    removed_together(&stage);
    assert!(!stage.at("/opt/ACMEweb/share").exists());
}

fn of_another_architecture() {
    let stage = stage();
    indexed_depot(&stage, &[patch("200-01")]);
    stage.file("/etc/patchadm/policy", "signature=off\n");
    Patch::of("100-01", web().param("ARCH", "sparc")).write(&stage.beside("other"));
    let said = stage.run("add -R @ROOT@ other/100-01").fails(3);
    let why = "none of its packages is installed in the required version and architecture: ACMEweb (sparc) 1.0 \
        (installed: ACMEweb (i386) 1.0)";
    assert!(said.contains(why), "{said}");
    let listed = type_it(&stage, &said, &[("DEPOT", "delivered")]).ok();
    assert!(listed.contains("200"), "{listed}");
    let other = Package::new("OTHER").file("bin/other", 0o755, "one\n");
    Patch::of("300-01", other).write(&stage.beside("other"));
    let said = stage.run("add -R @ROOT@ other/300-01").fails(3);
    let adopt = "register a directory that was never adopted with `patchadm -R @ROOT@ adopt --pkg PKG";
    assert!(said.contains("(not installed)") && said.contains(adopt), "{said}");
}

fn not_applied() {
    let stage = stage();
    applied(&stage, &[&patch("100-01")]);
    let said = stage.run("remove -R @ROOT@ 200-01");
    if said.code != 0 {
        assert!(type_it(&stage, &said.stderr, &[]).ok().contains("100-01  effective"));
    }
}

/// A root where a tool without recovery died while it applied the patch `100-01`.
fn half_applied() -> Scenario {
    let stage = stage();
    applied(&stage, &[&patch("100-01")]);
    fs::write(stage.at("/var/sadm/pkg/ACMEweb/!I-Lock!"), "").unwrap();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb/save/100-01")).unwrap();
    stage.forget_ledgers();
    stage
}

fn interrupted() {
    for line in ["remove -R @ROOT@ 100-01".to_owned(), add("", "100-01"), "recover -R @ROOT@".to_owned()] {
        let stage = half_applied();
        let run = stage.run(&line);
        let hint = if run.stderr.is_empty() { &run.stdout } else { &run.stderr };
        let (_, hint) =
            hint.split_once("restore the package from a backup").unwrap_or_else(|| panic!("{line}: {run:?}"));
        assert_eq!(type_it(&stage, hint, &[("PATCH", "delivered/100-01")]).code, 0, "{line}: {hint}");
        assert!(!stage.at("/var/sadm/pkg/ACMEweb/!I-Lock!").exists(), "{line}");
    }
}

fn other_interrupted() {
    let stage = half_applied();
    let scripted =
        Package::new("ACMEweb").file("bin/more", 0o755, "new\n").information("preinstall", "exit 0\n");
    Patch::of("200-01", scripted).directory(&stage);
    let said = stage.run(&add("", "200-01")).fails(3);
    assert_eq!(type_it(&stage, last_line(&said), &[("PATCH", "delivered/100-01")]).code, 0, "{said}");
    assert_eq!(stage.run(&add("", "200-01")).code, 0);
}

fn records_by_scripts() {
    let delivered = || {
        let stage = stage();
        let keeps = "echo PATCHLIST=$SUNW_PATCHID >> $1\n";
        let package =
            Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").information("checkinstall", keeps);
        Patch::of("100-01", package).directory(&stage);
        stage
    };
    let run = delivered().run(&add("--scripts native", "100-01"));
    let hint = last_line(&run.stderr);
    if hint.contains("--scripts") {
        for engine in ["--scripts run", "--scripts auto"] {
            assert!(hint.contains(engine), "{hint}");
            let said = delivered().run(&add(engine, "100-01")).stderr;
            assert!(!said.contains("keep the records of the patch themselves"), "{engine}: {said}");
        }
    }
}

fn script_forbidden() {
    let stage = stage();
    let prepatch =
        patch("100-01").beside("prepatch", "#!/bin/sh\nexit 0\n").directory(&stage).join("prepatch");
    fs::set_permissions(prepatch, fs::Permissions::from_mode(0o755)).unwrap();
    let said = stage.run(&add("--scripts refuse", "100-01")).fails(3);
    assert!(said.contains("which --scripts refuse does not allow"), "{said}");
    assert_eq!(last_line(&said), "leave out `--scripts refuse`");
    stage.file("/etc/patchadm/policy", "scripts=none\n");
    let said = stage.run(&add("--scripts refuse", "100-01")).fails(3);
    assert_eq!(last_line(&said), "to allow it, set `scripts=run` in @ROOT@/etc/patchadm/policy");
    stage.file("/etc/patchadm/policy", "scripts=run\n");
    assert_eq!(stage.run(&add("", "100-01")).code, 0);
}

fn excluded() {
    let stage = stage();
    patch("100-01").directory(&stage);
    stage.file("/etc/patchadm/policy", "exclude=100\n");
    let said = stage.run(&add("", "100-01")).fails(3);
    assert_eq!(last_line(&said), "to apply it, remove it from `exclude` in @ROOT@/etc/patchadm/policy");
    stage.file("/etc/patchadm/policy", "");
    stage.run(&add("", "100-01")).ok();
}

/// Undo data that does not fit can go elsewhere; objects that do not fit need space.
fn no_space() {
    const KIB: usize = 1024;
    let noise = |seed: u32, size: usize| -> Vec<u8> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(state.to_be_bytes()[0])
        };
        std::iter::repeat(()).scan(seed, |state, ()| next(state)).take(size).collect()
    };
    let scenario = Scenario::with(&[Package::new("ACMEweb").file("big", 0o644, noise(1, 600 * KIB))]);
    Patch::of("100-01", Package::new("ACMEweb").file("big", 0o644, noise(2, 600 * KIB))).directory(&scenario);
    fs::create_dir(scenario.beside("undo")).unwrap();
    let mounts = "mkdir -p $ROOT/keep; cp -a $ROOT/var/. $ROOT/keep; mount -t tmpfs -o mode=755,size=2m tmpfs $ROOT/var
        cp -a $ROOT/keep/. $ROOT/var; rm -r $ROOT/keep
        mkdir $ROOT/more; mount -t tmpfs -o mode=755,size=64k tmpfs $ROOT/more";
    let Some(root) = Mounted::new("undo data that does not fit", scenario, mounts) else { return };
    let fill = |left: usize| {
        let seen = rustix::fs::statvfs(root.at("/var")).unwrap();
        let free = usize::try_from(seen.f_bavail * seen.f_frsize).unwrap();
        fs::write(root.at("/var/filler"), vec![1; free - left * KIB]).unwrap();
    };
    fill(1_400);
    let said = root.run(&add("", "100-01")).fails(3);
    let hint = last_line(&said).to_owned();
    assert!(hint.starts_with("free ") && hint.contains(" more on @ROOT@/var"), "{hint}");
    assert!(hint.ends_with(", or keep undo data on another file system with `--undo-dir DIR`"), "{hint}");
    let undo = root.stage().beside("undo");
    root.run(&add(&format!("--undo-dir {}", undo.display()), "100-01")).ok();
    root.run("remove -R @ROOT@ 100-01").ok();
    let words: Vec<&str> = hint.split(' ').collect();
    let tenths: usize = words[1].replace('.', "").parse().unwrap();
    let unit = if words[2] == "MiB" { KIB * KIB } else { KIB };
    let missing = tenths * unit / 10;
    let seen = fs::metadata(root.at("/var/filler")).unwrap().len();
    let smaller = usize::try_from(seen).unwrap() - missing - 32 * KIB;
    fs::write(root.at("/var/filler"), vec![1; smaller]).unwrap();
    root.run(&add("", "100-01")).ok();
}

fn undo_mismatch() {
    for (first, then, advice) in [
        ("--no-undo", "", "use `--no-undo`, as before"),
        ("", "--no-undo", "leave out `--no-undo`, as before"),
    ] {
        let stage = stage();
        patch("100-01").package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n")).directory(&stage);
        assert_eq!(stage.run(&add(first, "100-01")).code, 0);
        stage.install(&Package::new("ACMEdb").file("bin/db", 0o755, "one\n"));
        let said = stage.run(&add(then, "100-01")).fails(3);
        assert_eq!(last_line(&said), advice);
        assert_eq!(stage.run(&add(first, "100-01")).code, 0, "{advice}");
    }
}

fn stale_save() {
    let stage = stage();
    stage.file("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz", "somebody's\n");
    patch("100-01").directory(&stage);
    let said = stage.run(&add("", "100-01")).fails(3);
    let path = last_line(&said).strip_prefix("move ").and_then(|rest| rest.strip_suffix(" away")).unwrap();
    let path = path.strip_prefix("@ROOT@").unwrap_or_else(|| panic!("{said}"));
    fs::rename(stage.at(path), stage.beside("away")).unwrap();
    stage.run(&add("", "100-01")).ok();
}

#[test]
fn a_command_names_the_root_in_the_words_of_a_shell() {
    let said = "remove it first: `patchadm -R '/a b' remove PATCH`";
    assert_eq!(command_of(said, &[("PATCH", "1-01")]), "patchadm -R '/a b' remove 1-01");
}

/// A program needs the library; the named option accepts its loss.
fn libraries_lost() {
    let package = |name: &str| Package::new(name).param("BASEDIR", "/");
    let library = Sample { soname: Some("libx.so.1"), ..Sample::default() }.bytes();
    let sample = Sample { needed: &["libx.so.1"], interpreter: Some("/lib/ld.so"), ..Sample::default() };
    let user = package("ACMEp").file("usr/bin/p", 0o755, sample.bytes());
    let old = package("ACMEx").file("usr/lib/libx.so.1", 0o755, library);
    let stage = Scenario::with(&[old, user]);
    let patch = Patch::of("900-01", package("ACMEx").deletes(&["usr/lib/libx.so.1"]));
    let add = |options: &str| format!("add {options} -R @ROOT@ {}", patch.directory(&stage).display());
    let said = stage.run(&add("--libs stop")).fails(3);
    let (_, option) = said.split_once("accept the loss with `").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(stage.run(&add(option.lines().next().unwrap().trim_end_matches('`'))).code, 0);
}

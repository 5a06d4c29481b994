//! Whose root is it? The superuser changes a root only where nobody else writes its records.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::packages::Package;
use crate::scenario::{Scenario, code_of, is_root};
use crate::tree::assert_same;

/// Every command that changes a root or reports what a change would do, with its exit code for a root of another
/// user.
const CHANGING: [(&str, i32); 15] = [
    ("patchadd -R @ROOT@ delivered/100-01", 3),
    ("patchadd -a -R @ROOT@ delivered/100-01", 3),
    ("patchrm -R @ROOT@ 100-01", 3),
    ("pkgadd -n -R @ROOT@ -d spool ACMEweb", 1),
    ("pkgrm -n -R @ROOT@ ACMEweb", 1),
    ("installf -R @ROOT@ ACMEweb /opt/x d 0755 root root", 1),
    ("installf -f -R @ROOT@ ACMEweb", 1),
    ("removef -R @ROOT@ ACMEweb /opt/ACMEweb/bin/httpd", 1),
    ("pkgchk -f -R @ROOT@", 1),
    ("add -R @ROOT@ delivered/100-01", 3),
    ("add --dry-run -R @ROOT@ delivered/100-01", 3),
    ("plan -R @ROOT@ delivered/100-01", 3),
    ("remove --dry-run -R @ROOT@ 100-01", 3),
    ("remove -R @ROOT@ 100-01", 3),
    ("recover -R @ROOT@", 3),
];

/// A root with a package, and a patch for it; `None` if the test does not run as the superuser.
fn stage(test: &str) -> Option<Scenario> {
    if !is_root() {
        crate::skipped(&format!("{test}: only root can be refused so"));
        return None;
    }
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    Some(stage)
}

fn give(path: &Path, uid: u32) {
    lchown(path, Some(uid), Some(uid)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}

#[test]
fn root_changes_nothing_in_a_tree_of_somebody_else_and_is_told_whose_it_is() {
    let Some(stage) = stage("a tree of somebody else") else { return };
    give(&stage.root(), NOBODY);
    let before = crate::tree::Tree::of(&stage.root(), &[]);
    for (line, code) in CHANGING {
        let said = stage.run(line).fails(code);
        let word = if code_of(line, 0, 1) == 0 { "ERROR" } else { "error" };
        let told = format!(
            "{word}: The root @ROOT@ belongs to uid {NOBODY}: @ROOT@/var/sadm is writable by that user.\n"
        );
        assert!(said.contains(&told), "{line}: {said}");
        assert!(said.to_lowercase().contains("    nothing was changed"), "{line}: {said}");
        assert_same(&crate::tree::Tree::of(&stage.root(), &[]), &before);
    }
}

#[test]
fn queries_of_a_tree_of_somebody_else_are_answered() {
    let Some(stage) = stage("queries") else { return };
    give(&stage.root(), NOBODY);
    for line in
        ["pkginfo -R @ROOT@", "patchadd -p -R @ROOT@", "pkgparam -R @ROOT@ ACMEweb PKG", "list -R @ROOT@"]
    {
        stage.run(line).ok();
    }
    assert!([0, 4].contains(&stage.run("check --contents -R @ROOT@").code));
    assert!([0, 1].contains(&stage.run("pkgchk -R @ROOT@").code));
}

#[test]
fn each_record_and_each_directory_on_the_way_to_it_is_the_superusers_alone() {
    let Some(stage) = stage("each record") else { return };
    fs::create_dir_all(stage.at("/etc/patchadm")).unwrap();
    fs::write(stage.at("/etc/patchadm/policy"), "wait=0\n").unwrap();
    let line = "patchadd -R @ROOT@ delivered/100-01";
    for path in [
        "/var",
        "/var/sadm",
        "/var/sadm/install",
        "/var/sadm/install/contents",
        "/var/sadm/pkg",
        "/var/sadm/pkg/ACMEweb",
        "/var/sadm/pkg/ACMEweb/pkginfo",
        "/var/sadm/patchadm",
        "/var/sadm/patchadm/journal",
        "/var/sadm/patchadm/stage",
        "/etc",
        "/etc/passwd",
        "/etc/group",
        "/etc/patchadm",
        "/etc/patchadm/policy",
    ] {
        let place = stage.at(path);
        let mode = fs::metadata(&place).unwrap().permissions().mode();
        let set = |bits| fs::set_permissions(&place, Permissions::from_mode(bits)).unwrap();
        chown(&place, Some(NOBODY), None).unwrap();
        let said = stage.run(line).fails(3);
        assert!(
            said.contains(&format!("@ROOT@{path} to uid {NOBODY}, who can write to it")),
            "{path}: {said}"
        );
        assert!(
            said.to_lowercase().contains("nothing was changed") && !said.contains("--as-owner"),
            "{said}"
        );
        chown(&place, Some(0), None).unwrap();
        set(mode | 0o1002);
        let said = stage.run(line).fails(3);
        assert!(said.contains(&format!("everyone can write to @ROOT@{path}")), "{path}: {said}");
        assert!(said.contains(&format!("emove the permission: `chmod o-w @ROOT@{path}`")), "{said}");
        set(mode | 0o020);
        chown(&place, None, Some(NOBODY)).unwrap();
        let said = stage.run(line).fails(3);
        assert!(said.contains(&format!("the group of @ROOT@{path} can write to it")), "{path}: {said}");
        chown(&place, None, Some(0)).unwrap();
        set(mode);
    }
    for path in ["/var", "/var/sadm/pkg", "/etc/passwd"] {
        let mode = fs::metadata(stage.at(path)).unwrap().permissions().mode();
        fs::set_permissions(stage.at(path), Permissions::from_mode(mode | 0o020)).unwrap();
    }
    stage.run(line).ok();
}

#[test]
fn directories_of_objects_and_those_above_the_root_may_be_anybodys() {
    let Some(stage) = stage("directories of objects") else { return };
    fs::set_permissions(stage.beside(""), Permissions::from_mode(0o777)).unwrap();
    give(&stage.at("/opt"), NOBODY);
    chown(stage.at("/opt/ACMEweb/bin/httpd"), Some(0), Some(0)).unwrap();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
}

#[test]
fn scripts_of_the_superuser_run_only_in_a_root_that_nobody_else_can_move() {
    let Some(stage) = stage("a root that others can move") else { return };
    let package = Package::new("ACMEs").file("f", 0o644, "x\n");
    let package = package.information("postinstall", "echo package > $PKG_INSTALL_ROOT/opt/ran\n");
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    let patch = Patch::of("200-01", Package::new("ACMEweb").file("bin/other", 0o755, "other\n"));
    let postpatch = "#!/bin/sh\necho patch > $ROOTDIR/opt/ran\n";
    let delivered = patch.beside("postpatch", postpatch).directory(&stage);
    fs::set_permissions(delivered.join("postpatch"), Permissions::from_mode(0o755)).unwrap();
    let (above, admin) = (stage.beside(""), stage.beside("admin"));
    let adds = format!("pkgadd -n -a {} -R @ROOT@ -d spool ACMEs", admin.display());
    for (owner, bits, why) in [
        (NOBODY, 0o755, format!(" belongs to uid {NOBODY}: ")),
        (NOBODY, 0o1777, format!(" belongs to uid {NOBODY}: ")),
        (0, 0o757, " is writable by users other than its owner: ".to_owned()),
    ] {
        chown(&above, Some(owner), None).unwrap();
        fs::set_permissions(&above, Permissions::from_mode(bits)).unwrap();
        let dry_run = "add --dry-run -R @ROOT@ delivered/200-01";
        for line in [adds.as_str(), "patchadd -R @ROOT@ delivered/200-01", dry_run] {
            let run = stage.run(line);
            assert_ne!(run.code, 0, "{line}: {}", run.stdout);
            let said = run.said();
            let told = format!("{}{why}", above.display().to_string().trim_end_matches('/'));
            assert!(said.contains(&told) && said.contains("in place of @ROOT@"), "{line}: {said}");
            assert!(!stage.at("/opt/ran").exists(), "{line}");
        }
    }
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    fs::set_permissions(&above, Permissions::from_mode(0o1777)).unwrap();
    let run = stage.run(&adds);
    assert_eq!((run.code, stage.text("/opt/ran").as_str()), (0, "package\n"), "{}", run.stderr);
    fs::set_permissions(&above, Permissions::from_mode(0o757)).unwrap();
    let run = stage.run("patchadd --trust-root -R @ROOT@ delivered/200-01");
    assert_eq!((run.code, stage.text("/opt/ran").as_str()), (0, "patch\n"), "{}", run.stderr);
}

#[test]
fn a_link_among_the_records_leads_only_through_directories_of_the_superuser() {
    let Some(stage) = stage("a link among the records") else { return };
    fs::create_dir_all(stage.at("/export/theirs")).unwrap();
    fs::rename(stage.at("/var/sadm/pkg"), stage.at("/export/theirs/pkg")).unwrap();
    symlink("/export/theirs/pkg", stage.at("/var/sadm/pkg")).unwrap();
    chown(stage.at("/export/theirs"), Some(NOBODY), None).unwrap();
    let said = stage.run("patchadd -R @ROOT@ delivered/100-01").fails(3);
    assert!(said.contains(&format!("@ROOT@/export/theirs to uid {NOBODY}")), "{said}");
    chown(stage.at("/export/theirs"), Some(0), None).unwrap();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
}

#[test]
fn a_link_of_somebody_else_on_the_way_to_the_root_is_not_followed() {
    let Some(stage) = stage("a link on the way") else { return };
    let link = stage.beside("link");
    symlink(stage.root(), &link).unwrap();
    stage.run(&format!("plan -R {} delivered/100-01", link.display())).ok();
    lchown(&link, Some(NOBODY), None).unwrap();
    let said = stage.run(&format!("patchadd -R {} delivered/100-01", link.display())).fails(3);
    assert!(
        said.contains(&format!("is controlled by uid {NOBODY}, who can replace the symbolic link")),
        "{said}"
    );
    assert!(said.contains("specify the root without that link"), "{said}");
    stage.run(&format!("pkginfo -R {}", link.display())).ok();
}

#[test]
fn a_link_to_the_root_in_a_directory_of_others_is_not_followed() {
    let Some(stage) = stage("a link in a directory of others") else { return };
    let directory = stage.beside("links");
    fs::create_dir_all(directory.join("below")).unwrap();
    let link = directory.join("below/link");
    symlink(stage.root(), &link).unwrap();
    let patchadd = format!("patchadd -R {} delivered/100-01", link.display());
    lchown(&directory, Some(NOBODY), None).unwrap();
    let said = stage.run(&patchadd).fails(3);
    assert!(
        said.contains(&format!("is controlled by uid {NOBODY}, who can replace the symbolic link")),
        "{said}"
    );
    lchown(&directory, Some(0), None).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let said = stage.run(&patchadd).fails(3);
    assert!(said.contains("can write to ") && said.contains("/links and replace a symbolic link"), "{said}");
    assert!(said.contains("emove the permission: `chmod go-w "), "{said}");
    stage.run(&format!("pkginfo -R {}", link.display())).ok();
    fs::set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
    stage.run(&patchadd).ok();
}

#[test]
fn a_link_of_somebody_else_before_double_dots_is_not_followed() {
    let Some(stage) = stage("a link before double dots") else { return };
    let (root, link) = (stage.root(), stage.beside("link"));
    symlink(&root, &link).unwrap();
    let named = format!("{}/../{}", link.display(), root.file_name().unwrap().to_str().unwrap());
    stage.run(&format!("plan -R {named} delivered/100-01")).ok();
    lchown(&link, Some(NOBODY), None).unwrap();
    for line in ["patchadd -R @L@ delivered/100-01", "add --jobs 1 -R @L@ delivered/100-01"] {
        let said = stage.run(&line.replace("@L@", &named)).fails(3);
        assert!(
            said.contains(&format!("is controlled by uid {NOBODY}, who can replace the symbolic link")),
            "{said}"
        );
    }
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
    stage.run(&format!("pkginfo -R {named}")).ok();
}

#[test]
fn who_trusts_the_owner_says_so_and_history_tells_of_it() {
    let Some(stage) = stage("trust") else { return };
    give(&stage.root(), NOBODY);
    stage.run("patchadd --trust-root -R @ROOT@ delivered/100-01").ok();
    let history = || fs::read_to_string(stage.at("/var/sadm/patchadm/history")).unwrap();
    let lines = history();
    let lines: Vec<&str> = lines.lines().collect();
    assert!(!lines[0].contains("trusted"), "the package was added when all was root's: {}", lines[0]);
    assert!(lines[1].ends_with(",\"trusted\":true}"), "{}", lines[1]);
    stage.run("remove --trust-root -R @ROOT@ 100-01").ok();
    stage.run("recover --trust-root -R @ROOT@").ok();
    stage.run("pkgchk -f --trust-root -R @ROOT@");
    stage.run("pkgrm -n --trust-root -R @ROOT@ ACMEweb");
    assert!(stage.lines().is_empty());
}

#[test]
fn of_many_roots_each_is_asked_about_by_itself() {
    let Some(stage) = stage("many roots") else { return };
    let other = stage.beside("other");
    let copied = Command::new("cp").arg("-a").arg(stage.root()).arg(&other).status().unwrap();
    assert!(copied.success());
    give(&other, NOBODY);
    let run = stage.run(&format!("add -R @ROOT@ -R {} delivered/100-01", other.display()));
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(
        run.stderr.contains(&format!("refused (3): The root {} belongs to uid {NOBODY}", other.display()))
    );
    assert_eq!(fs::read(stage.at("/opt/ACMEweb/bin/httpd")).unwrap(), b"two\n");
    assert_eq!(fs::read(other.join("opt/ACMEweb/bin/httpd")).unwrap(), b"one\n");
    let json = stage.run(&format!("add --json -R @ROOT@ -R {} delivered/100-01", other.display()));
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&document["result"], &document["roots"][1]["result"]),
        (&"refused".into(), &"refused".into())
    );
    let counted = |name: &str| document["summary"][name].as_u64().unwrap();
    assert_eq!((counted("nothing_to_do"), counted("refused"), counted("failed")), (1, 1, 0));
}

#[test]
fn what_a_script_of_a_run_calls_has_the_answer_of_the_run() {
    let Some(stage) = stage("within a run") else { return };
    let script = "installf $PKGINST $PKG_INSTALL_ROOT/opt/made d 0755 root root || exit 1\n\
        installf -f $PKGINST || exit 1\nmkdir -p $PKG_INSTALL_ROOT/opt/made\nexit 0\n";
    let package = Package::new("ACMEs").file("f", 0o644, "x\n").information("postinstall", script);
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    give(&stage.root(), NOBODY);
    let admin = stage.beside("admin");
    let line = format!("pkgadd -n --trust-root -a {} -R @ROOT@ -d spool ACMEs", admin.display());
    let run = stage.run(&line);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(stage.lines().iter().any(|line| line.starts_with("/opt/made d ")), "{:?}", stage.lines());
    let mut alone = Scenario::new();
    give(&alone.root(), NOBODY);
    alone.set("PATCHADM_TRUST", "trusted");
    let said = alone.run("installf -R @ROOT@ ACMEs /opt/made d 0755 root root").fails(1);
    assert!(said.contains("belongs to uid"), "it counts only within a run: {said}");
}

/// Runs the program where the policy of the host is `policy`; `None` if this machine allows no mounts.
fn on_a_host_with(stage: &Scenario, policy: &str, line: &str) -> Option<(i32, String)> {
    let etc = stage.beside("etc-of-host");
    fs::create_dir_all(etc.join("patchadm")).unwrap();
    for name in ["passwd", "group"] {
        fs::copy(Path::new("/etc").join(name), etc.join(name)).unwrap();
    }
    fs::write(etc.join("patchadm/policy"), policy).unwrap();
    let program = stage.command(line);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount --bind \"$0\" /etc || exit 99; exec \"$@\""]).arg(&etc);
    command.arg(program.get_program()).args(program.get_args()).current_dir(stage.beside(""));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TZ", "UTC0");
    let output = command.output().ok()?;
    let code = output.status.code().filter(|code| *code != 99)?;
    Some((code, String::from_utf8(output.stderr).unwrap()))
}

#[test]
fn the_policy_of_the_host_bounds_what_is_done_as_the_owner() {
    let Some(stage) = stage("the owner within the policy of the host") else { return };
    let package = Package::new("ACMEs").file("f", 0o644, "x\n").information("postinstall", "exit 0\n");
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    stage.file("/etc/patchadm/policy", "scripts=run\n");
    fs::set_permissions(stage.beside(""), Permissions::from_mode(0o755)).unwrap();
    give(&stage.root(), NOBODY);
    let line = format!("pkgadd --as-owner -a {} -R @ROOT@ -d spool ACMEs", stage.beside("admin").display());
    let Some((code, said)) = on_a_host_with(&stage, "scripts=none\n", &line) else {
        crate::skipped("the owner within the policy of the host: this machine lets nobody mount");
        return;
    };
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("postinstall") && !stage.at("/opt/ACMEs/f").exists(), "{said}");
    let (code, said) = on_a_host_with(&stage, "scripts=run\n", &line).unwrap();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn the_policy_of_the_host_says_which_roots_are_trusted() {
    let Some(stage) = stage("the policy of the host") else { return };
    let above = stage.beside("");
    let above = above.to_str().unwrap().trim_end_matches('/');
    let line = "plan -R @ROOT@ delivered/100-01";
    let run = |policy: String| on_a_host_with(&stage, &policy, line);
    let Some((code, said)) = run(format!("untrusted_roots={above}/*\n")) else {
        crate::skipped("the policy of the host: this machine lets nobody mount");
        return;
    };
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("untrusted_roots of the policy of this host names it"), "{said}");
    let (code, said) = run(format!("trusted_roots={above}/*\nuntrusted_roots={above}\n")).unwrap();
    assert_eq!(code, 3, "trust does not reach below what is not trusted: {said}");
    assert_eq!(run("untrusted_roots=/zones/*\n".to_owned()).unwrap().0, 0);
    give(&stage.root(), NOBODY);
    assert_eq!(run("untrusted_roots=/zones/*\n".to_owned()).unwrap().0, 3);
    assert_eq!(run(format!("trusted_roots={above}/*\n")).unwrap().0, 0);
    fs::create_dir_all(stage.at("/etc/patchadm")).unwrap();
    fs::write(stage.at("/etc/patchadm/policy"), "trusted_roots=/*\n").unwrap();
    let said = stage.run(&format!("plan --trust-root {}", line.trim_start_matches("plan "))).fails(1);
    assert!(
        said.contains("line 1: trusted_roots: this setting is valid only in the policy of the host"),
        "{said}"
    );
}

//! Hooks after a transaction of rpm and dnf: the file triggers of our package with the real rpm, and the action for
//! dnf 4 by the rules of dnf-post-transaction-actions(8), because the plugin of Debian does not work.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::delivery::Patch;
use crate::native_root::{Rpm, RpmRoot, has_tools, of_rpm};

const TOOL: &str = "/opt/acme/tool";

fn acme(release: &str) -> Rpm {
    Rpm::new("acme", release).file(TOOL, &format!("tool of {release}\n"))
}

/// The first release, adopted and patched.
fn patched(root: &RpmRoot) {
    root.install(&acme("1"));
    root.build(&[acme("2"), acme("3")]);
    root.adopt(&["acme"]);
    root.applied(&Patch::of("100-01", of_rpm("acme", "1").file(&TOOL[1..], 0o644, "tool fixed\n")));
    RpmRoot::tick();
}

/// A package of a transaction, as the plugin of dnf sees it.
#[derive(Clone, Copy)]
struct Item<'a> {
    name: &'a str,
    release: &'a str,
    /// `upgrade`, `upgraded`, `remove` or another word of dnf.
    state: &'a str,
}

/// An upgrade of `acme` as dnf sees it.
const UPGRADE: [Item<'_>; 2] = [
    Item { name: "acme", release: "2", state: "upgrade" },
    Item { name: "acme", release: "1", state: "upgraded" },
];

/// The commands that the plugin would run for a transaction, in their order, each once.
fn commands(actions: &str, items: &[Item<'_>]) -> Vec<String> {
    let mut commands = Vec::new();
    for line in actions.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts: Vec<&str> = line.splitn(3, ':').collect();
        let [filter, state, command] = parts.try_into().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(filter, "*", "the only filter that these rules know: {line}");
        for item in items {
            let comes = ["downgrade", "install", "obsolete", "reinstall", "upgrade"].contains(&item.state);
            let is_meant = match state {
                "in" => comes,
                "out" => !comes,
                "any" => true,
                _ => panic!("{line}"),
            };
            if is_meant {
                commands.push(substituted(command, *item));
            }
        }
    }
    let mut seen = BTreeSet::new();
    commands.retain(|command| seen.insert(command.clone()));
    commands
}

/// Replaces the variables of the plugin in a command with the values of a package.
fn substituted(command: &str, item: Item<'_>) -> String {
    let values = [
        ("name", item.name),
        ("arch", "noarch"),
        ("ver", "1.0"),
        ("rel", item.release),
        ("epoch", "0"),
        ("repoid", "local"),
        ("state", item.state),
    ];
    values.iter().fold(command.to_owned(), |command, (name, value)| {
        command.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

/// Runs a command like the plugin, with another program in place of ours.
fn run(root: &RpmRoot, command: &str, program: &Path) -> Output {
    let command = command.replace("/usr/bin/patchadm", program.to_str().unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env_clear().env("PATH", "/usr/bin:/bin").env("PATCHADM_EVENTS", "none");
    // The action works on the running system, which this variable replaces.
    shell.env("PKG_INSTALL_ROOT", root.stage.root()).output().unwrap()
}

#[test]
fn the_action_of_dnf_runs_once_for_a_transaction_and_lets_registrations_follow() {
    let Some(root) = RpmRoot::opened("the action of dnf") else { return };
    patched(&root);
    let action = include_str!("../../packaging/hooks/dnf4.action");
    let all = commands(action, &UPGRADE);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(commands(action, &UPGRADE[1..]), all, "a removal counts, too");
    root.rpm_done("-U [acme-2]");
    let output = run(&root, &all[0], Path::new(env!("CARGO_BIN_EXE_patchadm")));
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("patchadm: 100-01: LOST to acme 1.0-2 (rpm)\n"), "{said}");
    assert_eq!(root.ok("pkgparam -R @ROOT@ RPMacme NATIVE_VERSION"), "1.0-2\n");
    assert_eq!(root.unwatched("list --check -R @ROOT@").code, 4);
    for program in ["/bin/false", "/nowhere/patchadm"] {
        let output = run(&root, &all[0], Path::new(program));
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn the_file_triggers_of_our_package_let_registrations_follow_whatever_rpm_did() {
    const TEST: &str = "the file triggers of rpm";
    if !has_tools(TEST, &["unshare", "ldd"]) {
        return;
    }
    let Some(root) = RpmRoot::opened(TEST) else { return };
    if root.rpm_with_proc("--version").code != 0 {
        crate::skipped(&format!("{TEST}: nothing can be mounted here"));
        return;
    }
    root.stage.directory("/usr/lib64");
    root.stage.symlink("/lib64", "usr/lib64");
    root.put_program(Path::new("/usr/bin/rpm"), "/usr/bin/rpm");
    for file in ["macros", "rpmrc"] {
        root.stage.file(
            &format!("/usr/lib/rpm/{file}"),
            std::fs::read_to_string(format!("/usr/lib/rpm/{file}")).unwrap(),
        );
    }
    let lua = include_str!("../../packaging/hooks/rpm.lua");
    let spec = include_str!("../../packaging/rpm/patchadm.spec");
    let mut ours = Rpm::new("patchadm", "1");
    for line in ["%transfiletriggerin -p <lua> -- /", "%transfiletriggerpostun -p <lua> -- /"] {
        assert!(spec.contains(&format!("{line}\n%include %{{hooks}}/rpm.lua\n")), "{spec}");
        ours = ours.script(line, lua);
    }
    root.install(&ours);
    patched(&root);
    let upgraded = root.rpm_with_proc("-U [acme-2]");
    assert_eq!(upgraded.code, 0, "without the program: {}", upgraded.said());
    assert_eq!(root.ok("pkgparam -R @ROOT@ RPMacme NATIVE_VERSION"), "1.0-1\n");
    root.put_program(Path::new(env!("CARGO_BIN_EXE_patchadm")), "/usr/bin/patchadm");
    RpmRoot::tick();
    let upgraded = root.rpm_with_proc("-U [acme-3]");
    assert_eq!(upgraded.code, 0, "{}", upgraded.said());
    assert!(upgraded.said().contains("patchadm: 100-01: LOST to acme 1.0-3 (rpm)"), "{}", upgraded.said());
    assert_eq!(root.ok("pkgparam -R @ROOT@ RPMacme NATIVE_VERSION"), "1.0-3\n");
    assert_eq!(root.unwatched("list --check -R @ROOT@").code, 4);
    let removed = root.rpm_with_proc("-e acme");
    assert_eq!(removed.code, 0, "{}", removed.said());
    assert_eq!(root.unwatched("list --check -R @ROOT@").code, 0);
}

//! Refusals of `enter`, and the exit codes of the commands that it runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{StagedRoot, make_stage, run};
use crate::scenario::is_root;

#[test]
fn the_exit_code_is_that_of_the_command() {
    for staged in StagedRoot::for_everybody("the_exit_code…") {
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
            assert_eq!(staged.enter("", &["sh", "-c", script]).code, code, "{script}");
        }
        let said = staged.enter("", &["no-such-program"]).fails(127);
        assert_eq!(said, "patchadm: error: no-such-program: not found inside\n");
        let said = staged.enter("", &["/opt/web/bin/httpd"]).fails(126);
        assert!(said.starts_with("patchadm: error: /opt/web/bin/httpd: Permission denied"), "{said}");
        let said = staged.enter("--mount /no/such/source:/tmp", &["true"]).fails(125);
        assert_eq!(said, "patchadm: error: cannot mount /no/such/source: No such file or directory\n");
    }
}

#[test]
fn what_is_no_stage_that_can_be_used_is_refused_with_what_to_do() {
    let staged = StagedRoot::new(false);
    let scenario = &staged.scenario;
    let stage = staged.stage();
    let private = stage.join(".patchadm-stage");
    let enter = |named: &Path| scenario.run(&format!("-R @ROOT@ stage enter {} -- true", named.display()));
    let said = enter(&scenario.at("/opt")).fails(4);
    assert!(said.contains("@ROOT@/opt is neither a stage nor the name of one"), "{said}");
    let said = enter(Path::new("unknown")).fails(4);
    assert!(said.contains("the stage was not entered") && said.contains("unknown is neither"), "{said}");
    fs::write(private.join("unfinished"), "").unwrap();
    let said = enter(&stage).fails(3);
    assert!(said.contains("was never completed: `patchadm -R @ROOT@ stage drop` removes it"), "{said}");
    fs::remove_file(private.join("unfinished")).unwrap();
    for file in ["identity", "base.0"] {
        let text = fs::read(private.join(file)).unwrap();
        fs::write(private.join(file), &text[..text.len() / 2]).unwrap();
        let said = enter(&stage).fails(1);
        assert!(said.contains(&format!(".patchadm-stage/{file}: line 1: ")), "{said}");
        fs::remove_file(private.join(file)).unwrap();
        assert!(enter(&stage).fails(1).contains(&format!(".patchadm-stage/{file}: ")));
        fs::write(private.join(file), text).unwrap();
    }
    let other = scenario.beside("other");
    fs::create_dir(&other).unwrap();
    make_stage(&stage, &other, &["/opt/web"]);
    let said = enter(&stage).fails(3);
    let advice = format!("hint: specify its root with `-R {}`", fs::canonicalize(&other).unwrap().display());
    assert!(said.contains(&advice), "{said}");
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_happens() {
    let staged = StagedRoot::new(false);
    let scenario = &staged.scenario;
    let stage = staged.stage().display().to_string();
    for (line, reason) in [
        (format!("-R @ROOT@ stage enter --mount srv:/srv {stage}"), "the path on the host must begin with /"),
        (format!("-R @ROOT@ stage enter --mount /srv:srv {stage}"), "the path inside must begin with /"),
        (format!("-R @ROOT@ stage enter --view live {stage}"), "live"),
        (format!("-R @ROOT@ stage leave {stage}"), "leave"),
    ] {
        let said = scenario.run(&line).fails(2);
        assert!(said.contains(reason), "{line}: {said}");
    }
    let said = scenario.run(&format!("-R @ROOT@ stage enter --mounts /no/such/file {stage}")).fails(1);
    assert!(said.contains("/no/such/file: No such file"), "{said}");
    let output = scenario.command(&format!("-R @ROOT@ stage enter --json {stage}")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--json is not for this action"));
}

#[test]
fn a_root_that_may_not_mount_is_told_what_is_missing() {
    let test = "a_root_that_may_not_mount…";
    let Some(staged) = StagedRoot::for_caller(test).filter(|_| is_root()) else { return };
    let entering = staged.entering("", &["true"]);
    let mut limited = Command::new("setpriv");
    limited.args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"]);
    limited.arg(entering.get_program()).args(entering.get_args());
    if Command::new("setpriv").arg("--version").output().is_err() {
        return crate::missing("setpriv", test);
    }
    let said = run(&staged.scenario, limited).fails(1);
    assert!(said.contains("namespaces are not allowed here: unshare"), "{said}");
    assert!(said.contains("CAP_SYS_ADMIN"), "{said}");
}

#[test]
fn the_setting_that_forbids_user_namespaces_is_named() {
    let test = "the_setting_that_forbids…";
    if !crate::has("unshare", test) {
        return;
    }
    let Some(staged) = StagedRoot::for_test(test, true).filter(|_| is_root()) else { return };
    let entering = staged.entering("", &["true"]);
    // Settings of a user namespace apply only inside it. Root maps more than itself into it.
    let script = "cd \"$1\" && shift && mkfifo go\n\
        unshare -U --keep-caps sh -c 'read line < go; echo 0 > /proc/sys/user/max_user_namespaces; \
        exec setpriv --reuid 54321 --regid 54321 --clear-groups -- \"$@\"' sh \"$@\" & inside=$!\n\
        while [ \"$(readlink /proc/$inside/ns/user)\" = \"$(readlink /proc/self/ns/user)\" ]; do sleep 0.01; done\n\
        echo 0 0 65536 > /proc/$inside/uid_map; echo 0 0 65536 > /proc/$inside/gid_map; echo > go; wait $inside";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, "sh"]).arg(staged.scenario.beside(""));
    limited.arg(entering.get_program()).args(entering.get_args());
    let said = run(&staged.scenario, limited);
    if said.code != 1 || !said.stderr.contains("namespaces are not allowed here") {
        return crate::skipped(&format!("{test}: no such user namespace can be made here: {}", said.stderr));
    }
    assert!(said.stderr.contains("the setting user.max_user_namespaces is 0"), "{}", said.stderr);
}

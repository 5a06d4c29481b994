//! The session keyring of the caller: no script, owner's process or sandbox has a key of it.

use std::fs;

use keyutils_raw::{
    KEY_POS_ALL, KEY_SPEC_SESSION_KEYRING, KEY_TYPE_USER, add_key, keyctl_join_session_keyring,
    keyctl_setperm,
};

use crate::bulk::{BulkBuild, everybody};
use crate::packages::Package;
use crate::procedure_scripts::{line, stage};
use crate::scenario::is_root;

/// The name of a key of the caller. Only possessors of its keyring have permissions on the key.
const KEY: &str = "the-key-of-the-caller";

/// A script that reports if it sees the key.
const LOOK: &str = "grep -q the-key-of-the-caller /proc/keys && echo IT SEES THE KEY\necho it looked: $(wc -l < /proc/keys)\n";

/// Runs `work` in a thread whose session keyring has the key; does nothing if there are no keys.
fn with_key(test: &str, work: impl FnOnce() + Send) {
    let in_thread = || {
        let joined = keyctl_join_session_keyring(None);
        let key = joined.and_then(|_| add_key(KEY_TYPE_USER, KEY, b"secret", KEY_SPEC_SESSION_KEYRING));
        let closed = key.and_then(|key| keyctl_setperm(key, KEY_POS_ALL));
        let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
        if closed.is_err() || !keys.contains(KEY) {
            crate::skipped(&format!("{test}: there are no session keyrings here"));
            return;
        }
        work();
    };
    std::thread::scope(|scope| scope.spawn(in_thread).join()).unwrap();
}

fn assert_blind(said: &str) {
    assert!(said.contains("it looked") && !said.contains("IT SEES THE KEY"), "{said}");
}

#[test]
fn scripts_have_no_key_of_the_caller() {
    with_key("scripts_have_no_key_of_the_caller", || {
        let stage = stage();
        let mut package = Package::new("ACMEmin").file("a", 0o644, "a\n");
        for script in ["checkinstall", "preinstall"] {
            package = package.information(script, format!("{LOOK}exit 0\n"));
        }
        let run = stage.run(&line(&stage, "-n", &package));
        let said = run.stdout.clone() + &run.stderr;
        assert_eq!(run.code, 0, "{said}");
        assert_eq!(said.matches("it looked").count(), 2, "{said}");
        assert_blind(&said);
    });
}

#[test]
fn the_process_of_the_owner_has_no_key_of_the_caller() {
    if !is_root() {
        crate::skipped("the_process_of_the_owner_has_no_key…: only root can become another user");
        return;
    }
    with_key("the_process_of_the_owner_has_no_key…", || {
        let stage = crate::as_owner::stage("no key").unwrap();
        let script = format!("{{ {LOOK}}} > $PKG_INSTALL_ROOT/seen 2>&1\nexit 0\n");
        let package = Package::new("ACMEs").file("f", 0o644, "x\n").information("postinstall", &script);
        package.write(&stage.beside("spool"));
        fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
        let run = stage.run("pkgadd --as-owner -a admin -R @ROOT@ -d spool ACMEs");
        assert_eq!(run.code, 0, "{run:?}");
        assert_blind(&stage.text("/seen"));
    });
}

/// Asks for the user keyring, where the user is the caller outside: `KEYCTL_GET_KEYRING_ID` of
/// `KEY_SPEC_USER_KEYRING`.
const ASK: &str =
    "perl -e 'my $r = syscall(250, 0, -4, 1); print \"keys: \", $r < 0 ? $!+0 : \"there\", \"\\n\"'\n";

#[test]
fn no_sandbox_has_a_key_of_the_user_that_the_caller_is() {
    if !cfg!(target_arch = "x86_64") {
        return crate::skipped("no_sandbox_has_a_key_of_the_user…: the number of the call is that of x86-64");
    }
    let test = "no_sandbox_has_a_key_of_the_user…";
    if !crate::has("perl", test) {
        return;
    }
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 1\n") else { continue };
        let script = format!("{ASK}mkdir $DESTDIR/opt\ncat > $OUT/postinstall <<'End'\n{ASK}exit 0\nEnd\n");
        build.recipe("asks", "", &script);
        build.run("").ends(0);
        let log = build.log("asks-1.0");
        // ENOSYS
        assert_eq!(log.matches("keys: 38").count(), 2, "{}: {log}", build.who());
    }
}

#[test]
fn no_sandbox_has_a_key_of_the_caller() {
    with_key("no_sandbox_has_a_key_of_the_caller", || {
        for is_ordinary in everybody() {
            let Some(build) = BulkBuild::of_recipes("no_sandbox_has_a_key…", is_ordinary, "slot=local 1\n")
            else {
                continue;
            };
            let script =
                format!("{LOOK}mkdir $DESTDIR/opt\ncat > $OUT/postinstall <<'End'\n{LOOK}exit 0\nEnd\n");
            build.recipe("looks", "", &script);
            build.run("").ends(0);
            let log = build.log("looks-1.0");
            assert_eq!(log.matches("it looked").count(), 2, "{}: {log}", build.who());
            assert_blind(&log);
        }
    });
}

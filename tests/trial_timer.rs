//! The timer of a trial on a system with systemd: the program asks `systemd-run` for one, with the arguments of its
//! manual, and starts a waiting process if it gets none.
//!
//! The root is `/` itself, but of a copy: in the sandbox, the whole machine is under an overlay in memory. A script
//! that records its arguments plays `systemd-run`.

use std::fs;
use std::process::Stdio;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::sandbox::Sandbox;
use crate::scenario::{NOW, Scenario, is_root};

/// Makes the copy, and runs `inside` in it: `$1` is the directory of the scenario, `$2` the program.
const SETUP: &str = r#"
set -e
scene=$1 program=$2
copy=/tmp/copy
mkdir -p $copy/upper $copy/work $copy/root
mount -t overlay overlay -o lowerdir=/,upperdir=$copy/upper,workdir=$copy/work $copy/root
root=$copy/root
mount -t proc proc $root/proc
mount --rbind /dev $root/dev
mount --rbind /sys $root/sys
mount -t tmpfs -o mode=755 tmpfs $root/run
mkdir -p "$root$scene"
mount --rbind "$scene" "$root$scene"
cp "$program" $root/usr/bin/patchadm
rm -rf $root/var/sadm
mkdir -p $root/var/sadm/pkg $root/var/sadm/install
exec chroot $root /bin/sh "$scene/inside" "$scene"
"#;

/// Installs the package, and defines how to tell that a process waits.
const BEGIN: &str = r#"
scene=$1
cd "$scene"
PATH=$scene/bin:/usr/bin:/bin
printf 'action=nocheck\nbasedir=default\n' > admin
patchadm pkgadd -n -a "$scene/admin" -d spool ACMEweb > said 2>&1 || { cat said; exit 1; }
waiters() {
	for words in /proc/[0-9]*/cmdline; do
		tr '\0' ' ' < $words 2>/dev/null | grep -q __trial && echo "somebody waits"
	done
	return 0
}
# The process becomes what it is a moment after the command has ended.
soon() {
	tries=0
	while [ -z "$(waiters)" ] && [ $tries -lt 50 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
}
"#;

/// A script in place of `systemd-run` that records its arguments, one per line, and ends with this code.
fn player(stage: &Scenario, code: i32) {
    let script =
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}/words\nexit {code}\n", stage.beside("").display());
    stage_file(stage, "bin/systemd-run", &script);
}

fn stage_file(stage: &Scenario, name: &str, text: &str) {
    let at = stage.beside(name);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(&at, text).unwrap();
    std::process::Command::new("chmod").arg("755").arg(&at).status().unwrap();
}

pub(crate) fn stage_for_copy() -> Scenario {
    let stage = Scenario::new();
    let web = |text: &str| Package::new("ACMEweb").file("bin/httpd", 0o755, text);
    web("base\n").write(&stage.beside("spool"));
    Patch::of("100-01", web("100-01\n")).directory(&stage);
    stage
}

/// The output of a script that runs in the copy; `None` if there is no copy.
pub(crate) fn said_in_copy(stage: &Scenario, script: &str) -> Option<String> {
    if !is_root() {
        crate::skipped("a copy of this machine: it takes the superuser");
        return None;
    }
    let sandbox = Sandbox::new(&stage.beside(""))?;
    fs::write(stage.beside("inside"), format!("{BEGIN}{script}")).unwrap();
    let mut command = sandbox.command("/bin/sh");
    command.args(["-c", SETUP, "setup"]).arg(stage.beside("")).arg(env!("CARGO_BIN_EXE_patchadm"));
    command.env("SOURCE_DATE_EPOCH", NOW.to_string()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout))
}

#[test]
fn the_manager_of_the_system_gets_a_timer_that_calls_recover_when_the_trial_is_over() {
    let stage = stage_for_copy();
    player(&stage, 0);
    let script = r#"
mkdir -p /run/systemd/system
patchadm add --trial 10m delivered/100-01 > said 2>&1 || { cat said; exit 1; }
waiters
cat /opt/ACMEweb/bin/httpd
record=/var/sadm/patchadm/trial/record
sed 's/"boot":"[^"]*"/"boot":"00000000-0000-0000-0000-000000000000"/' $record > again && cat again > $record
# What the manager would do when the timer elapses: what stands behind the options.
set --
while read -r word; do
	case $# in 0) case $word in --*) continue ;; esac ;; esac
	set -- "$@" "$word"
done < words
"$@" > said 2>&1 || { cat said; exit 1; }
cat /opt/ACMEweb/bin/httpd
ls $record 2>/dev/null
exit 0
"#;
    let Some(said) = said_in_copy(&stage, script) else { return };
    assert_eq!(said, "100-01\nbase\n", "nobody else waits, and the command of the timer backs out");
    let words = fs::read_to_string(stage.beside("words")).unwrap();
    let words: Vec<&str> = words.lines().collect();
    let [quiet, collect, accuracy, unit, description, active, program @ ..] = &words[..] else {
        panic!("{words:?}")
    };
    assert_eq!((*quiet, *collect, *accuracy), ("--quiet", "--collect", "--timer-property=AccuracySec=1s"));
    // The second run of this root: the first one installed the package.
    assert_eq!(*unit, "--unit=patchadm-trial-2");
    assert!(description.starts_with("--description=The end of the trial of run 2-"), "{description}");
    let seconds: u64 = active.strip_prefix("--on-active=").unwrap().parse().unwrap();
    assert!((1..=600).contains(&seconds), "{seconds}");
    assert_eq!(program, ["/usr/bin/patchadm", "-R", "/", "recover", "--wait", "600"]);
}

#[test]
fn a_process_waits_where_the_manager_sets_no_timer_or_is_not_there() {
    for (what, manager, code) in [
        ("it fails", "mkdir -p /run/systemd/system", 1),
        ("there is none", "true", 0),
        ("no program", "gone", 0),
    ] {
        let stage = stage_for_copy();
        let manager = if manager == "gone" {
            "mkdir -p /run/systemd/system; rm -f /usr/bin/systemd-run /bin/systemd-run"
        } else {
            player(&stage, code);
            manager
        };
        let script = format!(
            "{manager}\npatchadm add --trial 10m delivered/100-01 > said 2>&1 || {{ cat said; exit 1; }}\nsoon\nwaiters\nexit 0\n"
        );
        let Some(said) = said_in_copy(&stage, &script) else { return };
        assert_eq!(said, "somebody waits\n", "{what}");
        assert_eq!(
            stage.beside("words").exists(),
            code == 1,
            "{what}: only a manager that is there is asked"
        );
    }
}

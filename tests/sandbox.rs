//! Commands in a sandbox: they see this machine as it is, but can only change the directory of the scenario. For
//! tests that run the scripts of packages.
//!
//! A box is a set of Linux namespaces made by unshare(1). In it everything is mounted read-only except the scenario's
//! directory and empty file systems in memory on `/tmp` and `/var/tmp`. There is no network, and all processes that a
//! command leaves behind end with it. A test that is not root gets the same through a user namespace, in which it
//! keeps its user. The box guards against mistakes; it is no prison for a root process that wants out.
//!
//! The process that a test starts is unshare(1), which passes the exit code on (128+N if a signal ended the command);
//! killing it ends everything in the box at once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::scenario::{Scenario, is_root};

/// The setup of the box before the command: `$1` is the directory that stays writable, `$2` and `$3` are the user and
/// group to become again if a user namespace made them root, otherwise empty; `$4` and `$5` are the checkout and the
/// directory of the programs under test, which may be below `/tmp` themselves.
const SETUP: &str = r#"
set -e
mount() { PATH=/usr/sbin:/usr/bin:/sbin:/bin command mount "$@"; }
started=$(pwd) scene=$1 uid=$2 gid=$3 checkout=$4 programs=$5
shift 5
mount -t proc proc /proc
cd "$scene"
exec 3<"$checkout" 4<"$programs"
for place in /tmp /var/tmp; do
	mount -t tmpfs -o mode=1777 box "$place"
done
mkdir -p "$scene"
mount -c --bind . "$scene"
show() {
	case $2 in
	/tmp/* | /var/tmp/*) mkdir -p "$2" && mount -c --bind "/proc/self/fd/$1" "$2" ;;
	esac
}
show 3 "$checkout"
show 4 "$programs"
exec 3<&- 4<&-
cat /proc/self/mountinfo | while read -r _ _ _ _ place options _; do
	case $place in *\\*) place=$(printf '%b' "$place") ;; esac
	case $options in ro | ro,*) continue ;; esac
	case $place in
	/tmp | /var/tmp | "$scene" | "$scene"/*) continue ;;
	# Whoever makes a user namespace writes there.
	/proc | /proc/*) [ "$uid" ] && continue ;;
	esac
	# A mount that another one hides cannot be named, and not be reached either.
	if said=$(mount -o "remount,bind,ro,${options#r[wo],}" "$place" 2>&1); then continue; fi
	if [ -e "$place" ] && findmnt -n -M "$place" >/dev/null; then
		echo "$said" >&2
		exit 1
	fi
done
cd "$started" 2>/dev/null || cd "$scene"
set +e
if [ "$uid" ]; then
	unshare --user --map-user="$uid" --map-group="$gid" -- "$@"
else
	"$@"
fi
exit $?
"#;

/// A box whose one writable directory is that of a scenario.
pub(crate) struct Sandbox {
    directory: PathBuf,
}

impl Sandbox {
    /// A box around `directory`, which must exist. Returns `None`, and reports the test by the name of its thread, if
    /// this machine cannot make a box.
    pub(crate) fn new(directory: &Path) -> Option<Self> {
        /// The reason why there is none, determined once.
        static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
        let sandbox = Self { directory: directory.canonicalize().unwrap() };
        let obstacle = || match sandbox.command("true").stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(format!("unshare: {error}")),
        };
        let Some(reason) = OBSTACLE.get_or_init(obstacle) else { return Some(sandbox) };
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        crate::skipped(&format!("{test}: no sandbox here: {reason}"));
        None
    }

    /// The command `program` in the box; arguments, environment, directory and streams are set as usual.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--net",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        let (mut uid, mut gid) = (String::new(), String::new());
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
            uid = rustix::process::geteuid().as_raw().to_string();
            gid = rustix::process::getegid().as_raw().to_string();
        }
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = Path::new(env!("CARGO_BIN_EXE_patchadm")).parent().unwrap();
        command.args(["--", "sh", "-c", SETUP, "sandbox"]).arg(&self.directory).args([uid, gid]);
        command.args([checkout, programs]).arg(program);
        command
    }
}

impl Sandbox {
    /// Runs the program with these arguments on a scenario. Returns its code, -1 if a signal ended it, and all its
    /// output.
    pub(crate) fn run(&self, scenario: &Scenario, line: &str) -> (i32, String) {
        let command = scenario.command(line);
        let mut boxed = self.command(command.get_program());
        boxed.args(command.get_args()).current_dir(scenario.beside("")).env_clear();
        boxed.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        for (name, value) in command.get_envs().filter(|(name, _)| *name != "PATH") {
            boxed.env(name, value.unwrap_or_default());
        }
        let output = boxed.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    }
}

/// Runs commands in a shell in a box, and returns what they print.
fn asked(sandbox: &Sandbox, text: &str) -> String {
    let output = sandbox.command("sh").args(["-c", text]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn nothing_of_the_machine_can_be_changed_from_inside() {
    let stage = Scenario::new();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    let mark = format!("patchadm-sandbox-{}", std::process::id());
    let places = "/etc /usr /usr/bin /var /var/lib /dev/shm /root /home /opt /sys/kernel /";
    let text = format!(
        "for place in {places}; do (: > $place/{mark}) 2>/dev/null && echo $place; done; \
         (echo x > /proc/sys/kernel/domainname) 2>/dev/null && echo proc; exit 0"
    );
    assert_eq!(asked(&sandbox, &text), "");
    // The checks above can fail: a writable place is printed.
    assert_eq!(
        asked(&sandbox, &format!("for place in /tmp; do (: > $place/{mark}) && echo $place; done")),
        "/tmp\n"
    );
    assert!(!Path::new("/tmp").join(&mark).exists(), "its /tmp is its own");
}

#[test]
fn the_scenario_is_the_same_inside_and_outside() {
    let stage = Scenario::new();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    stage.file("/etc/motd", "hello\n");
    let root = stage.root();
    let text =
        format!("cat {0}/etc/motd; echo bye > {0}/etc/motd; ls /tmp /var/tmp | wc -l; id -u", root.display());
    let said = asked(&sandbox, &text);
    let uid = rustix::process::geteuid().as_raw().to_string();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!((said[0], said.last().copied()), ("hello", Some(uid.as_str())));
    assert_eq!(std::fs::read_to_string(stage.at("/etc/motd")).unwrap(), "bye\n");
    let version = sandbox.command(env!("CARGO_BIN_EXE_patchadm")).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        concat!("patchadm ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn there_is_no_network_inside() {
    let stage = Scenario::new();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    let interfaces = asked(&sandbox, "sed -n 's/^ *\\([^ ]*\\):.*/\\1/p' /proc/net/dev");
    assert_eq!(interfaces, "lo\n");
    assert_eq!(asked(&sandbox, "sed 1d /proc/net/route"), "", "no route leads anywhere");
}

#[test]
fn nothing_runs_on_when_the_command_has_ended() {
    let stage = Scenario::new();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    let pulse = stage.beside("pulse");
    let beat =
        format!("(while :; do echo x >> {}; sleep 0.05; done) > /dev/null 2>&1 & sleep 0.3", pulse.display());
    asked(&sandbox, &beat);
    let size = || std::fs::metadata(&pulse).unwrap().len();
    let at_the_end = size();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(at_the_end > 0 && size() == at_the_end);
}

#[test]
fn the_exit_code_comes_through() {
    let stage = Scenario::new();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    let code = |text: &str| sandbox.command("sh").args(["-c", text]).output().unwrap().status.code();
    assert_eq!((code("exit 5"), code("kill -9 $$")), (Some(5), Some(137)));
}

#[test]
fn scripts_run_inside_with_their_tools() {
    let stage = Scenario::new();
    let Some(sandbox) = Sandbox::new(&stage.beside("")) else { return };
    let test = "scripts::absolute_tools_are_there_for_scripts_and_for_nobody_else";
    let mut command = sandbox.command(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test]).env("TMPDIR", "/tmp").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    if said.contains("skipped") {
        crate::skipped("scripts_run_inside_with_their_tools: no overlay in a sandbox here");
    }
}

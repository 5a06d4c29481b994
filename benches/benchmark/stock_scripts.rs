//! The same patch with the stock scripts of patch packages, which do the work themselves (`--scripts run`).
//!
//! The scripts are not part of the project; where they are not at hand this contender is left out. They run in a box of
//! namespaces in which nothing can be written but the disk: whatever a script does wrong, it does to the image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::contender::{Contender, Role, install_base};
use crate::delivery::{PACKAGE, PATCH, write_patch};
use crate::disk::{Disk, is_root};
use crate::inputs::Inputs;
use crate::line::Line;

/// Makes everything read-only but `$1`, and empty file systems in memory on `/tmp` and `/var/tmp`; shows the directories
/// `$2` and `$3` where they lie below those; then runs the rest.
const BOX: &str = r#"
disk=$1 inputs=$2 program=$3
shift 3
mount -t proc proc /proc
cd "$disk"
exec 3<"$inputs" 4<"$program"
for place in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 box "$place"; done
mkdir -p "$disk"
mount -c --bind . "$disk"
show() {
	case $2 in
	/tmp/* | /var/tmp/*) mkdir -p "$2" && mount -c --bind "/proc/self/fd/$1" "$2" ;;
	esac
}
show 3 "$inputs"
show 4 "$program"
exec 3<&- 4<&-
while read -r _ _ _ _ place options _; do
	place=$(printf '%b' "$place")
	case $place in
	/tmp | /var/tmp | "$disk" | "$disk"/*) continue ;;
	esac
	if mount -o "remount,bind,ro,${options#r[wo],}" "$place" 2>/dev/null; then continue; fi
	if [ -e "$place" ] && findmnt -n -M "$place" >/dev/null; then
		echo "cannot protect $place" >&2
		exit 1
	fi
done < /proc/self/mountinfo
cd "$disk"
"$@"
"#;

/// Where the scripts are, if they are.
fn scripts() -> Option<PathBuf> {
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/goldens/pkgs/103201-01/SUNWstuf/install");
    beside.is_dir().then_some(beside)
}

/// The program with the stock scripts at work.
pub(crate) fn contender(disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    let directory = scripts().context("the stock scripts are not here")?;
    ensure!(is_root(), "the stock scripts are run by root only");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        scripts.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    scripts.sort();
    let patches = disk.scratch().join("scripted");
    write_patch(&patches, &inputs.workload, &scripts)?;

    let root = disk.at("scripts");
    install_base(&Line::patchadm(), inputs, &root)?;
    for directory in ["tmp", "var/tmp", "etc"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for file in ["etc/passwd", "etc/group"] {
        fs::copy(Path::new("/").join(file), root.join(file))?;
    }
    disk.assert_ours(&root)?;
    let program = Path::new(env!("CARGO_BIN_EXE_patchadm")).parent().context("a program has a directory")?;
    let boxed = Line::new("unshare")
        .words("--mount --propagation private --net --ipc --pid --fork --kill-child -- sh -ec")
        .arg(BOX)
        .arg("box")
        .arg(disk.path())
        .arg(disk.scratch())
        .arg(program);
    let inside = |command: &str| {
        let line = Line::patchadm().words(command).words("--scripts run --script-timeout 0 -R").arg(&root);
        boxed.clone().line(&line)
    };
    let (apply, back_out) = (inside("patchadd").arg(patches.join(PATCH)), inside("patchrm").arg(PATCH));
    let save = root.join("var/sadm/pkg").join(PACKAGE).join("save").join(PATCH);
    Ok(Contender { role: Role::Scripts, root, apply, back_out, undo: Some(save) })
}

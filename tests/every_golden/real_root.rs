//! The scenario without `-R`: the packages go to `/` itself.
//!
//! It is the `/` of a copy: the sandbox has the parts of the machine that tools need, under an overlay in memory, and
//! chroot(8) makes them the root. A program that runs scripts looks at the whole root, so the rest of the machine,
//! which may be large, is hidden. The commands are installed there, as scripts of a running system need them
//! (patchadm-links). The rest is the classic script, word for word.

use std::fs;

use super::play::Play;
use super::seen::{self, Seen};

/// Makes the copy, installs the commands, and runs the script: `$1` is the directory of the scenario, `$2` the program,
/// `$3` where results go.
const SETUP: &str = r#"
set -e
scene=$1 program=$2 results=$3
copy=/tmp/copy
mkdir -p $copy/upper $copy/work $copy/root
for place in /* /usr/* /usr/lib/* /usr/lib64/*; do
	[ -d "$place" ] && [ ! -L "$place" ] || continue
	case $place in
	/bin | /dev | /etc | /lib | /lib64 | /proc | /sbin | /usr | /var) continue ;;
	/usr/bin | /usr/lib | /usr/lib64 | /usr/sbin | /usr/lib*/*-linux-* | /usr/lib*/locale | /usr/lib*/rpm) continue ;;
	esac
	mkdir -p "$copy/upper${place%/*}"
	mknod "$copy/upper$place" c 0 0 # which hides it
done
mount -t overlay overlay -o lowerdir=/,upperdir=$copy/upper,workdir=$copy/work $copy/root
root=$copy/root
mkdir -p $root/opt $root/tmp $root/var/tmp
chmod 1777 $root/tmp $root/var/tmp
mount -t proc proc $root/proc
mount --rbind /dev $root/dev
mkdir -p "$root$scene"
mount --rbind "$scene" "$root$scene"
cp "$program" $root/usr/bin/patchadm
cp "${program%/*}/patchadm-make" $root/usr/bin/patchadm-make
mkdir -p $root/usr/sadm/bin $root/usr/sadm/install/bin $root/var/sadm/pkg $root/var/sadm/install
chroot $root patchadm setup links /usr/bin >&2
chroot $root patchadm setup links /usr/sadm/bin >&2
chroot $root patchadm setup links /usr/sbin >&2
[ -e $root/usr/bin/compress ] || ln -s patchadm $root/usr/bin/compress
exec chroot $root bash "$results/inside.sh" "$results"
"#;

pub(super) fn real_root(name: &'static str) -> Vec<Play> {
    let mut play = Play::begin(name, &[""]);
    let script = fs::read_to_string(play.results().join("inside.sh")).unwrap();
    fs::write(play.out().join("inside.sh"), play.here(&script)).unwrap();
    let words = ["bash", "-c", SETUP, "setup", "@SCENE@", "@CLASSIC@/orun", "@GOLDENS@/15-real-root/out"];
    let summary = play.output_of(&words);
    let recorded = fs::read_to_string(play.results().join("summary")).unwrap();
    for line in recorded.lines() {
        let (step, code) = line.rsplit_once(' ').unwrap();
        let start = format!("{step} ");
        let own = summary.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
        let [mut classic, mut ours] = [Seen::new(), Seen::new()];
        classic.insert("exit code".to_owned(), code.to_owned());
        ours.insert("exit code".to_owned(), own.to_owned());
        let file = step.replace(' ', "-");
        for (directory, side) in [(play.results(), &mut classic), (play.out(), &mut ours)] {
            let read =
                |name: String| play.there(&fs::read_to_string(directory.join(name)).unwrap_or_default());
            seen::printed(side, "text", &read(format!("{file}.out")));
            if let Some(id) = step.strip_prefix("backout ") {
                seen::pkginfo(side, "SUNWstuf", &unquoted(&read(format!("pkgparam-after-{id}.out"))));
                seen::contents(side, &read(format!("contents-after-{id}")));
            }
        }
        play.enter_differences(step, &classic, &ours);
    }
    let [mut classic, mut ours] = [Seen::new(), Seen::new()];
    for (directory, side) in [(play.results(), &mut classic), (play.out(), &mut ours)] {
        let read = |name: &str| play.there(&fs::read_to_string(directory.join(name)).unwrap_or_default());
        seen::printed(side, "text", &read("pkginfo.out"));
        seen::pkginfo(side, "SUNWstuf", &unquoted(&read("pkgparam.out")));
        read("tree").lines().for_each(|line| seen::object(side, line, &|_| None));
    }
    play.enter_differences("in the end", &classic, &ours);
    vec![play]
}

/// The parameters that `pkgparam -v` prints, as pkginfo(4) has them.
fn unquoted(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| format!("{name}={}\n", value.trim_matches('\''))).collect()
}

# shellcheck shell=bash
# Shared by the cases. $PATCHADM is the program, beside which the others lie; everything happens in a fresh directory, which is
# removed at the end.
PATCHADM=${PATCHADM:?the path of the program}; PATCHADM=$(readlink -f "$PATCHADM")
SELF=$(readlink -f "$0")
PATH=$PATH:/usr/sbin:/sbin; umask 022
W=$(mktemp -d); trap 'rm -rf --one-file-system "$W"' EXIT
cd "$W" || exit 2
p() { "$PATCHADM" "$@"; }
make_() { "${PATCHADM%/*}/patchadm-make" "$@"; }
bulk() { "${PATCHADM%/*}/patchadm-bulk" "$@"; }
pass() { echo "PASS${1:+: $1}"; exit 0; }
fail() { echo "FAIL: $1"; exit 1; }
skip() { echo "SKIP: $1"; exit 0; }
# An ordinary user becomes root in a user namespace, where the machine lets them. `need_root WHAT` needs other users, too, which
# no such root has.
as_root() {
  [ "$(id -u)" = 0 ] && return
  unshare -r true 2>/dev/null || skip "needs root, or user namespaces"
  cd / && rm -rf "$W" && exec unshare -r bash "$SELF"
}
need_root() { : >owned; chown 1:4 owned 2>/dev/null || skip "needs root: $1"; rm owned; }
# Root that may mount: in namespaces of its own, with their own /proc.
mounts() {
  as_root
  unshare -mpf --propagation private --mount-proc true 2>/dev/null || skip "may not mount"
}
newroot() { mkdir -p "$1/etc"; printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$1/etc/passwd"; printf 'root:x:0:\nadm:x:4:\n' >"$1/etc/group"; }
# pkg TREE NAME OUT: a package of a tree
pkg() {
  printf 'PKG=%s\nNAME=%s\nARCH=all\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\nCLASSES=none\n' "$2" "$2" >"$W/pkginfo.$2"
  { echo "i pkginfo=$W/pkginfo.$2"; (cd "$1" && make_ pkgproto . | awk '$1=="d"||$1=="f"{$NF="root";$(NF-1)="root"}1'); } >"$W/proto.$2"
  mkdir -p "$3"; make_ pkgmk -o -r "$1" -d "$3" -f "$W/proto.$2" >"$W/pkgmk.log" 2>&1 || { cat "$W/pkgmk.log"; exit 2; }
}
install_() { p pkgadd -n -R "$1" -d "$W/$2" all >/dev/null 2>&1 || { echo "cannot install"; exit 2; }; }
# patch ID FROM TO PKG [OPTION...]
patch() { local id=$1 from=$2 to=$3 pkg=$4; shift 4; make_ build -q --id "$id" --from "$from" --to "$to" --pkg "$pkg" --base-version 1.0 --arch all "$@" -o "$id" >/dev/null || exit 2; }
# deb TREE NAME VERSION FILE
deb() { mkdir -p "$1/DEBIAN"; printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n' "$2" "$3" >"$1/DEBIAN/control"; dpkg-deb --root-owner-group -b "$1" "$4" >/dev/null || exit 2; rm -r "$1/DEBIAN"; }
debroot() { newroot "$1"; mkdir -p "$1"/var/lib/dpkg/{info,updates} "$1"/usr/{lib,bin,sbin}; : >"$1/var/lib/dpkg/status"; printf 'ID=debian\nVERSION_ID=12\n' >"$1/etc/os-release"; for d in lib bin sbin; do ln -s usr/$d "$1/$d"; done; }
# A live root: DIR with the program, a shell and what they need, entered with pivot_root in namespaces of its own.
liveroot() {
  mounts; newroot "$1"; mkdir -p "$1"/{bin,usr/bin,usr/lib,proc,dev,tmp,var/tmp,opt,srv,.old}
  command -v busybox >/dev/null || skip "needs busybox"
  cp "$(command -v busybox)" "$1/bin/busybox"; for a in sh ls cat sleep mount umount grep mkdir chroot; do ln -s busybox "$1/bin/$a"; done
  # Without what a debugger reads, which is most of it.
  strip -o "$1/usr/bin/patchadm" "$PATCHADM" 2>/dev/null || cp "$PATCHADM" "$1/usr/bin/patchadm"
  printf '%s\n' '#include <dlfcn.h>' '#include <unistd.h>' 'int main(int c,char**v){if(c>1&&!dlopen(v[1],RTLD_NOW))return 1;sleep(300);return 0;}' >"$W/h.c"; cc -o "$W/holds" "$W/h.c" -ldl 2>/dev/null || skip "needs cc"
  local l; for l in $(ldd "$PATCHADM" "$W/holds" "$1/bin/busybox" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | sort -u); do mkdir -p "$1$(dirname "$l")"; cp -L "$l" "$1$l"; done
}
lib() { echo "int v(void){return $1;}" >"$W/l.c"; cc -shared -fPIC -Wl,-soname,libacme.so.1 -o "$2" "$W/l.c"; }
# live DIR SCRIPT: with a /dev/shm of its own, because the search for libraries would read what other tests have there
# shellcheck disable=SC2016 # expanded by the shell that is called
live() { unshare -mpf --propagation private --kill-child sh -c '[ -n "$NOBIND" ] || mount --bind "$1" "$1"; mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && { [ ! -d "$1/dev/shm" ] || mount -t tmpfs none "$1/dev/shm"; } && cd "$1" && pivot_root . .old && exec chroot . /bin/sh -c "cd /; /bin/umount -l /.old; export PATH=/bin:/usr/bin; . $2"' x "$1" "$2"; }

#!/bin/bash
# `--libs stop` sees who has a library mapped on overlayfs and btrfs, too (maps(5) there names another device than stat(2)).
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
liveroot r; mkdir -p v1/usr/lib v2/usr/lib; lib 1 v1/usr/lib/libacme.so.1; echo 1 >v1/usr/lib/readme; echo 2 >v2/usr/lib/readme
pkg v1 ACMElib pk; patch 100001-01 v1 v2 ACMElib --allow-abi-break; mkdir r/pk; cp -a pk 100001-01 r/pk; cp holds r/usr/bin/
cat >r/go <<'E'
patchadm pkgadd -n -d /pk/pk all >/dev/null 2>&1
holds /usr/lib/libacme.so.1 & sleep 1
patchadm plan --libs stop /pk/100001-01 >/dev/null 2>&1; echo "rc=$?"
E
export -f live; cp -a r plain; one=$(live plain /go); [ "$one" = rc=3 ] || { echo "where nothing is special: $one"; exit 2; }
on() { unshare -m --propagation private bash -c "$1"; }
o=$(on 'mkdir t m; mount -t tmpfs none t; mkdir t/u t/w; mount -t overlay o -o lowerdir=r,upperdir=t/u,workdir=t/w m 2>/dev/null || { echo unmounted; exit; }; NOBIND= live m /go')
[ "$o" = rc=3 ] || [ "$o" = unmounted ] || bad="overlayfs: $o;"
if command -v mkfs.btrfs >/dev/null; then
  truncate -s 1G img; mkfs.btrfs -q -f img >/dev/null 2>&1
  b=$(on 'mkdir b; mount -o loop img b 2>/dev/null || { echo unmounted; exit; }; btrfs subvolume create b/s >/dev/null; cp -a r/. b/s/; live b/s /go'); [ "$b" = rc=3 ] || [ "$b" = unmounted ] || bad="$bad btrfs: $b;"
fi
[ -z "$bad" ] || fail "the process is not seen: $bad"
[ "$o" = rc=3 ] || [ "$b" = rc=3 ] || skip "may mount neither overlayfs nor btrfs"; pass

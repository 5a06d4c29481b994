#!/bin/bash
# A run over the whole tree does not end with 0 if a recipe has a dependency that nothing matches, or is no record at all; a
# package that is kept from the set before does not stand in a set without what it needs.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
unshare -U true 2>/dev/null || skip "needs user namespaces"
chmod 755 .; [ "$(id -u)" != 0 ] || need_root "builds by another user"; mkdir tree driver
printf '#!/bin/sh\nif [ $# = 0 ]; then exec find . -mindepth 1 -type d -printf "%%P\\n"; fi\nexec cat "$1/record"\n' >driver/scan; printf '#!/bin/sh\nset -eu\nmkdir -p "$DESTDIR"\n. "$TREE/$PKG_LOCATION/build"\n' >driver/build; chmod +x driver/*
bulk init "$W/work" --tree "$W/tree" >/dev/null || exit 2; printf 'base_id=echo base\nbuild_user=nobody\ndriver=%s\n' "$W/driver" >>work/bulk.conf
rec() { mkdir tree/$1; printf "PKGNAME=$1-1.0\n$2" >tree/$1/record; echo 'mkdir -p $DESTDIR/opt/$PKG_LOCATION; echo 1 >$DESTDIR/opt/$PKG_LOCATION/f' >tree/$1/build; }
rec alpha; rec dep; rec beta 'ALL_DEPENDS=dep>=1:../dep\n'; bulk run work >/dev/null 2>&1 || exit 2
rm -r tree/dep; bulk run work >out 2>&1 && bad="exit 0 although beta cannot be built; "
{ ls work/sets/2/packages 2>/dev/null | grep -q beta && ! ls work/sets/2/packages | grep -q dep; } && bad="${bad}the set has beta and not what it needs"
[ -z "$bad" ] || fail "$bad"; pass

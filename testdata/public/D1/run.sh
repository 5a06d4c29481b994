#!/bin/bash
# On a root with /lib -> usr/lib: a file that moves from /lib to /usr/lib and was not edited is not called edited.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
as_root
command -v dpkg-deb >/dev/null || skip "needs dpkg"
mkdir -p v1/lib/acme v2/usr/lib/acme; echo one >v1/lib/acme/a.so; echo two >v2/usr/lib/acme/a.so; deb v1 acme 1.0 1.deb; deb v2 acme 1.1 2.deb
debroot r; dpkg --root="$W/r" --force-all -i 1.deb >/dev/null 2>&1; p -R r adopt --dpkg acme >/dev/null || exit 2
make_ build -q --id 100001-01 --from 1.deb --to 2.deb -o 100001-01 >/dev/null || exit 2
said=$(p -R r add 100001-01 2>&1) || fail "$said"; [ "$(cat r/usr/lib/acme/a.so)" = two ] || fail "the old bytes are there"
p -R r remove 100001-01 >/dev/null 2>&1; [ "$(cat r/usr/lib/acme/a.so)" = one ] || fail "not restored"; pass

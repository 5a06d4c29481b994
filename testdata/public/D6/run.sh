#!/bin/bash
# An owner and mode set with dpkg-statoverride(1) stay when a patch brings the file, or the plan names the difference.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
need_root "a file of another group"
command -v dpkg-deb >/dev/null || skip "needs dpkg"
mkdir -p v1/usr/bin v2/usr/bin; echo one >v1/usr/bin/x; echo two >v2/usr/bin/x; chmod 755 v?/usr/bin/x; deb v1 acme 1.0 1.deb; deb v2 acme 1.1 2.deb
debroot r; dpkg --root="$W/r" --force-all -i 1.deb >/dev/null 2>&1; echo 'root adm 0700 /usr/bin/x' >r/var/lib/dpkg/statoverride; chown 0:4 r/usr/bin/x; chmod 700 r/usr/bin/x
p -R r adopt --dpkg acme >/dev/null || exit 2; make_ build -q --id 100001-01 --from 1.deb --to 2.deb -o 100001-01 >/dev/null || exit 2
plan=$(p -R r plan 100001-01 2>&1); p -R r add 100001-01 >/dev/null 2>&1 || exit 2; now=$(stat -c '%g %a' r/usr/bin/x)
[ "$now" = "4 700" ] || grep -qi 'mode\|0700\|override' <<<"$plan" || fail "4 700 became $now, and the plan does not say it"; pass

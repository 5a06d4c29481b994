#!/bin/bash
# A hard link into another file system is refused when the plan is made, and both paths are named.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
mounts
mkdir -p v1/opt/acme v1/srv v2/opt/acme v2/srv/acme; echo 1 >v1/opt/acme/a; echo 2 >v2/opt/acme/a; ln v2/opt/acme/a v2/srv/acme/b
pkg v1 ACMEx pk; patch 100001-01 v1 v2 ACMEx; newroot r; mkdir r/srv; install_ r pk
said=$(unshare -m --propagation private bash -c 'mount -t tmpfs none r/srv; "$0" -R r plan 100001-01; echo "rc=$?"; "$0" -R r add 100001-01; echo "rc=$?"' "$PATCHADM" 2>&1)
[ "$(grep -c '^rc=0' <<<"$said")" = 0 ] || fail "the plan promises it: $(tail -3 <<<"$said" | tr '\n' ' ')"
{ grep -q '/opt/acme/a' <<<"$said" && grep -q '/srv/acme/b' <<<"$said"; } || fail "paths are not named"; pass

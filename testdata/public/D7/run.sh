#!/bin/bash
# A change of the owner alone, by `pkgchk -f` or by a patch, keeps the capability of a file whose bytes stay.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
need_root "files of other users"
command -v setcap >/dev/null || skip "needs setcap"
mkdir -p v1/opt/acme; echo x >v1/opt/acme/x; chmod 755 v1/opt/acme/x; cp -a v1 v2; chown 0:4 v2/opt/acme/x; pkg v1 ACMEc pk; patch 100001-01 v1 v2 ACMEc
newroot r; install_ r pk; cap() { getcap r/opt/acme/x | grep -q cap_net_bind_service; }
chown 1:1 r/opt/acme/x; setcap cap_net_bind_service=ep r/opt/acme/x 2>/dev/null || skip "no capabilities here"; p pkgchk -f -R r ACMEc >/dev/null 2>&1; cap || bad="pkgchk -f loses it; "
setcap cap_net_bind_service=ep r/opt/acme/x; p -R r add 100001-01 >/dev/null || exit 2; cap || bad="${bad}a patch of attributes loses it"
[ -z "$bad" ] || fail "$bad"; pass

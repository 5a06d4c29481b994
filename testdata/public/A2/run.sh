#!/bin/bash
# Who still runs a version of a file that an earlier patch replaced is named at the next one; and a library that such a
# process has mapped is not taken away under `stop`.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
liveroot r; mkdir -p v1/opt/acme v1/usr/lib; cp holds v1/opt/acme/acmed; lib 1 v1/usr/lib/libacme.so.1; cp -a v1 v2; printf x >>v2/opt/acme/acmed; cp -a v2 v3; printf y >>v3/opt/acme/acmed; cp -a v2 v4; rm v4/usr/lib/libacme.so.1
pkg v1 ACMEweb pk; patch 100001-01 v1 v2 ACMEweb; patch 100001-02 v1 v3 ACMEweb --previous 100001-01; patch 100002-01 v2 v4 ACMEweb --allow-abi-break; mkdir r/pk; cp -a pk 10000?-0? r/pk
cat >r/go <<'E'
patchadm pkgadd -n -d /pk/pk all >/dev/null 2>&1
/opt/acme/acmed /usr/lib/libacme.so.1 & sleep 1
patchadm add /pk/100001-01; echo second; patchadm plan /pk/100001-02; echo third; patchadm plan --libs stop /pk/100002-01 2>&1; echo "rc=$?"
E
out=$(live r /go 2>&1); echo "$out" | sed -n '/^100001-01: applied/,/^second/p' | grep -q '^Process' || { echo "$out"; exit 2; }
echo "$out" | sed -n '/^second/,/^third/p' | grep -q '^Process' || bad="$bad the second patch does not name it;"
echo "$out" | sed -n '/^third/,$p' | grep -q 'rc=3' || bad="$bad stop lets its library go;"
[ -z "$bad" ] || fail "$bad"; pass

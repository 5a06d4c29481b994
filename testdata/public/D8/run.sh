#!/bin/bash
# A file with the same size and time and other bytes: lint warns, since what compares these (python's __pycache__) misses the fix.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
as_root; command -v python3 >/dev/null || skip "needs python3"
mkdir -p v1/opt/m v2/opt/m; echo X=1 >v1/opt/m/m.py; echo X=2 >v2/opt/m/m.py; touch -d 2020-01-01 v?/opt/m/m.py; pkg v1 ACMEp pk
said=$(make_ build --id 100001-01 --from v1 --to v2 --pkg ACMEp --base-version 1.0 --arch all -o 100001-01 2>&1; make_ lint 100001-01 2>&1)
newroot r; install_ r pk; (cd r/opt/m && env -u PYTHONDONTWRITEBYTECODE python3 -c 'import m'); p -R r add 100001-01 >added 2>&1 || exit 2
x=$(cd r/opt/m && env -u PYTHONDONTWRITEBYTECODE python3 -c 'import m; print(m.X)'); [ "$x" = 2 ] && pass
grep -qi 'same size\|same time\|mtime\|modification time' <<<"$said $(cat added)" || fail "python still has X=$x after the patch, and nobody said it"; pass

#!/bin/bash
# The Ansible module in check mode says that the patch would change something, not that a restart is due already.
# Needs packaging/ansible, or a copy of it that COLLECTION names, and an ansible(1) on PATH.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
as_root; COLLECTION=${COLLECTION:-$(dirname "$SELF")/../../../packaging/ansible}
command -v ansible >/dev/null && [ -d "$COLLECTION" ] || skip "needs ansible"
mkdir -p v1/opt/a v2/opt/a; echo 1 >v1/opt/a/f; echo 2 >v2/opt/a/f; pkg v1 ACMEe pk; patch 100001-01 v1 v2 ACMEe --property rebootafter; newroot r; install_ r pk
mkdir -p c/ansible_collections/patchadm bin; cp -r "$COLLECTION" c/ansible_collections/patchadm/patch; ln -s "$PATCHADM" bin/patchadm
said=$(HOME=$W ANSIBLE_COLLECTIONS_PATH=$W/c PATH=$W/bin:$PATH ansible -i localhost, -c local localhost -e "ansible_python_interpreter=$(dirname "$(readlink -f "$(command -v ansible)")")/python3" -m patchadm.patch.patch -a "src=$W/100001-01 root=$W/r" --check 2>&1)
grep -q '"changed": true' <<<"$said" || { echo "$said"; exit 2; }
grep -q '"reboot_required": true' <<<"$said" && fail "check mode: reboot_required is true"; pass

#!/bin/bash
# The first package of a new root has only objects of a class that CLASSES does not name: nothing is installed, and the
# root can be worked on afterwards.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
mkdir -p v/opt/acme; echo f >v/opt/acme/f; printf 'PKG=ACMEcls\nNAME=t\nARCH=all\nVERSION=1\nCATEGORY=application\nBASEDIR=/\nCLASSES=preserve\n' >pkginfo
printf 'i pkginfo=./pkginfo\nf none opt/acme/f 0644 root root\n' >prototype; mkdir pk; make_ pkgmk -o -r v -d pk -f prototype >/dev/null 2>&1 || exit 2
newroot r; install_ r pk; said=$(p -R r status 2>&1) || fail "after a successful pkgadd: $said"; p pkgrm -n -R r ACMEcls >/dev/null 2>&1 || fail "it cannot be removed"; pass

#!/bin/bash
# A line of contents with a blank in its path does not stop questions about other packages; a repair does not lose the line.
. "$(dirname "$(readlink -f "$0")")/../lib.sh"
as_root
mkdir -p v/opt/acme; echo web >v/opt/acme/web; pkg v ACMEweb pk; newroot r; install_ r pk
D=r/var/sadm; rm -rf $D/patchadm $D/pkg/*/save; mkdir -p r/zz; echo x >'r/zz/two words'; sum=$(sum -s r/zz/two\ words 2>/dev/null | cut -d' ' -f1)
line="/zz/two words f none 0444 root sys 2 ${sum:-130} 679609720 ZZfonts ZZfonts"
mkdir $D/pkg/ZZfonts; sed 's/ACMEweb/ZZfonts/g' $D/pkg/ACMEweb/pkginfo >$D/pkg/ZZfonts/pkginfo
{ grep -v '^#' $D/install/contents; echo "$line"; } >c && cat c >$D/install/contents; bad=
p pkginfo -l -R r ACMEweb >/dev/null 2>&1 || bad="pkginfo -l of another package fails; "
said=$(p pkgchk -R r ACMEweb 2>&1) || { bad="${bad}pkgchk of another package fails; "; grep -q 'two words' <<<"$said" || bad="${bad}the message does not name the path; "; }
p pkgchk -f -R r >/dev/null 2>&1; grep -qxF "$line" $D/install/contents || bad="${bad}pkgchk -f drops the line from contents"
[ -z "$bad" ] || fail "$bad"; pass

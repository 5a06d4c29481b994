#!/bin/sh
# Deletes what the patch no longer has, and marks the undo data of earlier revisions: patchadm-scripts(7). preinstall has
# saved what goes; checkinstall has written PATCHLIST and the lists beside it.
# Exit codes: 0; 2 when something that should go is still there.
#
# The /sbin/sh of System V has no other form of command substitution.
# Dollar signs in single quotes are awk's. take_away is called by text that awk writes. Names in a save directory are ids.
# shellcheck disable=SC2006,SC2016,SC2317,SC2012

LC_ALL=C
export LC_ALL
umask 022

awk=nawk
nawk 'BEGIN { exit 0 }' </dev/null >/dev/null 2>&1 || awk='awk'

here=`dirname "$0"`
base=$CLIENT_BASEDIR
if [ "$base" = / ]; then
	base=
fi
code=0

complain() {
	echo "postinstall: $1" >&2
	code=2
}

take_away() {
	case $1 in
	/*) path=$1 ;;
	*) path=$base/$1 ;;
	esac
	removable=`removef "$PKGINST" "$path"` || {
		complain "removef refuses $path"
		return
	}
	if [ -z "$removable" ]; then
		return
	fi
	if [ -d "$removable" ] && [ ! -h "$removable" ]; then
		rmdir "$removable" 2>/dev/null
	else
		rm -f "$removable" || complain "cannot delete $removable"
	fi
}

# Writes a call of take_away for each line, the objects of a directory before it. The paths are quoted for the shell, so
# that no byte of a name means anything to it.
program='
function plain(text, out) {
	out = ""
	while (match(text, /\\[0-3][0-7][0-7]/)) {
		out = out substr(text, 1, RSTART - 1)
		out = out sprintf("%c", 64 * substr(text, RSTART + 1, 1) + 8 * substr(text, RSTART + 2, 1) + substr(text, RSTART + 3, 1))
		text = substr(text, RSTART + 4)
	}
	return out text
}

function quoted(text, out, at) {
	out = ""
	while ((at = index(text, "\047")) > 0) {
		out = out substr(text, 1, at - 1) "\047\\\047\047"
		text = substr(text, at + 1)
	}
	return "\047" out text "\047"
}

{
	sub(/^[ \t]+/, "")
	sub(/[ \t\r]+$/, "")
}
$0 != "" { print "take_away " quoted(plain($0)) }'

if [ -f "$here/deletes" ]; then
	if calls=`sort -r "$here/deletes" | $awk "$program"`; then
		eval "$calls"
		removef -f "$PKGINST" || complain "removef cannot end"
		rm -f "$here/deletes"
	else
		complain "$awk cannot read $here/deletes"
	fi
fi

# Writes the names of the save directories of lower revisions of the same base.
earlier='
function revision(id, digits) {
	digits = ""
	if (match(id, /[0-9]+$/))
		digits = substr(id, RSTART)
	sub(/^0+/, "", digits)
	return digits
}

function base(id) {
	return match(id, /[0-9]+$/) ? substr(id, 1, RSTART - 1) : id
}

{
	a = revision(ENVIRON["Patch_label"])
	b = revision($0)
	if (base($0) == base(ENVIRON["Patch_label"]) && (length(a) == length(b) ? (a "") > (b "") : length(a) > length(b)))
		print
}'

mark_obsolete() {
	for ending in '' .Z .gz .zst; do
		if [ -f "$1/undo$ending" ]; then
			mv -f "$1/undo$ending" "$1/obsolete$ending" || complain "cannot rename $1/undo$ending"
		fi
	done
	if [ -f "$1/remote" ]; then
		if sed 's/^STATE=.*/STATE=obsolete/' "$1/remote" >"$1/remote.new" && mv -f "$1/remote.new" "$1/remote"; then
			:
		else
			complain "cannot change $1/remote"
		fi
	fi
	if [ -f "$1/obsoleted_by" ] && grep "^$escaped\$" "$1/obsoleted_by" >/dev/null; then
		return
	fi
	echo "$Patch_label" >>"$1/obsoleted_by" || complain "cannot write $1/obsoleted_by"
}

export Patch_label
escaped=`echo "$Patch_label" | sed 's/[.]/\\\\&/g'`
if [ -n "$Patch_label" ] && [ -d "$PKGSAV" ]; then
	for name in `ls "$PKGSAV" | $awk "$earlier"`; do
		mark_obsolete "$PKGSAV/$name"
	done
fi

# What pkgadd has kept of this patch for nobody: nothing of another one.
for name in checkinstall patch_checkinstall patch_postinstall patchadm.objects; do
	if [ -n "$SCRIPTS_DIR" ] && cmp -s "$here/$name" "$SCRIPTS_DIR/$name"; then
		rm -f "$here/$name"
	fi
done
exit "$code"

#!/bin/sh
# Deletes what the patch had added, and the undo data: patchadm-undo(5).
# Exit codes: 0; 2 when something that should go is still there, and then the undo data stays.
#
# The /sbin/sh of System V has no other form of command substitution. Dollar signs in single quotes are awk's. take_away
# is called by text that awk writes.
# shellcheck disable=SC2006,SC2016,SC2317

LC_ALL=C
export LC_ALL

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

# Writes a call of take_away for each line. The paths are quoted for the shell, so that no byte of a name means
# anything to it.
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
	if calls=`$awk "$program" "$here/deletes"`; then
		eval "$calls"
		removef -f "$PKGINST" || complain "removef cannot end"
		rm -f "$here/deletes"
	else
		complain "$awk cannot read $here/deletes"
	fi
fi

# An unset variable must not make another path of this one.
case $ACTIVE_PATCH in
'' | .* | */*) complain "ACTIVE_PATCH is no patch: $ACTIVE_PATCH" ;;
*)
	save=$PKGSAV/$ACTIVE_PATCH
	if [ "$code" -eq 0 ] && [ -n "$PKGSAV" ]; then
		rm -rf "$save" || complain "cannot delete $save"
	fi
	;;
esac
rm -f "$here/checkinstall" "$here/postinstall" "$here/patchadm.manifest" "$here/patchadm.records"
exit "$code"

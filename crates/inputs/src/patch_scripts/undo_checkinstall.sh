#!/bin/sh
# Decides whether this package may take its patch back, and how the lists of patches read then: patchadm-undo(5).
# Exit codes: 0; 3, and the PaTcH_MsG line says why not; 1 when something is wrong with the call.
#
# The /sbin/sh of System V has no other form of command substitution. Dollar signs in single quotes are awk's.
# shellcheck disable=SC2006,SC2016

LC_ALL=C
export LC_ALL ACTIVE_PATCH ACTIVE_OBSOLETES PATCHLIST PATCH_OBSOLETES PATCH_FORMER

if [ ! -f "$1" ] || [ -z "$ACTIVE_PATCH" ]; then
	echo "checkinstall: a response file and ACTIVE_PATCH are needed" >&2
	exit 1
fi

# Where both are there, awk is one that has no functions.
awk=nawk
nawk 'BEGIN { exit 0 }' </dev/null >/dev/null 2>&1 || awk='awk'

# The response is read as data: nothing in it is run.
program='
# A revision is the digits at the end of an id, whatever separates them from the base.
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

# The same for all spellings of one id.
function key(id) {
	return base(id) revision(id)
}

function is_later(id, other, a, b) {
	a = revision(id)
	b = revision(other)
	if (base(id) != base(other))
		return 0
	return length(a) == length(b) ? (a "") > (b "") : length(a) > length(b)
}

function joined(list, word) {
	return list == "" ? word : list " " word
}

function unquoted(value, mark) {
	sub(/^[ \t]+/, "", value)
	sub(/[ \t\r]+$/, "", value)
	mark = substr(value, 1, 1)
	if (length(value) > 1 && (mark == "\"" || mark == "\047") && substr(value, length(value)) == mark)
		value = substr(value, 2, length(value) - 2)
	return value
}

# The nawk of System V asks no array with `in` that never had an element.
function obsoletes_left(old, gone, entries, taken, counted, is_taken, left, n, i, at, id, number) {
	counted[""] = 1
	is_taken[""] = 1
	n = split(gone, taken, /[ \t,]+/)
	for (i = 1; i <= n; i++)
		is_taken[key(taken[i])] = 1
	n = split(old, entries, /[ \t,]+/)
	left = ""
	for (i = 1; i <= n; i++) {
		at = index(entries[i], "@")
		id = substr(entries[i], 1, at - 1)
		if (at < 2 || (key(id) in counted))
			continue
		counted[key(id)] = 1
		number = substr(entries[i], at + 1) - (key(id) in is_taken)
		if (number > 0)
			left = joined(left, id "@" number)
	}
	return left
}

BEGIN {
	patch = ENVIRON["ACTIVE_PATCH"]
	applied = ENVIRON["PATCHLIST"]
	counts = ENVIRON["PATCH_OBSOLETES"]
}
/^[ \t]*OLDLIST=/ { applied = unquoted(substr($0, index($0, "=") + 1)) }
/^[ \t]*PATCH_OBSOLETES=/ { counts = unquoted(substr($0, index($0, "=") + 1)) }
END {
	n = split(applied, ids, /[ \t,]+/)
	for (i = 1; i <= n; i++) {
		if (key(ids[i]) == key(patch))
			is_applied = 1
		else if (ids[i] != "")
			rest = joined(rest, ids[i])
		if (is_later(ids[i], patch))
			later = ids[i]
	}
	if (later != "") {
		print "PaTcH_MsG 6 Patch " patch " cannot go before its later revision " later "."
		exit 3
	}
	if (!is_applied) {
		print "PaTcH_MsG 2 Patch " patch " is not applied to this package."
		exit 3
	}
	print "PATCHLIST=" rest
	print "Patch_label="
	print "PATCH_INFO_" patch "=backed out"
	print "PATCH_OBSOLETES=" obsoletes_left(counts, ENVIRON["ACTIVE_OBSOLETES"])
	print "ACTIVE_OBSOLETES="
	print "Obsoletes_label="
	if (ENVIRON["PATCH_FORMER"] != "")
		print "PATCH_FORMER="
}'

said=`$awk "$program" "$1"`
case $? in
0) ;;
3)
	printf '%s\n' "$said"
	exit 3
	;;
*)
	echo "checkinstall: $awk cannot read $1" >&2
	exit 1
	;;
esac

# A last line without its end must not swallow the first of ours.
ended=`wc -l <"$1"`
lines=`$awk 'END { print NR }' "$1"`
if [ "$ended" -ne "$lines" ]; then
	echo >>"$1" || exit 1
fi
printf '%s\n' "$said" >>"$1" || exit 1
exit 0

#!/bin/sh
# Puts the files of a class in place: patchadm-scripts(7). What was there has been saved by preinstall.
# Exit codes: 0; 1 when a file could not be put in place.
#
# The /sbin/sh of System V has no other form of command substitution, and its read knows no -r.
# Dollar signs in single quotes are awk's.
# shellcheck disable=SC2006,SC2162,SC2016

LC_ALL=C
export LC_ALL
umask 077

awk=nawk
nawk 'BEGIN { exit 0 }' </dev/null >/dev/null 2>&1 || awk='awk'

# Writes source, destination and the directory of the destination in three lines, and a last one that says that all of
# them are there. The paths may have blanks in their common part, so the blank between them is the one behind which the
# path with the longest common end begins.
program='
function common(source, path, n) {
	n = 0
	while (n < length(source) && n < length(path) && substr(source, length(source) - n) == substr(path, length(path) - n))
		n++
	return n
}

{
	best = 0
	rest = $0
	at = 0
	while ((step = index(rest, " /")) > 0) {
		at += step
		rest = substr(rest, step + 1)
		alike = 1 + common(substr($0, 1, at - 1), substr($0, at + 1))
		if (alike > best) {
			best = alike
			cut = at
		}
	}
	if (best > 0) {
		path = substr($0, cut + 1)
		place = path
		sub(/[^\/]*$/, "", place)
		lines = substr($0, 1, cut - 1) "\n" path "\n" place
		gsub(/\\/, "&&", lines)
		print lines
	}
}

END { print "end" }'

new=
fail() {
	if [ -n "$new" ]; then
		rm -f "$new"
	fi
	echo "class action script: $1" >&2
	exit 1
}

# A file gets its name only when all of it is there.
put() {
	if [ -d "$2" ] && [ ! -h "$2" ]; then
		fail "$2 is a directory"
	fi
	if [ -f "$3.patch.$$" ] || [ -h "$3.patch.$$" ]; then
		fail "$3.patch.$$ is in the way"
	fi
	new=$3.patch.$$
	if cp -p "$1" "$new" && cmp -s "$1" "$new" && mv -f "$new" "$2"; then
		new=
	else
		fail "cannot install $2"
	fi
}

# The last command of the pipe decides about the exit code.
$awk "$program" | {
	for signal in 1 2 15; do
		trap 'fail "interrupted"' $signal
	done
	IFS=
	while read from && read to && read place; do
		if [ "$from" != /dev/null ]; then
			put "$from" "$to" "$place"
		fi
	done
	if [ "$from" != end ]; then
		fail "the list of files is not complete"
	fi
	exit 0
}

#!/bin/sh
# Puts saved files back: patchadm-undo(5).
#
# The read of System V knows no -r.
# shellcheck disable=SC2162

LC_ALL=C
export LC_ALL
sed 's/\\/&&/g' | {
	while read from to; do
		rm -f "$to"
		cp -p "$from" "$to" || exit 1
	done
	exit 0
}

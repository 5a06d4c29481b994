#!/bin/sh
# Puts saved files of a class back as they were, whatever the class does with new ones: `source destination` a line.
# Exit codes: 0; 1 when a file cannot be copied.

LC_ALL=C
export LC_ALL
# read takes a backslash for a quote.
sed 's/\\/&&/g' | {
	while read from to; do
		rm -f "$to"
		cp -p "$from" "$to" || exit 1
	done
	exit 0
}

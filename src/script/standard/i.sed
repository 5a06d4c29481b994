# Class sed, installation: each object of the package is a sed script with the sections !install and !remove. The
# first changes the file that is there; the object is kept below $PKGSAV/sed for the removal.

failed=0
section=$PKGSAV/.section.$$
made=$PKGSAV/.made.$$
mkdir -p "$PKGSAV" || exit 2
trap 'rm -f "$section" "$made"' 0
while read -r source destination; do
	[ "$source" = /dev/null ] && continue
	if [ -h "$destination" ]; then
		echo "$destination is a symbolic link: not modified" >&2
		failed=2
		continue
	fi
	client=${destination#"${PKG_INSTALL_ROOT%/}"}
	kept=$PKGSAV/sed$client
	mkdir -p "${kept%/*}" && rm -f "$kept" && cp "$source" "$kept" || {
		failed=2
		continue
	}
	echo "Modifying $destination"
	sed -n -e '/^#/d' -e '/^!install[ 	]*$/,/^!remove[ 	]*$/{' -e '/^!/d' -e p -e '}' "$kept" >"$section"
	[ -s "$section" ] || continue
	# A file that is not there yet begins empty.
	[ -f "$destination" ] || : >"$destination" || {
		failed=2
		continue
	}
	if sed -f "$section" "$destination" >"$made"; then
		cp "$made" "$destination" || failed=2
	else
		failed=2
	fi
done
exit $failed

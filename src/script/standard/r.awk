# Class awk, removal: the section !remove of the object that was kept changes the file back.

failed=0
section=$PKGSAV/.section.$$
made=$PKGSAV/.made.$$
mkdir -p "$PKGSAV" || exit 2
trap 'rm -f "$section" "$made"' 0
while read -r destination; do
	if [ -h "$destination" ]; then
		echo "$destination is a symbolic link: not modified" >&2
		failed=2
		continue
	fi
	client=${destination#"${PKG_INSTALL_ROOT%/}"}
	kept=$PKGSAV/awk$client
	[ -f "$kept" ] && [ -f "$destination" ] || continue
	echo "Modifying $destination"
	sed -n -e '/^#/d' -e '/^!remove[ 	]*$/,/^!install[ 	]*$/{' -e '/^!/d' -e p -e '}' "$kept" >"$section"
	[ -s "$section" ] || continue
	if awk -f "$section" "$destination" >"$made"; then
		cp "$made" "$destination" || failed=2
		rm -f "$kept"
	else
		failed=2
	fi
done
exit $failed

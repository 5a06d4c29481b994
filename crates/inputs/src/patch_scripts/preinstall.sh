#!/bin/sh
# Saves everything that the patch is about to replace or delete, as a package that takes it back: patchadm-scripts(7).
# When this script has ended well, the undo archive is whole and in its place, and nothing has been changed.
# Exit codes: 0; 1 when something could not be saved.
#
# The /sbin/sh of System V has no other form of command substitution, and its read knows no -r.
# Dollar signs in single quotes are awk's. The functions without a call are called by text that awk writes, which is not
# there when this text is checked.
# shellcheck disable=SC2006,SC2162,SC2016,SC2317,SC1091

LC_ALL=C
export LC_ALL
umask 077

awk=nawk
nawk 'BEGIN { exit 0 }' </dev/null >/dev/null 2>&1 || awk='awk'

build=
new=
clean_up() {
	if [ -n "$build" ]; then
		cd /
		rm -rf "$build"
	fi
	if [ -n "$new" ]; then
		rm -rf "$new"
	fi
}
trap clean_up 0
for signal in 1 2 15; do
	trap 'exit 1' $signal
done

complain() {
	echo "preinstall: $1" >&2
	exit 1
}
cannot_save() {
	echo "PaTcH_MsG 4 The undo data of patch $Patch_label cannot be saved: $1."
	exit 1
}

put_copy() {
	if cp -p "$1" "$2" && cmp -s "$1" "$2"; then
		return
	fi
	rm -f "$2"
	cannot_save "cannot write $2"
}

# An unset variable must not make another path of one.
case $Patch_label in
'' | .* | */*) complain "Patch_label is no patch: $Patch_label" ;;
esac
if [ -z "$PKGSAV" ] || [ -z "$PKGINST" ] || [ -z "$PKG" ]; then
	complain "PKGSAV, PKGINST and PKG are needed"
fi
if [ "$PATCH_NO_UNDO" = true ]; then
	exit 0
fi
source=`dirname "$SCRIPTS_DIR"`
if [ ! -f "$source/pkgmap" ] || [ ! -f "$source/pkginfo" ]; then
	complain "SCRIPTS_DIR is not the directory of scripts in a package: $SCRIPTS_DIR"
fi
root=$PKG_INSTALL_ROOT
if [ "$root" = / ]; then
	root=
fi
base=${BASEDIR:-$root}
if [ "$base" = / ]; then
	base=
fi
client=$CLIENT_BASEDIR
if [ "$client" = / ]; then
	client=
fi

# Undo data is written before the first object is replaced. What an interrupted run has left is whole, and holds what was
# there before that run; what would be saved now may be half of the patch.
save=$PKGSAV/$Patch_label
for name in undo undo.Z undo.gz undo.zst remote; do
	if [ -f "$save/$name" ]; then
		if [ "$INTERRUPTION" = yes ]; then
			exit 0
		fi
		cannot_save "$save/$name is there from an earlier run"
	fi
done

# A directory of our own: nobody else may write where it is, or it is made by this run.
if [ ! -d "$PKGSAV" ]; then
	(umask 022 && mkdir -p "$PKGSAV") || cannot_save "cannot make $PKGSAV"
fi
if [ -n "$PATCH_BUILD_DIR" ] && [ -d "$PATCH_BUILD_DIR" ]; then
	wanted=$PATCH_BUILD_DIR/$Patch_label.$PKGINST
else
	wanted=$PKGSAV/.$Patch_label.build
	rm -rf "$wanted"
fi
mkdir "$wanted" || cannot_save "cannot make $wanted"
build=$wanted
cd "$build" || cannot_save "cannot enter $build"
mkdir files scripts stage again || cannot_save "cannot make directories in $build"
# Nobody else enters this directory, but checkinstall of the package that is made in it runs as another user.
umask 022

# What a line of text means, and how it is written so that it is one word.
words='
function plain(text, out) {
	out = ""
	while (match(text, /\\[0-3][0-7][0-7]/)) {
		out = out substr(text, 1, RSTART - 1)
		out = out sprintf("%c", 64 * substr(text, RSTART + 1, 1) + 8 * substr(text, RSTART + 2, 1) + substr(text, RSTART + 3, 1))
		text = substr(text, RSTART + 4)
	}
	return out text
}

function escaped(text, out, i, c) {
	if (text !~ /[\001-\040\177=\\]/)
		return text
	out = ""
	for (i = 1; i <= length(text); i++) {
		c = substr(text, i, 1)
		if (c in octal)
			c = octal[c]
		out = out c
	}
	return out
}

function quoted(text, out, at) {
	out = ""
	while ((at = index(text, "\047")) > 0) {
		out = out substr(text, 1, at - 1) "\047\\\047\047"
		text = substr(text, at + 1)
	}
	return "\047" out text "\047"
}

BEGIN {
	for (i = 1; i < 128; i++)
		if (i <= 32 || i == 61 || i == 92 || i == 127)
			octal[sprintf("%c", i)] = sprintf("\\%03o", i)
}'

# Lists what the patch delivers or deletes, each path once: number, type and class on record, path as it is written, and
# what a hard link is recorded to be a name of.
list='
function expanded(path, name, at) {
	while (substr(path, 1, 1) == "$") {
		at = index(path, "/")
		name = at == 0 ? substr(path, 2) : substr(path, 2, at - 2)
		path = ENVIRON[name] (at == 0 ? "" : substr(path, at))
	}
	return path
}

function cleaned(path) {
	while (sub(/\/\.\//, "/", path) || sub(/\/\//, "/", path))
		continue
	sub(/^\.\//, "", path)
	return path
}

function take(path, type, class, where) {
	path = cleaned(expanded(plain(path)))
	where = substr(path, 1, 1) == "/" ? path : ENVIRON["client"] "/" path
	if (path == "" || where in number)
		return
	number[where] = ++count
	paths[count] = path
	types[count] = type
	classes[count] = class
	targets[count] = ""
}

BEGIN {
	number[""] = 0
	of_line[""] = 0
	count = 0
}
part == "pkgmap" && /^[^#:]/ {
	first = $1 ~ /^[0-9]+$/ ? 2 : 1
	if ($first != "i" && NF > first + 1) {
		at = index($(first + 2), "=")
		take(at > 1 ? substr($(first + 2), 1, at - 1) : $(first + 2), $first, $(first + 1))
		of_line[NR] = count
	}
}
part == "deletes" {
	sub(/^[ \t]+/, "")
	sub(/[ \t\r]+$/, "")
	if ($0 != "")
		take($0, "f", "none")
}
part == "contents" && /^\// {
	where = $1
	target = ""
	at = index(where, "=")
	if (at > 1) {
		target = substr(where, at + 1)
		where = substr(where, 1, at - 1)
	}
	if (index(where, "\\") > 0)
		where = plain(where)
	if (where in number) {
		types[number[where]] = $2
		classes[number[where]] = $3
		targets[number[where]] = $2 == "l" ? target : ""
	}
}
# What was recorded otherwise before the patch, by the lines of its pkgmap, as checkinstall says.
END {
	n = split(ENVIRON["PATCH_FORMER"], former, " ")
	for (i = 1; i <= n; i++) {
		split(former[i], field, ":")
		if (field[1] in of_line) {
			at = of_line[field[1]]
			types[at] = field[2]
			classes[at] = field[3]
			targets[at] = substr(former[i], length(field[1] field[2] field[3]) + 4)
		}
	}
	for (i = 1; i <= count; i++)
		print i, types[i], classes[i], escaped(paths[i]), targets[i]
}'
deletes=/dev/null
if [ -f "$SCRIPTS_DIR/deletes" ]; then
	deletes=$SCRIPTS_DIR/deletes
fi
contents=$root/var/sadm/install/contents
if [ ! -f "$contents" ]; then
	contents=/dev/null
fi
export client root base
$awk "$words$list" part=pkgmap "$source/pkgmap" part=deletes "$deletes" part=contents "$contents" >objects ||
	complain "$awk cannot read $source/pkgmap"

# Accounts are those of the root that is patched.
numbers=
if [ -n "$root" ] && [ -f "$root/etc/passwd" ] && [ -f "$root/etc/group" ]; then
	numbers=n
fi

# Saves an object: what ls says of it, and a file itself.
look() {
	case $2 in
	/*) at=$root$2 ;;
	*) at=$base/$2 ;;
	esac
	if [ -h "$at" ]; then
		:
	elif [ -f "$at" ]; then
		put_copy "$at" "files/$1"
	elif [ -d "$at" ] || [ -p "$at" ] || [ -b "$at" ] || [ -c "$at" ]; then
		:
	else
		return
	fi
	echo "$1" >&3
	ls "-ldi$numbers" "$at" >&3 || cannot_save "cannot look at $at"
}
calls='{ print "look " $1 " " quoted(plain($4)) }'
$awk "$words$calls" objects >to_look || cannot_save "cannot write in $build"
exec 3>seen
. ./to_look
exec 3>&-

# Makes the prototype of what was there, the list of what was not, and the list of the files to compare.
describe='
function octal_mode(text, i, c, place, bits, sum) {
	bits = "421421421"
	sum[0] = sum[1] = sum[2] = sum[3] = 0
	for (i = 2; i <= 10; i++) {
		c = substr(text, i, 1)
		place = int((i + 1) / 3)
		if (c ~ /[rwxst]/)
			sum[place] += substr(bits, i - 1, 1)
		if (c ~ /[sStTlL]/)
			sum[0] += place == 1 ? 4 : place == 2 ? 2 : 1
	}
	return sum[0] sum[1] sum[2] sum[3]
}

function directory(path) {
	return match(path, /[^\/]*$/) ? substr(path, 1, RSTART - 1) : ""
}

function attributes() {
	return octal_mode($2) " " (($4 in user) ? user[$4] : $4) " " (($5 in group) ? group[$5] : $5)
}

# The path that a hard link is recorded to be another name of.
function recorded_target(link, path_of) {
	path_of = plain(target[link])
	if (path_of == "")
		return ""
	if (substr(path_of, 1, 1) != "/")
		path_of = directory(plain(path[link])) path_of
	else if (substr(plain(path[link]), 1, 1) != "/" && index(path_of, ENVIRON["client"] "/") == 1)
		path_of = substr(path_of, length(ENVIRON["client"]) + 2)
	while (sub(/^\.\//, "", path_of) || sub(/\/\.\//, "/", path_of) || sub(/\/\/+/, "/", path_of))
		continue
	while (match(path_of, /[^\/]+\/\.\.\//) && substr(path_of, RSTART, 3) != "../")
		path_of = substr(path_of, 1, RSTART - 1) substr(path_of, RSTART + RLENGTH)
	return path_of
}

# What is written for the hard link so that it becomes another name of the other object, if anything can be.
function name_beside(link, other, from, to, up) {
	from = path[link]
	to = path[other]
	if (recorded_target(link) == plain(to))
		return target[link]
	if ((substr(from, 1, 1) == "/") != (substr(to, 1, 1) == "/"))
		return ""
	sub(/^\//, "", from)
	sub(/^\//, "", to)
	while (index(from, "/") > 0 && substr(from, 1, index(from, "/")) == substr(to, 1, index(from, "/"))) {
		to = substr(to, index(from, "/") + 1)
		from = substr(from, index(from, "/") + 1)
	}
	up = ""
	while ((at = index(from, "/")) > 0) {
		up = up "../"
		from = substr(from, at + 1)
	}
	return (up == "" ? "./" : up) to
}

# The name under which a file is saved that has others: the one that is recorded as the file.
function note_name(file) {
	names[n] = ""
	if ($3 < 2)
		return
	file = $1 " " $6
	names[n] = file
	if (!(file in first) || (type[n] != "l" && type[first[file]] == "l"))
		first[file] = n
}

function describe_file(n, other, beside) {
	other = names[n] == "" ? n : first[names[n]]
	beside = other == n || class[other] != class[n] ? "" : name_beside(n, other)
	if (beside != "") {
		print "l", class[n], path[n] "=" beside
		return
	}
	letter = type[n] ~ /^[fev]$/ ? type[n] : "f"
	print letter, class[n], path[n] "=files/" n, rights[n]
	place = substr(path[n], 1, 1) == "/" ? "root" : "reloc/"
	print "same " n " " quoted(place plain(path[n])) >"compare"
}

function link_target(raw, at, line) {
	line = $0
	raw = plain(path[n])
	at = index(line, raw " -> ")
	return escaped(substr(line, at + length(raw) + 4))
}

BEGIN {
	print "i pkginfo=pkginfo"
	used["none"] = 0
	first[""] = ""
	user[""] = ""
	group[""] = ""
	is_there[""] = 1
	is_file[""] = 1
}
part == "passwd" {
	split($0, account, ":")
	if (!(account[3] in user))
		user[account[3]] = account[1]
}
part == "group" {
	split($0, account, ":")
	if (!(account[3] in group))
		group[account[3]] = account[1]
}
part == "objects" {
	type[$1] = $2
	class[$1] = $3
	path[$1] = $4
	target[$1] = $5
	last = $1
}
part == "seen" && NF == 1 { n = $1 }
part == "seen" && NF > 1 {
	is_there[n] = 1
	kind = substr($2, 1, 1)
	if (kind == "-") {
		used[class[n]] = 1
		is_file[n] = 1
		rights[n] = attributes()
		note_name()
	} else if (kind == "d") {
		letter = type[n] == "x" ? "x" : "d"
		print letter, class[n], path[n], attributes()
	} else if (kind == "l") {
		print "s", class[n], path[n] "=" link_target()
	} else if (kind == "p") {
		print "p", class[n], path[n], attributes()
	} else {
		split($6, device, ",")
		minor = device[2] == "" ? $7 : device[2]
		print kind, class[n], path[n], device[1], minor, attributes()
	}
}
END {
	for (i = 1; i <= last; i++) {
		if (!(i in is_there))
			print path[i] >"gone"
		if (i in is_file)
			describe_file(i)
	}
	for (each in used)
		print each >"classes"
}'
: >compare
: >gone
: >classes
set -- part=objects objects part=seen seen
if [ -n "$numbers" ]; then
	set -- part=passwd "$root/etc/passwd" part=group "$root/etc/group" "$@"
fi
$awk "$words$describe" "$@" >prototype || complain "$awk cannot describe what is there"

# The scripts of the package that takes the patch back. A class without an undo script gets one that copies: the script
# that the class has elsewhere may keep the file that is there.
deliver() {
	echo "i $1=scripts/$1" >>prototype
}
for name in checkinstall postinstall; do
	cp "$SCRIPTS_DIR/patch_$name" "scripts/$name" || cannot_save "cannot copy $SCRIPTS_DIR/patch_$name"
	deliver "$name"
done
for script in "$SCRIPTS_DIR"/u.?*; do
	if [ -f "$script" ]; then
		name=`basename "$script" | sed 's/^u/i/'`
		cp "$script" "scripts/$name" || cannot_save "cannot copy $script"
		deliver "$name"
	fi
done
while read class; do
	if [ "$class" != none ] && [ ! -f "scripts/i.$class" ]; then
		cat >"scripts/i.$class" <<\END
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
END
		deliver "i.$class"
	fi
done <classes
if [ -s gone ]; then
	sort -r gone >deletes || cannot_save "cannot write in $build"
	echo "i deletes=deletes" >>prototype
fi

# The parameters that were there before the patch. Within an installation pkgparam prints these. What says how a run goes
# or which patches are applied is no part of them; the lists are computed when the patch is taken back.
parameters='
function is_left_out(name) {
	return index(" PATCHLIST PATCH_OBSOLETES ACTIVE_PATCH ACTIVE_OBSOLETES Patch_label Obsoletes_label UPDATE SCRIPTS_DIR PATCH_NO_UNDO PATCH_FORMER PATCH_PROGRESSIVE PATCH_UNCONDITIONAL PATCH_BUILD_DIR PATCH_UNDO_ARCHIVE INTERRUPTION OLDLIST INSTDATE PKGINST PKGSAV OAMBASE PATH ", " " name " ") > 0 || name ~ /^PATCH_INFO_/
}

function put(name, value, lines, n, i) {
	if (is_left_out(name))
		return
	is_said[name] = 1
	if (name == "CLASSES")
		value = with_classes(value)
	n = split(value, lines, "\n")
	if (n < 2) {
		print name "=" (value ~ /^[ \t\042\047]/ ? "\042" value "\042" : value)
		return
	}
	print name "=" lines[1] "\\"
	for (i = 2; i <= n; i++)
		print lines[i] (i < n ? "\\" : "")
}

function with_classes(value, known, n, i, is_known) {
	is_known[""] = 1
	n = split(value, known, /[ \t,]+/)
	for (i = 1; i <= n; i++)
		is_known[known[i]] = 1
	for (i = 1; i <= classes; i++)
		if (!(class[i] in is_known))
			value = value " " class[i]
	return value
}

BEGIN {
	is_said[""] = 1
	apostrophe = "\047\042\047\042\047"
	classes = 0
}
part == "classes" {
	if ($0 != "none")
		class[++classes] = $0
	next
}
!is_open {
	at = index($0, "=\047")
	if (at < 2)
		next
	name = substr($0, 1, at - 1)
	value = substr($0, at + 2)
	is_open = 1
	text = ""
}
is_open {
	line = text == "" ? value : $0
	while ((at = index(line, apostrophe)) > 0)
		line = substr(line, 1, at - 1) "\001" substr(line, at + 5)
	text = text == "" ? line : text "\n" line
	if (text == "")
		next
	if (substr(text, length(text)) == "\047") {
		text = substr(text, 1, length(text) - 1)
		gsub("\001", "\047", text)
		put(name, text)
		is_open = 0
	}
}
END {
	n = split("SUNW_PATCHID SUNW_OBSOLETES SUNW_REQUIRES SUNW_INCOMPAT", last, " ")
	for (i = 1; i <= n; i++)
		if (!(last[i] in is_said))
			print last[i] "="
	print "ACTIVE_PATCH=" ENVIRON["Patch_label"]
	print "ACTIVE_OBSOLETES=" ENVIRON["ACTIVE_OBSOLETES"]
}'
export Patch_label ACTIVE_OBSOLETES
pkgparam -v "$PKGINST" >installed || cannot_save "cannot read the parameters of $PKGINST"
$awk "$parameters" part=classes classes part=installed installed >pkginfo || complain "$awk cannot read the parameters"

# The archive, which is read again before it counts.
run() {
	"$@" >said 2>&1 || {
		cat said >&2
		cannot_save "$1 failed"
	}
}
run pkgmk -o -r . -d "$build/stage" -f prototype
run pkgtrans -s "$build/stage" "$build/undo" "$PKG"
run pkgtrans "$build/undo" "$build/again" "$PKG"
same() {
	cmp -s "files/$1" "again/$PKG/$2" || cannot_save "the archive does not hold $2"
}
. ./compare
archive=undo
if compress undo >/dev/null 2>&1 && [ -f undo.Z ]; then
	archive=undo.Z
fi

chmod 600 "$archive" || cannot_save "cannot change $archive"

# Everything gets its place by one rename.
new=$PKGSAV/.$Patch_label.new
rm -rf "$new"
mkdir "$new" || cannot_save "cannot make $new"
if [ "${PATCH_UNDO_ARCHIVE:-none}" = none ]; then
	put_copy "$archive" "$new/$archive"
else
	there=$PATCH_UNDO_ARCHIVE/$Patch_label/$PKGINST
	mkdir -p "$there" || cannot_save "cannot make $there"
	put_copy "$archive" "$there/.$archive.$$"
	mv -f "$there/.$archive.$$" "$there/$archive" || cannot_save "cannot rename $there/.$archive.$$"
	cat >"$new/remote" <<END || cannot_save "cannot write $new/remote"
# Backout data stored remotely
TYPE=filesystem
FIND_AT=$there/$archive
STATE=active
END
fi
chmod 755 "$new" || cannot_save "cannot change $new"
sync
if [ -d "$save" ]; then
	mv -f "$new"/* "$save" || cannot_save "cannot write in $save"
else
	mv "$new" "$save" || cannot_save "cannot rename $new"
	new=
fi
exit 0

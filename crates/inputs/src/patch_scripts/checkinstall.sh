#!/bin/sh
# Decides whether the patch may be applied to this package, and how the lists of patches read with it:
# patchadm-scripts(7).
# Exit codes: 0; 3, and the PaTcH_MsG line says why not; 1 when something is wrong with the call.
#
# The /sbin/sh of System V has no other form of command substitution.
# Dollar signs in single quotes are awk's.
# shellcheck disable=SC2006,SC2016

LC_ALL=C
export LC_ALL UPDATE PKG VERSION PKGSAV PATCHLIST PATCH_OBSOLETES ACTIVE_OBSOLETES Obsoletes_label
export BASEDIR PKG_INSTALL_ROOT PATCH_FORMER

complain() {
	echo "checkinstall: $1" >&2
	exit 1
}

if [ ! -f "$1" ]; then
	complain "a response file is needed"
fi
# What pkgadd runs for a package that is not installed is a copy, with nothing beside it.
if [ "$UPDATE" != yes ]; then
	echo "PaTcH_MsG 8 Version $VERSION of $PKG is not installed, so it cannot be patched."
	exit 3
fi
here=`dirname "$0"`
SCRIPTS_DIR=`cd "$here" && pwd`
above=`dirname "$SCRIPTS_DIR"`
if [ ! -r "$above/pkginfo" ]; then
	complain "cannot read $above/pkginfo"
fi

# Where both are there, awk is one that has no functions.
awk=nawk
nawk 'BEGIN { exit 0 }' </dev/null >/dev/null 2>&1 || awk='awk'

TODAY=`TZ=UTC0 date '+%a %b %d %H:%M:%S UTC %Y'`
NODE=`uname -n`
export SCRIPTS_DIR TODAY NODE

# Response and pkginfo are read as data: nothing in them is run.
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
	if (base(id) != base(other))
		return 0
	a = revision(id)
	b = revision(other)
	return length(a) == length(b) ? (a "") > (b "") : length(a) > length(b)
}

function contains(id, other) {
	return base(id) == base(other) && !is_later(other, id)
}

function is_restricted(id) {
	return id ~ /^(T|IDR)[0-9]/
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

function list_of(value) {
	gsub(/[ \t,]+/, " ", value)
	sub(/^ /, "", value)
	sub(/ $/, "", value)
	return value
}

# Each id of a list once.
function unique(list, words, seen, n, i, out) {
	seen[""] = 1
	n = split(list, words, " ")
	out = ""
	for (i = 1; i <= n; i++) {
		if (!(key(words[i]) in seen))
			out = joined(out, words[i])
		seen[key(words[i])] = 1
	}
	return out
}

function between(text, from, to, at) {
	at = index(text, from)
	if (at == 0)
		return ""
	text = substr(text, at + length(from))
	at = to == "" ? 0 : index(text, to)
	return list_of(at == 0 ? text : substr(text, 1, at - 1))
}

# The value of a line that sets a parameter; its name is left in name.
function assignment(at) {
	name = ""
	at = index($0, "=")
	if (at < 2 || $0 !~ /^[A-Za-z_]/)
		return ""
	name = substr($0, 1, at - 1)
	return unquoted(substr($0, at + 1))
}

function refuse(number, text) {
	if (refused == 0)
		print "PaTcH_MsG " number " " text
	refused = 1
}

# What the package itself has applied.
function check_own(ids, n, i) {
	n = split(applied, ids, " ")
	for (i = 1; i <= n; i++) {
		if (key(ids[i]) == key(patch))
			is_again = 1
		if (is_later(ids[i], patch))
			refuse(1, "Patch " patch " is superseded by " ids[i] ", which is applied.")
	}
	if (is_again && is_unconditional != 1)
		refuse(2, "Patch " patch " is applied to this package already.")
	for (i = 1; i <= n && !is_restricted(patch); i++)
		if (is_restricted(ids[i]))
			refuse(23, "Patch " patch " has to wait until the restricted patch " ids[i] " is backed out.")
}

# Whether nothing that is applied supersedes or obsoletes it.
function is_effective(id, i) {
	for (i = 1; i <= everything; i++)
		if (is_later(all[i], id))
			return 0
	for (i = 1; i <= gone; i++)
		if (contains(obsoleted[i], id))
			return 0
	return 1
}

function is_named(list, id, words, n, i) {
	n = split(list, words, " ")
	for (i = 1; i <= n; i++)
		if (base(words[i]) == base(id) && (revision(words[i]) == revision(id) || revision(words[i]) == ""))
			return 1
	return 0
}

function check_incompatible(i) {
	for (i = 1; i <= everything; i++)
		if (key(all[i]) != key(patch) && is_effective(all[i]) && (is_named(incompat, all[i]) || is_named(avoids[i], patch)))
			refuse(24, "Patch " patch " and the applied patch " all[i] " are incompatible.")
	for (i = 1; i <= gone; i++)
		if (is_named(incompat, obsoleted[i]))
			refuse(24, "Patch " patch " is incompatible with " obsoleted[i] ", which an applied patch contains.")
}

function is_provided(id, i) {
	for (i = 1; i <= everything; i++)
		if (contains(all[i], id))
			return 1
	for (i = 1; i <= gone; i++)
		if (contains(obsoleted[i], id))
			return 1
	return 0
}

# A list of ids; any of those in a pair of parentheses will do.
function check_required(words, n, i, group, found) {
	n = split(requires, words, " ")
	for (i = 1; i <= n; i++) {
		if (words[i] == "(") {
			group = ""
			found = 0
			while (++i <= n && words[i] != ")")
				if (words[i] != "|") {
					group = group == "" ? words[i] : group " or " words[i]
					found = found || is_provided(words[i])
				}
		} else {
			group = words[i]
			found = is_provided(group)
		}
		if (!found)
			refuse(25, "Patch " patch " requires " group ", which is not applied.")
	}
}

function counted(old, added, entries, ids, counts, n, m, i, at, out) {
	n = split(old, entries, " ")
	m = split(added, ids, " ")
	counts[""] = 0
	for (i = 1; i <= m; i++)
		counts[key(ids[i])] = 1
	out = ""
	for (i = 1; i <= n; i++) {
		at = index(entries[i], "@")
		if (at < 2)
			continue
		id = substr(entries[i], 1, at - 1)
		number = substr(entries[i], at + 1) + 0
		if (key(id) in counts) {
			number += counts[key(id)]
			counts[key(id)] = 0
		}
		if (number > 0)
			out = joined(out, id "@" number)
	}
	for (i = 1; i <= m; i++)
		if (counts[key(ids[i])] == 1)
			out = joined(out, ids[i] "@1")
	return out
}

# The path in the database of what a pkgmap calls path.
function recorded_path(path) {
	return substr(path, 1, 1) == "/" ? path : basedir "/" path
}

BEGIN {
	basedir = ENVIRON["BASEDIR"]
	root = ENVIRON["PKG_INSTALL_ROOT"]
	if (root != "" && root != "/" && index(basedir "/", root "/") == 1)
		basedir = substr(basedir, length(root) + 1)
	if (basedir == "/")
		basedir = ""
	line_of[""] = 0
	former = ""
	applied = ENVIRON["PATCHLIST"]
	counts_before = ENVIRON["PATCH_OBSOLETES"]
	label = ENVIRON["Obsoletes_label"]
	everything = 0
	gone = 0
	place[""] = 0
}
part == "response" {
	value = assignment()
	if (name == "PATCHLIST")
		applied = value
	if (name == "PATCH_OBSOLETES")
		counts_before = value
	if (name == "PATCH_PROGRESSIVE" && value == "true")
		is_progressive = 1
	if (name == "PATCH_UNCONDITIONAL" && value == "true" || name == "INTERRUPTION" && value == "yes")
		is_unconditional = 1
	if (name == "Patch_label")
		told = value
	if (name == "Obsoletes_label")
		told_obsoletes = value
}
part == "package" {
	value = assignment()
	if (name == "SUNW_PATCHID")
		sunw = value
	if (name == "Patch_label")
		own = value
	if (name == "SUNW_OBSOLETES")
		obsoletes = value
	if (name == "Obsoletes_label")
		own_obsoletes = value
	if (name == "SUNW_REQUIRES")
		requires = value
	if (name == "SUNW_INCOMPAT")
		incompat = value
}
part == "root" && /^PATCHLIST=/ {
	n = split(list_of(assignment()), ids, " ")
	for (i = 1; i <= n; i++) {
		if (ids[i] in place)
			continue
		all[++everything] = ids[i]
		place[ids[i]] = everything
	}
}
part == "root" && /^PATCH_OBSOLETES=/ {
	n = split(list_of(assignment()), ids, " ")
	for (i = 1; i <= n; i++)
		if ((at = index(ids[i], "@")) > 1)
			obsoleted[++gone] = substr(ids[i], 1, at - 1)
}
part == "root" && /^PATCH_INFO_.*Installed:/ {
	value = assignment()
	info[++known] = substr(name, length("PATCH_INFO_") + 1)
	info_avoids[known] = between(value, "Incompatibles:", "")
}
part == "pkgmap" {
	lines++
	first = $1 ~ /^[0-9]+$/ ? 2 : 1
	if ($0 ~ /^[#:]/ || $first == "i" || NF < first + 2)
		next
	path = $(first + 2)
	target = ""
	if ((at = index(path, "=")) > 1) {
		target = $first == "l" ? substr(path, at + 1) : ""
		path = substr(path, 1, at - 1)
	}
	line_of[recorded_path(path)] = lines
	delivered[lines] = $first ":" $(first + 1) ":" target
}
# preinstall finds the database as it reads with the patch: it is told what is recorded otherwise until now.
part == "contents" && /^\// {
	path = $1
	target = ""
	if ((at = index(path, "=")) > 1) {
		target = $2 == "l" ? substr(path, at + 1) : ""
		path = substr(path, 1, at - 1)
	}
	if (path in line_of && $2 ":" $3 ":" target != delivered[line_of[path]])
		former = joined(former, line_of[path] ":" $2 ":" $3 ":" target)
}
END {
	patch = sunw != "" ? sunw : own != "" ? own : told
	if (obsoletes == "")
		obsoletes = own_obsoletes != "" ? own_obsoletes : told_obsoletes
	obsoletes = unique(list_of(obsoletes))
	applied = list_of(applied)
	counts_before = list_of(counts_before)
	incompat = list_of(incompat)
	requires = list_of(requires)
	written = requires
	gsub(/[(|)]/, " & ", requires)
	for (i = 1; i <= everything; i++)
		avoids[i] = ""
	for (i = 1; i <= known; i++)
		if (info[i] in place)
			avoids[place[info[i]]] = joined(avoids[place[info[i]]], info_avoids[i])
	if (patch !~ /^[A-Za-z0-9_.+-]*[0-9]$/ || patch ~ /^[.]/) {
		print "its pkginfo names no patch: <" patch ">"
		exit 1
	}
	if (is_progressive)
		refuse(22, "Patch " patch " changes the package that is installed, and cannot be applied as a progressive patch.")
	check_own()
	if (!is_again)
		for (i = 1; i <= gone; i++)
			if (contains(obsoleted[i], patch))
				refuse(6, "Patch " patch " is obsoleted by a patch that is applied.")
	check_incompatible()
	check_required()
	if (refused)
		exit 3
	print "Patch_label=" patch
	if (is_again) {
		print "PATCH_NO_UNDO=true"
	} else {
		print "PATCHLIST=" joined(applied, patch)
		if (obsoletes != "")
			print "PATCH_OBSOLETES=" counted(counts_before, obsoletes)
		print "PATCH_INFO_" patch "=Installed: " ENVIRON["TODAY"] " From: " ENVIRON["NODE"] \
			" Obsoletes:" (obsoletes == "" ? "" : " " obsoletes) \
			" Requires:" (written == "" ? "" : " " written) \
			" Incompatibles:" (incompat == "" ? "" : " " incompat)
		if (is_restricted(patch))
			print "PATCH_NO_UNDO="
	}
	if (obsoletes != "" || ENVIRON["ACTIVE_OBSOLETES"] != "")
		print "ACTIVE_OBSOLETES=" obsoletes
	if (own_obsoletes != "" || told_obsoletes != "" || label != "")
		print "Obsoletes_label="
	if (!is_again && former != "" || ENVIRON["PATCH_FORMER"] != "")
		print "PATCH_FORMER=" (is_again ? "" : former)
	print "SCRIPTS_DIR=" ENVIRON["SCRIPTS_DIR"]
}'

# The records of all packages say what is required and what is incompatible. This user may not be allowed to read them.
database=$PKG_INSTALL_ROOT/var/sadm/pkg
set -- "$1" "$database"/*/pkginfo
if [ ! -r "$2" ]; then
	echo "checkinstall: cannot read $database: required and incompatible patches are not checked" >&2
	set -- "$1" /dev/null
fi
response=$1
shift
map=$above/pkgmap
contents=$PKG_INSTALL_ROOT/var/sadm/install/contents
for file in "$map" "$contents"; do
	if [ ! -r "$file" ]; then
		map=/dev/null
		contents=/dev/null
	fi
done

said=`$awk "$program" part=response "$response" part=package "$above/pkginfo" part=pkgmap "$map" \
	part=contents "$contents" part=root "$@"`
case $? in
0) ;;
3)
	printf '%s\n' "$said"
	exit 3
	;;
1) complain "$said" ;;
*) complain "$awk cannot read the records" ;;
esac

# A last line without its end must not swallow the first of ours.
ended=`wc -l <"$response"`
lines=`$awk 'END { print NR }' "$response"`
if [ "$ended" -ne "$lines" ]; then
	echo >>"$response" || exit 1
fi
printf '%s\n' "$said" >>"$response" || exit 1
exit 0

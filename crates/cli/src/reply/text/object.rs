//! The long listing of pkgchk(1M), `-l`: the record of one object.

use std::fmt::Write as _;

use crate::surroundings::Zone;
use patchadm_svr4::package::{ContentsLine, Ftype, Object, printable_name};

const PACKAGES_IN_LINE: usize = 5;

/// Ends with a blank line. `path` has the prefix of the root.
pub fn long(line: &ContentsLine, path: &str, zone: Zone) -> String {
    let owners: Vec<&str> = line.owners.iter().map(|owner| owner.package.as_str()).collect();
    let is_partial = line.owners.iter().any(|owner| owner.status.is_some());
    let status = if is_partial { "partially installed" } else { "installed" };
    listed(&line.object, path, &owners, status, zone)
}

/// Returns the long listing of an object of a package that is not installed. `path` is as the pkgmap writes it.
pub fn spooled(object: &Object, path: &str, package: &str, zone: Zone) -> String {
    listed(object, path, &[package], "spooled", zone)
}

fn listed(object: &Object, path: &str, packages: &[&str], status: &str, zone: Zone) -> String {
    let mut text = format!("Pathname: {path}\n");
    describe(&mut text, object, zone);
    if !packages.is_empty() {
        text.push_str("Referenced by the following packages:\n");
        for packages in packages.chunks(PACKAGES_IN_LINE) {
            text.push('\t');
            for package in packages {
                put(&mut text, format_args!("{package:<15}"));
            }
            text.push('\n');
        }
    }
    put(&mut text, format_args!("Current status: {status}\n\n"));
    text
}

/// Returns the name of a type in the listing, spelled as the classic tool spells it.
pub fn type_name(ftype: Ftype) -> &'static str {
    match ftype {
        Ftype::File => "regular file",
        Ftype::Editable => "editted file",
        Ftype::Volatile => "volatile file",
        Ftype::Directory => "directory",
        Ftype::Exclusive => "exclusive directory",
        Ftype::Pipe => "named pipe",
        Ftype::Block => "block special device",
        Ftype::Character => "character special device",
        Ftype::Symlink => "symbolic link",
        Ftype::Link => "linked file",
        Ftype::Information => "installation file",
    }
}

fn describe(text: &mut String, object: &Object, zone: Zone) {
    put(text, format_args!("Type: {}\n", type_name(object.ftype)));
    if let Some(target) = &object.target {
        put(text, format_args!("Source of link: {}\n", printable_name(target)));
        return;
    }
    if let Some((major, minor)) = object.device {
        for (name, number) in [("Major", major), ("Minor", minor)] {
            if let Some(number) = number {
                put(text, format_args!("{name} device number: {number}\n"));
            }
        }
    }
    let attributes = &object.attributes;
    if let Some(mode) = attributes.mode {
        put(text, format_args!("Expected mode: {:04o}\n", mode.bits()));
    }
    for (what, name) in [("owner", &attributes.owner), ("group", &attributes.group)] {
        if let Some(name) = name {
            put(text, format_args!("Expected {what}: {name}\n"));
        }
    }
    if matches!(object.ftype, Ftype::File | Ftype::Volatile | Ftype::Information) {
        describe_content(text, object, zone);
    }
}

fn describe_content(text: &mut String, object: &Object, zone: Zone) {
    let content = object.content;
    if let Some(size) = content.size {
        put(text, format_args!("Expected file size (bytes): {size}\n"));
    }
    if let Some(cksum) = content.cksum {
        put(text, format_args!("Expected sum(1) of contents: {cksum}\n"));
    }
    if let Some(mtime) = content.mtime {
        let moment = zone.at(mtime).format("%b %d %H:%M:%S %Y");
        put(text, format_args!("Expected last modification: {moment}\n"));
    }
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(line: &str) -> String {
        let line = ContentsLine::parse(line.as_bytes()).unwrap();
        long(&line, &format!("/a{}", line.path), Zone::Utc)
    }

    #[test]
    fn a_file_is_listed_as_the_classic_tool_lists_it() {
        assert_eq!(
            listed("/opt/SUNWstuf/bin/stuf f none 0755 root bin 600 57985 981173106 SUNWstuf"),
            "Pathname: /a/opt/SUNWstuf/bin/stuf
Type: regular file
Expected mode: 0755
Expected owner: root
Expected group: bin
Expected file size (bytes): 600
Expected sum(1) of contents: 57985
Expected last modification: Feb 03 04:05:06 2001
Referenced by the following packages:
	SUNWstuf       
Current status: installed

"
        );
    }

    #[test]
    fn editable_files_are_listed_without_their_content() {
        assert_eq!(
            listed("/opt/SUNWstuf/etc/build.conf e build 0644 root sys 220 17346 981173106 SUNWstuf"),
            "Pathname: /a/opt/SUNWstuf/etc/build.conf
Type: editted file
Expected mode: 0644
Expected owner: root
Expected group: sys
Referenced by the following packages:
	SUNWstuf       
Current status: installed

"
        );
    }

    #[test]
    fn an_object_of_a_package_that_is_not_installed_is_spooled() {
        let mut script = Object::new(Ftype::Information, "");
        script.content.size = Some(12);
        assert_eq!(
            spooled(&script, "preinstall", "SUNWa", Zone::Utc),
            "Pathname: preinstall
Type: installation file
Expected file size (bytes): 12
Referenced by the following packages:
\tSUNWa          
Current status: spooled

"
        );
    }

    #[test]
    fn links_and_devices_are_listed_with_what_they_have() {
        assert_eq!(
            listed("/opt/SUNWstuf/bin/stuf-hard=./stuf l none SUNWstuf"),
            "Pathname: /a/opt/SUNWstuf/bin/stuf-hard
Type: linked file
Source of link: ./stuf
Referenced by the following packages:
	SUNWstuf       
Current status: installed

"
        );
        let device = listed("/dev/null c none 13 2 0666 root sys SUNWa");
        assert!(device.contains("Type: character special device\nMajor device number: 13\nMinor device number: 2\nExpected mode: 0666\n"));
    }

    #[test]
    fn five_packages_stand_in_a_line_and_a_marked_one_makes_the_object_partial() {
        let text = listed("/d d none 0755 root bin A B C D E !F");
        let names = "\tA              B              C              D              E              \n\tF              \n";
        assert!(text.ends_with(&format!("{names}Current status: partially installed\n\n")), "{text}");
        let exactly_five = listed("/d d none 0755 root bin A B C D E");
        assert!(exactly_five.ends_with("E              \nCurrent status: installed\n\n"), "{exactly_five}");
    }
}

//! The page that leads from a jail and two passes of rsync to a stage and a promotion: its commands print what it
//! shows, and it contains each line of the scripts that it replaces.

use std::fs;
use std::path::Path;

use crate::making_patches::commands;
use crate::readme::{run, steady};
use crate::stage_enter::StagedRoot;

/// The lines of the two scripts, and the lines for the prompt.
const LINES: [&str; 9] = [
    "for i in tmp usr var usr/obj usr/pkg usr/tmp",
    "then mkdir $JAIL/$i",
    "for i in \\(gacat $JAIL/mountpoints\\(ga",
    "then mkdir -p $JAIL/$i",
    "then umount $JAIL/$i",
    "else mount_null /$i $JAIL/$i",
    "then export PS1=\"\\(gacat /.JAIL\\(ga::$PS1\"",
    "rsync -av $JAIL/$i/pkg /$i",
    "rsync -av --delete $JAIL/$i/pkg /$i",
];

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man/staged-builds.7")).unwrap()
}

#[test]
fn the_page_has_each_line_of_the_scripts() {
    let page = page();
    let lines: Vec<&str> = page.lines().map(str::trim).collect();
    for line in LINES {
        assert!(lines.contains(&line), "{line}");
    }
}

#[test]
fn the_page_goes_from_a_jail_to_a_promotion_and_back() {
    if StagedRoot::for_caller("the_page_goes_from_a_jail…").is_none() {
        return;
    }
    let shown = commands(&page());
    assert!(shown.len() > 25, "only {} commands", shown.len());
    let outputs = run(&shown, &[]);
    assert_eq!(outputs.len(), shown.len());
    for (shown, output) in shown.iter().zip(outputs) {
        assert_eq!(steady(&output), steady(&shown.output), "$ {}", shown.command);
    }
}

//! Patches that name themselves, or other revisions of their own base.

use super::stories::says;

#[test]
fn what_a_patch_says_of_its_own_earlier_revisions_says_nothing() {
    let needs_the_end = ["100-01 incompat 600-01", "600-02"];
    let still_there = "100-01: it is incompatible with 600-00, and 600-01 is applied";
    for claim in ["600-01", "600-01 obsoletes 600-01", "600-01 obsoletes 600-1"] {
        let ended = ["600-02: planned: required by 100-01", "100-01: planned"];
        says(&[claim], &needs_the_end, "100-01", &ended);
        says(&[claim], &["100-01 incompat 600-00", "600-02"], "100-01", &[still_there]);
        says(
            &[],
            &["100-01 incompat 600-01", claim, "600-02"],
            "100-01 600-01",
            &["600-01: planned", "600-02: planned: required by 100-01", "100-01: planned"],
        );
    }
    let contains = "600-02 obsoletes 600-01";
    says(
        &[],
        &["100-01 incompat 600-01", contains],
        "100-01 600-02",
        &["100-01: planned", "600-02: planned"],
    );
    says(&[contains], &["100-01 incompat 600-01"], "100-01", &["100-01: planned"]);
    says(&["100-01 incompat 600-01"], &[contains], "600-02", &["600-02: planned"]);
}

#[test]
fn a_later_revision_that_a_patch_says_it_contains_stays_whatever_follows() {
    let (ahead, ends) = ("600-01 obsoletes 600-03", "200-01 obsoletes 600-01");
    says(
        &[ahead],
        &["100-01 incompat 600-00", ends],
        "100-01",
        &["100-01: it is incompatible with 600-00, and 600-01 is applied"],
    );
    says(
        &[],
        &["100-01 incompat 600-00", ends, ahead],
        "100-01 600-01",
        &[
            "100-01: planned",
            "600-01: it is incompatible with 100-01 according to 100-01, and 100-01 was selected first",
        ],
    );
    says(
        &[ahead],
        &["600-02"],
        "600-02",
        &["600-02: applied patch 600-01 obsoletes 600-03, which contains it"],
    );
}

#[test]
fn a_patch_that_names_itself_neither_needs_nor_excludes_itself() {
    says(&[], &["100-01 requires 100-01"], "100-01", &["100-01: planned"]);
    says(&[], &["100-01 incompat 100-01 100-00"], "100-01", &["100-01: planned"]);
    let its_successor = "100-01 requires 100-02";
    says(
        &[],
        &[its_successor],
        "100-01",
        &["100-01: it requires 100-02 or later, which is neither applied nor in /depot"],
    );
    says(
        &[],
        &[its_successor, "100-02"],
        "100-01",
        &["100-01: its requirements form a cycle: 100-01 → 100-02 → 100-01"],
    );
    says(
        &["100-01"],
        &["100-02 incompat 100-00"],
        "100-02",
        &["100-02: it is incompatible with 100-00, and 100-01 is applied"],
    );
}

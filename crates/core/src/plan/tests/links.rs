//! Names of one file: chains of hard links, in whatever order their paths sort.

use super::*;
use crate::plan::{Action, Body, Plan};

/// `path -> file` for every name that a plan links.
fn linked(plan: &Plan) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Link(file) => Some(file.to_string()),
            _ => None,
        },
        _ => None,
    };
    plan.changes
        .iter()
        .filter_map(|change| Some(format!("{} -> {}", change.path, of(&change.action)?)))
        .collect()
}

#[test]
fn a_link_to_a_link_names_the_file_whichever_comes_first() {
    let mut world = World::new().with(&Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web"));
    let new = patch("900-01", "").link("a", "b").link("b", "c").link("d", "b").file("c", "the file");
    let plan = world.plan(&new).unwrap();
    assert_eq!(
        linked(&plan),
        ["/opt/web/a -> /opt/web/c", "/opt/web/b -> /opt/web/c", "/opt/web/d -> /opt/web/c"]
    );
}

#[test]
fn names_of_a_file_that_becomes_a_link_follow_it() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web");
    let base = base.file("b", "old").link("a", "b").link("c", "b");
    let mut world = World::new().with(&base);
    let turned = patch("900-01", "").file("c", "new").link("b", "c");
    let plan = world.plan(&turned).unwrap();
    assert_eq!(linked(&plan), ["/opt/web/a -> /opt/web/c", "/opt/web/b -> /opt/web/c"]);
}

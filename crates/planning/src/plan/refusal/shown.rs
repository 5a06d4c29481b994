//! The paths of a refusal as its reader sees them: under `-R` with the path of the root before them, as the classic
//! tools print them.

use super::{EditedAttribute, ObjectInUse, ObjectProblem, Reason};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::ObjectPath;

impl Reason {
    /// The reason with every path as the host sees it.
    #[must_use]
    pub fn shown(self, inventory: &Inventory) -> Self {
        let show = |path: ObjectPath| inventory.show(&path);
        match self {
            Self::Edited { paths, attributes, can_keep } => {
                let shown = |one: EditedAttribute| EditedAttribute { path: show(one.path), ..one };
                let attributes = attributes.into_iter().map(shown).collect();
                Self::Edited { paths: paths.into_iter().map(show).collect(), attributes, can_keep }
            }
            Self::KeepWithoutUndo(path) => Self::KeepWithoutUndo(show(path)),
            Self::ChangedLater { path, by } => Self::ChangedLater { path: show(path), by },
            Self::NotHandedOn { path, by, why } => Self::NotHandedOn { path: show(path), by, why },
            Self::UsedLater { path, by } => Self::UsedLater { path: show(path), by },
            Self::Object { package, path, problem } => {
                let resolved = ObjectPath::new(path.as_bytes());
                let path = resolved.map_or(path, |path| show(path).to_string());
                Self::Object { package, path, problem: problem.shown(inventory) }
            }
            Self::InUse { objects, is_question } => {
                let shown = |object: ObjectInUse| ObjectInUse { path: show(object.path), ..object };
                Self::InUse { objects: objects.into_iter().map(shown).collect(), is_question }
            }
            Self::LibrariesLost(lost) => {
                let shown = |loss: super::LibraryLoss| super::LibraryLoss {
                    consumers: loss.consumers.into_iter().map(show).collect(),
                    ..loss
                };
                Self::LibrariesLost(lost.into_iter().map(shown).collect())
            }
            Self::NoWayBack(why) => Self::NoWayBack(Box::new(why.shown(inventory))),
            Self::Promotion(reason) => Self::Promotion(reason.shown(show)),
            other => other,
        }
    }
}

impl ObjectProblem {
    fn shown(self, inventory: &Inventory) -> Self {
        let show = |path: ObjectPath| inventory.show(&path);
        match self {
            Self::SamePlace(path) => Self::SamePlace(show(path)),
            Self::ThroughOwnLink(path) => Self::ThroughOwnLink(show(path)),
            Self::NotADirectory(path) => Self::NotADirectory(show(path)),
            Self::LeadsElsewhere(path) => Self::LeadsElsewhere(show(path)),
            Self::LeadsNowhere(path) => Self::LeadsNowhere(show(path)),
            Self::NotEmpty(path) => Self::NotEmpty(show(path)),
            Self::LinkSource(path) => Self::LinkSource(show(path)),
            Self::LinkAcross(path) => Self::LinkAcross(show(path)),
            Self::Obstacle { at, obstacle } => Self::Obstacle { at: show(at), obstacle },
            Self::ForeignDirectory(path) => Self::ForeignDirectory(show(path)),
            Self::NativeName { name, owner, manager } => {
                Self::NativeName { name: show(name), owner, manager }
            }
            Self::Diverted { to, by } => Self::Diverted { to: show(to), by },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::refusal::Command;
    use patchadm_svr4::package::PkgInst;

    #[test]
    fn every_path_has_the_root_before_it_and_an_unresolved_one_stays() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let inventory = Inventory { prefix: Some(path("/mnt")), ..Inventory::default() };
        let words = |reason: Reason| reason.shown(&inventory).of(Command::Patchadd, &"1-01").why();
        assert_eq!(
            words(Reason::Edited {
                paths: vec![path("/a"), path("/b")],
                attributes: vec![EditedAttribute {
                    path: path("/c"),
                    local: "mode 0600".to_owned(),
                    delivered: "0755".to_owned(),
                }],
                can_keep: true
            }),
            "edited since installation: /mnt/a, /mnt/b; attributes set locally: /mnt/c (has mode 0600, and the patch has \
             0755)"
        );
        let object = |at: &str, problem| Reason::Object {
            package: PkgInst::new("P").unwrap(),
            path: at.to_owned(),
            problem,
        };
        assert_eq!(
            words(object("/a", ObjectProblem::NotEmpty(path("/a/b")))),
            "package P, path /mnt/a: it is a directory that holds /mnt/a/b, which is not taken away"
        );
        assert!(words(object("$X/a", ObjectProblem::Unknown("owner"))).starts_with("package P, path $X/a: "));
    }
}

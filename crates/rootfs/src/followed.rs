//! Follows paths through known symbolic links, without a file system.

use std::sync::Arc;

use foldhash::HashMap;
use patchadm_svr4::package::ObjectPath;

use crate::calls::MOST_LINKS;

/// In bytes; Linux opens no longer path.
const LONGEST_PATH: usize = 4095;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtPath {
    /// A symbolic link, with its target.
    Link(Arc<[u8]>),
    /// A file or similar: paths end here.
    File,
    /// A directory, or nothing known: paths lead on.
    Other,
}

pub trait LinkMap {
    fn at(&self, path: &[u8]) -> AtPath;

    /// Returns true if paths that reach this path are to be reported.
    fn is_marked(&self, path: &[u8]) -> bool {
        let _ = path;
        false
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Physical paths of the links on the way, in order.
    pub links: Vec<ObjectPath>,
    /// Physical; that of the root is empty.
    pub path: Vec<u8>,
}

impl Followed {
    pub fn path(&self) -> &[u8] {
        if self.path.is_empty() { b"/" } else { &self.path }
    }
}

/// Follows paths, links included, and stays in the root at `..`. Each link is followed once: the cost of many paths
/// behind the same links is the sum of their bytes, not the product, so that hostile links cannot slow the caller down.
pub struct LinkFollower<M> {
    map: M,
    behind: HashMap<Vec<u8>, Behind>,
    held: usize,
}

struct Behind {
    followed: Option<Followed>,
    /// True if a marked path is on the way.
    has_met: bool,
}

impl<M: LinkMap> LinkFollower<M> {
    pub fn new(map: M) -> Self {
        Self { map, behind: HashMap::default(), held: 0 }
    }

    /// Returns the bytes of all paths that are remembered of links.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Continues from a physical path. Returns `None` for a circle, more than 40 links, a path behind a file, or one of
    /// more than 4,095 bytes. Sets `has_met` at a marked path.
    pub fn follow(&mut self, from: Followed, path: &[u8], has_met: &mut bool) -> Option<Followed> {
        // Each link has its own frame on the heap: a chain of links may be longer than a stack.
        let mut frames = vec![Frame::of(None, from, path.into())];
        loop {
            let frame = frames.last_mut()?;
            let Some(target) = frame.advance(&self.map) else {
                let frame = frames.pop()?;
                let followed = (!frame.leads_nowhere).then_some(frame.followed);
                let Some(link) = frame.link else {
                    *has_met |= frame.has_met;
                    return followed;
                };
                let paths =
                    followed.iter().flat_map(|followed| &followed.links).map(|path| path.as_bytes().len());
                let end = followed.as_ref().map_or(0, |followed| followed.path.len());
                self.held = self.held.saturating_add(link.len() + end + paths.sum::<usize>());
                self.behind.insert(link, Behind { followed, has_met: frame.has_met });
                continue;
            };
            let link = &frame.followed.path;
            if let Some(behind) = self.behind.get(link) {
                frame.go_behind(behind, &self.map);
                continue;
            }
            // A link leads nowhere until its end is known: only links of a circle come back to it. They may have met
            // what comes later in that circle.
            self.behind.insert(link.clone(), Behind { followed: None, has_met: true });
            let end = link.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
            let above = link.get(..end).unwrap_or_default().to_vec();
            let from = Followed { links: ObjectPath::new(link).into_iter().collect(), path: above };
            let frame = Frame::of(Some(link.clone()), from, target);
            frames.push(frame);
        }
    }
}

struct Frame {
    link: Option<Vec<u8>>,
    followed: Followed,
    path: Arc<[u8]>,
    /// The start of the remaining components.
    rest: usize,
    target: Option<Arc<[u8]>>,
    is_file: bool,
    leads_nowhere: bool,
    has_met: bool,
}

impl Frame {
    fn of(link: Option<Vec<u8>>, mut from: Followed, path: Arc<[u8]>) -> Self {
        if path.starts_with(b"/") {
            from.path.clear();
        }
        Self {
            link,
            followed: from,
            path,
            rest: 0,
            target: None,
            is_file: false,
            leads_nowhere: false,
            has_met: false,
        }
    }

    /// Advances to the next link and returns its target, or to the end.
    fn advance(&mut self, map: &impl LinkMap) -> Option<Arc<[u8]>> {
        if self.target.is_some() {
            return self.target.clone();
        }
        while let Some(rest) = self.path.get(self.rest..).filter(|rest| !rest.is_empty()) {
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
            self.rest += name.len() + 1;
            if name.is_empty() || name == b"." {
                continue;
            }
            if self.is_file || self.leads_nowhere {
                self.leads_nowhere = true;
                return None;
            }
            let at = &mut self.followed.path;
            if name == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or_default());
                continue;
            }
            at.push(b'/');
            at.extend_from_slice(name);
            if at.len() > LONGEST_PATH {
                self.leads_nowhere = true;
                return None;
            }
            self.has_met |= map.is_marked(at);
            match map.at(at) {
                AtPath::Link(target) => {
                    self.target = Some(target.clone());
                    return Some(target);
                }
                AtPath::File => self.is_file = true,
                AtPath::Other => {}
            }
        }
        None
    }

    fn go_behind(&mut self, behind: &Behind, map: &impl LinkMap) {
        self.target = None;
        self.has_met |= behind.has_met;
        match &behind.followed {
            Some(followed) if self.followed.links.len() + followed.links.len() <= MOST_LINKS => {
                self.followed.links.extend_from_slice(&followed.links);
                self.followed.path.clone_from(&followed.path);
                self.is_file = map.at(&followed.path) == AtPath::File;
            }
            _ => self.leads_nowhere = true,
        }
    }
}

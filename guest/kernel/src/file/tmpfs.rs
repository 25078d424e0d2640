//! The places programs can write to: trees in memory over directories of the share.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::node::{Below, Node};
use super::path;
use crate::errno::Errno;
use crate::host::Follow;

/// Where a tmpfs lies, and whether the share's directory shows through.
const MOUNTS: &[(&[u8], Below)] = &[(b"/tmp", Below::Seen), (b"/dev/shm", Below::Hidden)];
/// Inode number of the first mount's root; later nodes count on from the last one.
const ROOT_INO: u64 = 1;

/// Every tmpfs there is.
#[derive(Debug)]
pub(crate) struct Tmpfs {
    roots: Vec<Rc<Node>>,
    last_ino: u64,
}

/// Where a path leads within a tmpfs.
#[derive(Debug)]
pub(crate) enum Walk {
    /// To a node.
    Node(Rc<Node>),
    /// Nowhere, but the share below may have it.
    Below,
    /// To a symbolic link; the walk goes on at this path.
    Link(Vec<u8>),
}

impl Tmpfs {
    /// Empty trees.
    pub(crate) fn new() -> Self {
        let root = |(i, &(_, below)): (usize, &(&[u8], Below))| {
            Node::directory(ROOT_INO + i as u64, 0o1777, 0, below)
        };
        let roots: Vec<_> = MOUNTS.iter().enumerate().map(root).collect();
        let last_ino = ROOT_INO + roots.len() as u64;
        Self { roots, last_ino }
    }

    /// An inode number for a new node.
    pub(crate) fn new_ino(&mut self) -> u64 {
        self.last_ino += 1;
        self.last_ino
    }

    /// The tree a normalised path lies in, and what of the path is below its root.
    pub(crate) fn mount<'path>(&self, text: &'path [u8]) -> Option<(Rc<Node>, &'path [u8])> {
        MOUNTS.iter().zip(&self.roots).find_map(|((mount, _), root)| {
            path::below(text, mount).map(|rest| (root.clone(), rest))
        })
    }

    /// Follows a normalised path; `None` where it lies in no tmpfs.
    pub(crate) fn walk(&self, text: &[u8], follow: Follow) -> Option<Result<Walk, Errno>> {
        self.mount(text).map(|(root, rest)| walk(root, text, rest, follow))
    }
}

/// Follows `rest`, the end of `text`, from `root` on.
fn walk(root: Rc<Node>, text: &[u8], rest: &[u8], follow: Follow) -> Result<Walk, Errno> {
    let mut node = root;
    let mut at = text.len() - rest.len();
    for name in path::components(rest) {
        let end = at + 1 + name.len();
        let names = node.names().ok_or(Errno::ENOTDIR)?;
        let child = names.borrow().get(name).cloned();
        let Some(child) = child else {
            return if node.shows_below() { Ok(Walk::Below) } else { Err(Errno::ENOENT) };
        };
        if child.is_gone() {
            return Err(Errno::ENOENT);
        }
        if let super::node::NodeBody::Link(target) = &child.body
            && (end < text.len() || follow == Follow::Yes)
        {
            let mut next = path::join(&text[..at], target);
            next.extend_from_slice(&text[end..]);
            return Ok(Walk::Link(next));
        }
        node = child;
        at = end;
    }
    Ok(Walk::Node(node))
}

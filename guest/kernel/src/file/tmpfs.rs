//! The places programs can write to: trees in memory over directories of the share.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::node::{Below, Node};
use super::path;
use crate::errno::Errno;
use crate::host::Follow;
use crate::memory::huge::map::HugeMemory;
use crate::memory::huge::{HugeSize, Quota};

/// Where a tmpfs lies, and whether the share's directory shows through.
const MOUNTS: &[(&[u8], Below)] = &[(b"/tmp", Below::Seen), (b"/dev/shm", Below::Hidden)];
/// Where the hugetlbfs lies that is there from the start.
const HUGE_MOUNT: &[u8] = b"/dev/hugepages";
/// Inode number of the first mount's root; later nodes count on from the last one.
const ROOT_INO: u64 = 1;

/// A tree and its place.
#[derive(Debug)]
struct Mount {
    path: Vec<u8>,
    root: Rc<Node>,
    /// Its files are made of huge pages, which count against this.
    huge: Option<Rc<Quota>>,
}

/// Every tree in memory there is: each a tmpfs, or a hugetlbfs.
#[derive(Debug)]
pub(crate) struct Tmpfs {
    mounts: Vec<Mount>,
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
    pub(crate) fn new(huge: &HugeMemory) -> Self {
        let mount = |(i, &(path, below)): (usize, &(&[u8], Below))| Mount {
            path: path.to_vec(),
            root: Rc::new(Node::directory(ROOT_INO + i as u64, 0o1777, 0, below)),
            huge: None,
        };
        let mounts: Vec<_> = MOUNTS.iter().enumerate().map(mount).collect();
        let mut this = Self { last_ino: ROOT_INO + mounts.len() as u64, mounts };
        if let Some(quota) = huge.unnamed(HugeSize::Mb2) {
            this.add_huge(HUGE_MOUNT, quota, 0o755);
        }
        this
    }

    /// Mounts a tree of huge files over whatever is at a path.
    pub(crate) fn add_huge(&mut self, path: &[u8], quota: &Rc<Quota>, permissions: u32) {
        let root = Rc::new(Node::directory(self.new_ino(), permissions, 0, Below::Hidden));
        self.mounts.push(Mount { path: path.to_vec(), root, huge: Some(quota.clone()) });
    }

    /// Takes away what was mounted last at a path.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        if let Some(at) = self.mounts.iter().rposition(|mount| mount.path == path) {
            self.mounts.remove(at);
        }
    }

    /// The mounts in order: where each lies, and what its huge files count against.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&[u8], Option<&Rc<Quota>>)> {
        self.mounts.iter().map(|mount| (&*mount.path, mount.huge.as_ref()))
    }

    /// What the huge files at a normalised path count against.
    pub(crate) fn quota(&self, text: &[u8]) -> Option<&Rc<Quota>> {
        self.find(text)?.huge.as_ref()
    }

    /// The innermost mount that a normalised path lies in, of equal ones the last.
    fn find(&self, text: &[u8]) -> Option<&Mount> {
        let within = self.mounts.iter().filter(|mount| path::below(text, &mount.path).is_some());
        within.max_by_key(|mount| mount.path.len())
    }

    /// An inode number for a new node.
    pub(crate) fn new_ino(&mut self) -> u64 {
        self.last_ino += 1;
        self.last_ino
    }

    /// The tree a normalised path lies in, and what of the path is below its root.
    pub(crate) fn mount<'path>(&self, text: &'path [u8]) -> Option<(Rc<Node>, &'path [u8])> {
        let mount = self.find(text)?;
        path::below(text, &mount.path).map(|rest| (mount.root.clone(), rest))
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

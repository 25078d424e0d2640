//! Symbolic links of the share that lead into a tree the guest has itself: /tmp, /dev or /proc.
//!
//! What the share has there is not what the guest's programs see, so the guest goes on by itself.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use vmcg_abi::layout::GUEST_TREES;

use super::lookup::{LINKS_MAX, push_names, step};

/// Follows `path` name by name; answers the path in a tree of the guest that a link leads to.
pub(super) fn find(
    root: &OwnedFd,
    path: &[u8],
    follow: bool,
    excluded: Option<u64>,
) -> Option<Vec<u8>> {
    let mut links = 0;
    let mut names = Vec::new();
    push_names(&mut names, path);
    // The directories from the root to where the walk is, by name.
    let mut way: Vec<(Vec<u8>, OwnedFd)> = Vec::new();
    while let Some(name) = names.pop() {
        if name == b".." {
            way.pop();
            continue;
        }
        let top = way.first().map_or(&name, |(first, _)| first);
        if links > 0 && GUEST_TREES.contains(&top.as_slice()) {
            let rest = names.iter().rev();
            let whole = way.iter().map(|(name, _)| name).chain([&name]).chain(rest);
            return Some(whole.flat_map(|name| [b"/", name.as_slice()].concat()).collect());
        }
        let found = step(way.last().map_or(root, |(_, fd)| fd), &name, excluded).ok()?;
        match FileType::from_raw_mode(rustix::fs::fstat(&found).ok()?.st_mode) {
            FileType::Symlink if follow || !names.is_empty() || path.ends_with(b"/") => {
                links += 1;
                if links > LINKS_MAX {
                    return None;
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new()).ok()?.into_bytes();
                if target.starts_with(b"/") {
                    way.clear();
                }
                push_names(&mut names, &target);
            }
            FileType::Directory => way.push((name, found)),
            _ => return None,
        }
    }
    None
}

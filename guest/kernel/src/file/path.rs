//! Paths as byte strings.

use alloc::vec::Vec;

use crate::errno::Errno;

/// Longest path a system call takes, its NUL included (PATH_MAX).
pub(crate) const PATH_MAX: usize = 4096;
/// Longest name of a directory entry (NAME_MAX).
pub(crate) const NAME_MAX: usize = 255;

/// Puts `path` behind `base` unless it is absolute already. Dots stay as they are.
pub(crate) fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") {
        return path.to_vec();
    }
    let mut joined = base.to_vec();
    if !joined.ends_with(b"/") {
        joined.push(b'/');
    }
    joined.extend_from_slice(path);
    joined
}

/// An absolute path without `.`, repeated slashes and slashes at its end.
pub(crate) fn normalise(path: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(path.len());
    for part in components(path) {
        whole.push(b'/');
        whole.extend_from_slice(part);
    }
    if whole.is_empty() {
        whole.push(b'/');
    }
    whole
}

/// Cuts a path before its first `..`; `None` where it has none.
pub(crate) fn split_at_parent(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_parent = |at: usize| {
        let rest = &path[at..];
        rest.starts_with(b"..") && matches!(rest.get(2), None | Some(b'/'))
    };
    let starts_name = |at: &usize| *at == 0 || path[at - 1] == b'/';
    let at = (0..path.len()).filter(starts_name).find(|at| is_parent(*at))?;
    Some(path.split_at(at))
}

/// The directory that leading `..` of `rest` lead to from `directory`, and what follows them.
pub(crate) fn climb<'path>(
    mut directory: &'path [u8],
    mut rest: &'path [u8],
) -> (&'path [u8], &'path [u8]) {
    loop {
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        rest = &rest[slashes..];
        match rest.strip_prefix(b"..") {
            Some(after) if matches!(after.first(), None | Some(b'/')) => {
                directory = split(directory).map_or(b"/", |(upper, _)| upper);
                rest = after;
            }
            _ => return (directory, rest),
        }
    }
}

/// The components of a path, empty ones and `.` left out.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// What is left of a normalised path below `mount`; `None` when it lies elsewhere.
pub(crate) fn below<'path>(path: &'path [u8], mount: &[u8]) -> Option<&'path [u8]> {
    match path.strip_prefix(mount)? {
        rest if rest.is_empty() || rest.starts_with(b"/") => Some(rest),
        _ => None,
    }
}

/// Splits a normalised path into its directory and its last name; `None` for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&b| b == b'/')?;
    let (directory, name) = (&path[..slash], &path[slash + 1..]);
    if name.is_empty() {
        return None;
    }
    Some((if directory.is_empty() { b"/" } else { directory }, name))
}

/// A path without the slashes at its end; the root stays as it is.
pub(crate) fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(1, |at| at + 1);
    &path[..end.min(path.len())]
}

/// Checks the lengths of a path that a program gave.
pub(crate) fn check(path: &[u8]) -> Result<(), Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    if path.len() >= PATH_MAX || components(path).any(|part| part.len() > NAME_MAX) {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(())
}

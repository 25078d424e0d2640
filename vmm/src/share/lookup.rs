//! Finding a name below the share's root.
//!
//! One `openat2` does it while the name stays on one file system. Where a mount is crossed the walk
//! is done name by name, so that the machine's own mount is noticed before the kernel asks it
//! anything: its service may be waiting for the very guest that is looking.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// Symbolic links followed at most, as in Linux v6.12 include/linux/namei.h `MAXSYMLINKS`.
pub(super) const LINKS_MAX: usize = 40;
/// Times a lookup that raced with a rename is tried again.
const RACES_MAX: usize = 32;

/// Finds `path` below `root` without opening it (`O_PATH`), staying off the device `excluded`.
///
/// # Errors
/// As open(2); EACCES on the excluded device.
pub(super) fn locate(
    root: &OwnedFd,
    path: &[u8],
    follow: bool,
    excluded: Option<u64>,
) -> Result<OwnedFd, Errno> {
    let last = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::CLOEXEC | last;
    for _ in 0..RACES_MAX {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::XDEV) => return walk(root, path, follow, excluded),
            answer => return answer,
        }
    }
    Err(Errno::IO)
}

/// As [`locate`], one name at a time.
fn walk(
    root: &OwnedFd,
    path: &[u8],
    follow: bool,
    excluded: Option<u64>,
) -> Result<OwnedFd, Errno> {
    let must_be_directory = path.ends_with(b"/");
    let mut links = 0;
    let mut names = Vec::new();
    push_names(&mut names, path);
    // The directories from the root to where the walk is; ".." goes back and never above the root.
    let mut way: Vec<OwnedFd> = Vec::new();
    while let Some(name) = names.pop() {
        if name == b".." {
            way.pop();
            continue;
        }
        let found = step(way.last().unwrap_or(root), &name, excluded)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
        let is_last = names.is_empty();
        if kind == FileType::Symlink && (!is_last || follow || must_be_directory) {
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                way.clear();
            }
            push_names(&mut names, &target);
        } else if kind == FileType::Directory {
            way.push(found);
        } else if is_last && !must_be_directory {
            return Ok(found);
        } else {
            return Err(Errno::NOTDIR);
        }
    }
    way.pop().map_or_else(|| root.try_clone().map_err(|_| Errno::MFILE), Ok)
}

/// Puts the names of `path` on the stack, the first on top.
pub(super) fn push_names(names: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path.split(|&byte| byte == b'/');
    names.extend(parts.rev().filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec));
}

pub(super) fn step(
    directory: &OwnedFd,
    name: &[u8],
    excluded: Option<u64>,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(directory, name, flags, Mode::empty(), beneath) {
        Err(Errno::XDEV) => {}
        answer => return answer,
    }
    let found = rustix::fs::openat2(directory, name, flags, Mode::empty(), ResolveFlags::empty())?;
    if excluded.is_some() && device(&found)? == excluded {
        return Err(Errno::ACCESS);
    }
    Ok(found)
}

/// The device number as the kernel has it, without asking the file system.
fn device(file: &impl AsFd) -> Result<Option<u64>, Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(file, "", flags, StatxFlags::BASIC_STATS)?;
    Ok(Some(rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn open_directory(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    fn inode(file: &OwnedFd) -> u64 {
        rustix::fs::fstat(file).unwrap().st_ino
    }

    #[test]
    fn the_walk_finds_what_the_kernel_finds() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("a/b/f"), "x").unwrap();
        symlink("/a/b", place.path().join("absolute")).unwrap();
        symlink("../../../../a", place.path().join("a/above")).unwrap();
        symlink("loop", place.path().join("loop")).unwrap();
        let root = open_directory(place.path());
        for path in [
            "/",
            "/a",
            "/a/b/f",
            "/a/b/",
            "/absolute",
            "/absolute/f",
            "/a/above/b/f",
            "/../../a",
            "/a/./b/../b/f",
            "/missing",
            "/a/b/f/x",
            "/a/b/f/",
            "/loop",
            "/a/b/..",
            "//a//b",
        ] {
            for follow in [false, true] {
                let kernel = locate(&root, path.as_bytes(), follow, None).map(|f| inode(&f));
                let ours = walk(&root, path.as_bytes(), follow, None).map(|f| inode(&f));
                assert_eq!(kernel, ours, "{path} follow={follow}");
            }
        }
    }

    #[test]
    fn an_excluded_file_system_is_not_entered() {
        // /proc is another file system than / everywhere, and always there.
        let root = open_directory(std::path::Path::new("/"));
        let excluded = std::fs::metadata("/proc").unwrap().dev();
        locate(&root, b"/proc/version", true, None).unwrap();
        let refused = locate(&root, b"/proc/version", true, Some(excluded));
        assert_eq!(refused.unwrap_err(), Errno::ACCESS);
    }
}

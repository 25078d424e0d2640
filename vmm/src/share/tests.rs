//! Tests of the share on a directory made for each.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A share of `root/inside`, with `root/secret` beside it.
fn share() -> (tempfile::TempDir, Share) {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("inside")).unwrap();
    fs::write(place.path().join("secret"), "host only").unwrap();
    fs::write(place.path().join("inside/file"), "0123456789").unwrap();
    let share = Share::new(&place.path().join("inside")).unwrap();
    (place, share)
}

#[test]
fn a_file_is_read_at_any_offset() {
    let (_place, mut share) = share();
    let (handle, stat) = share.open(b"/file", true).unwrap();
    assert_eq!(stat.size, 10);
    let mut buffer = [0; 4];
    assert_eq!(share.read_at(handle, 3, &mut buffer), Ok(4));
    assert_eq!(&buffer, b"3456");
    assert_eq!(share.read_at(handle, 8, &mut buffer), Ok(2));
    assert_eq!(share.read_at(handle, 10, &mut buffer), Ok(0));
    assert_eq!(share.stat(handle), Ok(stat));
}

#[test]
fn no_path_leads_out_of_the_share() {
    let (place, mut share) = share();
    let outside = place.path().join("secret");
    symlink("../secret", place.path().join("inside/relative")).unwrap();
    symlink(&outside, place.path().join("inside/absolute")).unwrap();
    symlink("/..", place.path().join("inside/up")).unwrap();
    for path in ["/../secret", "/relative", "/absolute", "/up/secret", "/up/../../secret"] {
        assert_eq!(share.open(path.as_bytes(), true), Err(Errno::NOENT), "{path}");
    }
}

#[test]
fn a_link_into_a_tree_of_the_guest_is_told() {
    let (place, share) = share();
    let inside = place.path().join("inside");
    fs::create_dir(inside.join("etc")).unwrap();
    fs::create_dir(inside.join("tmp")).unwrap();
    fs::write(inside.join("tmp/seen"), "the share's own").unwrap();
    symlink("../proc/self/mounts", inside.join("etc/mtab")).unwrap();
    symlink("/tmp", inside.join("scratch")).unwrap();
    symlink("seen", inside.join("tmp/link")).unwrap();
    symlink("/etc", inside.join("config")).unwrap();
    let elsewhere = |path: &str, follow| share.elsewhere(path.as_bytes(), follow);
    assert_eq!(elsewhere("/etc/mtab", true).as_deref(), Some(&b"/proc/self/mounts"[..]));
    assert_eq!(elsewhere("/etc/mtab", false), None);
    assert_eq!(elsewhere("/config/mtab", true).as_deref(), Some(&b"/proc/self/mounts"[..]));
    assert_eq!(elsewhere("/scratch/new/x", false).as_deref(), Some(&b"/tmp/new/x"[..]));
    assert_eq!(elsewhere("/tmp/link", true).as_deref(), Some(&b"/tmp/seen"[..]));
    assert_eq!(elsewhere("/tmp/seen", true), None);
    assert_eq!(elsewhere("/missing", true), None);
}

#[test]
fn a_file_found_through_links_tells_its_path_without_them() {
    let (place, mut share) = share();
    let inside = place.path().join("inside");
    fs::create_dir(inside.join("deep")).unwrap();
    fs::write(inside.join("deep/program"), "").unwrap();
    symlink("deep", inside.join("short")).unwrap();
    symlink("/short/program", inside.join("program")).unwrap();
    for (path, follow, real) in [
        ("/deep/program", true, "/deep/program"),
        ("/short/../short/program", true, "/deep/program"),
        ("/program", true, "/deep/program"),
        ("/program", false, "/program"),
        ("/short", true, "/deep"),
    ] {
        let (handle, _) = share.open(path.as_bytes(), follow).unwrap();
        assert_eq!(share.real_path(handle).as_deref(), Some(real.as_bytes()), "{path}");
    }
    let (root, _) = share.open(b"/", true).unwrap();
    assert_eq!(share.real_path(root), None, "the root has no name below itself");
}

#[test]
fn a_magic_link_does_not_lead_out_of_the_share() {
    let mut share = Share::new(Path::new("/proc")).unwrap();
    let path = format!("/{}/exe", std::process::id());
    assert!(share.open(path.as_bytes(), true).is_err());
}

#[test]
fn a_last_link_is_followed_only_when_asked() {
    let (place, mut share) = share();
    symlink("file", place.path().join("inside/link")).unwrap();
    let (link, stat) = share.open(b"/link", false).unwrap();
    assert_eq!(FileType::from_raw_mode(stat.mode), FileType::Symlink);
    assert_eq!(share.readlink(link).unwrap(), b"file");
    let (file, _) = share.open(b"/link", true).unwrap();
    assert_eq!(share.readlink(file), Err(Errno::INVAL));
}

#[test]
fn a_pipe_of_the_host_is_described_but_not_opened() {
    let (place, mut share) = share();
    let path = place.path().join("inside/pipe");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let (handle, stat) = share.open(b"/pipe", true).unwrap();
    assert_eq!(FileType::from_raw_mode(stat.mode), FileType::Fifo);
    assert_eq!(share.read_at(handle, 0, &mut [0; 1]), Err(Errno::BADF));
}

#[test]
fn a_directory_is_listed_in_pieces() {
    let (place, mut share) = share();
    for number in 0..100 {
        fs::write(place.path().join(format!("inside/n{number}")), "").unwrap();
    }
    let (handle, _) = share.open(b"/", true).unwrap();
    let (mut names, mut cookie, mut pieces) = (Vec::new(), 0, 0);
    loop {
        let packed = share.readdir(handle, cookie, 256).unwrap();
        assert!(packed.len() <= 256);
        if packed.is_empty() {
            break;
        }
        pieces += 1;
        let mut rest = packed.as_slice();
        while let [header @ .., _] = rest.get(..entry::HEADER_LEN).unwrap_or_default() {
            cookie = u64::from_le_bytes(header[8..16].try_into().unwrap());
            let end = entry::HEADER_LEN + usize::from(rest[entry::HEADER_LEN - 1]);
            names.push(rest[entry::HEADER_LEN..end].to_vec());
            rest = &rest[end..];
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 103, "100 files, `file`, `.` and `..`");
    assert!(pieces > 4);
    assert_eq!(share.readdir(handle, 0, 10), Err(Errno::INVAL));
}

#[test]
fn a_closed_handle_is_bad_and_used_again() {
    let (_place, mut share) = share();
    let (handle, _) = share.open(b"/file", true).unwrap();
    share.close(handle).unwrap();
    assert_eq!(share.close(handle), Err(Errno::BADF));
    assert_eq!(share.read_at(handle, 0, &mut [0; 1]), Err(Errno::BADF));
    assert_eq!(share.open(b"/file", true).unwrap().0, handle);
    assert_eq!(share.close(u64::MAX), Err(Errno::BADF));
}

#[test]
fn bad_paths_are_refused() {
    let (_place, mut share) = share();
    let long = [b"/".as_slice(), &[b'x'; 5000]].concat();
    assert_eq!(share.open(b"", true), Err(Errno::INVAL));
    assert_eq!(share.open(b"file", true), Err(Errno::INVAL));
    assert_eq!(share.open(b"/fi\0le", true), Err(Errno::INVAL));
    assert_eq!(share.open(&long, true), Err(Errno::NAMETOOLONG));
    assert_eq!(share.open(b"/missing", true), Err(Errno::NOENT));
    assert_eq!(share.open(b"/file/", true), Err(Errno::NOTDIR));
}

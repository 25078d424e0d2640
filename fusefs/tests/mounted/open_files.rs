//! Files that stay open while things change. What is expected is what Linux 6.18 did in the cases of
//! the same names in the transcripts.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use memcg::{Abi, Hierarchy};
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, openat};
use rustix::io::{Errno, pread, read, write};
use rustix::thread::{Gid, Uid, set_thread_res_gid, set_thread_res_uid};

use crate::host::{FakeHost, Mount};
use crate::operations::{piece, poll};

const LIMIT: &str = "memory.limit_in_bytes";

fn linux_6_18() -> Mount {
    let mount = FakeHost::new(Abi::Linux618, Hierarchy::Share).mount();
    mount.mkdir("a").unwrap();
    mount
}

fn open(mount: &Mount, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, mount.at(name), flags, Mode::from_raw_mode(0o644))
}

fn rewind(fd: &impl AsFd) {
    rustix::fs::seek(fd, SeekFrom::Start(0)).unwrap();
}

#[test]
fn a_sequential_reader_finishes_what_it_started_and_a_seek_starts_afresh() {
    let mount = linux_6_18();
    let path = format!("a/{LIMIT}");
    mount.write(&path, "2097152").unwrap();
    let fd = open(&mount, &path, OFlags::RDONLY).unwrap();
    assert_eq!(piece(&fd, 3), "209");
    mount.write(&path, "4194304").unwrap();
    assert_eq!(piece(&fd, 100), "7152\n");
    assert_eq!(piece(&fd, 100), "");
    rewind(&fd);
    assert_eq!(piece(&fd, 100), "4194304\n");
}

#[test]
fn a_reader_that_jumps_sees_the_value_of_now() {
    let mount = linux_6_18();
    let path = format!("a/{LIMIT}");
    mount.write(&path, "2097152").unwrap();
    let fd = open(&mount, &path, OFlags::RDONLY).unwrap();
    let at = |offset, size| {
        let mut buffer = vec![0; size];
        let count = pread(&fd, &mut buffer, offset).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    assert_eq!(at(0, 3), "209");
    mount.write(&path, "4194304").unwrap();
    assert_eq!(at(4, 100), "304\n");
    assert_eq!(at(0, 100), "4194304\n");
}

#[test]
fn a_write_moves_the_offset_that_the_next_read_starts_from() {
    let mount = linux_6_18();
    let path = format!("a/{LIMIT}");
    let fd = open(&mount, &path, OFlags::RDWR).unwrap();
    assert_eq!(write(&fd, b"2M"), Ok(2));
    assert_eq!(piece(&fd, 100), "97152\n");
    rewind(&fd);
    assert_eq!(piece(&fd, 100), "2097152\n");
    assert_eq!(write(&fd, b"8M"), Ok(2));
    assert_eq!(piece(&fd, 100), "");
    assert_eq!(write(&fd, b"abc"), Err(Errno::INVAL));
    rewind(&fd);
    assert_eq!(piece(&fd, 100), "8388608\n");
}

#[test]
fn a_renamed_group_keeps_its_open_files() {
    let mount = linux_6_18();
    let fd = open(&mount, &format!("a/{LIMIT}"), OFlags::RDWR).unwrap();
    fs::rename(mount.at("a"), mount.at("b")).unwrap();
    assert_eq!(write(&fd, b"4194304"), Ok(7));
    rewind(&fd);
    assert_eq!(piece(&fd, 100), "4194304\n");
    assert_eq!(mount.read(&format!("b/{LIMIT}")).unwrap(), "4194304\n");
}

#[test]
fn open_files_of_a_removed_group_answer_enodev() {
    let mount = linux_6_18();
    let path = format!("a/{LIMIT}");
    let reader = open(&mount, &path, OFlags::RDONLY).unwrap();
    let half = open(&mount, &path, OFlags::RDWR).unwrap();
    let directory = open(&mount, "a", OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
    assert_eq!(piece(&half, 3), "922");

    mount.rmdir("a").unwrap();

    assert_eq!(read(&reader, &mut [0; 100]), Err(Errno::NODEV));
    assert_eq!(piece(&half, 100), "3372036854771712\n");
    assert_eq!(write(&half, b"0"), Err(Errno::NODEV));
    assert_eq!(poll(&reader), ["POLLIN", "POLLOUT", "POLLPRI", "POLLERR"]);
    rustix::fs::fchmod(&reader, Mode::from_raw_mode(0o600)).unwrap();
    let tasks = openat(&directory, "tasks", OFlags::RDONLY, Mode::empty());
    assert_eq!(tasks.map(drop), Err(Errno::NOENT));
    let made = rustix::fs::mkdirat(&directory, "x", Mode::from_raw_mode(0o755));
    assert_eq!(made, Err(Errno::NOENT));

    let again = openat(&directory, ".", OFlags::RDONLY, Mode::empty()).unwrap();
    assert_eq!(rustix::fs::Dir::read_from(again).unwrap().count(), 0);

    // A new group of the same name is another group.
    mount.mkdir("a").unwrap();
    assert_eq!(pread(&reader, &mut [0; 100], 0), Err(Errno::NODEV));
    assert_eq!(mount.read(&path).unwrap(), "9223372036854771712\n");
}

#[test]
fn a_user_without_privilege_may_do_what_the_mode_bits_say() {
    const NOBODY: u32 = 65_534;
    let mount = FakeHost::new(Abi::Linux618, Hierarchy::Share).mount();
    mount.mkdir("mine").unwrap();
    fs::set_permissions(
        mount.at("").parent().unwrap(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for name in ["mine", "mine/tasks"] {
        std::os::unix::fs::chown(mount.at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // System calls change the identity of a thread, not of the process.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            set_thread_res_gid(None, gid, None).unwrap();
            set_thread_res_uid(None, uid, None).unwrap();
            let try_open = |name, flags| open(&mount, name, flags).map(drop);
            assert_eq!(try_open("tasks", OFlags::RDONLY), Ok(()));
            assert_eq!(try_open("tasks", OFlags::WRONLY), Err(Errno::ACCESS));
            assert_eq!(try_open(LIMIT, OFlags::RDWR), Err(Errno::ACCESS));
            assert_eq!(try_open("mine/tasks", OFlags::RDWR), Ok(()));
            let refused = mount.mkdir("x").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
            let refused = mount.rmdir("mine").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EACCES));

            mount.mkdir("mine/x").unwrap();
            mount.write("mine/x/memory.limit_in_bytes", "4M").unwrap();
            fs::rename(mount.at("mine/x"), mount.at("mine/y")).unwrap();
            mount.rmdir("mine/y").unwrap();
        });
    });
}

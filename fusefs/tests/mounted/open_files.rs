//! Files that stay open while things change. What is expected is what Linux 6.18 did in the cases of
//! the same names in the transcripts.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::chown;

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

/// How a process is moved by somebody else than root: not at all, whoever owns the file.
#[test]
fn only_root_and_who_runs_the_machine_move_tasks() {
    const NOBODY: u32 = 65_534;
    let host = FakeHost::new(Abi::Linux618, Hierarchy::Share);
    let mount = host.mount();
    mount.mkdir("mine").unwrap();
    host.start("", 100, 1);
    chown(mount.at("mine/tasks"), Some(NOBODY), Some(NOBODY)).unwrap();
    let passed_on = open(&mount, "mine/tasks", OFlags::WRONLY).unwrap();
    // System calls change the identity of a thread, not of the process.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            set_thread_res_gid(None, Gid::from_raw(NOBODY), None).unwrap();
            set_thread_res_uid(None, Uid::from_raw(NOBODY), None).unwrap();
            let own = open(&mount, "mine/tasks", OFlags::WRONLY).unwrap();
            assert_eq!(write(&own, b"100"), Err(Errno::ACCESS));
            assert_eq!(write(&own, b"200"), Err(Errno::SRCH));
            assert_eq!(write(&own, b"junk"), Err(Errno::INVAL));
            assert_eq!(mount.read("mine/tasks").unwrap(), "");
            // Who opened it counts, not who writes.
            assert_eq!(write(&passed_on, b"100"), Ok(3));
        });
    });
    assert_eq!(mount.read("mine/tasks").unwrap(), "100\n");
}

/// More half-read files than there are threads that answer.
#[test]
fn readers_that_stop_half_way_hold_up_nobody() {
    let mount = linux_6_18();
    let half_read: Vec<OwnedFd> = (0..20)
        .map(|_| {
            let fd = open(&mount, "a/memory.stat", OFlags::RDONLY).unwrap();
            assert_eq!(piece(&fd, 5), "cache");
            fd
        })
        .collect();
    mount.write(&format!("a/{LIMIT}"), "2M").unwrap();
    assert_eq!(mount.read(&format!("a/{LIMIT}")).unwrap(), "2097152\n");
    for fd in &half_read {
        let rest = piece(fd, 4096);
        assert!(rest.starts_with(" 0\n"), "{rest}");
        let limit = "\nhierarchical_memory_limit 9223372036854771712\n";
        assert!(rest.contains(limit), "each goes on where it was: {rest}");
    }
    mount.rmdir("a").unwrap();
}

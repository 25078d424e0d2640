//! Mounting where it cannot be, and unmounting while somebody is there.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use fusefs::{Host, MountError, MountOptions, mount};
use memcg::{Abi, Hierarchy};
use rustix::mount::MountFlags;

use crate::host::FakeHost;

fn try_mount(point: &std::path::Path) -> Result<fusefs::Mounted, MountError> {
    let host: Arc<dyn Host> = FakeHost::new(Abi::Classic, Hierarchy::Share);
    mount(host, MountOptions { point: point.to_owned() })
}

#[test]
fn a_missing_directory_and_a_file_are_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let error = try_mount(&missing).unwrap_err();
    assert!(matches!(error, MountError::Missing(_)), "{error:?}");
    let line = format!("cannot mount on {}: no such directory; create it first", missing.display());
    assert_eq!(error.to_string(), line);

    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(try_mount(&file).unwrap_err(), MountError::NotADirectory(_)));
}

#[test]
fn a_second_machine_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = try_mount(directory.path()).unwrap();
    assert!(matches!(try_mount(directory.path()).unwrap_err(), MountError::Busy(_)));
    drop(first);
    drop(try_mount(directory.path()).unwrap());
}

#[test]
fn a_mount_whose_server_died_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0\0", device.as_raw_fd());
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).unwrap();
    rustix::mount::mount("vmcg", directory.path(), "fuse", MountFlags::empty(), options).unwrap();
    drop(device);
    let dead = fs::metadata(directory.path()).unwrap_err();
    assert_eq!(dead.raw_os_error(), Some(libc::ENOTCONN));

    let mounted = try_mount(directory.path()).unwrap();

    assert_eq!(fs::read_to_string(mounted.point().join("tasks")).unwrap(), "");
}

#[test]
fn unmounting_does_not_wait_for_open_files() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = try_mount(directory.path()).unwrap();
    let open = fs::File::open(directory.path().join("memory.stat")).unwrap();
    drop(mounted);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    drop(open);
}

//! `vmcg shell`: a command that finds the control files where old tools look for them.
//!
//! The command gets a mount namespace of its own: nobody else sees the difference, and it goes with
//! the last process inside.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::statfs;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};
use rustix::thread::UnshareFlags;
use vmm::control::protocol::{Reply, Request};

use super::error::Error;
use super::{ShellArgs, client};

/// Where cgroup v1 is by convention, one directory a controller.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The controllers that a machine's control files are.
const CONTROLLERS: [&str; 2] = ["memory", "hugetlb"];
/// Where systemd puts cgroup v2 beside v1.
const UNIFIED: &str = "unified";
/// linux/magic.h `CGROUP2_SUPER_MAGIC`.
const CGROUP2_MAGIC: i64 = 0x6367_7270;
const DEFAULT_SHELL: &str = "/bin/sh";

/// Becomes the command, or the user's shell.
///
/// # Errors
/// When there is no such machine, the namespace cannot be made, or there is no such command.
pub(super) fn run(args: &ShellArgs) -> Result<ExitCode, Error> {
    let tree = mount_point(&args.named.name)?;
    leave_namespace().and_then(|()| show(&tree)).map_err(|why| Error::View { why })?;
    let shell = || std::env::var_os("SHELL").unwrap_or_else(|| DEFAULT_SHELL.into());
    let (program, rest): (OsString, &[OsString]) = match args.argv.split_first() {
        Some((program, rest)) => (program.clone(), rest),
        None => (shell(), &[]),
    };
    let why = Command::new(&program).args(rest).exec();
    Err(Error::NotRun { program: program.display().to_string(), reason: why.to_string() })
}

/// Asks the machine where its control files are.
fn mount_point(name: &str) -> Result<PathBuf, Error> {
    match client::ask(name, &Request::Stat)? {
        Reply::Figures { mount_point: Some(point), .. } => Ok(point),
        Reply::Figures { mount_point: None, .. } => Err(Error::NotMounted(name.to_owned())),
        _ => Err(Error::Unexpected(name.to_owned())),
    }
}

/// Gives this process a mount namespace of its own, from which nothing gets out. What is unmounted
/// outside goes here, too.
fn leave_namespace() -> io::Result<()> {
    #[expect(deprecated, reason = "only UnshareFlags::FILES is unsafe, which this is not")]
    rustix::thread::unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    Ok(())
}

/// Mounts the control files for every controller.
fn show(tree: &Path) -> io::Result<()> {
    let cgroups = Path::new(CGROUPS);
    if !CONTROLLERS.iter().all(|controller| cgroups.join(controller).is_dir()) {
        make_places(cgroups)?;
    }
    for controller in CONTROLLERS {
        mount_bind(tree, cgroups.join(controller))?;
    }
    Ok(())
}

/// Replaces the directory of all controllers by one that shows the same and has room for ours.
fn make_places(cgroups: &Path) -> io::Result<()> {
    let covered = File::open(cgroups)?;
    let is_unified = statfs(cgroups)?.f_type == CGROUP2_MAGIC;
    let names: Vec<OsString> =
        fs::read_dir(cgroups)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", cgroups, "tmpfs", flags, c"mode=755")?;
    let covered_at = PathBuf::from(format!("/proc/self/fd/{}", covered.as_raw_fd()));
    if is_unified {
        fs::create_dir(cgroups.join(UNIFIED))?;
        mount_bind_recursive(&covered_at, cgroups.join(UNIFIED))?;
    } else {
        names.iter().try_for_each(|name| show_again(&covered_at, cgroups, name))?;
    }
    for controller in CONTROLLERS {
        fs::create_dir_all(cgroups.join(controller))?;
    }
    Ok(())
}

/// Shows what `from` has under a name in `to`, too.
fn show_again(from: &Path, to: &Path, name: &OsStr) -> io::Result<()> {
    let (from, to) = (from.join(name), to.join(name));
    let kind = fs::symlink_metadata(&from)?.file_type();
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !kind.is_dir() {
        return Ok(());
    }
    fs::create_dir(&to)?;
    Ok(mount_bind_recursive(from, to)?)
}

//! Mounting and unmounting.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::fs::statfs;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{getegid, geteuid};

use crate::events::Listeners;
use crate::fuse::Fuse;
use crate::host::Host;
use crate::service::Service;

/// Where to mount. Which files there are the configuration of the accounting says.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// An existing directory.
    pub point: PathBuf,
}

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no such directory.
    #[error("cannot mount on {}: no such directory; create it first", .0.display())]
    Missing(PathBuf),
    /// It is a file.
    #[error("cannot mount on {}: not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Another machine is mounted there.
    #[error(
        "cannot mount on {}: another vmcg machine is mounted there; take it down or choose \
         another directory",
        .0.display()
    )]
    Busy(PathBuf),
    /// The remains of a machine that ended without unmounting could not be cleared away.
    #[error("cannot clear the dead mount at {}: {source}; run umount -l on it", .point.display())]
    Stale {
        /// Where.
        point: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no FUSE, or the device node is missing.
    #[error("cannot mount on {}: /dev/fuse: no such file; run modprobe fuse", .0.display())]
    NoDevice(PathBuf),
    /// The user may not mount.
    #[error(
        "cannot mount on {}: not permitted ({reason}); run as root, or install fusermount3",
        .point.display()
    )]
    NotPermitted {
        /// Where.
        point: PathBuf,
        /// What the kernel, or fusermount, said.
        reason: String,
    },
    /// Anything else.
    #[error("cannot mount on {}: {source}", .point.display())]
    Failed {
        /// Where.
        point: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// A mounted file system; it is unmounted when this is dropped.
pub struct Mounted {
    point: PathBuf,
    session: Option<BackgroundSession>,
    service: Arc<Service>,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted").field("point", &self.point).finish_non_exhaustive()
    }
}

/// Name of the file system in the list of mounts.
const NAME: &str = "vmcg";
/// Threads that answer the kernel. None of them ever waits for the guest.
const THREADS: usize = 2;

/// How long the kernel may take to let go of what is unmounted.
const UNMOUNT_GRACE: Duration = Duration::from_secs(1);

/// Mounts the control files of a machine. When this returns, they answer.
///
/// # Errors
/// [`MountError`] says in one line what is wrong and what to do; nothing is mounted then.
pub fn mount(host: Arc<dyn Host>, options: MountOptions) -> Result<Mounted, MountError> {
    let point = usable_point(options.point)?;
    let owner = (geteuid().as_raw(), getegid().as_raw());
    let service = Service::new(host, owner);
    let fuse = Fuse::new(Arc::clone(&service));
    let session = Session::new(fuse, &point, &config())
        .and_then(Session::spawn)
        .map_err(|error| mount_error(&point, error))?;
    service.notifier.get_or_init(|| session.notifier());
    let mounted = Mounted { point, session: Some(session), service };
    // The first question to the new mount: when it is answered, the others will be, too.
    match fs::metadata(&mounted.point) {
        Ok(found) => mounted.service.device.get_or_init(|| found.dev()),
        Err(source) => return Err(MountError::Failed { point: mounted.point.clone(), source }),
    };
    Ok(mounted)
}

impl Mounted {
    /// Returns the directory it is mounted on.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Returns where the machine reports what clients may be listening for.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        Listeners::new(Arc::downgrade(&self.service))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let (said, heard) = mpsc::channel();
        let end = move || {
            // Nobody listens any more when it took too long.
            let _ = said.send(session.umount_and_join());
        };
        if let Err(error) = thread::Builder::new().name("unmount".to_owned()).spawn(end) {
            log::warn!("no thread to unmount {}: {error}", self.point.display());
        }
        match heard.recv_timeout(UNMOUNT_GRACE) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // Somebody has a file open, or works in there. Detached, it goes when they leave.
                log::debug!("{} is in use: {error}", self.point.display());
                if let Err(error) = unmount(&self.point, UnmountFlags::DETACH) {
                    log::warn!("cannot unmount {}: {error}", self.point.display());
                }
            }
            // It is unmounted here, but in another mount namespace it is still there; it dies with
            // this process.
            Err(_) => log::debug!("{} is mounted elsewhere as well", self.point.display()),
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(NAME.to_owned()),
        MountOption::Subtype(NAME.to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoExec,
    ];
    // Others may look at a machine of root, as at cgroupfs; the mode bits say what they may do.
    config.acl = if geteuid().is_root() { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    config
}

/// Returns the path of the directory to mount on, after clearing away dead mounts.
fn usable_point(point: PathBuf) -> Result<PathBuf, MountError> {
    loop {
        match fs::metadata(&point) {
            Ok(found) if !found.is_dir() => return Err(MountError::NotADirectory(point)),
            // The kernel may still remember the attributes; this question it always passes on.
            Ok(_) if statfs(&point).err() == Some(Errno::NOTCONN) => detach(&point)?,
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(MountError::Missing(point));
            }
            // The server of a mount has died without unmounting it.
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => detach(&point)?,
            Err(source) => return Err(MountError::Failed { point, source }),
        }
    }
    let point = match fs::canonicalize(&point) {
        Ok(path) => path,
        Err(source) => return Err(MountError::Failed { point, source }),
    };
    if is_mounted(&point) { Err(MountError::Busy(point)) } else { Ok(point) }
}

fn detach(point: &Path) -> Result<(), MountError> {
    log::info!("clearing the dead mount at {}", point.display());
    unmount(point, UnmountFlags::DETACH)
        .map_err(|error| MountError::Stale { point: point.to_owned(), source: error.into() })
}

/// Tells whether a vmcg is mounted exactly there.
fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| {
        // proc_pid_mountinfo(5): the fifth field is the mount point; after " - " type and source.
        let Some((place, kind)) = line.split_once(" - ") else { return false };
        let is_ours = kind.split(' ').nth(1) == Some(NAME);
        is_ours && place.split(' ').nth(4).map(unescape).as_deref() == point.to_str()
    })
}

/// Undoes the octal escapes of mountinfo that occur in paths.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn mount_error(point: &Path, source: io::Error) -> MountError {
    let point = point.to_owned();
    match source.kind() {
        _ if !Path::new("/dev/fuse").exists() => MountError::NoDevice(point),
        io::ErrorKind::PermissionDenied => {
            let device = File::options().read(true).write(true).open("/dev/fuse");
            let reason = match device {
                Err(closed) => format!("/dev/fuse: {closed}"),
                Ok(_) => source.to_string(),
            };
            MountError::NotPermitted { point, reason }
        }
        // Without privilege fuser asks fusermount3, which is not there.
        io::ErrorKind::NotFound if !geteuid().is_root() => {
            MountError::NotPermitted { point, reason: "fusermount3 is missing".to_owned() }
        }
        _ => MountError::Failed { point, source },
    }
}

//! Names of machines and what each keeps in the runtime directory.
//!
//! ```text
//! NAME.lock   locked while the machine lives; holds the process id
//! NAME.sock   the control socket
//! NAME.log    what a detached machine had to say
//! NAME.swap   the file for swap, for the moment until it has lost its name
//! mnt-NAME/   the mount point, when none was asked for
//! ```
//!
//! The lock goes with the process, so what a killed machine left behind is recognised and replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Longest name, in bytes, so that the path of the socket stays within `sun_path`.
pub const NAME_BYTES_MAX: usize = 32;

/// Why a name could not be claimed or a machine not be found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name has characters that have no place in a file name.
    #[error(
        "bad machine name '{0}': use 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' or '.', and no leading '.'"
    )]
    BadName(String),
    /// Neither `XDG_RUNTIME_DIR` nor the right to write to `/run`.
    #[error(
        "cannot use {path} as runtime directory: {why}; set XDG_RUNTIME_DIR to a directory of yours"
    )]
    NoDirectory {
        /// The directory.
        path: String,
        /// What the system said.
        why: io::Error,
    },
    /// Someone else could put files into the runtime directory.
    #[error(
        "runtime directory {0} belongs to another user or others may write to it: chmod 700 it or set XDG_RUNTIME_DIR"
    )]
    Unsafe(String),
    /// A machine of this name lives.
    #[error(
        "a machine named '{name}' is already running (process {process}): choose another --name or run `vmcg down --name {name}`"
    )]
    Taken {
        /// The name.
        name: String,
        /// Who holds it; "unknown" when it has not said yet.
        process: String,
    },
    /// A file of the runtime directory could not be made, read or removed.
    #[error("cannot {what} {path}: {why}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: String,
        /// What the system said.
        why: io::Error,
    },
}

/// The directory that holds the files of all machines of this user.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

/// The files of one machine; the name is known to be well formed.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    name: String,
}

/// A claimed name. Dropping it removes the machine's files and frees the name.
#[derive(Debug)]
pub struct Claim {
    files: Files,
    // Holds the lock; closing it releases the name.
    _lock: File,
}

impl Directory {
    /// Finds the user's directory and makes it when it is missing.
    ///
    /// # Errors
    /// [`Error::NoDirectory`] when it cannot be made, [`Error::Unsafe`] when others could write to it.
    pub fn open() -> Result<Self, Error> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
        let base = base.map_or_else(|| PathBuf::from("/run"), PathBuf::from);
        Self::open_at(base.join("vmcg"))
    }

    /// As [`Self::open`], at a given place.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(path: PathBuf) -> Result<Self, Error> {
        let no_directory = |why| Error::NoDirectory { path: path.display().to_string(), why };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                return Err(no_directory(why));
            }
            _ => {}
        }
        let metadata = fs::metadata(&path).map_err(no_directory)?;
        let is_mine = metadata.uid() == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !is_mine || metadata.permissions().mode() & 0o022 != 0 {
            return Err(Error::Unsafe(path.display().to_string()));
        }
        Ok(Self(path))
    }

    /// The files of the machine `name`, which need not exist.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn files(&self, name: &str) -> Result<Files, Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let has_length = (1..=NAME_BYTES_MAX).contains(&name.len());
        if !has_length || name.starts_with('.') || !name.chars().all(is_plain) {
            return Err(Error::BadName(name.to_owned()));
        }
        Ok(Files { directory: self.0.clone(), name: name.to_owned() })
    }

    /// Names of the machines that live, sorted.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read.
    pub fn living(&self) -> Result<Vec<String>, Error> {
        let failed = |why| Error::File { what: "read", path: self.0.display().to_string(), why };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let file = entry.map_err(failed)?.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".lock")) else {
                continue;
            };
            if self.files(name)?.is_alive() {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Files {
    /// The machine's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.with_suffix("sock")
    }

    /// What a detached machine writes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.with_suffix("log")
    }

    /// Where the file for swap is made.
    #[must_use]
    pub fn swap(&self) -> PathBuf {
        self.with_suffix("swap")
    }

    /// The mount point used when none is asked for.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        self.directory.join(format!("mnt-{}", self.name))
    }

    /// Whether some process holds the name.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Ok(file) = File::open(self.lock()) else { return false };
        // A shared lock is refused exactly while a machine holds its own; it ends with `file`.
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Takes the name for this process and removes the socket that a killed machine left behind.
    ///
    /// # Errors
    /// [`Error::Taken`] when a machine of that name lives, [`Error::File`] otherwise; nothing changed.
    pub fn claim(&self) -> Result<Claim, Error> {
        let path = self.lock();
        let failed =
            |what| move |why| Error::File { what, path: self.lock().display().to_string(), why };
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&path).map_err(failed("open"))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Err(Error::Taken { name: self.name.clone(), process: holder(&mut file) });
            }
            // The machine before us may have removed the file between our open and our lock.
            let mine = file.metadata().map_err(failed("examine"))?.ino();
            if !fs::metadata(&path).is_ok_and(|now| now.ino() == mine) {
                continue;
            }
            file.set_len(0).map_err(failed("write"))?;
            writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
            remove(&self.socket())?;
            return Ok(Claim { files: self.clone(), _lock: file });
        }
    }

    fn lock(&self) -> PathBuf {
        self.with_suffix("lock")
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("{}.{suffix}", self.name))
    }
}

impl Claim {
    /// The files of the machine.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Makes the default mount point.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn make_mount_point(&self) -> Result<PathBuf, Error> {
        let path = self.files.mount_point();
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(why) if why.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::File { what: "make", path: path.display().to_string(), why })
            }
            _ => Ok(path),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The default mount point goes only when it is there, empty and no mount.
        let _ = fs::remove_dir(self.files.mount_point());
        for path in [self.files.socket(), self.files.lock()] {
            if let Err(error) = remove(&path) {
                log::warn!("{error}");
            }
        }
    }
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let is_read = lock.rewind().and_then(|()| lock.read_to_string(&mut text)).is_ok();
    let process = text.trim();
    if is_read && !process.is_empty() { process.to_owned() } else { "unknown".to_owned() }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { what: "remove", path: path.display().to_string(), why })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open_at(place.path().join("vmcg")).unwrap();
        (place, directory)
    }

    #[test]
    fn a_claimed_name_is_taken_until_the_claim_ends() {
        let (_place, directory) = directory();
        let files = directory.files("a").unwrap();
        let claim = files.claim().unwrap();
        let refusal = files.claim().unwrap_err().to_string();
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
        assert_eq!(directory.living().unwrap(), ["a"]);
        drop(claim);
        assert!(!files.is_alive());
        files.claim().unwrap();
    }

    #[test]
    fn files_of_a_killed_machine_are_replaced() {
        let (_place, directory) = directory();
        let files = directory.files("dead").unwrap();
        fs::write(files.lock(), "4194303\n").unwrap();
        fs::write(files.socket(), "").unwrap();
        assert!(!files.is_alive());
        let _claim = files.claim().unwrap();
        assert!(!files.socket().exists());
        let holder = fs::read_to_string(files.lock()).unwrap();
        assert_eq!(holder.trim(), std::process::id().to_string());
    }

    #[test]
    fn an_ended_claim_leaves_nothing_but_the_log() {
        let (_place, directory) = directory();
        let claim = directory.files("a").unwrap().claim().unwrap();
        let point = claim.make_mount_point().unwrap();
        assert!(point.is_dir());
        fs::write(claim.files().socket(), "").unwrap();
        drop(claim);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let (_place, directory) = directory();
        directory.files("box-1.test_2").unwrap();
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", "a/b", "../x", ".hidden", "a b", "a\n", &long] {
            assert!(matches!(directory.files(bad), Err(Error::BadName(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("vmcg");
        Directory::open_at(path.clone()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Directory::open_at(path), Err(Error::Unsafe(_))));
    }
}

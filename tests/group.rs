//! A cgroup, through its directory and files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::PAGE;
use crate::deadline::wait_until;

/// A cgroup of a machine.
#[derive(Debug, Clone)]
pub struct Group {
    dir: PathBuf,
    path: String,
}

impl Group {
    /// The group at `path` below the mount point `mount`; "" is the root.
    #[must_use]
    pub fn at(mount: &Path, path: &str) -> Self {
        Self { dir: mount.join(path), path: path.to_owned() }
    }

    /// Path below the mount point, as `vmcg exec --cgroup` takes it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a child group.
    ///
    /// # Panics
    /// When `mkdir` fails.
    #[must_use]
    #[track_caller]
    pub fn child(&self, name: &str) -> Self {
        let child = Self { dir: self.dir.join(name), path: format!("{}/{name}", self.path) };
        fs::create_dir(&child.dir).unwrap_or_else(|error| panic!("mkdir {}: {error}", child.path));
        child
    }

    /// Reads a control file.
    ///
    /// # Errors
    /// What open or read answer.
    pub fn try_read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.dir.join(file))
    }

    /// Reads a control file that must be readable.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    #[track_caller]
    pub fn read(&self, file: &str) -> String {
        self.try_read(file).unwrap_or_else(|error| panic!("{}/{file}: {error}", self.path))
    }

    /// Reads a control file that holds one number.
    ///
    /// # Panics
    /// When it holds something else.
    #[must_use]
    #[track_caller]
    pub fn number(&self, file: &str) -> u64 {
        let text = self.read(file);
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}/{file} is not a number: {text:?}", self.path))
    }

    /// Writes a control file, as `echo` does.
    ///
    /// # Errors
    /// What open or write answer.
    pub fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let mut opened = OpenOptions::new().write(true).truncate(true).open(self.dir.join(file))?;
        opened.write_all(format!("{text}\n").as_bytes())
    }

    /// Writes a control file and returns the error number of a refusal, 0 for success.
    #[must_use]
    pub fn errno_of_write(&self, file: &str, text: &str) -> i32 {
        self.write(file, text).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |()| 0)
    }

    /// Sets the limit to so many pages.
    ///
    /// # Panics
    /// When that is refused.
    #[track_caller]
    pub fn set_limit(&self, pages: u64) {
        let text = (pages * PAGE).to_string();
        self.write("memory.limit_in_bytes", &text).expect("the limit can be set");
    }

    /// Pages charged to the group and its children.
    ///
    /// # Panics
    /// When the usage is not in whole pages.
    #[must_use]
    #[track_caller]
    pub fn pages(&self) -> u64 {
        let bytes = self.number("memory.usage_in_bytes");
        assert_eq!(bytes % PAGE, 0, "usage is in whole pages");
        bytes / PAGE
    }

    /// A value of `memory.stat`.
    ///
    /// # Panics
    /// When there is no such key.
    #[must_use]
    #[track_caller]
    pub fn stat(&self, key: &str) -> u64 {
        let text = self.read("memory.stat");
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(name, value)| (name == key).then(|| value.parse().ok())?)
            .unwrap_or_else(|| panic!("{}/memory.stat has no {key}: {text}", self.path))
    }

    /// Ids in `tasks`.
    ///
    /// # Panics
    /// When a line is not a number.
    #[must_use]
    #[track_caller]
    pub fn tasks(&self) -> Vec<u32> {
        self.read("tasks").lines().map(|line| line.parse().expect("a line is a task id")).collect()
    }

    /// Waits until nothing is charged and no task is left.
    #[track_caller]
    pub fn wait_until_empty(&self) {
        wait_until(&format!("no task and no page left in {}", self.path), || {
            self.tasks().is_empty() && self.pages() == 0
        });
    }

    /// The same, and that the file `usage` shows 0 from then on.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn expect_all_back(&self, usage: &str) {
        self.wait_until_empty();
        assert_eq!(self.number(usage), 0, "{usage} of {}", self.path);
    }

    /// Removes the group.
    ///
    /// # Errors
    /// What rmdir answers.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir(&self.dir)
    }

    /// Its child groups, in the order of their names.
    ///
    /// # Panics
    /// When the directory cannot be read.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.dir).expect("a group can be listed");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("a group can be listed"))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let at = |name| Self { dir: self.dir.join(&name), path: format!("{}/{name}", self.path) };
        names.into_iter().map(at).collect()
    }
}

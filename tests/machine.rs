//! A machine of its own for each test: up when made, down when dropped.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::deadline::{DEADLINE, wait_until};
use crate::group::Group;
use crate::programs::{program, vmcg};
use crate::running::{Finished, Running};

/// A machine with its mount point and its runtime folder below one temporary folder.
#[derive(Debug)]
pub struct Machine {
    dir: TempDir,
    name: String,
}

impl Machine {
    /// Brings up a machine with 256 MiB.
    #[must_use]
    #[track_caller]
    pub fn up() -> Self {
        Self::up_with(&["--memory", "256M"])
    }

    /// Brings up a machine with further options of `vmcg up`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    #[track_caller]
    pub fn up_with(options: &[&str]) -> Self {
        let machine = Self::down_yet();
        let up = machine.try_up(options);
        assert_eq!(up.status, 0, "vmcg up {options:?}: {}", up.stderr);
        machine
    }

    /// The folders of a machine that is not up.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn down_yet() -> Self {
        let dir = tempfile::Builder::new().prefix("vmcg-").tempdir().expect("a temporary folder");
        for name in ["mnt", "run"] {
            fs::create_dir(dir.path().join(name)).expect("a folder in a new folder");
        }
        let name = dir.path().file_name().map(|name| name.to_string_lossy().into_owned());
        Self { name: name.expect("a temporary folder has a name"), dir }
    }

    /// `vmcg up --detach` with the machine's name and mount point.
    #[must_use]
    #[track_caller]
    pub fn try_up(&self, options: &[&str]) -> Finished {
        let mut command = self.command("up");
        command.arg("--detach").arg("--mount").arg(self.mount()).args(options);
        Running::start(command).finish()
    }

    /// Where its groups are mounted.
    #[must_use]
    pub fn mount(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// A temporary folder that lives as long as the machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// `vmcg SUBCOMMAND --name NAME` in the machine's runtime folder.
    #[must_use]
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(vmcg());
        command.arg(subcommand).arg("--name").arg(&self.name);
        command.env("XDG_RUNTIME_DIR", self.dir.path().join("run"));
        command
    }

    /// Runs `vmcg SUBCOMMAND` with further arguments to its end.
    #[must_use]
    #[track_caller]
    pub fn vmcg(&self, subcommand: &str, args: &[&str]) -> Finished {
        let mut command = self.command(subcommand);
        command.args(args);
        Running::start(command).finish()
    }

    /// The root group.
    #[must_use]
    pub fn root(&self) -> Group {
        Group::at(&self.mount(), "")
    }

    /// Makes a group below the root.
    ///
    /// # Panics
    /// When `mkdir` fails.
    #[must_use]
    #[track_caller]
    pub fn group(&self, name: &str) -> Group {
        let group = Group::at(&self.mount(), name);
        fs::create_dir(group.dir()).unwrap_or_else(|error| panic!("mkdir {name}: {error}"));
        group
    }

    /// `vmcg exec --cgroup GROUP -- PROGRAM ARGS...` for a file of any kind.
    #[must_use]
    pub fn exec_file(&self, group: &Group, file: &OsStr, args: &[&str]) -> Running {
        let mut command = self.command("exec");
        command.args(["--cgroup", group.path(), "--env", "TEST_WORD=a word", "--"]);
        command.arg(file).args(args);
        Running::start(command)
    }

    /// Starts a program of `guest/programs` in a group.
    #[must_use]
    pub fn start(&self, group: &Group, name: &str, args: &[&str]) -> Running {
        self.exec_file(group, program(name).as_os_str(), args)
    }

    /// Runs a program of `guest/programs` in a group to its end.
    #[must_use]
    #[track_caller]
    pub fn run(&self, group: &Group, name: &str, args: &[&str]) -> Finished {
        self.start(group, name, args).finish()
    }

    /// Waits until every task of the guest waits: what they touch by themselves is charged then.
    ///
    /// # Panics
    /// When one runs on and on.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        wait_until("no task runs", || !self.vmcg("ps", &[]).stdout.contains("running"));
    }

    /// Verifies the invariants with `vmcg check`.
    ///
    /// # Panics
    /// When one is broken.
    #[track_caller]
    pub fn check(&self) {
        let check = self.vmcg("check", &[]);
        assert_eq!(check.status, 0, "vmcg check: {}{}", check.stdout, check.stderr);
    }

    /// Process ids of this machine's daemon: processes started with its runtime folder that run `up`.
    #[must_use]
    pub fn daemons(&self) -> Vec<u32> {
        let runtime = format!("XDG_RUNTIME_DIR={}", self.dir.path().join("run").display());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(|id: &u32| {
            let read = |file| fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            let has = |bytes: &[u8], word: &str| {
                bytes.split(|&byte| byte == 0).any(|part| part == word.as_bytes())
            };
            has(&read("environ"), &runtime) && has(&read("cmdline"), "up")
        })
        .collect()
    }

    /// Kills the daemon as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    /// When it stays.
    pub fn kill_daemon(&self) {
        for id in self.daemons() {
            if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                // It may have ended by itself since it was listed.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        wait_until("the daemon is gone", || self.daemons().is_empty());
    }

    /// Whether something is mounted at the mount point, dead or alive.
    ///
    /// # Panics
    /// When the list of mounts cannot be read.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        let mount = self.mount();
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the list of mounts");
        mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == mount))
    }

    /// Ends a test: every group below the root is empty, the invariants hold, and after `vmcg down`
    /// neither process nor mount is left.
    ///
    /// # Panics
    /// When one of that is not so.
    #[track_caller]
    pub fn finish(self) {
        for group in self.root().children() {
            group.wait_until_empty();
        }
        self.check();
        let down = self.vmcg("down", &[]);
        assert_eq!(down.status, 0, "vmcg down: {}", down.stderr);
        assert_eq!(self.daemons(), Vec::<u32>::new(), "a daemon is left after down");
        assert!(!self.is_mounted(), "the mount is left after down");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.daemons().is_empty() && !self.is_mounted() {
            return;
        }
        let mut down = Running::start(self.command("down"));
        if !(down.has_ended_within(DEADLINE) || thread::panicking()) {
            panic!("vmcg down hangs");
        }
        self.kill_daemon();
        if self.is_mounted() {
            // A mount that is left would keep the temporary folder; the failed test is told already.
            let _ = Command::new("umount").arg("--lazy").arg(self.mount()).status();
        }
    }
}

//! Libraries' parsing rules, and many clients that do whatever they like.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use vmcg_tests::deadline::wait_until;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::puppet::Puppet;
use vmcg_tests::running::Running;

const CLIENTS: u64 = 20;
/// What clients write, sense and nonsense.
const TEXTS: [&str; 12] =
    ["0", "1", "-1", "64M", "1G", "0x10", "junk", "", "\0", " 2 \n", "18446744073709551616", "/"];
/// What a control file may refuse with.
const REFUSALS: [Errno; 14] = [
    Errno::INVAL,
    Errno::BUSY,
    Errno::NOENT,
    Errno::NODEV,
    Errno::ACCESS,
    Errno::SRCH,
    Errno::TOOBIG,
    Errno::NOMEM,
    Errno::RANGE,
    Errno::BADF,
    Errno::EXIST,
    Errno::STALE,
    Errno::INTR,
    // A group of another client, made again between a look and the read.
    Errno::ISDIR,
];

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn container_libraries_can_read_every_group() {
    for abi in ["classic", "linux-6.18"] {
        let machine = Machine::up_with(&["--memory", "256M", "--abi", abi]);
        let group = machine.group("A").child("b");
        let mut puppet = Puppet::start(&machine, &group);
        puppet.tell("touch 100");
        let mut python = Command::new("python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/libraries.py");
        python.arg(script).arg(machine.mount());
        let finished = Running::start(python).finish();
        assert_eq!(finished.stdout, "3 groups\n", "{abi}: {}", finished.stderr);
        assert_eq!(puppet.finish().status, 0);
        wait_until("no task is left", || group.tasks().is_empty());
        // linux-6.18 charges groups for the guest kernel's memory, which outlives its tasks.
        group.remove().expect("an empty group");
        remove_children(&machine.root());
        machine.finish();
    }
}

/// How long the clients go on: a quarter where a CI service says that it is one.
fn duration() -> Duration {
    Duration::from_secs(if std::env::var_os("CI").is_some() { 5 } else { 20 })
}

#[test]
#[cfg_attr(no_kvm, ignore = "NO_KVM=1: needs /dev/kvm")]
fn twenty_clients_at_every_file_leave_a_running_machine_in_order() {
    let machine = Machine::up();
    let a = machine.group("a");
    let groups = [machine.root(), a.clone(), a.child("b"), a.child("c"), machine.group("d")];
    let unexpected = Mutex::new(BTreeSet::new());
    let end = Instant::now() + duration();
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (groups, unexpected) = (&groups, &unexpected);
            scope.spawn(move || {
                let mut client = Client { random: fastrand::Rng::with_seed(seed), seed, groups };
                while Instant::now() < end {
                    if let Err(what) = client.act() {
                        unexpected.lock().expect("no client panics").insert(what);
                    }
                }
            });
        }
        let mut programs = 0;
        while Instant::now() < end {
            let (name, args) = [("hog", ["4M", "0"].as_slice()), ("quick", &[])][programs % 2];
            let mut program = machine.start(&groups[1 + programs % 4], name, args);
            while !program.has_ended_within(Duration::from_millis(50)) {
                // Where a client has forbidden to kill, it may wait for memory until the end.
                let is_over = Instant::now() >= end;
                for group in groups[1..].iter().filter(|_| is_over) {
                    group.write("memory.oom_control", "0").expect("a switch");
                }
            }
            let finished = program.finish();
            // A client may have set a limit that kills it, one that lets nothing start, or one on kernel
            // memory: program or loader say that there is none, and the C library, which has not set up its
            // first thread by then, halts without a word (SIGSEGV, as natively).
            let said = finished.stdout.clone() + &finished.stderr;
            let is_refused = said.contains("Cannot allocate");
            let is_expected = is_refused || [0, 1, 137, 139].contains(&finished.status);
            assert!(is_expected, "{name}: {finished:?}");
            programs += 1;
        }
    });
    let unexpected = unexpected.into_inner().expect("no client panics");
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    for group in groups[1..].iter().rev() {
        // What was accounted as kernel memory may stay with the guest's kernel.
        group.write("memory.oom_control", "0").expect("nobody waits any more");
        wait_until("no task is left", || group.tasks().is_empty());
        remove_children(group);
        group.remove().expect("an empty group");
    }
    remove_children(&machine.root());
    machine.finish();
}

fn remove_children(group: &Group) {
    for child in group.children() {
        child.remove().expect("an empty group");
    }
}

/// One of the clients.
struct Client<'a> {
    random: fastrand::Rng,
    seed: u64,
    groups: &'a [Group],
}

impl Client<'_> {
    /// Does one thing; what came of it is an error only when nothing should answer so.
    fn act(&mut self) -> Result<(), String> {
        let group = &self.groups[self.random.usize(..self.groups.len())];
        let result = match self.random.u32(..20) {
            0 => self.make_and_remove(group),
            1 => self.register(group),
            2 => self.move_somebody(group),
            3..8 => self.write(group),
            _ => self.read(group),
        };
        match result {
            Err(error)
                if !REFUSALS.iter().any(|no| Some(no.raw_os_error()) == error.raw_os_error()) =>
            {
                Err(format!("{}: {error}", group.path()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn file(&mut self, group: &Group) -> io::Result<PathBuf> {
        let entries = fs::read_dir(group.dir())?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries[self.random.usize(..entries.len())].path())
    }

    fn read(&mut self, group: &Group) -> io::Result<()> {
        let path = self.file(group)?;
        if path.is_dir() {
            return Ok(());
        }
        let mut text = String::new();
        File::open(path)?.read_to_string(&mut text).map(|_length| ())
    }

    fn write(&mut self, group: &Group) -> io::Result<()> {
        let path = self.file(group)?;
        // An agent would run on this host.
        if path.is_dir() || path.ends_with("release_agent") {
            return Ok(());
        }
        let long = "9".repeat(5000);
        let text = *self.random.choice([&TEXTS[..], &[&long]].concat().iter()).unwrap_or(&"");
        OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
    }

    fn move_somebody(&mut self, group: &Group) -> io::Result<()> {
        let from = &self.groups[self.random.usize(..self.groups.len())];
        let tasks = from.try_read("tasks")?;
        let ids: Vec<&str> = tasks.lines().filter(|id| *id != "1").collect();
        let Some(id) = self.random.choice(ids.iter()) else { return Ok(()) };
        group.write(if self.random.bool() { "tasks" } else { "cgroup.procs" }, id)
    }

    fn make_and_remove(&mut self, group: &Group) -> io::Result<()> {
        let dir = group.dir().join(format!("client-{}", self.seed));
        fs::create_dir(&dir)?;
        fs::remove_dir(dir)
    }

    fn register(&mut self, group: &Group) -> io::Result<()> {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        let (file, args) = *self
            .random
            .choice(&[
                ("memory.usage_in_bytes", "1M"),
                ("memory.memsw.usage_in_bytes", "64K"),
                ("memory.oom_control", ""),
                ("memory.pressure_level", "low,hierarchy"),
            ])
            .unwrap_or(&("memory.stat", ""));
        let target = File::open(group.dir().join(file))?;
        let line = format!("{} {} {args}", event.as_raw_fd(), target.as_raw_fd());
        group.write("cgroup.event_control", &line)
    }
}

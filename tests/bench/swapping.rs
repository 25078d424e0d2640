//! What it costs to be short of memory: a page that goes and comes back, a loop over more than fits, and
//! what a guest takes of the host beyond what its groups are charged.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::fs::OFlags;
use vmcg_tests::PAGE;
use vmcg_tests::group::Group;
use vmcg_tests::machine::Machine;
use vmcg_tests::programs::program;
use vmcg_tests::running::Running;

use crate::table::{self, Row};

const SAMPLES: usize = 5;
/// Pages that a limit leaves room for: 8 MiB.
const ROOM_PAGES: u64 = 2048;
/// Times that a program goes round its pages.
const ROUNDS: u64 = 4;
/// Pages written and read one by one for the reference.
const RAW_PAGES: u64 = 1000;
/// Name of the row that the next run reads.
const LOOP: &str = "a touch, in a loop over 1.25 times the limit";

/// Every row of this file.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![evict_and_refault()];
    rows.extend(loops());
    rows.push(host_memory());
    rows
}

/// A page, aligned as direct I/O wants it.
#[repr(align(4096))]
struct Page([u8; 4096]);

/// A machine whose swap is a file on the disk that temporary files are on.
fn machine_with_swap() -> (Machine, PathBuf) {
    let machine = Machine::down_yet();
    let swap = machine.folder().join("swap");
    let name = swap.to_str().expect("temporary folders have plain names");
    let up = machine.try_up(&["--memory", "256M", "--swap", "256M", "--swap-file", name]);
    assert_eq!(up.status, 0, "{}", up.stderr);
    (machine, swap)
}

/// A page that is evicted and comes back, over a write and a read of 4 KiB of a file in the same place.
fn evict_and_refault() -> Row {
    let (machine, swap) = machine_with_swap();
    let group = machine.group("A");
    group.set_limit(ROOM_PAGES);
    let samples = (0..SAMPLES).map(|_| {
        let raw_us = raw_us(&swap);
        let before = refaults(&machine);
        let pages = 2 * ROOM_PAGES;
        let elapsed_us = around_us(&machine, &group, pages) * as_float(pages * ROUNDS);
        elapsed_us / as_float(refaults(&machine) - before) / raw_us
    });
    let samples = samples.collect();
    Row {
        name: "a page evicted and back, all else included / write and read of 4 KiB of such a file",
        unit: "",
        goal: 1.5,
        samples,
    }
}

/// Microseconds to write 4 KiB past the page cache, where the file system can do that, and read them.
fn raw_us(path: &Path) -> f64 {
    let direct = i32::try_from(OFlags::DIRECT.bits()).expect("a flag of open");
    let open = |flags| {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).custom_flags(flags).open(path)
    };
    let file = open(direct).or_else(|_no_direct_io| open(0)).expect("a new file");
    file.set_len(RAW_PAGES * PAGE).expect("a sparse file");
    let mut page = Box::new(Page([7; 4096]));
    let start = Instant::now();
    for at in 0..RAW_PAGES {
        file.write_all_at(&page.0, at * PAGE).expect("there is room");
        file.read_exact_at(&mut page.0, at * PAGE).expect("it was written");
    }
    let elapsed_us = start.elapsed().as_secs_f64() * 1e6;
    fs::remove_file(path).expect("it is there");
    elapsed_us / as_float(RAW_PAGES)
}

/// Microseconds of a touch by a program that goes round so many pages.
fn around_us(machine: &Machine, group: &Group, pages: u64) -> f64 {
    let finished = machine.run(group, "around", &[&pages.to_string(), &ROUNDS.to_string()]);
    assert_eq!(finished.status, 0, "{}", finished.stderr);
    finished.stdout.trim().parse::<f64>().expect("around prints nanoseconds") / 1e3
}

/// Pages that have come back so far.
fn refaults(machine: &Machine) -> u64 {
    let stat = machine.vmcg("stat", &[]).stdout;
    let value = stat.lines().find_map(|line| line.strip_prefix("reclaim_refaulted"));
    value.and_then(|value| value.trim().parse().ok()).expect("stat counts pages that came back")
}

/// A loop over 1.25 times the limit, and the same in this machine's own kernel where it has a memory
/// controller and swap; elsewhere beside the run before this one.
fn loops() -> Vec<Row> {
    let (machine, _swap) = machine_with_swap();
    let group = machine.group("A");
    group.set_limit(ROOM_PAGES);
    let pages = ROOM_PAGES + ROOM_PAGES / 4;
    let own = Own::make();
    let mut ours = Vec::new();
    let mut ratios = Vec::new();
    let before = table::median_before(LOOP);
    for _ in 0..SAMPLES {
        let us = around_us(&machine, &group, pages);
        ours.push(us);
        let reference = own.as_ref().map(|own| own.around_us(pages)).or(before);
        ratios.extend(reference.map(|reference| us / reference));
    }
    let mut rows = vec![Row { name: LOOP, unit: "us", goal: f64::INFINITY, samples: ours }];
    let (name, goal) = match own {
        Some(_) => ("the same / in this machine's own kernel, with its cgroup and swap", 10.0),
        None => ("the same / in the run before this one (this machine has no swap)", 1.3),
    };
    if !ratios.is_empty() {
        rows.push(Row { name, unit: "", goal, samples: ratios });
    }
    rows
}

/// A group of this machine's own cgroup v1 memory tree, with the same limit.
struct Own(PathBuf);

impl Own {
    /// None where there is no such tree, or no swap.
    fn make() -> Option<Self> {
        let swaps = fs::read_to_string("/proc/swaps").ok()?;
        // The first line is the heading.
        swaps.lines().nth(1)?;
        let dir = Path::new("/sys/fs/cgroup/memory").join(format!("bench-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let own = Self(dir);
        let limit = (ROOM_PAGES * PAGE).to_string();
        fs::write(own.0.join("memory.limit_in_bytes"), limit).ok()?;
        Some(own)
    }

    fn around_us(&self, pages: u64) -> f64 {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo $$ > \"$0\"; exec \"$@\""]).arg(self.0.join("tasks"));
        shell.arg(program("around")).args([pages.to_string(), ROUNDS.to_string()]);
        let finished = Running::start(shell).finish();
        finished.stdout.trim().parse::<f64>().expect("around prints nanoseconds") / 1e3
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Empty by now; one that stays does no harm.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Memory of the host that a guest takes, its memory and the daemon's own, over what its groups are
/// charged, while pages go and come.
fn host_memory() -> Row {
    let machine = Machine::up_with(&["--memory", "512M", "--swap", "512M"]);
    let group = machine.group("A");
    let mut hogs: Vec<Running> = (0..2).map(|_| machine.start(&group, "hog", &["300M"])).collect();
    let samples = hogs.iter_mut().map(|hog| {
        assert!(hog.line().is_some());
        let charged = machine.root().number("memory.usage_in_bytes");
        as_float(taken_bytes(&machine)) / as_float(charged)
    });
    Row {
        name: "memory of the host for a guest of 512 MiB / charges of its groups",
        unit: "",
        goal: 1.05,
        samples: samples.collect(),
    }
}

/// Bytes of guest memory that the host holds, and the daemon's own.
fn taken_bytes(machine: &Machine) -> u64 {
    let [daemon] = machine.daemons()[..] else { panic!("one daemon, not {:?}", machine.daemons()) };
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).expect("the daemon runs");
    let anon = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let anon = anon.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let fds = fs::read_dir(format!("/proc/{daemon}/fd")).expect("the daemon is ours");
    let memory = fds.filter_map(|fd| {
        let path = fd.ok()?.path();
        let is_memory = fs::read_link(&path).ok()?.to_string_lossy().contains("memfd:vmcg-guest");
        is_memory.then(|| fs::metadata(&path).ok()).flatten().map(|file| file.blocks() * 512)
    });
    memory.max().expect("guest memory is a file") + anon.expect("the kernel says so") * 1024
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn as_float(count: u64) -> f64 {
    count as f64
}

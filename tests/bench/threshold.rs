//! From the instruction that touches a page to the client that waits for the threshold.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{EventfdFlags, eventfd};
use vmcg_tests::PAGE;
use vmcg_tests::machine::Machine;
use vmcg_tests::running::Running;

use crate::table::Row;

const ROUNDS: usize = 200;

/// The guest's clock is set from the host's when the guest boots, and both run on the same counter.
pub(crate) fn latency() -> Row {
    let machine = Machine::up();
    let group = machine.group("A");
    let mut program = machine.start(&group, "touchat", &[]);
    assert_eq!(program.line().as_deref(), Some("ready"));
    // Once before it counts, so that the program has touched all it needs.
    touch_and_drop(&mut program);
    let event = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let usage = File::open(group.dir().join("memory.usage_in_bytes")).expect("a control file");
    let at = (group.pages() + 1) * PAGE;
    let line = format!("{} {} {at}", event.as_raw_fd(), usage.as_raw_fd());
    group.write("cgroup.event_control", &line).expect("a registration");
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        program.send("touch\n");
        wait(&event);
        let woken = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let touched_ns = program.line().and_then(|line| line.parse().ok()).expect("its time");
        let latency = woken.saturating_sub(Duration::from_nanos(touched_ns));
        samples.push(latency.as_secs_f64() * 1e6);
        drop_page(&mut program);
        // Reading takes back what the guest has freed, which crosses the threshold downwards.
        assert!(group.pages() * PAGE < at);
        wait(&event);
    }
    Row {
        name: "threshold, from the touching instruction to the client's wake-up",
        unit: "us",
        goal: f64::INFINITY,
        samples,
    }
}

fn touch_and_drop(program: &mut Running) {
    program.send("touch\n");
    assert!(program.line().is_some());
    drop_page(program);
}

fn drop_page(program: &mut Running) {
    program.send("drop\n");
    assert_eq!(program.line().as_deref(), Some("dropped"));
}

fn wait(event: &impl std::os::fd::AsFd) {
    let mut count = [0; 8];
    let length = rustix::io::read(event, &mut count).expect("an eventfd is readable");
    assert_eq!((length, u64::from_ne_bytes(count)), (8, 1), "one crossing, one signal");
}

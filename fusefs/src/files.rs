//! The table of control files. To add one, add its row.

use memcg::{HugeSize, HugeUse, Memcg, Resource};

use crate::control_file::{ControlFile, Field, Place, Read, Shown, Write};
use crate::{agent, events, slabinfo, text, writing};

const MEMORY: Resource = Resource::Memory;
const MEMSW: Resource = Resource::Memsw;
const KMEM: Resource = Resource::Kmem;
const TCP: Resource = Resource::Tcp;
const MB2: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Fault);
const MB2_RSVD: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Rsvd);
const MB2_SEED: Resource = Resource::Huge(HugeSize::Mb2, HugeUse::Seed);
const GB1: Resource = Resource::Huge(HugeSize::Gb1, HugeUse::Fault);
const GB1_RSVD: Resource = Resource::Huge(HugeSize::Gb1, HugeUse::Rsvd);
const GB1_SEED: Resource = Resource::Huge(HugeSize::Gb1, HugeUse::Seed);

/// Read and written, in every directory, in every file contract.
const RW: ControlFile = ControlFile {
    name: "",
    mode: 0o644,
    shown: Shown::Always,
    place: Place::Everywhere,
    read: Read::Refused,
    write: Write::Refused,
    pauses: false,
};
/// Only read.
const RO: ControlFile = ControlFile { mode: 0o444, ..RW };
/// Only written.
const WO: ControlFile = ControlFile { mode: 0o200, ..RW };
/// Read and written, beyond what Linux has.
const OWN: ControlFile = ControlFile { shown: Shown::Classic, ..RW };
/// Only read, beyond what Linux has.
const OWN_RO: ControlFile = ControlFile { mode: 0o444, ..OWN };

const fn usage(name: &'static str, resource: Resource) -> ControlFile {
    ControlFile { name, read: Read::Counter(resource, Field::Usage), ..RO }
}

const fn limit(name: &'static str, resource: Resource) -> ControlFile {
    let read = Read::Counter(resource, Field::Limit);
    ControlFile { name, read, write: Write::Limit(resource), pauses: true, ..RW }
}

const fn max_usage(name: &'static str, resource: Resource) -> ControlFile {
    let write = Write::Reset(resource, Field::MaxUsage);
    ControlFile { name, read: Read::Counter(resource, Field::MaxUsage), write, ..RW }
}

const fn failcnt(name: &'static str, resource: Resource) -> ControlFile {
    let write = Write::Reset(resource, Field::Failcnt);
    ControlFile { name, read: Read::Counter(resource, Field::Failcnt), write, ..RW }
}

const fn own(file: ControlFile) -> ControlFile {
    ControlFile { shown: Shown::Classic, ..file }
}

/// Every control file.
pub(crate) static FILES: &[ControlFile] = &[
    // Tasks.
    ControlFile {
        name: "tasks",
        read: Read::Text(text::tasks),
        write: Write::Call(writing::move_thread),
        pauses: true,
        ..RW
    },
    ControlFile {
        name: "cgroup.procs",
        read: Read::Text(text::processes),
        write: Write::Call(writing::move_process),
        pauses: true,
        ..RW
    },
    // The group itself.
    ControlFile {
        name: "cgroup.clone_children",
        read: Read::Number(|settings| u64::from(settings.clone_children)),
        write: Write::Number(Memcg::set_clone_children),
        ..RW
    },
    ControlFile {
        name: "notify_on_release",
        read: Read::Number(|settings| u64::from(settings.notify_on_release)),
        write: Write::Number(Memcg::set_notify_on_release),
        ..RW
    },
    ControlFile {
        name: "release_agent",
        place: Place::Root,
        read: Read::Own(agent::show),
        write: Write::Call(agent::set),
        ..RW
    },
    ControlFile {
        name: "cgroup.sane_behavior",
        place: Place::Root,
        read: Read::Own(text::sane_behavior),
        ..RO
    },
    ControlFile {
        name: "cgroup.event_control",
        mode: 0o222,
        shown: Shown::Classic,
        write: Write::Call(events::register),
        ..WO
    },
    ControlFile {
        name: "cgroup.event_control",
        shown: Shown::Linux618,
        write: Write::Call(events::register),
        ..WO
    },
    // Memory.
    usage("memory.usage_in_bytes", MEMORY),
    limit("memory.limit_in_bytes", MEMORY),
    max_usage("memory.max_usage_in_bytes", MEMORY),
    failcnt("memory.failcnt", MEMORY),
    ControlFile {
        name: "memory.soft_limit_in_bytes",
        read: Read::Size(|settings| settings.soft_limit),
        write: Write::Size(Memcg::set_soft_limit),
        ..RW
    },
    ControlFile {
        name: "memory.force_empty",
        write: Write::Call(writing::force_empty),
        pauses: true,
        ..WO
    },
    ControlFile {
        name: "memory.use_hierarchy",
        read: Read::Number(|settings| u64::from(settings.use_hierarchy)),
        write: Write::Number(Memcg::set_use_hierarchy),
        ..RW
    },
    ControlFile {
        name: "memory.move_charge_at_immigrate",
        read: Read::Number(|settings| settings.move_charge),
        write: Write::Number(Memcg::set_move_charge),
        ..RW
    },
    ControlFile {
        name: "memory.recharge_policy",
        read: Read::Text(text::recharge_policy),
        write: Write::Call(writing::set_recharge_policy),
        ..OWN
    },
    ControlFile { name: "memory.recharge_last", read: Read::Own(text::recharge_last), ..OWN_RO },
    ControlFile {
        name: "memory.swappiness",
        read: Read::Number(|settings| settings.swappiness),
        write: Write::Number(Memcg::set_swappiness),
        ..RW
    },
    ControlFile {
        name: "memory.oom_control",
        read: Read::Text(text::oom_control),
        write: Write::Call(writing::set_oom_control),
        ..RW
    },
    ControlFile { name: "memory.pressure_level", mode: 0, shown: Shown::Classic, ..RW },
    ControlFile { name: "memory.pressure_level", shown: Shown::Linux618, ..RO },
    ControlFile { name: "memory.pressure", read: Read::Own(text::pressure), ..OWN_RO },
    ControlFile {
        name: "memory.stat",
        shown: Shown::Classic,
        read: Read::Text(text::stat_classic),
        ..RO
    },
    ControlFile {
        name: "memory.stat",
        shown: Shown::Linux618,
        read: Read::Text(text::stat_linux_6_18),
        ..RO
    },
    ControlFile { name: "memory.numa_stat", read: Read::Text(text::numa_stat), ..RO },
    // Memory plus swap.
    usage("memory.memsw.usage_in_bytes", MEMSW),
    limit("memory.memsw.limit_in_bytes", MEMSW),
    max_usage("memory.memsw.max_usage_in_bytes", MEMSW),
    failcnt("memory.memsw.failcnt", MEMSW),
    // Kernel memory.
    usage("memory.kmem.usage_in_bytes", KMEM),
    limit("memory.kmem.limit_in_bytes", KMEM),
    max_usage("memory.kmem.max_usage_in_bytes", KMEM),
    failcnt("memory.kmem.failcnt", KMEM),
    ControlFile {
        name: "memory.kmem.slabinfo",
        shown: Shown::Classic,
        read: Read::Own(slabinfo::show),
        ..RO
    },
    ControlFile {
        name: "memory.kmem.slabinfo",
        shown: Shown::Linux618,
        read: Read::Text(text::nothing),
        ..RO
    },
    usage("memory.kmem.tcp.usage_in_bytes", TCP),
    limit("memory.kmem.tcp.limit_in_bytes", TCP),
    max_usage("memory.kmem.tcp.max_usage_in_bytes", TCP),
    failcnt("memory.kmem.tcp.failcnt", TCP),
    // Limits as walls: what the parent lent, and what the children were lent.
    ControlFile {
        name: "memory.borrow_in_bytes",
        shown: Shown::ClassicWall,
        read: Read::Text(text::borrow),
        ..OWN_RO
    },
    ControlFile {
        name: "memory.security_in_bytes",
        shown: Shown::ClassicWall,
        read: Read::Text(text::security),
        ..OWN_RO
    },
    // Huge pages, refused at mmap under the names of the first posting.
    own(usage("memory.hugetlb.2MB.usage_in_bytes", MB2_SEED)),
    own(limit("memory.hugetlb.2MB.limit_in_bytes", MB2_SEED)),
    own(max_usage("memory.hugetlb.2MB.max_usage_in_bytes", MB2_SEED)),
    own(failcnt("memory.hugetlb.2MB.failcnt", MB2_SEED)),
    own(usage("memory.hugetlb.1GB.usage_in_bytes", GB1_SEED)),
    own(limit("memory.hugetlb.1GB.limit_in_bytes", GB1_SEED)),
    own(max_usage("memory.hugetlb.1GB.max_usage_in_bytes", GB1_SEED)),
    own(failcnt("memory.hugetlb.1GB.failcnt", GB1_SEED)),
    // Huge pages, refused at the fault.
    usage("hugetlb.2MB.usage_in_bytes", MB2),
    limit("hugetlb.2MB.limit_in_bytes", MB2),
    max_usage("hugetlb.2MB.max_usage_in_bytes", MB2),
    failcnt("hugetlb.2MB.failcnt", MB2),
    ControlFile {
        name: "hugetlb.2MB.numa_stat",
        read: Read::Text(|memcg, group, text| {
            text::huge_numa_stat(memcg, group, HugeSize::Mb2, text)
        }),
        ..RO
    },
    usage("hugetlb.1GB.usage_in_bytes", GB1),
    limit("hugetlb.1GB.limit_in_bytes", GB1),
    max_usage("hugetlb.1GB.max_usage_in_bytes", GB1),
    failcnt("hugetlb.1GB.failcnt", GB1),
    ControlFile {
        name: "hugetlb.1GB.numa_stat",
        read: Read::Text(|memcg, group, text| {
            text::huge_numa_stat(memcg, group, HugeSize::Gb1, text)
        }),
        ..RO
    },
    // Huge pages, refused at the reservation.
    usage("hugetlb.2MB.rsvd.usage_in_bytes", MB2_RSVD),
    limit("hugetlb.2MB.rsvd.limit_in_bytes", MB2_RSVD),
    max_usage("hugetlb.2MB.rsvd.max_usage_in_bytes", MB2_RSVD),
    failcnt("hugetlb.2MB.rsvd.failcnt", MB2_RSVD),
    usage("hugetlb.1GB.rsvd.usage_in_bytes", GB1_RSVD),
    limit("hugetlb.1GB.rsvd.limit_in_bytes", GB1_RSVD),
    max_usage("hugetlb.1GB.rsvd.max_usage_in_bytes", GB1_RSVD),
    failcnt("hugetlb.1GB.rsvd.failcnt", GB1_RSVD),
];

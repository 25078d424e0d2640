//! /sys/kernel/mm/hugepages: how many huge pages there are.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::super::path;
use crate::kernel::Kernel;
use crate::memory::huge::{Counts, HugeSize};

/// Where the directory lies.
pub(crate) const DIRECTORY: &[u8] = b"/sys/kernel/mm/hugepages";

/// A file: its name, and the number in it.
type File = (&'static str, fn(Counts) -> u64);

/// Files of each size.
const FILES: &[File] = &[
    ("free_hugepages", |counts| counts.free),
    ("nr_hugepages", |counts| counts.total),
    ("nr_hugepages_mempolicy", |counts| counts.total),
    // Pages are never made beyond those set aside.
    ("nr_overcommit_hugepages", |_| 0),
    ("resv_hugepages", |counts| counts.reserved),
    ("surplus_hugepages", |_| 0),
];

/// What a path below [`DIRECTORY`] leads to.
#[derive(Debug)]
pub(crate) enum SysEntry {
    /// A directory with these names, and whether they are directories themselves.
    Directory(Vec<String>, IsLeaf),
    /// A file with this text.
    Text(Vec<u8>),
}

/// Whether a directory holds files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsLeaf {
    /// It does.
    Yes,
    /// It holds directories.
    No,
}

/// What the path [`DIRECTORY`] + `rest` leads to.
pub(crate) fn entry(kernel: &Kernel, rest: &[u8]) -> Option<SysEntry> {
    let pools = &kernel.huge.pools;
    let name = |size: HugeSize| format!("hugepages-{}kB", size.bytes() >> 10);
    let sizes = || HugeSize::ALL.into_iter().filter(|size| pools.knows(*size));
    let mut parts = path::components(rest);
    let Some(first) = parts.next() else {
        return Some(SysEntry::Directory(sizes().map(name).collect(), IsLeaf::No));
    };
    let size = sizes().find(|size| name(*size).as_bytes() == first)?;
    match (parts.next(), parts.next()) {
        (None, _) => {
            let names = FILES.iter().map(|(name, _)| String::from(*name)).collect();
            Some(SysEntry::Directory(names, IsLeaf::Yes))
        }
        (Some(file), None) => {
            let (_, count) = FILES.iter().find(|(name, _)| name.as_bytes() == file)?;
            Some(SysEntry::Text(format!("{}\n", count(pools.counts(size))).into_bytes()))
        }
        (Some(_), Some(_)) => None,
    }
}

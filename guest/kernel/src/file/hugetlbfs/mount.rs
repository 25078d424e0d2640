//! Mounting a hugetlbfs: its options, and the line in /proc/mounts.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;

use crate::errno::Errno;
use crate::memory::huge::map::HugeMemory;
use crate::memory::huge::{HugeSize, Quota};

/// What `mount -o` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    size: HugeSize,
    /// Most pages (`size=`).
    max: Option<u64>,
    /// Pages set aside (`min_size=`).
    min: u64,
    /// Permission bits of the root.
    pub(crate) mode: u32,
}

/// A number of bytes, or a share of the machine's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Bytes(u64),
    Percent(u64),
}

impl Options {
    /// Reads options with commas between; EINVAL for what is none.
    pub(crate) fn parse(text: &str, memory: &HugeMemory) -> Result<Self, Errno> {
        let mut options = Self { size: HugeSize::Mb2, max: None, min: 0, mode: 0o755 };
        let (mut max, mut min) = (None, None);
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "pagesize" => {
                    let size = bytes(value).and_then(HugeSize::from_bytes);
                    let known = size.filter(|size| memory.pools.knows(*size));
                    options.size = known.ok_or(Errno::EINVAL)?;
                }
                "size" => max = Some(amount(value).ok_or(Errno::EINVAL)?),
                "min_size" => min = Some(amount(value).ok_or(Errno::EINVAL)?),
                "mode" => {
                    let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                    options.mode = mode & 0o1777;
                }
                // One user, and names are bounded by the kernel's memory.
                "uid" | "gid" | "nr_inodes" => {
                    bytes(value).ok_or(Errno::EINVAL)?;
                }
                _ => return Err(Errno::EINVAL),
            }
        }
        let total = memory.pools.counts(options.size).total;
        let pages = |amount| match amount {
            Amount::Bytes(bytes) => bytes / options.size.bytes(),
            Amount::Percent(percent) => total.saturating_mul(percent) / 100,
        };
        options.max = max.map(pages);
        options.min = min.map_or(0, pages);
        if options.max.is_some_and(|max| options.min > max) {
            return Err(Errno::EINVAL);
        }
        Ok(options)
    }

    /// What the files of such a mount count against; ENOMEM where what it sets aside is not there.
    pub(crate) fn quota(&self, memory: &HugeMemory) -> Result<Rc<Quota>, Errno> {
        Quota::new(&memory.pools, self.size, self.max, self.min).map(Rc::new)
    }
}

/// The options of a mount in /proc/mounts.
pub(crate) fn shown(quota: &Quota) -> String {
    let size = if quota.size == HugeSize::Mb2 { "2M" } else { "1024M" };
    let mut text = format!("rw,relatime,pagesize={size}");
    let kib = quota.size.bytes() >> 10;
    for (name, pages) in [("size", quota.max), ("min_size", quota.min())] {
        if let Some(pages) = pages {
            text.push_str(&format!(",{name}={}K", pages * kib));
        }
    }
    text
}

/// A number of bytes with one of the letters of memparse(), or without.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn amount(text: &str) -> Option<Amount> {
    match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().map(Amount::Percent),
        None => bytes(text).map(Amount::Bytes),
    }
}

//! What the kernel says of how guest memory is mapped.

use super::GuestMemory;

impl GuestMemory {
    /// KiB of guest memory that this process maps with huge pages; zero where the kernel does not say.
    pub(crate) fn huge_kib(&self) -> u64 {
        let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") else { return 0 };
        let (mut is_ours, mut sum) = (false, 0);
        for line in smaps.lines() {
            let first = line.split(' ').next().unwrap_or_default();
            if !is_field(first) {
                let start = first.split('-').next().map(|start| u64::from_str_radix(start, 16));
                is_ours = matches!(start, Some(Ok(host)) if self.frame_at(host).is_some());
            } else if is_ours {
                sum += huge_field(line).unwrap_or(0);
            }
        }
        sum
    }
}

/// Whether the first word of a line in smaps names a field; else it begins the next mapping.
fn is_field(word: &str) -> bool {
    word.ends_with(':')
}

/// The KiB of a field of smaps that counts huge pages of a shared mapping.
fn huge_field(line: &str) -> Option<u64> {
    let (name, value) = line.split_once(':')?;
    let is_huge =
        matches!(name, "ShmemPmdMapped" | "FilePmdMapped" | "Shared_Hugetlb" | "Private_Hugetlb");
    value.trim().trim_end_matches(" kB").parse().ok().filter(|_| is_huge)
}

//! What KVM itself counts: exits of every kind, instructions emulated, pages mapped.
//!
//! Source of the layout: Linux v6.12 include/uapi/linux/kvm.h and
//! Documentation/virt/kvm/api.rst 4.133, "The file contains": a header, an array of descriptors and
//! the values.
#![expect(unsafe_code, reason = "an ioctl that answers with a descriptor")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// `_IO(KVMIO, 0xce)`.
const KVM_GET_STATS_FD: u64 = 0xae << 8 | 0xce;
/// `struct kvm_stats_header`: six u32, flags first.
const NAME_LEN_AT: usize = 4;
const COUNT_AT: usize = 8;
const DESCRIPTORS_AT: usize = 16;
const VALUES_AT: usize = 20;
/// `struct kvm_stats_desc`: flags u32, exponent i16, size u16, offset u32, bucket size u32, name.
const SIZE_AT: usize = 6;
const OFFSET_AT: usize = 8;
const NAME_AT: usize = 16;
/// Flags of a plain number that only grows, and of one that also falls.
const PLAIN: [u32; 2] = [0, 1];
/// More than any kernel's file has.
const FILE_MAX: usize = 1 << 16;

/// The statistics of a VM or of a vCPU, which outlives neither's use.
#[derive(Debug)]
pub(crate) struct KvmStats {
    file: File,
}

impl KvmStats {
    /// Opens the statistics of `of`.
    ///
    /// # Errors
    /// The kernel's; kernels before 5.14 have none.
    pub(crate) fn open(of: &impl AsRawFd) -> io::Result<Self> {
        // SAFETY: the request takes no argument and returns a descriptor or -1.
        let fd = unsafe { libc::ioctl(of.as_raw_fd(), KVM_GET_STATS_FD, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by the kernel and belongs to nobody else.
        Ok(Self { file: File::from(unsafe { OwnedFd::from_raw_fd(fd) }) })
    }

    /// Names and values of the plain numbers that are not zero, in KVM's order. Empty where the file
    /// cannot be read or is not what it should be.
    pub(crate) fn read(&self) -> Vec<(String, u64)> {
        let mut bytes = vec![0; FILE_MAX];
        let Ok(len) = self.file.read_at(&mut bytes, 0) else { return Vec::new() };
        bytes.truncate(len);
        parse(&bytes).unwrap_or_default()
    }
}

fn parse(file: &[u8]) -> Option<Vec<(String, u64)>> {
    let name_len = usize::try_from(u32_at(file, NAME_LEN_AT)?).ok()?;
    let count = usize::try_from(u32_at(file, COUNT_AT)?).ok()?;
    let descriptors = usize::try_from(u32_at(file, DESCRIPTORS_AT)?).ok()?;
    let values = usize::try_from(u32_at(file, VALUES_AT)?).ok()?;
    let table = file.get(descriptors..)?.chunks_exact(NAME_AT + name_len);
    let mut found = Vec::new();
    for descriptor in table.take(count) {
        let size = u16::from_ne_bytes(descriptor.get(SIZE_AT..SIZE_AT + 2)?.try_into().ok()?);
        if size != 1 || !PLAIN.contains(&u32_at(descriptor, 0)?) {
            continue;
        }
        let at = values + usize::try_from(u32_at(descriptor, OFFSET_AT)?).ok()?;
        let value = u64::from_ne_bytes(file.get(at..at + 8)?.try_into().ok()?);
        let name = descriptor[NAME_AT..].split(|&byte| byte == 0).next()?;
        if value != 0 {
            found.push((String::from_utf8_lossy(name).into_owned(), value));
        }
    }
    Some(found)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with three numbers, the second of them a histogram's.
    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0_u32, 8, 3, 0, 24, 24 + 3 * 24] {
            file.extend(word.to_ne_bytes());
        }
        for (number, flags) in [(0_u32, 0_u32), (1, 0x24), (2, 1)] {
            file.extend(flags.to_ne_bytes());
            file.extend(0_i16.to_ne_bytes());
            file.extend(1_u16.to_ne_bytes());
            file.extend((number * 8).to_ne_bytes());
            file.extend(0_u32.to_ne_bytes());
            file.extend(*[b"exits\0\0\0", b"hist\0\0\0\0", b"pages\0\0\0"][number as usize]);
        }
        file.extend([7_u64, 8, 9].iter().flat_map(|value| value.to_ne_bytes()));
        file
    }

    #[test]
    fn plain_numbers_are_read_and_others_passed_over() {
        assert_eq!(parse(&file()), Some(vec![("exits".into(), 7), ("pages".into(), 9)]));
    }

    #[test]
    fn a_file_that_ends_early_is_no_file() {
        let whole = file();
        for len in [0, 3, 20, whole.len() - 1] {
            assert_eq!(parse(&whole[..len]).filter(|found| found.len() == 2), None, "{len}");
        }
    }
}

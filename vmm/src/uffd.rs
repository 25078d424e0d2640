//! userfaultfd: the kernel's interface, kept by hand, wrapped thinly.
//!
//! Source of the numbers: Linux v6.12 include/uapi/linux/userfaultfd.h. Sizes and encodings are
//! derived again below, so that a slip does not compile.
#![expect(unsafe_code, reason = "ioctls on a userfaultfd take pointers to the structures below")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use vmcg_abi::layout::PAGE_SIZE;

use crate::memory::Span;

const API: u64 = 0xaa;
const FEATURE_MISSING_HUGETLBFS: u64 = 1 << 4;
const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
/// Linux 5.14.
const FEATURE_MINOR_SHMEM: u64 = 1 << 10;
const REGISTER_MODE_MISSING: u64 = 1;
const REGISTER_MODE_MINOR: u64 = 1 << 2;
const EVENT_PAGEFAULT: u8 = 0x12;
const PAGEFAULT_FLAG_MINOR: u64 = 1 << 2;

#[repr(C)]
struct ApiArgument {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct RegisterArgument {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct ZeropageArgument {
    start: u64,
    len: u64,
    mode: u64,
    zeropage: i64,
}

#[repr(C)]
struct CopyArgument {
    destination: u64,
    source: u64,
    len: u64,
    mode: u64,
    copied: i64,
}

#[repr(C)]
struct ContinueArgument {
    start: u64,
    len: u64,
    mode: u64,
    mapped: i64,
}

#[repr(C)]
struct RangeArgument {
    start: u64,
    len: u64,
}

/// `struct uffd_msg` for a page fault: event, padding, flags, address, thread id.
const MESSAGE_LEN: usize = 32;

/// `_IOWR(0xaa, number, T)` of asm-generic/ioctl.h.
const fn iowr<T>(number: u64) -> u64 {
    3 << 30 | (size_of::<T>() as u64) << 16 | API << 8 | number
}

const UFFDIO_API: u64 = iowr::<ApiArgument>(0x3f);
const UFFDIO_REGISTER: u64 = iowr::<RegisterArgument>(0x00);
/// `_IOR(0xaa, 0x02, struct uffdio_range)`.
const UFFDIO_WAKE: u64 = 0x8010_aa02;
const UFFDIO_COPY: u64 = iowr::<CopyArgument>(0x03);
const UFFDIO_ZEROPAGE: u64 = iowr::<ZeropageArgument>(0x04);
const UFFDIO_CONTINUE: u64 = iowr::<ContinueArgument>(0x07);
/// `_IO(0xaa, 0)` on /dev/userfaultfd.
const USERFAULTFD_IOC_NEW: u64 = 0xaa00;

const _: () = assert!(UFFDIO_API == 0xc018_aa3f);
const _: () = assert!(UFFDIO_REGISTER == 0xc020_aa00);
const _: () = assert!(UFFDIO_COPY == 0xc028_aa03);
const _: () = assert!(UFFDIO_ZEROPAGE == 0xc020_aa04);
const _: () = assert!(UFFDIO_CONTINUE == 0xc020_aa07);

/// Most fault messages taken in one read.
const BATCH: usize = 16;

/// What the page of a fault lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// There is no page.
    Page,
    /// There is one, but it is not mapped.
    Mapping,
}

/// A userfaultfd with guest memory registered for missing pages and missing mappings of pages.
#[derive(Debug)]
pub(crate) struct Uffd {
    file: File,
}

impl Uffd {
    /// Opens a userfaultfd that also reports faults taken inside the kernel (KVM's own).
    ///
    /// # Errors
    /// The kernel's, from /dev/userfaultfd or, where that does not exist, the system call.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let fd = match OpenOptions::new().read(true).write(true).open("/dev/userfaultfd") {
            // SAFETY: the request takes the flags by value.
            Ok(device) => unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, flags) },
            Err(_) => {
                // SAFETY: the system call takes one integer and returns a descriptor or -1.
                let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
                i32::try_from(fd).unwrap_or(-1)
            }
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by the kernel and belongs to nobody else.
        let uffd = Self { file: File::from(unsafe { OwnedFd::from_raw_fd(fd) }) };
        let features = FEATURE_MISSING_SHMEM | FEATURE_MINOR_SHMEM | FEATURE_MISSING_HUGETLBFS;
        let mut api = ApiArgument { api: API, features, ioctls: 0 };
        uffd.ioctl(UFFDIO_API, &mut api)?;
        Ok(uffd)
    }

    /// Registers a piece of guest memory. Huge pages of the host are never aged: those that are there
    /// but not mapped are none of ours.
    ///
    /// # Errors
    /// The kernel's; nothing is registered then.
    pub(crate) fn register(&self, span: Span) -> io::Result<()> {
        let minor = if span.is_huge { 0 } else { REGISTER_MODE_MINOR };
        let mode = REGISTER_MODE_MISSING | minor;
        let mut argument = RegisterArgument { start: span.host, len: span.len, mode, ioctls: 0 };
        self.ioctl(UFFDIO_REGISTER, &mut argument)
    }

    /// Wakes who waits for a page in `len` bytes at host address `start`; it looks again.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn wake(&self, start: u64, len: u64) -> io::Result<()> {
        self.ioctl(UFFDIO_WAKE, &mut RangeArgument { start, len })
    }

    /// Asks the host to make the pages in `len` bytes at host address `start` huge when it gets to it.
    ///
    /// # Errors
    /// The kernel's, mostly because it cannot.
    pub(crate) fn ask_for_huge(&self, start: u64, len: u64) -> io::Result<()> {
        Self::advise(start, len, libc::MADV_HUGEPAGE)
    }

    /// Makes the pages in `len` bytes at host address `start` huge now; all of them are there.
    ///
    /// # Errors
    /// The kernel's: it has no huge page free, or is older than Linux 6.1. The pages stay as they are.
    pub(crate) fn make_huge(&self, start: u64, len: u64) -> io::Result<()> {
        Self::advise(start, len, libc::MADV_COLLAPSE)
    }

    fn advise(start: u64, len: u64, advice: i32) -> io::Result<()> {
        let address = std::ptr::with_exposed_provenance_mut(usize_of(start));
        // SAFETY: the range is registered guest memory; neither advice changes content.
        match unsafe { libc::madvise(address, usize_of(len), advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Reads the faults that wait, at most [`BATCH`], into `faults`: host address, and what it lacks.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when none waits.
    pub(crate) fn read_faults(&self, faults: &mut Vec<(u64, Lack)>) -> io::Result<()> {
        let mut messages = [0_u8; MESSAGE_LEN * BATCH];
        let len = io::Read::read(&mut &self.file, &mut messages)?;
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
        let read = messages[..len]
            .chunks_exact(MESSAGE_LEN)
            .filter(|message| message[0] == EVENT_PAGEFAULT)
            .filter_map(|message| Some((word(&message[16..24])?, word(&message[8..16])?)));
        faults.extend(read.map(|(address, flags)| {
            let is_minor = flags & PAGEFAULT_FLAG_MINOR != 0;
            (address, if is_minor { Lack::Mapping } else { Lack::Page })
        }));
        Ok(())
    }

    /// Installs a zero page at host address `page` and wakes who waits for it.
    ///
    /// # Errors
    /// The kernel's; `AlreadyExists` when the page has been installed meanwhile.
    pub(crate) fn zero(&self, page: u64) -> io::Result<()> {
        let mut argument = ZeropageArgument { start: page, len: PAGE_SIZE, mode: 0, zeropage: 0 };
        self.ioctl(UFFDIO_ZEROPAGE, &mut argument)
    }

    /// Installs zero pages from host address `start` on, for `len` bytes, and wakes who waits for them.
    ///
    /// # Errors
    /// The kernel's; part of the range may have pages then.
    pub(crate) fn zero_range(&self, start: u64, len: u64) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let mut argument =
                ZeropageArgument { start: start + done, len: len - done, mode: 0, zeropage: 0 };
            match self.ioctl(UFFDIO_ZEROPAGE, &mut argument) {
                Ok(()) => return Ok(()),
                // The address space changed meanwhile, or some pages were done: go on from there.
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    done += u64::try_from(argument.zeropage).unwrap_or(0);
                }
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Installs a page of this content at host address `page` and wakes who waits for it.
    ///
    /// # Errors
    /// The kernel's; `AlreadyExists` when the page has been installed meanwhile.
    pub(crate) fn copy(&self, page: u64, content: &[u8; 4096]) -> io::Result<()> {
        let source = content.as_ptr().expose_provenance() as u64;
        let mut argument =
            CopyArgument { destination: page, source, len: PAGE_SIZE, mode: 0, copied: 0 };
        self.ioctl(UFFDIO_COPY, &mut argument)
    }

    /// Maps the page that is there at host address `page` and wakes who waits for it.
    ///
    /// # Errors
    /// The kernel's; `AlreadyExists` when it is mapped.
    pub(crate) fn map(&self, page: u64) -> io::Result<()> {
        let mut argument = ContinueArgument { start: page, len: PAGE_SIZE, mode: 0, mapped: 0 };
        self.ioctl(UFFDIO_CONTINUE, &mut argument)
    }

    /// Takes the mapping of the pages in `len` bytes at host address `start` away; their content
    /// stays, and the next touch of each is a fault that lacks a mapping.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn unmap(&self, start: u64, len: u64) -> io::Result<()> {
        let address = std::ptr::with_exposed_provenance_mut(usize_of(start));
        // SAFETY: the range is registered guest memory, mapped shared: no content is lost, and no
        // Rust reference points into it.
        match unsafe { libc::madvise(address, usize_of(len), libc::MADV_DONTNEED) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn ioctl<T>(&self, request: u64, argument: &mut T) -> io::Result<()> {
        let argument: *mut T = argument;
        // SAFETY: every request above is paired with its structure, which outlives the call; the
        // one that names another address names a page that is only read.
        match unsafe { libc::ioctl(self.file.as_raw_fd(), request, argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("addresses of this process fit a usize")
}

impl AsFd for Uffd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

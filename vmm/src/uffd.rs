//! userfaultfd: the kernel's interface, kept by hand, wrapped thinly.
//!
//! Source of the numbers: Linux v6.12 include/uapi/linux/userfaultfd.h. Sizes and encodings are
//! derived again below, so that a slip does not compile.
#![expect(unsafe_code, reason = "ioctls on a userfaultfd take pointers to the structures below")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use vmcg_abi::layout::PAGE_SIZE;

const API: u64 = 0xaa;
const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
const REGISTER_MODE_MISSING: u64 = 1;
const EVENT_PAGEFAULT: u8 = 0x12;

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

/// `struct uffd_msg` for a page fault: event, padding, flags, address, thread id.
const MESSAGE_LEN: usize = 32;

/// `_IOWR(0xaa, number, T)` of asm-generic/ioctl.h.
const fn iowr<T>(number: u64) -> u64 {
    3 << 30 | (size_of::<T>() as u64) << 16 | API << 8 | number
}

const UFFDIO_API: u64 = iowr::<ApiArgument>(0x3f);
const UFFDIO_REGISTER: u64 = iowr::<RegisterArgument>(0x00);
const UFFDIO_ZEROPAGE: u64 = iowr::<ZeropageArgument>(0x04);
/// `_IO(0xaa, 0)` on /dev/userfaultfd.
const USERFAULTFD_IOC_NEW: u64 = 0xaa00;

const _: () = assert!(UFFDIO_API == 0xc018_aa3f);
const _: () = assert!(UFFDIO_REGISTER == 0xc020_aa00);
const _: () = assert!(UFFDIO_ZEROPAGE == 0xc020_aa04);

/// Most fault messages taken in one read.
const BATCH: usize = 16;

/// A userfaultfd with guest memory registered for missing pages.
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
        let mut api = ApiArgument { api: API, features: FEATURE_MISSING_SHMEM, ioctls: 0 };
        uffd.ioctl(UFFDIO_API, &mut api)?;
        Ok(uffd)
    }

    /// Registers `len` bytes of host address space at `start` for missing pages.
    ///
    /// # Errors
    /// The kernel's; nothing is registered then.
    pub(crate) fn register(&self, start: u64, len: u64) -> io::Result<()> {
        let mode = REGISTER_MODE_MISSING;
        self.ioctl(UFFDIO_REGISTER, &mut RegisterArgument { start, len, mode, ioctls: 0 })
    }

    /// Reads the faulting host addresses that wait, at most [`BATCH`], into `addresses`.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when none waits.
    pub(crate) fn read_faults(&self, addresses: &mut Vec<u64>) -> io::Result<()> {
        let mut messages = [0_u8; MESSAGE_LEN * BATCH];
        let len = io::Read::read(&mut &self.file, &mut messages)?;
        let faults = messages[..len]
            .chunks_exact(MESSAGE_LEN)
            .filter(|message| message[0] == EVENT_PAGEFAULT)
            .filter_map(|message| message[16..24].try_into().ok().map(u64::from_ne_bytes));
        addresses.extend(faults);
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

    fn ioctl<T>(&self, request: u64, argument: &mut T) -> io::Result<()> {
        let argument: *mut T = argument;
        // SAFETY: every request above is paired with its structure, which outlives the call.
        match unsafe { libc::ioctl(self.file.as_raw_fd(), request, argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for Uffd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

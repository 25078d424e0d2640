//! Linux error numbers, as system calls answer them.

/// An error number of Linux x86-64 (include/uapi/asm-generic/errno*.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(u16);

#[expect(dead_code, reason = "the table is kept whole")]
impl Errno {
    pub(crate) const EPERM: Self = Self(1);
    pub(crate) const ENOENT: Self = Self(2);
    pub(crate) const ESRCH: Self = Self(3);
    pub(crate) const EINTR: Self = Self(4);
    pub(crate) const EIO: Self = Self(5);
    pub(crate) const ENXIO: Self = Self(6);
    pub(crate) const E2BIG: Self = Self(7);
    pub(crate) const ENOEXEC: Self = Self(8);
    pub(crate) const EBADF: Self = Self(9);
    pub(crate) const ECHILD: Self = Self(10);
    pub(crate) const EAGAIN: Self = Self(11);
    pub(crate) const ENOMEM: Self = Self(12);
    pub(crate) const EACCES: Self = Self(13);
    pub(crate) const EFAULT: Self = Self(14);
    pub(crate) const ENOTBLK: Self = Self(15);
    pub(crate) const EBUSY: Self = Self(16);
    pub(crate) const EEXIST: Self = Self(17);
    pub(crate) const EXDEV: Self = Self(18);
    pub(crate) const ENODEV: Self = Self(19);
    pub(crate) const ENOTDIR: Self = Self(20);
    pub(crate) const EISDIR: Self = Self(21);
    pub(crate) const EINVAL: Self = Self(22);
    pub(crate) const ENFILE: Self = Self(23);
    pub(crate) const EMFILE: Self = Self(24);
    pub(crate) const ENOTTY: Self = Self(25);
    pub(crate) const ETXTBSY: Self = Self(26);
    pub(crate) const EFBIG: Self = Self(27);
    pub(crate) const ENOSPC: Self = Self(28);
    pub(crate) const ESPIPE: Self = Self(29);
    pub(crate) const EROFS: Self = Self(30);
    pub(crate) const EMLINK: Self = Self(31);
    pub(crate) const EPIPE: Self = Self(32);
    pub(crate) const EDOM: Self = Self(33);
    pub(crate) const ERANGE: Self = Self(34);
    pub(crate) const EDEADLK: Self = Self(35);
    pub(crate) const ENAMETOOLONG: Self = Self(36);
    pub(crate) const ENOLCK: Self = Self(37);
    pub(crate) const ENOSYS: Self = Self(38);
    pub(crate) const ENOTEMPTY: Self = Self(39);
    pub(crate) const ELOOP: Self = Self(40);
    pub(crate) const ENODATA: Self = Self(61);
    pub(crate) const EOVERFLOW: Self = Self(75);
    pub(crate) const ELIBBAD: Self = Self(80);
    pub(crate) const ENOTSOCK: Self = Self(88);
    pub(crate) const EMSGSIZE: Self = Self(90);
    pub(crate) const EPROTOTYPE: Self = Self(91);
    pub(crate) const ENOPROTOOPT: Self = Self(92);
    pub(crate) const EPROTONOSUPPORT: Self = Self(93);
    pub(crate) const ESOCKTNOSUPPORT: Self = Self(94);
    pub(crate) const EOPNOTSUPP: Self = Self(95);
    pub(crate) const EAFNOSUPPORT: Self = Self(97);
    pub(crate) const EADDRINUSE: Self = Self(98);
    pub(crate) const ECONNRESET: Self = Self(104);
    pub(crate) const ENOBUFS: Self = Self(105);
    pub(crate) const EISCONN: Self = Self(106);
    pub(crate) const ENOTCONN: Self = Self(107);
    pub(crate) const ETOOMANYREFS: Self = Self(109);
    pub(crate) const ETIMEDOUT: Self = Self(110);
    pub(crate) const ECONNREFUSED: Self = Self(111);

    /// The number, positive.
    pub(crate) const fn number(self) -> u16 {
        self.0
    }

    /// What a system call leaves in rax: the number, negated.
    pub(crate) const fn to_word(self) -> u64 {
        (self.0 as u64).wrapping_neg()
    }

    /// Reads an answer of the host or of the kernel: -4095..-1 is an error, all else a value.
    pub(crate) fn check(word: u64) -> Result<u64, Self> {
        match u16::try_from(word.wrapping_neg()) {
            Ok(number) if number != 0 && number < 4096 => Err(Self(number)),
            _ => Ok(word),
        }
    }
}

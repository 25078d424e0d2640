//! Why a machine could not be made or could not go on.

/// A machine's failure. Each is one line: what was tried, on what, why.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// KVM refused one of its ioctls.
    #[error("KVM refused {what}: {why}")]
    Kvm {
        /// The operation.
        what: &'static str,
        /// The kernel's reason.
        why: String,
    },
    /// /dev/kvm could not be opened.
    #[error("cannot open /dev/kvm: {why}; {advice}")]
    NoKvm {
        /// The kernel's reason.
        why: std::io::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// Guest memory could not be had.
    #[error("cannot make {bytes} bytes of guest memory: {why}")]
    Memory {
        /// Size asked for.
        bytes: u64,
        /// The kernel's reason.
        why: String,
    },
    /// So many huge pages leave the guest too little memory, or do not fit at all.
    #[error(
        "--hugepages {mb2}:2M,{gb1}:1G do not fit into {bytes} bytes of guest memory beside the 16M \
         that the guest needs: choose fewer, or more --memory"
    )]
    HugePages {
        /// Pages of 2 MiB asked for.
        mb2: u64,
        /// Pages of 1 GiB asked for.
        gb1: u64,
        /// Guest memory asked for.
        bytes: u64,
    },
    /// The memory asked for is outside what the guest can use.
    #[error("guest memory of {bytes} bytes is not possible: choose {min} to {max}, in whole pages")]
    MemorySize {
        /// Size asked for.
        bytes: u64,
        /// Smallest possible.
        min: &'static str,
        /// Largest possible.
        max: &'static str,
    },
    /// So much swap beside so much memory is more than the guest can use.
    #[error(
        "--swap of {bytes} bytes beside {memory_bytes} bytes of guest memory is not possible: together \
         they are {max} at most"
    )]
    SwapSize {
        /// Swap asked for.
        bytes: u64,
        /// Memory asked for.
        memory_bytes: u64,
        /// The most they can be together.
        max: &'static str,
    },
    /// The swap file could not be made.
    #[error("cannot make swap file {}: {why}", path.display())]
    Swap {
        /// Where it was to be.
        path: std::path::PathBuf,
        /// The system's reason.
        why: std::io::Error,
    },
    /// userfaultfd is not usable.
    #[error("cannot use userfaultfd: {why}; run as root or set vm.unprivileged_userfaultfd=1")]
    Userfaultfd {
        /// The kernel's reason.
        why: std::io::Error,
    },
    /// The accounting could not be set up.
    #[error("cannot set up the accounting: {why}")]
    Accounting {
        /// The accounting's reason.
        why: memcg::Error,
    },
    /// The embedded guest kernel is damaged or does not fit.
    #[error("cannot load the guest kernel: {why}")]
    KernelImage {
        /// The loader's reason.
        why: String,
    },
    /// The guest did something that no call or fault explains, and was stopped.
    #[error("guest stopped: {0}")]
    Guest(String),
}

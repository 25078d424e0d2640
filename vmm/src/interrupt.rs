//! KVM_INTERRUPT, which kvm-ioctls does not have: the machine has no interrupt controller.
//!
//! Source: Linux v6.12 include/uapi/linux/kvm.h.
#![expect(unsafe_code, reason = "an ioctl that takes a pointer to the structure below")]

use std::io;
use std::os::fd::AsRawFd;

use kvm_ioctls::VcpuFd;

#[repr(C)]
struct KvmInterrupt {
    irq: u32,
}

/// `_IOW(KVMIO, 0x86, struct kvm_interrupt)`.
const KVM_INTERRUPT: u64 = 1 << 30 | (size_of::<KvmInterrupt>() as u64) << 16 | 0xae << 8 | 0x86;

const _: () = assert!(KVM_INTERRUPT == 0x4004_ae86);

/// Makes the vCPU take interrupt `vector` when it next enters the guest.
///
/// # Errors
/// KVM's; nothing is injected then.
pub(crate) fn inject(vcpu: &VcpuFd, vector: u64) -> io::Result<()> {
    let argument = KvmInterrupt { irq: u32::try_from(vector).map_err(io::Error::other)? };
    // SAFETY: the request is paired with its structure, which outlives the call.
    match unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_INTERRUPT, &raw const argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

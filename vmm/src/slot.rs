//! The one memory slot of the machine.
#![expect(unsafe_code, reason = "KVM is given a range of our address space")]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Error, VmFd};

/// Gives the guest its memory. The region's host range stays mapped as long as the machine lives:
/// both belong to the same [`crate::machine::Machine`].
///
/// # Errors
/// KVM's.
pub(crate) fn set(vm: &VmFd, region: kvm_userspace_memory_region) -> Result<(), Error> {
    // SAFETY: the range is the mapping of GuestMemory, which the machine owns beside the VM.
    unsafe { vm.set_user_memory_region(region) }
}

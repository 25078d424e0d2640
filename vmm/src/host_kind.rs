//! What kind of KVM the host has.

use std::arch::x86_64::{__cpuid, CpuidResult};
use std::fs;
use std::path::Path;

/// How the host's KVM runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// Nested paging of AMD.
    Npt,
    /// Nested paging of Intel.
    Ept,
    /// Hardware runs the guest, but its page tables are shadowed: nested paging is missing or off.
    Shadow,
    /// No hardware virtualisation: shadow paging, ring 0 emulated.
    Software,
}

impl HostKind {
    /// Looks which one this host has.
    #[must_use]
    pub fn find() -> Self {
        let is_on = |parameter: &str| {
            fs::read_to_string(Path::new("/sys/module").join(parameter))
                .is_ok_and(|value| matches!(value.trim(), "Y" | "1"))
        };
        if Path::new("/sys/module/kvm_pvm").exists() {
            return Self::Software;
        }
        match vendor_extension() {
            Some(Self::Npt) if is_on("kvm_amd/parameters/npt") => Self::Npt,
            Some(Self::Ept) if is_on("kvm_intel/parameters/ept") => Self::Ept,
            Some(_) => Self::Shadow,
            None => Self::Software,
        }
    }

    /// The word for it in `vmcg stat`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Npt => "npt",
            Self::Ept => "ept",
            Self::Shadow => "shadow",
            Self::Software => "software",
        }
    }

    /// Whether the guest's ring 0 is the CPU's own, so that `syscall` enters it.
    #[must_use]
    pub fn runs_ring0(self) -> bool {
        self != Self::Software
    }
}

/// Whose virtualisation the CPU has. `cpuid` says it at once; /proc/cpuinfo asks every CPU.
fn vendor_extension() -> Option<HostKind> {
    let CpuidResult { ecx, .. } = __cpuid(1);
    if ecx & 1 << 5 != 0 {
        return Some(HostKind::Ept);
    }
    let has_extended = __cpuid(0x8000_0000).eax > 0x8000_0000;
    (has_extended && __cpuid(0x8000_0001).ecx & 1 << 2 != 0).then_some(HostKind::Npt)
}

//! The vCPU: its registers at the start and its run loop.

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use vmcg_abi::layout::{
    BUG_PORT, CALL_PORT, DIRECT_STUB, EVENT_VECTOR, KERNEL_CR3, KERNEL_CS, PAGE_SIZE, STUBS_GVA,
    SYSCALL_GVA, TRAP_GPA, TRAP_STACK_TOP, TSS_SELECTOR, USER_CS, USER_SS,
};
use vmcg_abi::page::shared;

use crate::boot::DESCRIPTORS;
use crate::calls::{self, Flow};
use crate::error::MachineError;
use crate::gate::Pass;
use crate::host_kind::HostKind;
use crate::interrupt::inject;
use crate::machine::Machine;
use crate::share::Share;
use crate::stats::{Exit, Stats};

// SDM volume 3A 2.5, 2.2.1; AMD64 APM volume 2, 3.1.7.
const CR0: u64 = 0x8005_0033; // PE MP ET NE WP AM PG
const CR4: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 10; // PAE PGE OSFXSR OSXMMEXCPT
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const EFER: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11; // SCE LME LMA NXE
const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_SFMASK: u32 = 0xc000_0084;
/// Flags cleared by `syscall`: TF, IF, DF, NT, AC.
const SFMASK: u64 = 0x4_4700;
/// XCR0: x87, SSE, AVX, and the three parts of AVX-512.
const XCR0_WANTED: u64 = 0b1110_0111;

fn kvm_error(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> MachineError {
    move |why| MachineError::Kvm { what, why: why.to_string() }
}

/// Gives a fresh vCPU its features and registers; it starts at `entry` in ring 3.
///
/// # Errors
/// When KVM refuses a register; the message names it.
pub(crate) fn set_up(
    kvm: &Kvm,
    vcpu: &VcpuFd,
    entry: u64,
    host: HostKind,
) -> Result<(), MachineError> {
    let cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm_error("to list CPU features"))?;
    vcpu.set_cpuid2(&cpuid).map_err(kvm_error("the vCPU's features"))?;
    let xcr0 = cpuid
        .as_slice()
        .iter()
        .find(|leaf| leaf.function == 0xd && leaf.index == 0)
        .map_or(3, |leaf| (u64::from(leaf.eax) | u64::from(leaf.edx) << 32) & XCR0_WANTED);
    let sregs = special_registers(vcpu.get_sregs().map_err(kvm_error("to read registers"))?);
    vcpu.set_sregs(&sregs).map_err(kvm_error("the vCPU's control registers"))?;
    let mut xcrs = vcpu.get_xcrs().map_err(kvm_error("to read XCR0"))?;
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].xcr = 0;
    xcrs.xcrs[0].value = xcr0;
    vcpu.set_xcrs(&xcrs).map_err(kvm_error("XCR0"))?;
    let star = u64::from(KERNEL_CS) << 32 | u64::from(USER_SS - 8) << 48;
    let on_syscall = if host.runs_ring0() { STUBS_GVA + DIRECT_STUB } else { SYSCALL_GVA };
    let msrs = [(MSR_STAR, star), (MSR_LSTAR, on_syscall), (MSR_SFMASK, SFMASK)]
        .map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() });
    let msrs = Msrs::from_entries(&msrs).expect("three registers fit into the list");
    match vcpu.set_msrs(&msrs).map_err(kvm_error("the system-call registers"))? {
        3 => {}
        _ => {
            return Err(kvm_error("the system-call registers")(kvm_ioctls::Error::new(
                libc::EINVAL,
            )));
        }
    }
    let regs = kvm_regs { rip: entry, rflags: 2, ..Default::default() };
    vcpu.set_regs(&regs).map_err(kvm_error("the vCPU's registers"))
}

fn special_registers(mut sregs: kvm_sregs) -> kvm_sregs {
    let code = kvm_segment {
        limit: u32::MAX,
        selector: USER_CS,
        type_: 11,
        present: 1,
        dpl: 3,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment { selector: USER_SS, type_: 3, db: 1, l: 0, ..code };
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = kvm_segment {
        base: DESCRIPTORS.tss.0,
        limit: DESCRIPTORS.tss.1,
        selector: TSS_SELECTOR,
        type_: 11,
        present: 1,
        ..Default::default()
    };
    (sregs.gdt.base, sregs.gdt.limit) = DESCRIPTORS.gdt;
    (sregs.idt.base, sregs.idt.limit) = DESCRIPTORS.idt;
    sregs.cr0 = CR0;
    sregs.cr3 = KERNEL_CR3;
    sregs.cr4 = CR4 | CR4_FSGSBASE | CR4_OSXSAVE;
    sregs.efer = EFER;
    sregs
}

/// Runs the guest until it shuts down or the gate says stop.
///
/// # Errors
/// [`MachineError::Guest`] with a report when the guest did what cannot be gone on from.
pub(crate) fn run(
    machine: &Machine,
    vcpu: &mut VcpuFd,
    share: &mut Share,
) -> Result<(), MachineError> {
    loop {
        if machine.gate.pass(&machine.memory) == Pass::Stop {
            let failed = |why: &str| Err(MachineError::Guest(why.to_owned()));
            return machine.failure().map_or(Ok(()), failed);
        }
        announce_events(machine, vcpu)?;
        let exit = vcpu.run();
        let report = match exit {
            Ok(VcpuExit::IoOut(port, _)) if port == u16::from(CALL_PORT) => {
                machine.stats.exit(Exit::Call);
                match calls::handle(machine, share) {
                    Flow::Continue => continue,
                    Flow::Stop(result) => return result,
                }
            }
            Ok(VcpuExit::IrqWindowOpen) => {
                machine.stats.exit(Exit::Window);
                continue;
            }
            Ok(VcpuExit::Intr) => continue,
            Err(why) if matches!(why.errno(), libc::EINTR | libc::EAGAIN) => {
                machine.stats.exit(Exit::Kick);
                // The fault this interrupted may be under way: see fault::serve.
                drop(machine.lock());
                continue;
            }
            Ok(VcpuExit::IoOut(port, data)) if port == u16::from(BUG_PORT) => {
                format!("its kernel took exception {}", data.first().copied().unwrap_or(0))
            }
            Ok(VcpuExit::Shutdown) => "triple fault".into(),
            Ok(other) => format!("unexpected exit {other:?}"),
            Err(why) => format!("KVM_RUN failed: {why}"),
        };
        return Err(MachineError::Guest(format!("{report}; {}", registers(machine, vcpu))));
    }
}

/// Injects the event interrupt where the guest is behind on events and can take it; asks KVM to
/// come back when it can, where it cannot yet.
fn announce_events(machine: &Machine, vcpu: &mut VcpuFd) -> Result<(), MachineError> {
    let memory = &machine.memory;
    let waits = memory.shared(shared::EVENTS_PENDING) | memory.shared(shared::TICK) != 0;
    let run = vcpu.get_kvm_run();
    let is_ready = run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
    run.request_interrupt_window = u8::from(waits && !is_ready);
    if waits && is_ready {
        inject(vcpu, EVENT_VECTOR)
            .map_err(|why| MachineError::Kvm { what: "an interrupt", why: why.to_string() })?;
    }
    Ok(())
}

/// One line with what a reader of a crash wants first.
fn registers(machine: &Machine, vcpu: &VcpuFd) -> String {
    let (Ok(regs), Ok(sregs)) = (vcpu.get_regs(), vcpu.get_sregs()) else {
        return "registers unreadable".into();
    };
    let frame = TRAP_GPA + TRAP_STACK_TOP - 48;
    let mut words = [0_u8; 48];
    let frame = if machine.memory.is_backed(memcg::Gfn::new(TRAP_GPA / PAGE_SIZE))
        && machine.memory.read(frame, &mut words).is_ok()
    {
        let words: Vec<String> = words
            .chunks_exact(8)
            .filter_map(|word| word.try_into().ok().map(u64::from_le_bytes))
            .map(|word| format!("{word:x}"))
            .collect();
        words.join(" ")
    } else {
        "none".into()
    };
    Stats::count(&machine.stats.guest_lies, 1);
    format!(
        "rip {:x} cs {:x} rsp {:x} rax {:x} rflags {:x} cr2 {:x} cr3 {:x} task {} trap frame [{frame}]",
        regs.rip,
        sregs.cs.selector,
        regs.rsp,
        regs.rax,
        regs.rflags,
        sregs.cr2,
        sregs.cr3,
        machine.memory.shared(shared::CURRENT_TID),
    )
}

//! The contract between the vmcg host and its guest kernel.
//!
//! Everything both sides must agree on is here and nowhere else: where things lie in guest memory
//! ([`layout`]), the words of the pages they share ([`page`]), one entry per guest frame
//! ([`frame`]), the calls the guest makes ([`call`]) and the events the host sends ([`event`]).
//!
//! There are no structures laid over shared memory: a shared page is an array of 64-bit words with
//! named indices, so neither side needs `unsafe` to describe it and no padding can differ.
//!
//! # How the guest kernel runs
//!
//! The kernel proper runs in ring 3, in an address space of its own in which virtual addresses are
//! guest-physical addresses. Ring 0 holds only the trap stubs: a few instructions that change CR3
//! and `iretq`. Where ring 0 is emulated an instruction at a time (software KVM) a system call
//! costs about ten emulated instructions instead of hundreds; on hardware the price is two CR3
//! loads. A user program can touch neither the kernel's memory nor the stubs.
//!
//! The stubs occupy one virtual page, [`layout::STUBS_GVA`], backed by a different frame in each
//! kind of address space: in a task's space a vector's stub enters the kernel; in the kernel's
//! space `int3` is a call to the host, `ud2` resumes the task described by the resume frame
//! ([`layout::RESUME_FRAME`]), and any other vector is a bug in the kernel that stops the machine.
//! Where `syscall` enters ring 0 it jumps to [`layout::DIRECT_STUB`] of the same page instead: from a
//! task into the kernel, from the kernel to the task that the resume frame describes.

#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod event;
pub mod frame;
pub mod layout;
pub mod page;

/// Version of this contract; the guest kernel refuses to boot under another.
pub const VERSION: u64 = 1;

//! Guest kernel of vmcg: runs Linux programs in a virtual machine whose memory the host accounts.
//!
//! The kernel runs in ring 3, in an address space of its own; only the trap stubs run in ring 0
//! (see [`vmcg_abi`]). It has one stack and no threads of its own: a task runs until it traps, the
//! trap is handled to its end, and the next task is chosen. A system call that cannot finish is
//! made again when what it waits for has happened ([`syscall::request`]).

#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod errno;
mod event;
mod exec;
mod file;
mod heap;
mod host;
mod job;
mod kernel;
mod kmem;
mod memory;
mod number;
mod physical;
mod schedule;
mod signal;
mod syscall;
mod task;
mod time;
mod trap;

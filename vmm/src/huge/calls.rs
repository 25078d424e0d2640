//! The guest's calls about huge pages; see `vmcg_abi::call` for what each means.

use memcg::{ChargeError, Fault, Gfn, HugeError, HugeMap, HugePage, HugeSize, Memcg, Payer, Tid};
use rustix::io::Errno;
use vmcg_abi::call::{ARGUMENTS_MAX, Call, huge};

use crate::machine::{Accounting, Machine};

/// Answers one of the calls about huge pages.
///
/// # Errors
/// As the contract says.
pub(crate) fn answer(machine: &Machine, call: Call, a: [u64; ARGUMENTS_MAX]) -> Result<u64, Errno> {
    match call {
        Call::HugeReserve => reserve(machine, a),
        Call::HugeRelease => Ok(machine.lock().memcg.release_huge(a[0], &(a[1]..a[2].max(a[1])))),
        Call::HugeFault => fault(machine, a[0], a[1]),
        Call::HugeFree => free(machine, a[0]),
        _ => Err(Errno::NOSYS),
    }
}

/// tid, map, kind, first and end huge page.
fn reserve(machine: &Machine, a: [u64; ARGUMENTS_MAX]) -> Result<u64, Errno> {
    let payer = tid(a[0])?;
    let size = match a[2] & huge::SIZE {
        huge::MB2 => HugeSize::Mb2,
        huge::GB1 => HugeSize::Gb1,
        _ => return Err(Errno::INVAL),
    };
    let memcg = &mut machine.lock().memcg;
    let process = match a[2] & huge::PRIVATE {
        0 => None,
        _ => Some(memcg.task_tgid(payer).ok_or(Errno::SRCH)?),
    };
    let map = HugeMap { id: a[1], size, process };
    memcg.try_reserve_huge(payer, map, a[3]..a[4]).map_err(|why| match why {
        HugeError::Invalid => Errno::INVAL,
        HugeError::Refused(_) => Errno::NOMEM,
    })
}

/// tid, first gfn.
fn fault(machine: &Machine, payer: u64, gfn: u64) -> Result<u64, Errno> {
    let payer = tid(payer)?;
    let mut accounting = machine.lock();
    let page = page_at(&accounting.memcg, gfn)?;
    if machine.memory.is_backed(page.first) {
        return Err(Errno::EXIST);
    }
    if machine.is_accounting {
        accounting.memcg.try_charge_huge(Payer::Task(payer), page).map_err(|why| match why {
            ChargeError::Refused { .. } => Errno::NOMEM,
            _ => Errno::INVAL,
        })?;
        accounting.memcg.note_fault(payer, Fault::Minor);
    }
    if let Err(why) = machine.back_huge(page) {
        log::error!("cannot back huge page {page:?}: {why}");
        give_back(machine, &mut accounting, page)?;
        return Err(Errno::NOMEM);
    }
    Ok(0)
}

fn free(machine: &Machine, gfn: u64) -> Result<u64, Errno> {
    let mut accounting = machine.lock();
    let page = page_at(&accounting.memcg, gfn)?;
    give_back(machine, &mut accounting, page)?;
    Ok(0)
}

fn give_back(machine: &Machine, accounting: &mut Accounting, page: HugePage) -> Result<(), Errno> {
    machine.free_huge(accounting, page).map_err(|why| {
        log::error!("cannot give huge page {page:?} back: {why}");
        Errno::IO
    })
}

/// The huge page that begins at a frame.
fn page_at(memcg: &Memcg, gfn: u64) -> Result<HugePage, Errno> {
    let gfn = Gfn::new(gfn);
    memcg.huge_page_of(gfn).filter(|page| page.first == gfn).ok_or(Errno::INVAL)
}

fn tid(word: u64) -> Result<Tid, Errno> {
    u32::try_from(word).map(Tid::new).map_err(|_| Errno::INVAL)
}

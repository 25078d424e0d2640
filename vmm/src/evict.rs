//! A page leaves memory, and comes back.
//!
//! The guest stands still meanwhile, or waits for the answer to a fault: nobody writes to a page
//! between the copy of its content and the hole punched in its place. Content is copied out through
//! the memfd, never through the mapping: a page whose mapping was taken away to age it would fault,
//! and the thread that answers faults would wait for this one.

use memcg::{Evicted, Gfn, Kind};
use vmcg_abi::frame::FrameEntry;
use vmcg_abi::layout::PAGE_SIZE;

use crate::contents::{Contents, Stowed};
use crate::machine::Machine;
use crate::stats::Stats;
use crate::swap::Page;

/// Gives back the host pages of frames whose content is safe elsewhere; answers for each.
pub(crate) fn evict(
    machine: &Machine,
    contents: &mut Contents,
    pages: &[(Gfn, Kind)],
) -> Vec<Evicted> {
    let mut page = Page::ZERO;
    let mut answers: Vec<Evicted> = pages
        .iter()
        .map(|&(gfn, kind)| match is_evictable(machine, gfn) {
            _ if contents.is_recent(gfn) => Evicted::Busy,
            true => secure(machine, contents, (gfn, kind), &mut page),
            false => Evicted::Locked,
        })
        .collect();
    let is_gone = |answer| matches!(answer, Evicted::Swapped | Evicted::Zero | Evicted::Dropped);
    let mut leaving: Vec<u64> = pages
        .iter()
        .zip(&answers)
        .filter(|&(_, &answer)| is_gone(answer))
        .map(|((gfn, _), _)| gfn.get())
        .collect();
    leaving.sort_unstable();
    for run in leaving.chunk_by(|a, b| a + 1 == *b) {
        let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
        let Err(why) = machine.memory.punch(first..last + 1) else { continue };
        log::error!("cannot give guest memory back: {why}");
        for ((gfn, _), answer) in pages.iter().zip(&mut answers) {
            if run.contains(&gfn.get()) && is_gone(*answer) {
                contents.note_back(*gfn);
                *answer = Evicted::Failed;
            }
        }
    }
    let evicted = answers.iter().filter(|&&answer| is_gone(answer)).count();
    Stats::count(&machine.stats.evicted, evicted as u64);
    answers
}

/// Makes sure that the content of a frame can be had again.
fn secure(
    machine: &Machine,
    contents: &mut Contents,
    (gfn, kind): (Gfn, Kind),
    page: &mut Page,
) -> Evicted {
    if let Err(why) = machine.memory.copy_page(gfn, &mut page.0) {
        log::error!("cannot copy guest frame {:#x}: {why}", gfn.get());
        return Evicted::Failed;
    }
    if kind == Kind::File && contents.is_clean(gfn, page) {
        return Evicted::Dropped;
    }
    match contents.stow(gfn, page) {
        Stowed::Slot => Evicted::Swapped,
        Stowed::Zeros => Evicted::Zero,
        Stowed::Refused => Evicted::Failed,
    }
}

/// Tells whether a frame has a page that may go: not what host and guest share from the start, and not
/// what the guest has locked.
fn is_evictable(machine: &Machine, gfn: Gfn) -> bool {
    let table = machine.frame_table().and_then(|gpa| machine.memory.frame_table(gpa));
    let entry = table.and_then(|table| table.entry(gfn));
    let is_locked = entry.is_none_or(|entry| entry.flags() & FrameEntry::LOCKED != 0);
    !is_locked && machine.is_handed_out(gfn) && machine.memory.is_backed(gfn)
}

/// Takes the mapping of frames away, so that their next touch is noticed.
pub(crate) fn age(machine: &Machine, gfns: &[Gfn]) {
    let is_mapped = |gfn: &Gfn| machine.is_handed_out(*gfn) && machine.memory.is_mapped(*gfn);
    let mut frames: Vec<u64> =
        gfns.iter().filter(|gfn| is_mapped(gfn)).map(|gfn| gfn.get()).collect();
    frames.sort_unstable();
    frames.dedup();
    for run in frames.chunk_by(|a, b| a + 1 == *b) {
        let Some(&first) = run.first() else { continue };
        run.iter().for_each(|&gfn| machine.memory.set_unmapped(Gfn::new(gfn)));
        let start = machine.memory.host_address(first);
        if let Err(why) = machine.uffd.unmap(start, run.len() as u64 * PAGE_SIZE) {
            // They stay mapped or not; who reads them through the memfd does not care.
            log::warn!("cannot age guest memory: {why}");
        }
    }
    Stats::count(&machine.stats.aged, frames.len() as u64);
}

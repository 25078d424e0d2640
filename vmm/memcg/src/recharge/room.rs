//! Room for the pages of a move.

use crate::transit::Load;
use crate::{ChargeError, Effort, GroupId, Guest, Memcg, Pages, Resource, Tid};

/// What became of a search for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is as much as was wanted.
    Enough,
    /// Some was found, and there may be more.
    Some,
    /// There is no more to be had.
    None,
}

/// Charges the destination for all of `load` or for nothing; without room, looks for some.
pub(super) fn reserve(memcg: &mut Memcg, guest: &mut dyn Guest, number: u32, load: Load) -> Room {
    match memcg.precharge(number, load) {
        Ok(()) => Room::Enough,
        Err(ChargeError::Refused { group, resource }) => {
            search(memcg, guest, group, resource, load.get(resource))
        }
        Err(_) => Room::None,
    }
}

/// Sees to it that `wanted` is precharged, or as much as there is room for after looking for some. A
/// refusal is counted once for each time that reclaim is asked for help.
pub(super) fn secure(memcg: &mut Memcg, guest: &mut dyn Guest, number: u32, wanted: Load) -> Room {
    let short = memcg.precharge_up_to(number, wanted);
    if short == Load::NOTHING {
        return Room::Enough;
    }
    let refused = memcg.precharge(number, short.min(Load::ONE));
    let Err(ChargeError::Refused { group, resource }) = refused else { return Room::None };
    match search(memcg, guest, group, resource, short.get(resource)) {
        Room::Some if memcg.precharge_up_to(number, wanted) == Load::NOTHING => Room::Enough,
        found => found,
    }
}

/// Reclaims what one step may: the guest stands still.
fn search(
    memcg: &mut Memcg,
    guest: &mut dyn Guest,
    group: GroupId,
    resource: Resource,
    pages: u64,
) -> Room {
    /// Pages looked at: at 13 us to evict one, the fastest seen, less than a millisecond.
    const SCAN_PER_STEP: u64 = 64;
    let effort = Effort { scan_max: SCAN_PER_STEP, ..Effort::relieving(resource) };
    let done = memcg.reclaim(guest, group, Pages::new(pages.min(SCAN_PER_STEP)), effort);
    if done.is_exhausted && done.reclaimed == 0 { Room::None } else { Room::Some }
}

/// The most pages that a task can have mapped, without looking at each: what its page tables have
/// entries for.
pub(super) fn mapped_at_most(guest: &mut dyn Guest, tid: Tid) -> u64 {
    const ENTRIES: u64 = 512;
    match guest.page_tables(tid).get() {
        0 => u64::MAX,
        tables => tables.saturating_mul(ENTRIES),
    }
}

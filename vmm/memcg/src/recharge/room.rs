//! Room for the pages of a move.

use crate::transit::Load;
use crate::{ChargeError, Guest, Memcg, Tid};

/// Tries at making room in one step: each takes a bounded number of pages, and the guest stands still.
const TRIES_PER_STEP: u32 = 6;

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

/// Charges the destination for all of `load` or for nothing, reclaiming for a while if that helps.
pub(super) fn reserve(memcg: &mut Memcg, guest: &mut dyn Guest, number: u32, load: Load) -> Room {
    for _ in 0..TRIES_PER_STEP {
        let (group, resource) = match memcg.precharge(number, load) {
            Ok(()) => return Room::Enough,
            Err(ChargeError::Refused { group, resource }) => (group, resource),
            Err(_) => return Room::None,
        };
        if !memcg.make_room(guest, group, resource, load.get(resource)) {
            return Room::None;
        }
    }
    Room::Some
}

/// Sees to it that `wanted` is precharged, or as much as there is room for after reclaiming for a while. A refusal is counted once for each time that reclaim is asked for help.
pub(super) fn secure(memcg: &mut Memcg, guest: &mut dyn Guest, number: u32, wanted: Load) -> Room {
    for _ in 0..TRIES_PER_STEP {
        let short = memcg.precharge_up_to(number, wanted);
        if short == Load::NOTHING {
            return Room::Enough;
        }
        let refused = memcg.precharge(number, short.min(Load::ONE));
        let Err(ChargeError::Refused { group, resource }) = refused else { return Room::None };
        if !memcg.make_room(guest, group, resource, short.get(resource)) {
            return Room::None;
        }
    }
    match memcg.precharge_up_to(number, wanted) {
        Load::NOTHING => Room::Enough,
        _ => Room::Some,
    }
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

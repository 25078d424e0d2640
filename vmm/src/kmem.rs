//! Kernel memory of the guest: leave to use it is given before it is touched.
//!
//! The guest kernel names a group by a kmem id, which the host hands out with a task. To use a page
//! it asks first ([`charge`]); the host charges a batch to the group and leaves it as a stock in the
//! shared page. When the page is touched it takes one of the batch over ([`charge_touched`]). The
//! host takes what is left of a stock back whenever usage is looked at, so that what is shown is
//! exact; it does so atomically, and the guest need not stand still for it. The same holds for empty
//! frames that the guest keeps to use them again ([`kept`]).
//!
//! Nothing here trusts the guest: it can take no more than it was given, and a page it touches
//! without leave is charged all the same, over the limit if need be, and counted as a lie.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use memcg::{ChargeError, Gfn, GroupId, Held, Kind, Memcg, Offline, Pages, Resource};
use rustix::io::Errno;
use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::layout::{CALL_BUFFER_GPA, CALL_BUFFER_LEN};
use vmcg_abi::page::shared;

use crate::machine::{Accounting, Machine};
use crate::stats::Stats;

/// Pages of a batch (Linux: CHARGE_BATCH).
const BATCH: u64 = 32;
/// In an event: nobody inherits, the group stays until it owns nothing.
const NO_HEIR: u32 = u32::MAX;

/// A group that the guest knows by a kmem id.
#[derive(Debug)]
struct Account {
    /// What it is charged ahead.
    held: Held,
    /// The guest was told that the group is gone.
    is_offline: bool,
    /// The guest said that it has objects it only caches for the group.
    has_cached: bool,
}

/// All kmem ids; 0 is none.
#[derive(Debug, Default)]
pub(crate) struct KmemIds {
    accounts: HashMap<u16, Account>,
    by_group: HashMap<GroupId, u16>,
    free: Vec<u16>,
    last: u16,
    /// Those that something is charged ahead for.
    ahead: BTreeSet<u16>,
}

impl KmemIds {
    /// The id of a group, made if need be; 0 where its kernel memory is not accounted.
    pub(crate) fn of_group(&mut self, memcg: &mut Memcg, group: GroupId) -> u16 {
        if !memcg.settings(group).is_ok_and(|settings| settings.kmem_active) {
            return 0;
        }
        if let Some(&id) = self.by_group.get(&group) {
            return id;
        }
        let Some(id) = self.free.pop().or_else(|| self.last.checked_add(1)) else { return 0 };
        let Ok(held) = memcg.hold_kmem(group) else { return 0 };
        self.last = self.last.max(id);
        self.by_group.insert(group, id);
        self.accounts.insert(id, Account { held, is_offline: false, has_cached: false });
        id
    }

    /// The id of a group that the guest was told of.
    pub(crate) fn id(&self, group: GroupId) -> Option<u16> {
        self.by_group.get(&group).copied()
    }

    /// Takes back what is charged ahead for `id`, `pages` at most.
    fn give_back(&mut self, memcg: &mut Memcg, id: u16, pages: u64) -> u64 {
        let Some(account) = self.accounts.get_mut(&id) else { return 0 };
        let given = memcg.uncharge_part(&mut account.held, Pages::new(pages));
        if account.held.pages().is_zero() {
            self.ahead.remove(&id);
        }
        given.get()
    }

    /// Pages that are charged ahead.
    fn pages_ahead(&self) -> u64 {
        let accounts = self.ahead.iter().filter_map(|id| self.accounts.get(id));
        accounts.map(|account| account.held.pages().get()).sum()
    }

    /// Takes back everything that is charged ahead.
    fn give_back_all(&mut self, memcg: &mut Memcg) -> u64 {
        let ids = std::mem::take(&mut self.ahead);
        ids.into_iter().map(|id| self.give_back(memcg, id, u64::MAX)).sum()
    }

    /// Groups with an id that are `top` or below it, removed ones included.
    fn below(&self, memcg: &Memcg, top: GroupId) -> Vec<u16> {
        let is_below = |account: &Account| memcg.is_charged_with(top, &account.held);
        let ids = self.accounts.iter().filter(|(_, account)| is_below(account));
        let mut ids: Vec<u16> = ids.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids
    }
}

impl Machine {
    /// Takes back what the guest has not used: the stock, and frames it keeps. Returns how many pages
    /// that is.
    pub(crate) fn drain_kmem(&self, accounting: &mut Accounting) -> u64 {
        self.drain_stock(accounting) + self.drain_kept(accounting)
    }

    fn drain_stock(&self, accounting: &mut Accounting) -> u64 {
        if self.frame_table().is_none() || accounting.kmem.ahead.is_empty() {
            return 0;
        }
        let stock = self.memory.swap_shared(shared::KMEM_STOCK, 0);
        let [p0, p1, p2, p3, i0, i1, ..] = stock.to_le_bytes();
        let (pages, id) = (u32::from_le_bytes([p0, p1, p2, p3]), u16::from_le_bytes([i0, i1]));
        let Accounting { memcg, kmem, .. } = accounting;
        let given = kmem.give_back(memcg, id, u64::from(pages));
        // The guest may be about to touch a page that it has taken leave for.
        if given == u64::from(pages) && kmem.pages_ahead() <= 1 {
            return given;
        }
        // It wrote the word itself: all of it is taken back, so that nobody pays for that.
        Stats::count(&self.stats.guest_lies, 1);
        given + kmem.give_back_all(memcg)
    }

    /// Takes everything back that is charged ahead: the guest asks for something, so that it is not
    /// about to touch a page it has leave for.
    fn drain_stock_wholly(&self, accounting: &mut Accounting) {
        self.drain_stock(accounting);
        let Accounting { memcg, kmem, .. } = accounting;
        if kmem.give_back_all(memcg) > 0 {
            // Leave was taken for a page that was never touched.
            Stats::count(&self.stats.guest_lies, 1);
        }
    }

    /// Tells the guest which group's kernel memory a task that was moved uses from now on. The guest
    /// stands still.
    pub(crate) fn tell_kmem(&self, accounting: &mut Accounting, tgid: memcg::Tid) {
        let Accounting { memcg, kmem, tasks, .. } = accounting;
        let threads = tasks.iter().filter(|(_, task)| task.tgid == tgid).map(|(tid, _)| tid);
        for tid in threads {
            let Some(group) = memcg.task_group(tid) else { continue };
            let argument = kmem.of_group(memcg, group);
            // Where no group ever had an id, the task has none either: the guest may sleep on.
            if kmem.last > 0 {
                self.gate.send(Event { kind: EventKind::KmemMoved, argument, id: tid.get() });
            }
        }
    }

    /// A group was removed: tells the guest who inherits its kernel memory.
    pub(crate) fn kmem_removed(&self, group: GroupId) {
        let mut accounting = self.lock();
        self.drain_kmem(&mut accounting);
        let Accounting { memcg, kmem, .. } = &mut *accounting;
        let Some(id) = kmem.by_group.remove(&group) else { return };
        let Some(account) = kmem.accounts.get_mut(&id) else { return };
        account.is_offline = true;
        let heir = memcg.payer_of(&account.held);
        let heir =
            if memcg.is_alive(heir) { u32::from(kmem.of_group(memcg, heir)) } else { NO_HEIR };
        let is_drained = memcg.config().offline == Offline::Drain;
        drop(accounting);
        self.gate.send(Event { kind: EventKind::KmemOffline, argument: id, id: heir });
        if is_drained {
            self.gate.send(Event { kind: EventKind::KmemShrink, argument: id, id: u32::MAX });
        }
    }

    /// Asks the guest to give up objects it only caches for `group` and those below it, when there
    /// are some and the group is not over its limit yet: then the page at hand is the only one that
    /// is. True when it was asked; it does so before the task at hand goes on.
    pub(crate) fn ask_to_shrink(&self, accounting: &Accounting, group: GroupId) -> bool {
        /// Objects of a group to be given up: some pages of them.
        const COUNT: u32 = 512;
        let Accounting { memcg, kmem, .. } = accounting;
        let is_over = [Resource::Memory, Resource::Memsw].iter().any(|resource| {
            memcg.counter(group, *resource).is_ok_and(|counter| counter.usage() > counter.limit())
        });
        if is_over || kmem.accounts.is_empty() {
            return false;
        }
        let ids = kmem.below(memcg, group).into_iter();
        let ids = ids.filter(|id| kmem.accounts.get(id).is_some_and(|account| account.has_cached));
        let asked = ids.map(|id| {
            self.gate.send(Event { kind: EventKind::KmemShrink, argument: id, id: COUNT });
        });
        asked.count() > 0
    }

    /// Asks the same of everybody, for a guest whose memory is full.
    pub(crate) fn ask_everybody_to_shrink(&self, accounting: &Accounting) -> bool {
        // The root has no limit to be over.
        self.ask_to_shrink(accounting, accounting.memcg.root())
    }

    /// Makes the guest give up everything it only caches for `group` and those below it, and waits
    /// until it has. Caller holds no lock.
    pub(crate) fn shrink_and_wait(&self, group: GroupId) {
        let accounting = self.lock();
        let ids = accounting.kmem.below(&accounting.memcg, group);
        drop(accounting);
        for &id in &ids {
            self.gate.send(Event { kind: EventKind::KmemShrink, argument: id, id: u32::MAX });
        }
        if let Some(&last) = ids.last() {
            // The guest takes events in turn: it has shrunk when it answers this.
            self.ask_caches(last);
        }
    }
}

/// Gives leave for a page of kernel memory, and if there is room for a batch. The guest stands still.
///
/// # Errors
/// ENOMEM at a limit: the call buffer then lists whose cached objects can be given up; ESRCH when the
/// id is none, or its group was removed and nobody inherited.
pub(crate) fn charge(machine: &Machine, id: u64, has_cached: bool) -> Result<u64, Errno> {
    let mut accounting = machine.lock();
    machine.drain_stock_wholly(&mut accounting);
    let known = u16::try_from(id).ok().filter(|id| accounting.kmem.accounts.contains_key(id));
    let Some(id) = known else {
        Stats::count(&machine.stats.guest_lies, 1);
        return Err(Errno::SRCH);
    };
    note_cached(&mut accounting, id, has_cached);
    let mut answer = try_charge(&mut accounting, id);
    while let Err(ChargeError::Refused { group, resource }) = answer {
        // User pages can be evicted, kernel memory can not.
        let has_room = match resource {
            Resource::Kmem => {
                machine.drain_free(&mut accounting) + machine.drain_kept(&mut accounting) > 0
            }
            _ => machine.find_room(&mut accounting, group, resource),
        };
        if !has_room {
            break;
        }
        answer = try_charge(&mut accounting, id);
    }
    match answer {
        Ok(pages) => {
            machine.memory.set_shared(shared::KMEM_STOCK, u64::from(id) << 32 | pages);
            Ok(0)
        }
        Err(ChargeError::Refused { group, .. }) => {
            let ids = accounting.kmem.below(&accounting.memcg, group);
            drop(accounting);
            list_ids(machine, &ids);
            Err(Errno::NOMEM)
        }
        Err(_) => {
            Stats::count(&machine.stats.guest_lies, 1);
            Err(Errno::SRCH)
        }
    }
}

/// Leaves kmem ids in the call buffer, as many as fit. Caller holds no lock: the buffer may fault.
fn list_ids(machine: &Machine, ids: &[u16]) {
    let room = usize::try_from(CALL_BUFFER_LEN / 8 - 1).unwrap_or(0);
    let ids = &ids[..ids.len().min(room)];
    machine.memory.set_word(CALL_BUFFER_GPA, 0, ids.len() as u64);
    for (slot, &id) in ids.iter().enumerate() {
        machine.memory.set_word(CALL_BUFFER_GPA, slot + 1, u64::from(id));
    }
}

/// Charges one page, and up to a batch where there is room.
fn try_charge(accounting: &mut Accounting, id: u16) -> Result<u64, ChargeError> {
    let Accounting { memcg, kmem, .. } = accounting;
    let account = kmem.accounts.get_mut(&id).ok_or(ChargeError::Dead)?;
    let pages = memcg.room_ahead(&account.held).min(Pages::new(BATCH)).max(Pages::ONE);
    memcg.try_charge_ahead(&mut account.held, pages)?;
    kmem.ahead.insert(id);
    Ok(pages.get())
}

fn note_cached(accounting: &mut Accounting, id: u16, has_cached: bool) {
    if let Some(account) = accounting.kmem.accounts.get_mut(&id) {
        account.has_cached = has_cached;
    }
}

/// The guest has given up objects it cached for `id`, and may have more.
///
/// # Errors
/// EINVAL when the id can be none.
pub(crate) fn shrunk(machine: &Machine, id: u64, has_more: bool) -> Result<u64, Errno> {
    let id = u16::try_from(id).map_err(|_| Errno::INVAL)?;
    let mut accounting = machine.lock();
    note_cached(&mut accounting, id, has_more);
    machine.drain_free(&mut accounting);
    Ok(0)
}

/// The guest will not name `id` again.
///
/// # Errors
/// EINVAL when its group was not removed.
pub(crate) fn gone(machine: &Machine, id: u64) -> Result<u64, Errno> {
    let mut accounting = machine.lock();
    machine.drain_stock_wholly(&mut accounting);
    let Accounting { memcg, kmem, .. } = &mut *accounting;
    let offline = u16::try_from(id)
        .ok()
        .filter(|id| kmem.accounts.get(id).is_some_and(|account| account.is_offline));
    let Some((id, account)) = offline.and_then(|id| Some((id, kmem.accounts.remove(&id)?))) else {
        Stats::count(&machine.stats.guest_lies, 1);
        return Err(Errno::INVAL);
    };
    memcg.uncharge_held(account.held);
    kmem.free.push(id);
    Ok(0)
}

/// Charges a kernel frame that was touched to the group with kmem id `id`; false when there is none.
pub(crate) fn charge_touched(
    machine: &Machine,
    accounting: &mut Accounting,
    (gfn, kind): (Gfn, Kind),
    id: u16,
) -> bool {
    let Accounting { memcg, kmem, .. } = accounting;
    let Some(account) = kmem.accounts.get_mut(&id) else {
        Stats::count(&machine.stats.guest_lies, 1);
        return false;
    };
    if account.held.pages().is_zero() {
        Stats::count(&machine.stats.guest_lies, 1);
        if memcg.try_charge_ahead(&mut account.held, Pages::ONE).is_err() {
            Stats::count(&machine.stats.forced, 1);
            memcg.charge_ahead(&mut account.held, Pages::ONE);
        }
    }
    let taken = memcg.take_over(&mut account.held, gfn, kind);
    if account.held.pages().is_zero() {
        kmem.ahead.remove(&id);
    }
    taken.is_ok()
}

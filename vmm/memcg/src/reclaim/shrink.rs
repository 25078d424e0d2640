//! Taking pages from the lists of one owner.
//!
//! Which sort of pages, the cost decides: what came back lately, and what was seen to be used when it
//! was about to go (Linux v6.12 mm/vmscan.c `get_scan_count`). As long as files have enough old pages
//! and evicting them has cost nothing, nothing else is taken.

use super::Run;
use crate::frames::{Flag, Frame, Place, Sort};
use crate::generations::{OLD, OLDEST, YOUNG, YOUNGEST};
use crate::owners::Holder;
use crate::{Evicted, Gfn, Guest, Memcg};

/// Of sixteen pages, so many are active at most.
const ACTIVE_16: u64 = 6;
/// Of sixteen pages, so many are in the youngest generation at most.
const YOUNGEST_16: u64 = 4;
/// Of sixteen pages, so many wait to be evicted, aged.
const AGED_16: u64 = 6;
/// For each page that is taken, so many may slip from one generation into the next.
const SLIP_RATIO: u64 = 4;
/// What writing a page to swap costs, as against having looked at one in vain.
const SWAP_COST: u64 = 32;

impl Memcg {
    /// Takes up to `wanted` pages of an owner.
    pub(super) fn shrink(
        &mut self,
        guest: &mut dyn Guest,
        run: &mut Run,
        holder: Holder,
        wanted: u64,
    ) {
        if wanted == 0 {
            return;
        }
        let [anon, file] = self.split(run, holder, wanted);
        for (sort, wanted) in [(Sort::File, file), (Sort::Anon, anon)] {
            let mut left = wanted.min(run.scans_left());
            let mut taken = 0;
            while left > 0 && (sort == Sort::File || run.may_swap) {
                let victims = self.victims(holder, sort, left.min(Self::BATCH));
                if victims.is_empty() {
                    break;
                }
                let looked_at = u64::try_from(victims.len()).unwrap_or(u64::MAX);
                left = left.saturating_sub(looked_at);
                taken += looked_at;
                self.evict(guest, run, &victims);
            }
            self.let_slip(guest, holder, sort, taken);
        }
        if run.is_desperate {
            self.look_again(guest, run, holder);
        }
    }

    /// Decides how many pages to take of each sort.
    fn split(&mut self, run: &Run, holder: Holder, wanted: u64) -> [u64; 2] {
        let swappiness = self.groups.at(holder.group()).settings.swappiness;
        let lru = self.lru(holder);
        let [anon, file] = Sort::ALL.map(|sort| lru.evictable(sort));
        // With a swappiness of zero, a limit never makes pages go to swap; a guest short of memory
        // does, when there is nothing else.
        let is_last_resort = (run.is_for_everybody() || run.top == self.root.index()) && file == 0;
        if !run.may_swap || anon == 0 || (swappiness == 0 && !is_last_resort) {
            return [0, wanted];
        }
        if file == 0 {
            return [wanted, 0];
        }
        let [anon_cost, file_cost] = lru.cost;
        let old_files = lru.len(Sort::File, OLDEST) + lru.len(Sort::File, OLD);
        if file_cost == 0 && old_files >= wanted {
            return [0, wanted];
        }
        // Both sorts keep a part of the pressure, whatever the other one costs.
        let sum = anon_cost + file_cost;
        let weight = |pages: u64, cost: u64, taste: u64| {
            u128::from(pages) * u128::from(taste * (sum * 3 + 1)) / u128::from(sum + cost + 1)
        };
        let anon_weight = weight(anon, anon_cost, swappiness);
        let file_weight = weight(file, file_cost, 200_u64.saturating_sub(swappiness));
        let part = u128::from(wanted) * 1024 * anon_weight / (anon_weight + file_weight).max(1);
        let due = u64::try_from(part).unwrap_or(u64::MAX).saturating_add(lru.rest);
        let from_anon = (due / 1024).min(wanted);
        self.lru_mut(holder).rest = due % 1024;
        [from_anon, wanted - from_anon]
    }

    /// Returns the oldest pages of a sort.
    fn victims(&self, holder: Holder, sort: Sort, wanted: u64) -> Vec<(Gfn, Frame)> {
        let lru = self.lru(holder);
        (OLDEST..=YOUNGEST)
            .flat_map(|generation| lru.list(sort, Place::Generation(generation)).iter(&self.frames))
            .take(usize::try_from(wanted).unwrap_or(usize::MAX))
            .filter_map(|gfn| Some((gfn, self.frames.get(gfn).ok()?)))
            .collect()
    }

    /// Has pages evicted, and books what became of them.
    pub(super) fn evict(&mut self, guest: &mut dyn Guest, run: &mut Run, victims: &[(Gfn, Frame)]) {
        let kinds: Vec<_> =
            victims.iter().filter_map(|(gfn, frame)| Some((*gfn, frame.kind()?))).collect();
        let answers = guest.evict(&kinds);
        let answers = answers.into_iter().chain(std::iter::repeat(Evicted::Failed));
        for (&(gfn, frame), answer) in victims.iter().zip(answers) {
            run.done.scanned += 1;
            let is_old_news = frame.place() == Place::Unevictable && answer == Evicted::Locked;
            let stays = matches!(answer, Evicted::Failed | Evicted::Busy) || is_old_news;
            run.gone += u64::from(!stays);
            match answer {
                Evicted::Swapped | Evicted::Zero => {
                    let (_, holder) = self.owners.resolve_mut(frame.owner());
                    self.note_cost(holder, Sort::Anon, SWAP_COST);
                    self.swap_out_for(gfn, frame, run.top);
                    run.done.swapped += 1;
                    run.done.reclaimed += 1;
                }
                Evicted::Dropped => {
                    self.drop_for(gfn, frame, run.top);
                    run.done.reclaimed += 1;
                }
                Evicted::Locked => {
                    self.relist(gfn, frame, frame.with_place(Place::Unevictable));
                }
                Evicted::Busy => {
                    self.relist(gfn, frame, frame.with_place(Place::Generation(YOUNGEST)));
                }
                Evicted::Failed if frame.sort() == Some(Sort::File) => {
                    run.gone += 1;
                    self.relist(gfn, frame, frame.with(Flag::SwapBacked));
                }
                Evicted::Failed => {
                    run.may_swap = false;
                    self.relist(gfn, frame, frame.with_place(Place::Generation(OLD)));
                }
            }
        }
    }

    /// Lets pages slip down to make up for `taken` ones, and has those aged that reach the oldest
    /// generation.
    fn let_slip(&mut self, guest: &mut dyn Guest, holder: Holder, sort: Sort, taken: u64) {
        if taken == 0 {
            return;
        }
        let lru = self.lru(holder);
        let share = |sixteenths: u64| lru.evictable(sort) * sixteenths / 16;
        let (youngest, active, aged) = (share(YOUNGEST_16), share(ACTIVE_16), share(AGED_16));
        let budget = taken * SLIP_RATIO;
        for _ in 0..budget {
            if self.lru(holder).len(sort, YOUNGEST) <= youngest {
                break;
            }
            self.slip(holder, sort, YOUNGEST);
        }
        for _ in 0..budget {
            let lru = self.lru(holder);
            if lru.len(sort, YOUNGEST) + lru.len(sort, YOUNG) <= active {
                break;
            }
            if self.slip(holder, sort, YOUNG).is_none() {
                break;
            }
        }
        let mut slipped = Vec::new();
        while self.lru(holder).len(sort, OLDEST) < aged
            && slipped.len() < usize::try_from(budget).unwrap_or(usize::MAX)
        {
            let Some(gfn) = self.slip(holder, sort, OLD) else { break };
            slipped.push(gfn);
        }
        if !slipped.is_empty() {
            guest.age(&slipped);
        }
    }

    /// Looks again at pages that were locked: some may not be any more. Those that still are go to the
    /// end of the line, so that the next time others are looked at.
    fn look_again(&mut self, guest: &mut dyn Guest, run: &mut Run, holder: Holder) {
        for sort in Sort::ALL {
            if sort == Sort::Anon && !run.may_swap {
                continue;
            }
            let wanted = run.missing().min(Self::BATCH).min(run.scans_left());
            let list = self.lru(holder).list(sort, Place::Unevictable);
            let locked: Vec<_> = list
                .iter(&self.frames)
                .take(usize::try_from(wanted).unwrap_or(usize::MAX))
                .filter_map(|gfn| Some((gfn, self.frames.get(gfn).ok()?)))
                .collect();
            if !locked.is_empty() {
                self.evict(guest, run, &locked);
            }
        }
    }
}

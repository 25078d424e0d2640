//! Pages that a moving task faults in: charged to both sides, so that either ending is right.

use super::Load;
use crate::frames::Frame;
use crate::owners::SlotId;
use crate::walk::Chain;
use crate::{ChargeError, Gfn, Memcg, Resource};

/// A page that comes back from swap.
const BACK: Load = Load { memory: 1, memsw: 0 };

impl Memcg {
    /// Takes a page that the moving task faults in along: the source has been charged for it, the
    /// destination is charged here. Returns the slot for it, or `None` when there is no room, in
    /// which case the page is the source's and the move will fail.
    pub(crate) fn join_transit(&mut self, number: u32) -> Option<SlotId> {
        let chain = self.transits.at(number).destination();
        let room = self.try_charge_load(chain, Load::ONE);
        let transit = self.transits.at_mut(number);
        if room.is_err() {
            transit.is_short = true;
            return None;
        }
        transit.held += Load::ONE;
        transit.joined += Load::ONE;
        Some(transit.slot)
    }

    /// Charges a page that was taken while it was on swap, and comes back, to the memory of both sides.
    /// Where the destination has no room it is the source's again, and the move will fail; returns its
    /// entry.
    ///
    /// # Errors
    /// When the source, or a group above both, has no room; nothing changed then.
    pub(crate) fn try_rejoin(
        &mut self,
        number: u32,
        gfn: Gfn,
        frame: Frame,
    ) -> Result<Frame, ChargeError> {
        let transit = self.transits.at(number);
        let (source, to) = (transit.source(), Chain::whole(transit.to));
        let due = self.due_at_source(number);
        self.try_charge_load(source, due)?;
        if self.try_charge_load(to, BACK).is_ok() {
            self.note_rejoined(number, due);
            return Ok(frame);
        }
        let above = source.top.map(Chain::whole);
        if let Some(Err(refused)) = above.map(|above| self.try_charge_load(above, BACK)) {
            self.uncharge_load(source, due);
            return Err(refused);
        }
        let transit = self.transits.at_mut(number);
        transit.is_short = true;
        // What the source kept, or was charged just now, is the page's own from here on.
        transit.held += due;
        transit.held -= Load::ONE;
        Ok(self.return_swapped(number, gfn, frame))
    }

    /// Gives a page on swap back to the source, which keeps what it was charged; returns its entry.
    fn return_swapped(&mut self, number: u32, gfn: Gfn, frame: Frame) -> Frame {
        let transit = self.transits.at(number);
        let (chain, from) = (transit.destination(), transit.from);
        self.uncharge_load(chain, Load::of(frame, 1));
        self.count_out(frame);
        let back = frame.with_owner(self.groups.at(from).slot);
        self.owners.get(back.owner(), 1);
        self.put_slot(frame.owner());
        self.frames.set(gfn, back);
        self.count_in(back);
        back
    }

    /// The same, whatever the limits say; the caller charges the destination.
    pub(crate) fn rejoin(&mut self, number: u32) {
        let transit = self.transits.at(number);
        let (from, source) = (transit.from, transit.source());
        let due = self.due_at_source(number);
        self.charge_over(from, source, &[Resource::Memory], due.memory);
        self.note_rejoined(number, due);
    }

    /// What the source has to be charged for a page that comes back: nothing if it has kept the charge
    /// of another that was freed or swapped out since it moved.
    fn due_at_source(&self, number: u32) -> Load {
        let transit = self.transits.at(number);
        if transit.held.memory > transit.gauges.memory() { Load::NOTHING } else { BACK }
    }

    fn note_rejoined(&mut self, number: u32, due: Load) {
        let transit = self.transits.at_mut(number);
        transit.held += due;
        transit.joined += due;
    }
}

//! The lists of reclaim: every user frame in memory is in exactly one, its owner's.

use crate::frames::{GENERATIONS, Place, Sort};
use crate::owners::Holder;
use crate::{Memcg, Violation};

impl Memcg {
    /// Walks all lists and compares what is in them with the frames.
    pub(super) fn check_lists(&self, found: &mut Vec<Violation>) {
        let listable = |frame: &crate::frames::Frame| frame.sort().is_some();
        let frames = self.frames.iter().filter(|(_, frame)| listable(frame)).count();
        let mut listed = 0;
        let groups = self.groups.iter().map(|group| Holder::Group(group.id.index()));
        let transits = self.transits.numbers().map(|transit| {
            let group = self.transits.at(transit).to;
            Holder::Transit { group, transit }
        });
        for holder in groups.chain(transits) {
            listed += self.check_lists_of(holder, frames, found);
        }
        if listed != frames {
            found.push(Violation {
                subject: "lists".to_owned(),
                rule: "every user frame in memory is in one list",
                counted: number(frames),
                booked: number(listed),
            });
        }
    }

    /// Walks the lists of one owner; returns how many frames are in them.
    fn check_lists_of(&self, holder: Holder, max: usize, found: &mut Vec<Violation>) -> usize {
        let places = (0..=3).map(Place::Generation).chain([Place::Unevictable]);
        debug_assert_eq!(places.clone().count(), GENERATIONS + 1, "every place is looked at");
        let mut listed = 0;
        for (sort, place) in Sort::ALL.into_iter().flat_map(|s| places.clone().map(move |p| (s, p)))
        {
            let list = self.lru(holder).list(sort, place);
            let (mut there, mut astray) = (0, 0);
            // A list that is a circle ends as well.
            for gfn in list.iter(&self.frames).take(max + 1) {
                there += 1;
                let belongs = self.frames.get(gfn).is_ok_and(|frame| {
                    frame.sort() == Some(sort)
                        && frame.place() == place
                        && self.owners.resolve(frame.owner()).1 == holder
                });
                astray += u64::from(!belongs);
            }
            listed += there;
            let subject = || format!("{sort:?} {place:?} of {holder:?}");
            if astray > 0 {
                let rule = "a listed frame belongs where it is";
                found.push(Violation { subject: subject(), rule, counted: astray, booked: 0 });
            }
            if number(there) != list.len() {
                let rule = "a list counts its frames";
                let (counted, booked) = (number(there), list.len());
                found.push(Violation { subject: subject(), rule, counted, booked });
            }
        }
        listed
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

//! Forgetting registrations that nobody can hear any more: of clients that have ended, and of
//! eventfds that were closed.

use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::listener::{Listener, Place, What, find_again};
use crate::service::Service;

/// How often they are looked for. Nobody hears them, so that only their descriptors depend on it.
const FORGET_EVERY: Duration = Duration::from_secs(1);

impl Service {
    /// Starts a thread that forgets the abandoned, unless there is one.
    pub(super) fn tidy_up(&self) {
        if self.registrations.is_tidying.swap(true, Ordering::AcqRel) {
            return;
        }
        let service = Weak::clone(&self.this);
        let tidy = move || tidy_while_somebody_listens(&service);
        if let Err(error) = thread::Builder::new().name("registrations".to_owned()).spawn(tidy) {
            log::warn!("no thread to forget clients that end: {error}");
            self.registrations.is_tidying.store(false, Ordering::Release);
        }
    }

    /// Forgets listeners whose eventfd nobody else has; false when nobody listens any more. Looking
    /// takes long where many processes run, so it is done without the list locked.
    fn forget_abandoned(&self) -> bool {
        let all = self.registrations.lock();
        let own: Vec<RawFd> = all.iter().map(|listener| listener.event.own_number()).collect();
        let places: Vec<Place> = all.iter().map(|listener| listener.event.place()).collect();
        let serials: BTreeSet<u64> = all.iter().map(|listener| listener.serial).collect();
        drop(all);
        let found = find_again(&places, &own);
        let mut all = self.registrations.lock();
        // Who has registered meanwhile was not looked for.
        let is_abandoned = |listener: &mut Listener| {
            let is_found = found.contains_key(&listener.event.place().eventfd);
            serials.contains(&listener.serial) && !is_found
        };
        let abandoned: Vec<Listener> = all.extract_if(.., is_abandoned).collect();
        for listener in all.iter_mut().filter(|listener| serials.contains(&listener.serial)) {
            if let Some(place) = found.get(&listener.event.place().eventfd) {
                listener.event.seen_at(*place);
            }
        }
        let is_empty = all.is_empty();
        drop(all);
        for Listener { group, what, .. } in abandoned {
            if let What::Threshold { resource, at } = what {
                self.accounting(|memcg| memcg.unwatch_usage(group, resource, at));
            }
        }
        !is_empty
    }
}

/// Runs as long as the mount is there and somebody listens.
fn tidy_while_somebody_listens(service: &Weak<Service>) {
    while let Some(service) = service.upgrade() {
        if !service.forget_abandoned() {
            service.registrations.is_tidying.store(false, Ordering::Release);
            // Somebody may have come between the two lines above.
            let is_alone = service.registrations.lock().is_empty();
            if is_alone || service.registrations.is_tidying.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        drop(service);
        thread::sleep(FORGET_EVERY);
    }
}

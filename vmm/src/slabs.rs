//! What the caches of a group's kernel objects hold: only the guest knows, so it is asked, and the one
//! who reads `memory.kmem.slabinfo` waits for the answer.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use fusefs::SlabCache;
use memcg::GroupId;
use rustix::io::Errno;
use vmcg_abi::call::cache;
use vmcg_abi::event::{Event, EventKind};
use vmcg_abi::layout::{CALL_BUFFER_GPA, PAGE_SIZE};

use crate::machine::Machine;

/// How long a guest may take to answer, on a host that is busy; one that hangs has no caches to show.
const PATIENCE: Duration = Duration::from_secs(10);
/// Caches a group can have.
const CACHES_MAX: u64 = 64;

/// Questions that are open, by kmem id, and their answers.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: Mutex<HashMap<u16, Question>>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Question {
    askers: usize,
    answer: Option<Vec<SlabCache>>,
}

impl Machine {
    /// The caches of a group, without those below it. Waits for the guest. Caller holds no lock.
    pub(crate) fn slab_caches(&self, group: GroupId) -> Vec<SlabCache> {
        let Some(id) = self.lock().kmem.id(group) else { return Vec::new() };
        self.ask_caches(id)
    }

    /// The same by kmem id.
    pub(crate) fn ask_caches(&self, id: u16) -> Vec<SlabCache> {
        let poisoned = "no thread panics with the questions locked";
        let mut open = self.questions.open.lock().expect(poisoned);
        let question = open.entry(id).or_default();
        question.askers += 1;
        question.answer = None;
        self.gate.send(Event { kind: EventKind::KmemCaches, argument: id, id: 0 });
        let is_open = |open: &mut HashMap<u16, Question>| {
            open.get(&id).is_some_and(|question| question.answer.is_none())
        };
        let waited = self.questions.answered.wait_timeout_while(open, PATIENCE, is_open);
        let mut open = waited.expect(poisoned).0;
        let Some(question) = open.get_mut(&id) else { return Vec::new() };
        let answer = question.answer.clone().unwrap_or_default();
        question.askers -= 1;
        if question.askers == 0 {
            open.remove(&id);
        }
        answer
    }
}

/// Takes the guest's answer: kmem id, number of caches in the call buffer.
///
/// # Errors
/// EINVAL when nobody asked or the answer cannot be right.
pub(crate) fn answer(machine: &Machine, id: u64, count: u64) -> Result<u64, Errno> {
    let id = u16::try_from(id).map_err(|_| Errno::INVAL)?;
    if count > CACHES_MAX {
        return Err(Errno::INVAL);
    }
    let caches = (0..count).map(|place| read_cache(machine, place)).collect::<Result<_, _>>()?;
    let mut open = machine.questions.open.lock().map_err(|_| Errno::INVAL)?;
    open.get_mut(&id).ok_or(Errno::INVAL)?.answer = Some(caches);
    drop(open);
    machine.questions.answered.notify_all();
    Ok(0)
}

/// Reads the description of one cache from the call buffer.
fn read_cache(machine: &Machine, place: u64) -> Result<SlabCache, Errno> {
    let start = CALL_BUFFER_GPA + place * 8 * cache::WORDS as u64;
    let word = |index: usize| machine.memory.word(start, index);
    let mut name = [0; cache::NAME_LEN];
    machine.memory.read(start + 8 * cache::NAME as u64, &mut name)?;
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let object_size = word(cache::OBJECT_LEN);
    if len == 0 || !name[..len].iter().all(is_word) || !(1..=PAGE_SIZE).contains(&object_size) {
        return Err(Errno::INVAL);
    }
    let slabs = word(cache::SLABS);
    let objects_per_slab = PAGE_SIZE / object_size;
    Ok(SlabCache {
        name: String::from_utf8_lossy(&name[..len]).into_owned(),
        objects_active: word(cache::ACTIVE),
        objects: slabs.saturating_mul(objects_per_slab),
        object_size,
        objects_per_slab,
        pages_per_slab: 1,
        slabs_active: slabs,
        slabs,
    })
}

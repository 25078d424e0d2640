//! Calls about files of the share: their content goes into guest memory.

use memcg::{Gfn, Kind};
use rustix::io::Errno;
use vmcg_abi::call::{ARGUMENTS_MAX, stat};
use vmcg_abi::layout::{CALL_BUFFER_GPA, CALL_BUFFER_LEN, PAGE_SIZE};

use super::{Answer, TRANSFER_MAX, bytes, length, put_buffer};
use crate::fault;
use crate::machine::Machine;
use crate::memory::BadRange;
use crate::share::{FileStat, Share};

/// length of the path in the buffer, flags.
pub(super) fn open(machine: &Machine, share: &mut Share, len: u64, flags: u64) -> Answer {
    let path = bytes(machine, CALL_BUFFER_GPA, len)?;
    let follow = flags & 1 == 0;
    let opened = share.open(&path, follow);
    let real = opened.as_ref().ok().and_then(|(handle, _)| share.real_path(*handle));
    let may_lead_away = match &opened {
        Ok(_) => real.as_ref() != Some(&path),
        Err(error) => *error == Errno::NOENT,
    };
    if may_lead_away && let Some(elsewhere) = share.elsewhere(&path, follow) {
        if let Ok((handle, _)) = opened {
            share.close(handle)?;
        }
        let len = (elsewhere.len() as u64).to_le_bytes();
        put_buffer(machine, &[&len[..], &elsewhere].concat())?;
        return Err(Errno::XDEV);
    }
    let (handle, found) = opened?;
    let real = real.filter(|real| *real != path).unwrap_or_default();
    put_buffer(machine, &[stat_bytes(&found, real.len()), real].concat())?;
    Ok(handle)
}

fn stat_bytes(found: &FileStat, real_len: usize) -> Vec<u8> {
    let mut words = [0; stat::WORDS];
    words[stat::DEV] = found.dev;
    words[stat::INO] = found.ino;
    words[stat::MODE] = u64::from(found.mode);
    words[stat::NLINK] = found.nlink;
    words[stat::OWNER] = u64::from(found.uid) | u64::from(found.gid) << 32;
    words[stat::SIZE] = found.size;
    words[stat::MTIME_S] = found.mtime_s.cast_unsigned();
    words[stat::MTIME_NS] = found.mtime_ns;
    words[stat::REAL_LEN] = real_len as u64;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// handle, offset, gpa, length. A frame nobody has touched faults here, on this thread, and is
/// charged as if the guest had touched it.
pub(super) fn read(machine: &Machine, share: &mut Share, a: [u64; ARGUMENTS_MAX]) -> Answer {
    let len = a[3].min(TRANSFER_MAX);
    machine.memory.slice(a[2], len)?;
    let mut bytes = vec![0; length(len, TRANSFER_MAX)?];
    let count = share.read_at(a[0], a[1], &mut bytes)?;
    fill(machine, a[2], &bytes[..count])?;
    remember_file(machine, share, a, count as u64);
    Ok(count as u64)
}

/// Writes into frames that may never have been touched.
pub(super) fn fill(machine: &Machine, gpa: u64, bytes: &[u8]) -> Result<(), BadRange> {
    let end = gpa.saturating_add(bytes.len() as u64);
    fault::bring_ahead(machine, gpa / PAGE_SIZE..end.div_ceil(PAGE_SIZE));
    machine.memory.write(gpa, bytes)
}

/// Notes which frames a read has filled with whole pages of a file: their content need not be kept
/// when they are evicted. The last page of a file is whole, too.
fn remember_file(machine: &Machine, share: &Share, a: [u64; ARGUMENTS_MAX], count: u64) {
    let [handle, offset, gpa, ..] = a;
    if !offset.is_multiple_of(PAGE_SIZE) || !gpa.is_multiple_of(PAGE_SIZE) {
        return;
    }
    let Some(file) = share.regular_file(handle) else { return };
    let mut accounting = machine.lock();
    for page in 0..count.div_ceil(PAGE_SIZE) {
        let gfn = Gfn::new(gpa / PAGE_SIZE + page);
        let is_cache = accounting.memcg.kind(gfn) == Some(Kind::File);
        // One that was evicted meanwhile has its content elsewhere already.
        if is_cache && machine.memory.is_backed(gfn) {
            accounting.contents.note_read(gfn, handle, &file, offset / PAGE_SIZE + page);
        }
    }
}

pub(super) fn readdir(machine: &Machine, share: &mut Share, handle: u64, cookie: u64) -> Answer {
    let max = usize::try_from(CALL_BUFFER_LEN).map_err(|_| Errno::INVAL)?;
    let packed = share.readdir(handle, cookie, max)?;
    put_buffer(machine, &packed)
}

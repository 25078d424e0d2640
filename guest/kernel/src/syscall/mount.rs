//! System calls: mounting. Only a hugetlbfs can be mounted.

use alloc::string::String;
use alloc::vec::Vec;

use super::Entry;
use super::request::{Outcome, Request};
use crate::errno::Errno;
use crate::file::hugetlbfs::mount::Options;
use crate::file::{context_of, directory, lookup, path, table_of};
use crate::kernel::Kernel;
use crate::memory::area::Backing;
use crate::number::low_i32;

/// The group's rows.
pub(crate) const CALLS: &[Entry] = &[
    (165, "mount", mount), // partial: hugetlbfs only
    (166, "umount2", umount),
];

/// The working directory, as a descriptor word.
const AT_CWD: u64 = crate::file::uapi::at::CWD.cast_unsigned() as u64;
/// Longest name of a file system, and longest text of options.
const TEXT_MAX: usize = 4096;

/// mount(source, target, type, flags, options)
fn mount(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const REMOUNT: u64 = 32;
    let [_, target_gva, type_gva, flags, options_gva, _] = request.args;
    let user = kernel.user(request.tid);
    let target = user.read_c_string(target_gva, path::PATH_MAX)?;
    let kind = if type_gva == 0 { Vec::new() } else { user.read_c_string(type_gva, TEXT_MAX)? };
    if kind != b"hugetlbfs" {
        return Err(Errno::ENODEV);
    }
    if flags & REMOUNT != 0 {
        return Err(Errno::EINVAL);
    }
    let text = match options_gva {
        0 => Vec::new(),
        gva => user.read_c_string(gva, TEXT_MAX)?,
    };
    let text = String::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let absolute = lookup::absolute(kernel, request.tid, AT_CWD, &target)?;
    let point = directory::check(kernel, request.tid, &absolute)?;
    let options = Options::parse(&text, &kernel.huge)?;
    let quota = options.quota(&kernel.huge)?;
    kernel.files.mount_huge(&point, &quota, options.mode);
    Ok(Outcome::Done(0))
}

/// umount2(target, flags)
fn umount(kernel: &mut Kernel, request: &mut Request) -> Result<Outcome, Errno> {
    const ANY_FLAG: i32 = 15;
    let [target_gva, flags, ..] = request.args;
    if low_i32(flags) & !ANY_FLAG != 0 {
        return Err(Errno::EINVAL);
    }
    let target = kernel.user(request.tid).read_c_string(target_gva, path::PATH_MAX)?;
    let absolute = lookup::absolute(kernel, request.tid, AT_CWD, &target)?;
    let point = directory::check(kernel, request.tid, &absolute)?;
    if !kernel.files.is_huge_mount(&point) {
        return Err(Errno::EINVAL);
    }
    if is_used(kernel, &point) {
        return Err(Errno::EBUSY);
    }
    kernel.files.unmount(&point);
    Ok(Outcome::Done(0))
}

/// Whether somebody stands in a mount, has a file of it open or maps one.
fn is_used(kernel: &Kernel, point: &[u8]) -> bool {
    let is_within = |text: &[u8]| path::below(text, point).is_some();
    let in_tasks = kernel.tasks.keys().any(|tid| {
        let table = table_of(kernel, *tid);
        let open = table.borrow();
        let opens = |fd| open.get(fd).is_ok_and(|file| is_within(&file.path));
        is_within(&context_of(kernel, *tid).borrow().directory)
            || open.used().into_iter().any(opens)
    });
    in_tasks
        || kernel.spaces().iter().any(|space| {
            let space = space.borrow();
            let maps = |backing: &Backing| match backing {
                Backing::Object { path, .. } => is_within(path),
                Backing::Anon => false,
            };
            space.areas.iter().any(|(_, area)| maps(&area.backing))
        })
}

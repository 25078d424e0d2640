//! The first stack of a program: strings, auxiliary vector, environment, arguments.

use alloc::vec;
use alloc::vec::Vec;

use vmcg_abi::layout::PAGE_SIZE;

use super::Strings;
use super::image::Image;
use crate::errno::Errno;
use crate::host;
use crate::memory::space::SharedSpace;
use crate::memory::user::UserMemory;
use crate::physical;
use crate::task::extended::Extended;
use crate::task::registers::Registers;

/// Keys of the auxiliary vector (Linux v6.12 include/uapi/linux/auxvec.h).
mod auxiliary {
    pub(super) const END: u64 = 0;
    pub(super) const PHDR: u64 = 3;
    pub(super) const PHENT: u64 = 4;
    pub(super) const PHNUM: u64 = 5;
    pub(super) const PAGESZ: u64 = 6;
    pub(super) const BASE: u64 = 7;
    pub(super) const FLAGS: u64 = 8;
    pub(super) const ENTRY: u64 = 9;
    pub(super) const UID: u64 = 11;
    pub(super) const EUID: u64 = 12;
    pub(super) const GID: u64 = 13;
    pub(super) const EGID: u64 = 14;
    pub(super) const PLATFORM: u64 = 15;
    pub(super) const HWCAP: u64 = 16;
    pub(super) const CLKTCK: u64 = 17;
    pub(super) const SECURE: u64 = 23;
    pub(super) const RANDOM: u64 = 25;
    pub(super) const HWCAP2: u64 = 26;
    pub(super) const EXECFN: u64 = 31;
    pub(super) const MINSIGSTKSZ: u64 = 51;
}

/// Clock ticks in a second (USER_HZ).
pub(crate) const CLOCK_TICKS: u64 = 100;
/// Bit of AT_HWCAP2: ring 3 may use rdfsbase and its like.
const HWCAP2_FSGSBASE: u64 = 1 << 1;
/// What a signal frame takes besides the extended state, red zone and alignment included.
const SIGNAL_FRAME_MAX: u64 = 1024;
const PLATFORM: &[u8] = b"x86_64";
const RANDOM_LEN: usize = 16;

/// Writes the first stack; answers the registers to start with.
///
/// Fails with E2BIG where the strings take more than a quarter of the stack.
pub(super) fn build(
    space: &SharedSpace,
    image: &Image,
    path: &[u8],
    strings: &Strings,
) -> Result<Registers, Errno> {
    let random = vec![0_u8; RANDOM_LEN];
    host::random(physical::gpa_of(random.as_slice()), RANDOM_LEN as u64)?;
    // Strings, from the top down; the block is written at once.
    let mut block = Vec::new();
    let mut offsets = Vec::new();
    let extras = [PLATFORM, path];
    let texts = strings.arguments.iter().chain(&strings.environment).map(Vec::as_slice);
    for text in texts.chain(extras) {
        offsets.push(block.len() as u64);
        block.extend_from_slice(text);
        block.push(0);
    }
    let random_offset = block.len() as u64;
    block.extend_from_slice(&random);
    let stack_max = space.borrow().stack_max;
    if block.len() as u64 + offsets.len() as u64 * 8 > stack_max / 4 {
        return Err(Errno::E2BIG);
    }
    let block_gva = (image.stack_top - 8 - block.len() as u64) & !15;
    let gva_of = |text: usize| block_gva + offsets[text];
    let argument_count = strings.arguments.len();
    let text_count = argument_count + strings.environment.len();
    let mut words = vec![argument_count as u64];
    words.extend((0..argument_count).map(gva_of));
    words.push(0);
    words.extend((argument_count..text_count).map(gva_of));
    words.push(0);
    let places = [gva_of(text_count), gva_of(text_count + 1), block_gva + random_offset];
    words.extend(auxiliary_vector(image, places));
    let rsp = (block_gva - words.len() as u64 * 8) & !15;
    let user = UserMemory::new(space.clone());
    user.write(block_gva, &block)?;
    user.write_words(rsp, &words)?;
    space.borrow_mut().arguments = block_gva..block_gva + offsets[argument_count];
    Ok(Registers { rip: image.start, rsp, rflags: 0x202, ..Registers::default() })
}

/// Keys and values; `places` are the addresses of platform, path and random bytes.
fn auxiliary_vector(image: &Image, places: [u64; 3]) -> Vec<u64> {
    let [platform, path, random] = places;
    // CPUID leaf 1, EDX, is what Linux shows as AT_HWCAP.
    let features = u64::from(core::arch::x86_64::__cpuid(1).edx);
    let pairs = [
        (auxiliary::HWCAP, features),
        (auxiliary::PAGESZ, PAGE_SIZE),
        (auxiliary::CLKTCK, CLOCK_TICKS),
        (auxiliary::PHDR, image.headers_gva),
        (auxiliary::PHENT, 56),
        (auxiliary::PHNUM, image.headers),
        (auxiliary::BASE, image.linker_base),
        (auxiliary::FLAGS, 0),
        (auxiliary::ENTRY, image.entry),
        (auxiliary::UID, 0),
        (auxiliary::EUID, 0),
        (auxiliary::GID, 0),
        (auxiliary::EGID, 0),
        (auxiliary::SECURE, 0),
        (auxiliary::RANDOM, random),
        (auxiliary::HWCAP2, HWCAP2_FSGSBASE),
        (auxiliary::EXECFN, path),
        (auxiliary::MINSIGSTKSZ, SIGNAL_FRAME_MAX + Extended::new().bytes().len() as u64),
        (auxiliary::PLATFORM, platform),
        (auxiliary::END, 0),
    ];
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

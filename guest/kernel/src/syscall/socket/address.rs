//! Addresses of Unix sockets: `struct sockaddr_un`.
//!
//! Source: Linux v6.12 include/uapi/linux/un.h, net/unix/af_unix.c.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::super::request::Request;
use super::UNIX;
use crate::errno::Errno;
use crate::file::lookup::{self, Found};
use crate::file::node::NodeBody;
use crate::file::socket::port::Port;
use crate::host::Follow;
use crate::kernel::Kernel;
use crate::memory::user::UserMemory;
use crate::number::{index, low_u32};

/// Bytes before the name, and of the longest name.
const FAMILY_LEN: usize = 2;
const NAME_MAX: usize = 108;

/// What a program gave as an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// No family: to forget a connection.
    None,
    /// A name is to be made up.
    Any,
    /// The path of a file.
    Path(Vec<u8>),
    /// A name without a file; its first byte is 0.
    Abstract(Vec<u8>),
}

/// Reads an address; EINVAL for one that is none.
pub(super) fn read(user: &UserMemory, gva: u64, len: u64) -> Result<Address, Errno> {
    let len = index(u64::from(low_u32(len)));
    if !(FAMILY_LEN..=FAMILY_LEN + NAME_MAX).contains(&len) {
        return Err(Errno::EINVAL);
    }
    let bytes = user.read_vec(gva, len)?;
    let (family, name) = bytes.split_at(FAMILY_LEN);
    match u32::from(u16::from_le_bytes([family[0], family[1]])) {
        0 => return Ok(Address::None),
        UNIX => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(match name.iter().position(|byte| *byte == 0) {
        _ if name.is_empty() => Address::Any,
        Some(0) => Address::Abstract(name.to_vec()),
        end => Address::Path(name[..end.unwrap_or(name.len())].to_vec()),
    })
}

/// The socket at an address; ECONNREFUSED where none is.
pub(super) fn find(
    kernel: &mut Kernel,
    request: &Request,
    gva: u64,
    len: u64,
) -> Result<Rc<Port>, Errno> {
    let path = match read(&kernel.user(request.tid), gva, len)? {
        Address::None | Address::Any => return Err(Errno::EINVAL),
        Address::Abstract(name) => {
            return kernel.files.sockets.find(&name).ok_or(Errno::ECONNREFUSED);
        }
        Address::Path(path) => path,
    };
    let absolute = lookup::absolute(kernel, request.tid, super::AT_CWD, &path)?;
    let found = lookup::lookup(kernel, request.tid, &absolute, Follow::Yes)?.found;
    let Found::Node(node) = found else { return Err(Errno::ECONNREFUSED) };
    match &node.body {
        NodeBody::Socket(port) => port.upgrade().ok_or(Errno::ECONNREFUSED),
        _ => Err(Errno::ECONNREFUSED),
    }
}

/// Writes an address as far as there is room, and its length.
pub(super) fn write(
    user: &UserMemory,
    name: Option<&[u8]>,
    gva: u64,
    len_gva: u64,
) -> Result<(), Errno> {
    let room = user.read_half(len_gva)?;
    if room.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = UNIX.to_le_bytes()[..FAMILY_LEN].to_vec();
    bytes.extend_from_slice(name.unwrap_or_default());
    user.write(gva, &bytes[..bytes.len().min(index(room.into()))])?;
    user.write_half(len_gva, u32::try_from(bytes.len()).unwrap_or(0))
}

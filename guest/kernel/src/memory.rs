//! Memory: frames, page tables, address spaces, and what programs' addresses lead to.

mod frame_map;

pub(crate) mod area;
pub(crate) mod fault;
pub(crate) mod fork;
pub(crate) mod frames;
pub(crate) mod huge;
pub(crate) mod lock;
pub(crate) mod map;
pub(crate) mod object;
pub(crate) mod remap;
pub(crate) mod segment;
pub(crate) mod space;
pub(crate) mod tables;
pub(crate) mod truncate;
pub(crate) mod user;

//! The control files as programs see them that know nothing of vmcg: listeners, libraries, old
//! scripts, many clients at once, and large trees. Through the real binary, mount and guest.

#![forbid(unsafe_code)]

#[path = "e2e_files/clients.rs"]
mod clients;
#[path = "e2e_files/listening.rs"]
mod listening;
#[path = "e2e_files/shell.rs"]
mod shell;
#[path = "e2e_files/trees.rs"]
mod trees;
#[path = "e2e_files/users.rs"]
mod users;

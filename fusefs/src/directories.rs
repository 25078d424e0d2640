//! Which inode number means which group, and the attributes of groups and their files.
//!
//! A directory gets a number when it is first seen; numbers are not used again, so that a stale
//! inode never means another group. An inode number is the directory's number and, in the low
//! byte, what is meant: 1 the directory itself, from 2 on the row in the table of control files.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use fuser::INodeNo;
use memcg::GroupId;

use crate::attributes::Attributes;
use crate::control_file::{ControlFile, Row};

/// What an inode number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The group whose directory it is in.
    pub(crate) group: GroupId,
    /// The file; none for the directory itself.
    pub(crate) file: Option<Row>,
    /// The directory's number.
    number: u64,
}

/// All directories that were ever looked at and are not forgotten.
#[derive(Debug)]
pub(crate) struct Directories {
    table: RwLock<Table>,
}

#[derive(Debug)]
struct Table {
    by_number: HashMap<u64, Directory>,
    by_group: HashMap<GroupId, u64>,
    next: u64,
}

#[derive(Debug)]
struct Directory {
    group: GroupId,
    own: Attributes,
    /// Attributes that new files show; those of the directory when it was made.
    made: Attributes,
    /// Files whose attributes were changed.
    changed: HashMap<Row, Attributes>,
}

const ROOT_NUMBER: u64 = 0;
const ITSELF: u8 = 1;
const FIRST_ROW: u8 = 2;

impl Node {
    /// Returns the inode number.
    pub(crate) fn ino(self) -> INodeNo {
        let low = self.file.map_or(ITSELF, |row| row.number() + FIRST_ROW);
        INodeNo(self.number << 8 | u64::from(low))
    }

    /// Returns the node of a file in this directory.
    pub(crate) const fn file(self, row: Row) -> Self {
        Self { file: Some(row), ..self }
    }
}

impl Directories {
    /// Starts with the root group's directory, owned by `uid` and `gid`.
    pub(crate) fn new(root: GroupId, uid: u32, gid: u32) -> Self {
        let mut table =
            Table { by_number: HashMap::new(), by_group: HashMap::new(), next: ROOT_NUMBER };
        table.add(root, Attributes::new(0o755, uid, gid));
        Self { table: RwLock::new(table) }
    }

    /// Finds what an inode number stands for; none when it was forgotten.
    pub(crate) fn node(&self, ino: INodeNo) -> Option<Node> {
        let (number, low) = (ino.0 >> 8, u8::try_from(ino.0 & 0xff).expect("masked to a byte"));
        let file = match low.checked_sub(FIRST_ROW) {
            Some(number) => Some(Row::of_number(number)?),
            None => None,
        };
        let group = self.read(|table| table.by_number.get(&number).map(|dir| dir.group))?;
        Some(Node { group, file, number })
    }

    /// Returns the directory of a group, giving it a number if it has none yet: then it was made by
    /// the machine, not through the mount, and belongs to the owner of the root directory.
    pub(crate) fn of_group(&self, group: GroupId) -> Node {
        if let Some(number) = self.read(|table| table.by_group.get(&group).copied()) {
            return Node { group, file: None, number };
        }
        let number = self.write(|table| {
            let root = &table.by_number[&ROOT_NUMBER].made;
            let attributes = Attributes::new(0o755, root.uid, root.gid);
            table.add(group, attributes)
        });
        Node { group, file: None, number }
    }

    /// Gives the directory of a new group its attributes.
    pub(crate) fn made(&self, group: GroupId, attributes: Attributes) -> Node {
        let number = self.write(|table| table.add(group, attributes));
        Node { group, file: None, number }
    }

    /// Drops a directory that the kernel has forgotten. Its group is gone, so that nobody will ask.
    pub(crate) fn forget(&self, node: Node) {
        self.write(|table| {
            table.by_number.remove(&node.number);
            table.by_group.remove(&node.group);
        });
    }

    /// Runs `f` on the attributes of `node`. What was dropped shows those of the root directory.
    pub(crate) fn attributes<R>(&self, node: Node, f: impl FnOnce(&Attributes) -> R) -> R {
        self.read(|table| {
            let directory =
                table.by_number.get(&node.number).unwrap_or(&table.by_number[&ROOT_NUMBER]);
            match node.file {
                None => f(&directory.own),
                Some(row) => match directory.changed.get(&row) {
                    Some(changed) => f(changed),
                    None => f(&directory.initial(row.file())),
                },
            }
        })
    }

    /// Runs `f` on the attributes of `node`, to change them; none when it was dropped.
    pub(crate) fn change<R>(&self, node: Node, f: impl FnOnce(&mut Attributes) -> R) -> Option<R> {
        self.write(|table| {
            let directory = table.by_number.get_mut(&node.number)?;
            let Some(row) = node.file else { return Some(f(&mut directory.own)) };
            let initial = directory.initial(row.file());
            Some(f(directory.changed.entry(row).or_insert(initial)))
        })
    }

    fn read<R>(&self, f: impl FnOnce(&Table) -> R) -> R {
        f(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        f(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    /// Enters a group; one that is known already keeps its number and its attributes.
    fn add(&mut self, group: GroupId, attributes: Attributes) -> u64 {
        let number = *self.by_group.entry(group).or_insert(self.next);
        if number == self.next {
            self.next += 1;
            let made = attributes.clone();
            let directory = Directory { group, own: attributes, made, changed: HashMap::new() };
            self.by_number.insert(number, directory);
        }
        number
    }
}

impl Directory {
    fn initial(&self, file: &ControlFile) -> Attributes {
        Attributes { mode: file.mode, ..self.made.clone() }
    }
}

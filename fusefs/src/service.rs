//! What the file system does, in its own words: no FUSE messages, no locks of the machine.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

use fuser::{Errno, FileAttr, FileType, INodeNo, Notifier};
use memcg::{Config, GroupId, Memcg, Offline, Resource, Settings};

use crate::attributes::{Attributes, Change};
use crate::client::Client;
use crate::control_file::{ControlFile, Field, Place, Read, Row};
use crate::directories::{Directories, Node};
use crate::errno::{self, Result};
use crate::events::Registrations;
use crate::host::Host;
use crate::open_file::OpenFile;
use crate::slab::Slab;
use crate::{text, values};

/// The file system.
pub(crate) struct Service {
    /// The machine.
    pub(crate) host: Arc<dyn Host>,
    /// Inode numbers and attributes.
    pub(crate) directories: Directories,
    /// Open files.
    pub(crate) files: Slab<OpenFile>,
    /// Open directories.
    pub(crate) listings: Slab<Vec<Entry>>,
    /// The files this machine shows, by name.
    rows: HashMap<&'static str, Row>,
    root: GroupId,
    /// Who runs the machine; its tasks are his.
    owner: u32,
    agent: RwLock<String>,
    /// Who wants to be told of what.
    pub(crate) registrations: Registrations,
    /// Device number of the mount, once it is mounted.
    pub(crate) device: OnceLock<u64>,
    /// A way to speak to the kernel unasked, once it is mounted.
    pub(crate) notifier: OnceLock<Notifier>,
    /// Itself, for threads that must not keep it alive.
    pub(crate) this: Weak<Self>,
}

/// A line of a directory listing.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its inode number.
    pub(crate) ino: INodeNo,
    /// File or directory.
    pub(crate) kind: FileType,
    /// Its name.
    pub(crate) name: String,
}

impl Service {
    /// Makes the file system of a machine, owned by `uid` and `gid`.
    pub(crate) fn new(host: Arc<dyn Host>, (uid, gid): (u32, u32)) -> Arc<Self> {
        let (root, config) = accounting(&*host, |memcg| (memcg.root(), memcg.config()));
        Arc::new_cyclic(|this| Self {
            host,
            directories: Directories::new(root, uid, gid),
            files: Slab::default(),
            listings: Slab::default(),
            rows: visible_rows(config),
            root,
            owner: uid,
            agent: RwLock::default(),
            registrations: Registrations::default(),
            device: OnceLock::new(),
            notifier: OnceLock::new(),
            this: Weak::clone(this),
        })
    }

    /// Runs `f` on the accounting; returns what it returns.
    pub(crate) fn accounting<R>(&self, f: impl FnOnce(&mut Memcg) -> R) -> R {
        accounting(&*self.host, f)
    }

    /// Returns the settings of a group.
    ///
    /// # Errors
    /// ENODEV when it was removed.
    pub(crate) fn settings(&self, group: GroupId) -> Result<Settings> {
        self.accounting(|memcg| memcg.settings(group)).map_err(errno::of_group)
    }

    /// Tells whether a user may move tasks: the superuser, and who runs the machine.
    pub(crate) const fn may_move(&self, uid: u32) -> bool {
        uid == 0 || uid == self.owner
    }

    /// Returns the path of the release agent; empty for none.
    pub(crate) fn agent(&self) -> String {
        self.agent.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the path of the release agent.
    pub(crate) fn set_agent(&self, path: &str) {
        path.clone_into(&mut self.agent.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Finds what an inode number stands for.
    ///
    /// # Errors
    /// ESTALE when it was forgotten.
    pub(crate) fn node(&self, ino: INodeNo) -> Result<Node> {
        self.directories.node(ino).ok_or(Errno::ESTALE)
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// ENOENT.
    pub(crate) fn lookup(&self, parent: INodeNo, name: &OsStr) -> Result<Node> {
        let parent = self.node(parent)?;
        let name = name.to_str().ok_or(Errno::ENOENT)?;
        if let Some(row) = self.row(parent.group, name) {
            // A removed directory has no files any more.
            self.settings(parent.group).map_err(|_dead| Errno::ENOENT)?;
            return Ok(parent.file(row));
        }
        let group = self.accounting(|memcg| memcg.lookup(parent.group, name));
        Ok(self.directories.of_group(group.ok_or(Errno::ENOENT)?))
    }

    /// Returns what stat(2) shows.
    pub(crate) fn stat(&self, node: Node) -> FileAttr {
        let (kind, nlink) = match node.file {
            Some(_) => (FileType::RegularFile, 1),
            None => (FileType::Directory, 2 + self.count_children(node.group)),
        };
        self.directories.attributes(node, |attributes| attributes.stat(node.ino(), kind, nlink))
    }

    /// Changes attributes; returns what stat(2) shows then. Whether it is allowed the kernel has checked
    /// already.
    ///
    /// # Errors
    /// ESTALE when the directory was forgotten.
    pub(crate) fn change(&self, ino: INodeNo, change: Change) -> Result<FileAttr> {
        let node = self.node(ino)?;
        let changed = self.directories.change(node, |attributes| attributes.apply(change));
        changed.map(|()| self.stat(node)).ok_or(Errno::ESTALE)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// EEXIST, EINVAL for a name with a newline, ENODEV, ENOSPC.
    pub(crate) fn mkdir(
        &self,
        client: Client,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
    ) -> Result<Node> {
        let parent = self.node(parent)?;
        let name = group_name(name)?;
        if self.row(parent.group, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let group = self.accounting(|memcg| memcg.create(parent.group, name));
        let group = group.map_err(errno::of_group)?;
        let mode = u16::try_from(mode & 0o7777).expect("masked to 12 bits");
        Ok(self.directories.made(group, Attributes::new(mode, client.uid(), client.gid())))
    }

    /// Removes a group; returns it, for [`Self::removed`].
    ///
    /// # Errors
    /// ENOENT; ENOTDIR for a file; EBUSY with tasks or children.
    pub(crate) fn rmdir(&self, parent: INodeNo, name: &OsStr) -> Result<GroupId> {
        let node = self.lookup(parent, name)?;
        if node.file.is_some() {
            return Err(Errno::ENOTDIR);
        }
        self.drain(node.group);
        self.accounting(|memcg| memcg.remove(node.group)).map_err(errno::of_group)?;
        Ok(node.group)
    }

    /// With `--offline drain`, takes what can be taken from a group that is about to be removed.
    fn drain(&self, group: GroupId) {
        /// Looks at a group that keeps giving pages, before the rest is left to pressure.
        const ROUNDS_MAX: u32 = 16;
        let to_be_drained = |memcg: &mut Memcg| {
            let is_busy = memcg.tasks(group).map_or(true, |tasks| !tasks.is_empty())
                || memcg.children(group).map_or(true, |children| !children.is_empty());
            let usage = memcg.counter(group, Resource::Memory).map(|counter| counter.usage());
            let is_drained = memcg.config().offline == Offline::Drain && !is_busy;
            usage.ok().filter(|usage| is_drained && !usage.is_zero())
        };
        for _ in 0..ROUNDS_MAX {
            let Some(usage) = self.accounting(to_be_drained) else { return };
            if self.host.reclaim(group, Resource::Memory, usage).is_zero() {
                return;
            }
        }
    }

    /// Tells whoever wants to know that a group was removed. Call it when the kernel knows.
    pub(crate) fn removed(&self, parent: INodeNo, name: OsString, group: GroupId) {
        self.end_listening(group, parent, name);
        self.host.removed(group);
        if let Ok(parent) = self.node(parent) {
            self.agent_check(parent.group);
        }
    }

    /// Renames a group within its parent.
    ///
    /// # Errors
    /// ENOTDIR for a file; EIO into another directory; EEXIST; EINVAL for a name with a newline.
    pub(crate) fn rename(
        &self,
        (parent, name): (INodeNo, &OsStr),
        (new_parent, new_name): (INodeNo, &OsStr),
    ) -> Result<()> {
        let node = self.lookup(parent, name)?;
        if node.file.is_some() {
            return Err(Errno::ENOTDIR);
        }
        // Linux v6.18 kernel/cgroup/cgroup-v1.c cgroup1_rename.
        if parent != new_parent {
            return Err(Errno::EIO);
        }
        if self.lookup(new_parent, new_name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let new_name = group_name(new_name)?;
        self.accounting(|memcg| memcg.rename(node.group, new_name)).map_err(errno::of_group)
    }

    /// Lists a directory; one that was removed is empty.
    ///
    /// # Errors
    /// ESTALE when it was forgotten.
    pub(crate) fn list(&self, ino: INodeNo) -> Result<Vec<Entry>> {
        let node = self.node(ino)?;
        if self.settings(node.group).is_err() {
            return Ok(Vec::new());
        }
        let above = self.accounting(|memcg| memcg.parent(node.group));
        let above = above.map_or(node, |parent| self.directories.of_group(parent));
        let mut entries = vec![directory_entry(node, "."), directory_entry(above, "..")];
        entries.extend(self.rows.values().filter(|row| self.has(node.group, row.file())).map(
            |row| {
                let (ino, name) = (node.file(*row).ino(), row.file().name.to_owned());
                Entry { ino, kind: FileType::RegularFile, name }
            },
        ));
        let children = self.accounting(|memcg| {
            let children = memcg.children(node.group)?.into_iter();
            Ok(children
                .filter_map(|child| Some((child, memcg.name(child)?.to_owned())))
                .collect::<Vec<_>>())
        });
        let children = children.map_err(errno::of_group)?;
        entries.extend(
            children
                .into_iter()
                .map(|(group, name)| directory_entry(self.directories.of_group(group), &name)),
        );
        Ok(entries)
    }

    /// Reads at most `size` bytes of an open file.
    ///
    /// # Errors
    /// As [`Self::content`].
    pub(crate) fn read(&self, open: &OpenFile, offset: u64, size: u32) -> Result<Vec<u8>> {
        let mut snapshot = open.snapshot();
        if snapshot.needs_content(offset) {
            snapshot.renew(|text| self.content(open.group, open.file, text))?;
        }
        Ok(snapshot.read(offset, size).to_vec())
    }

    /// Makes the content of a file.
    ///
    /// # Errors
    /// EINVAL where there is no handler, ENODEV when the group was removed.
    pub(crate) fn content(
        &self,
        group: GroupId,
        file: &ControlFile,
        content: &mut String,
    ) -> Result<()> {
        if let Read::Own(show) = file.read {
            return show(self, group, content);
        }
        self.accounting(|memcg| {
            let number = match file.read {
                Read::Refused | Read::Own(_) => return Err(memcg::Error::Invalid),
                Read::Text(show) => return show(memcg, group, content),
                Read::Number(get) => get(&memcg.settings(group)?),
                Read::Size(get) => values::bytes(get(&memcg.settings(group)?)),
                Read::Counter(resource, field) => {
                    let counter = memcg.counter(group, resource)?;
                    match field {
                        Field::Usage => values::bytes(counter.usage()),
                        Field::Limit => values::bytes(counter.limit()),
                        Field::MaxUsage => values::bytes(counter.watermark()),
                        Field::Failcnt => counter.failcnt(),
                    }
                }
            };
            text::number(content, number);
            Ok(())
        })
        .map_err(errno::of_group)
    }

    /// Drops what is kept about a directory, when its group is gone.
    pub(crate) fn forget(&self, ino: INodeNo) {
        let Some(node) = self.directories.node(ino) else { return };
        if node.file.is_none() && self.settings(node.group).is_err() {
            self.directories.forget(node);
        }
    }

    fn row(&self, group: GroupId, name: &str) -> Option<Row> {
        self.rows.get(name).copied().filter(|row| self.has(group, row.file()))
    }

    fn has(&self, group: GroupId, file: &ControlFile) -> bool {
        file.place == Place::Everywhere || group == self.root
    }

    fn count_children(&self, group: GroupId) -> u32 {
        let children = self.accounting(|memcg| memcg.count_children(group));
        children.ok().and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }
}

/// Runs `f` on the accounting of `host`; returns what it returns.
fn accounting<R>(host: &dyn Host, f: impl FnOnce(&mut Memcg) -> R) -> R {
    let mut once = Some(f);
    let mut result = None;
    host.accounting(&mut |memcg| {
        if let Some(f) = once.take() {
            result = Some(f(memcg));
        }
    });
    result.expect("the machine runs what it is given")
}

fn visible_rows(config: Config) -> HashMap<&'static str, Row> {
    Row::all().filter(|row| row.file().is_shown(config)).map(|row| (row.file().name, row)).collect()
}

/// Differs from Linux: a group's name is UTF-8.
fn group_name(name: &OsStr) -> Result<&str> {
    let name = name.to_str().ok_or(Errno::EILSEQ)?;
    if name.contains('\n') { Err(Errno::EINVAL) } else { Ok(name) }
}

fn directory_entry(node: Node, name: &str) -> Entry {
    Entry { ino: node.ino(), kind: FileType::Directory, name: name.to_owned() }
}

//! Extended attributes of directories and files, as kernfs keeps them: in memory, for what is there.

use std::ffi::OsStr;

use fuser::{Errno, INodeNo};

use crate::errno::Result;
use crate::service::Service;

impl Service {
    /// Sets an extended attribute. `flags` are those of setxattr(2).
    ///
    /// # Errors
    /// Those of [`crate::attributes::Attributes::set_label`]; ESTALE when the directory was forgotten.
    pub(crate) fn set_label(
        &self,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
    ) -> Result<()> {
        let node = self.node(ino)?;
        let set =
            self.directories.change(node, |attributes| attributes.set_label(name, value, flags));
        set.unwrap_or(Err(Errno::ESTALE))
    }

    /// Returns the value of an extended attribute.
    ///
    /// # Errors
    /// Those of [`crate::attributes::Attributes::label`]; ESTALE when the directory was forgotten.
    pub(crate) fn label(&self, ino: INodeNo, name: &OsStr) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        self.directories.attributes(node, |attributes| attributes.label(name).map(<[u8]>::to_vec))
    }

    /// Returns the names of all extended attributes, each ended by a NUL.
    ///
    /// # Errors
    /// ESTALE when the directory was forgotten.
    pub(crate) fn label_names(&self, ino: INodeNo) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        Ok(self.directories.attributes(node, |attributes| attributes.label_names()))
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// Those of [`crate::attributes::Attributes::remove_label`]; ESTALE when the directory was
    /// forgotten.
    pub(crate) fn remove_label(&self, ino: INodeNo, name: &OsStr) -> Result<()> {
        let node = self.node(ino)?;
        let removed = self.directories.change(node, |attributes| attributes.remove_label(name));
        removed.unwrap_or(Err(Errno::ESTALE))
    }
}

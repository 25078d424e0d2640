//! `memory.kmem.slabinfo` of the classic file contract: the caches that a group's kernel memory
//! comes from, in the format of /proc/slabinfo.

use std::fmt::Write as _;

use memcg::GroupId;

use crate::errno::Result;
use crate::service::Service;

/// One cache of kernel objects of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlabCache {
    /// Its name, without blanks.
    pub name: String,
    /// Objects in use.
    pub objects_active: u64,
    /// Objects there is room for.
    pub objects: u64,
    /// Bytes an object takes.
    pub object_size: u64,
    /// Objects in one slab.
    pub objects_per_slab: u64,
    /// Pages in one slab.
    pub pages_per_slab: u64,
    /// Slabs with an object in use.
    pub slabs_active: u64,
    /// Slabs.
    pub slabs: u64,
}

/// Linux v3.19 mm/slab_common.c `print_slabinfo_header`.
const HEADER: &str = "slabinfo - version: 2.1\n\
    # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
    : tunables <limit> <batchcount> <sharedfactor> \
    : slabdata <active_slabs> <num_slabs> <sharedavail>\n";

/// Writes the caches of a group.
pub(crate) fn show(service: &Service, group: GroupId, text: &mut String) -> Result<()> {
    service.settings(group)?;
    text.push_str(HEADER);
    for cache in service.host.slab_caches(group) {
        row(&cache, text);
    }
    Ok(())
}

/// Linux v3.19 mm/slab_common.c `cache_show`. There is nothing to tune, as with SLUB.
fn row(cache: &SlabCache, text: &mut String) {
    let SlabCache { name, objects_active, objects, object_size, objects_per_slab, .. } = cache;
    let SlabCache { pages_per_slab, slabs_active, slabs, .. } = cache;
    writeln!(
        text,
        "{name:<17} {objects_active:>6} {objects:>6} {object_size:>6} {objects_per_slab:>4} \
         {pages_per_slab:>4} : tunables    0    0    0 \
         : slabdata {slabs_active:>6} {slabs:>6}      0"
    )
    .expect("a String takes every text");
}

#[cfg(test)]
mod tests {
    use super::{SlabCache, row};

    #[test]
    fn a_cache_is_a_line_of_proc_slabinfo() {
        let cache = SlabCache {
            name: "dentry".to_owned(),
            objects_active: 21,
            objects: 42,
            object_size: 192,
            objects_per_slab: 21,
            pages_per_slab: 1,
            slabs_active: 1,
            slabs: 2,
        };
        let mut text = String::new();
        row(&cache, &mut text);
        let expected = "dentry                21     42    192   21    1 : tunables    0    0    0 \
                        : slabdata      1      2      0\n";
        assert_eq!(text, expected);
    }
}

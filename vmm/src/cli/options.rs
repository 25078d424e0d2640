//! What a machine can be started with.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use memcg::{Abi, Config, Hierarchy, Offline, Policy};
use vmcg_abi::layout::{PAGE_SIZE, RAM_BYTES_MAX, RAM_BYTES_MIN};
use vmm::machine::{MachineConfig, SwapConfig};
use vmm::runtime::Files;
use vmm::timings::Timings;

use super::error::Error;
use super::hugepages::HugePageList;
use super::size::Size;

/// Options of `up` and `run`.
#[derive(Debug, Args)]
pub(super) struct MachineOptions {
    /// Guest memory
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: Size,
    /// Swap: where pages go that memory has no room for
    #[arg(long, value_name = "SIZE", default_value = "0")]
    swap: Size,
    /// Where the file for swap is made, without a name; else in the runtime directory
    #[arg(long, value_name = "PATH")]
    swap_file: Option<PathBuf>,
    /// Lets so many of a hundred accesses to swap fail: to test that no page is lost
    #[arg(long, value_name = "PERCENT", default_value_t = 0, hide = true,
          value_parser = clap::value_parser!(u64).range(..=50))]
    swap_faults: u64,
    /// Huge pages set aside in guest memory: `8`, `8:2M`, `8,1G:1`
    #[arg(long, value_name = "COUNT[:SIZE]", default_value = "0")]
    hugepages: HugePageList,
    /// Directory of this host that programs see, read-only, as their root
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) share: PathBuf,
    /// How limits nest: every ancestor is charged, or a child borrows its limit from its parent
    #[arg(long, value_enum, default_value_t = HierarchyName::Share)]
    hierarchy: HierarchyName,
    /// How charges follow a task that changes its group
    #[arg(long, value_name = "POLICY", default_value = Policy::default().name(),
          value_parser = PossibleValuesParser::new(Policy::all().map(Policy::name)))]
    recharge: String,
    /// Pages a second that follow a task moved by the policy `lazy`, while the guest idles; 0 is none
    #[arg(long, value_name = "PAGES", default_value_t = vmm::settle::RATE_DEFAULT)]
    settle_rate: u64,
    /// What happens to what a removed group still owns
    #[arg(long, value_enum, default_value_t = OfflineName::Reparent)]
    offline: OfflineName,
    /// Whose control files: every knob alive, or exactly those of Linux 6.18
    #[arg(long, value_enum, default_value_t = AbiName::Classic)]
    abi: AbiName,
    /// Boot this guest kernel instead of the one inside vmcg
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Say where the time of the start goes, phase by phase
    #[arg(long)]
    pub(super) timings: bool,
    /// Answer first touches without charging anybody: to measure what charging costs
    #[arg(long, hide = true)]
    no_accounting: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HierarchyName {
    Share,
    Wall,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OfflineName {
    Reparent,
    Drain,
    Zombie,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AbiName {
    Classic,
    #[value(name = "linux-6.18")]
    Linux618,
}

impl MachineOptions {
    /// The memory, as typed.
    pub(super) fn memory(&self) -> &Size {
        &self.memory
    }

    /// The swap that was asked for; its file goes to the machine's others unless told otherwise.
    fn swap(&self, runtime: &Files) -> Option<SwapConfig> {
        let bytes = self.swap.pages().get() * PAGE_SIZE;
        let file = self.swap_file.clone().unwrap_or_else(|| runtime.swap());
        (bytes > 0).then_some(SwapConfig { bytes, file, faults_percent: self.swap_faults })
    }

    /// The machine that was asked for.
    ///
    /// # Errors
    /// When the memory is no possible size or the guest kernel's file cannot be read.
    pub(super) fn config(&self, runtime: &Files) -> Result<MachineConfig, Error> {
        let bytes = self.memory.bytes();
        if !(RAM_BYTES_MIN..=RAM_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Memory {
                asked: self.memory.to_string(),
                least: format!("{}M", RAM_BYTES_MIN >> 20),
                most: format!("{}G", RAM_BYTES_MAX >> 30),
            });
        }
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|why| Error::Kernel { path: path.clone(), why })
        };
        Ok(MachineConfig {
            memory_bytes: bytes,
            swap: self.swap(runtime),
            huge_pages: self.hugepages.pages(),
            kernel_image: self.kernel.as_ref().map(read).transpose()?,
            accounting: Config {
                frames: bytes / PAGE_SIZE,
                hierarchy: self.hierarchy.into(),
                recharge: Policy::from_name(&self.recharge).unwrap_or_default(),
                offline: self.offline.into(),
                abi: self.abi.into(),
            },
            account: !self.no_accounting,
            settle_rate: self.settle_rate,
            timings: Timings::default(),
        })
    }
}

impl From<HierarchyName> for Hierarchy {
    fn from(name: HierarchyName) -> Self {
        match name {
            HierarchyName::Share => Self::Share,
            HierarchyName::Wall => Self::Wall,
        }
    }
}

impl From<OfflineName> for Offline {
    fn from(name: OfflineName) -> Self {
        match name {
            OfflineName::Reparent => Self::Reparent,
            OfflineName::Drain => Self::Drain,
            OfflineName::Zombie => Self::Zombie,
        }
    }
}

impl From<AbiName> for Abi {
    fn from(name: AbiName) -> Self {
        match name {
            AbiName::Classic => Self::Classic,
            AbiName::Linux618 => Self::Linux618,
        }
    }
}

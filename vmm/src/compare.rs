//! What `vmcg compare` records of its runs, and the pictures and numbers made from it.

mod plot;
mod record;

pub use plot::{PlotError, draw};
pub use record::{GroupUsage, Run, Sample, Step, write_csv};

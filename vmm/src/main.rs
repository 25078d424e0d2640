//! Host side of vmcg.
fn main() {}

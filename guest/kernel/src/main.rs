//! Guest kernel of vmcg.
fn main() {}

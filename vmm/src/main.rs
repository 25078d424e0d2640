//! `vmcg`: memory cgroups around the processes of a KVM guest, from the outside.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::run()
}

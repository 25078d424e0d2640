//! The command line: what can be typed, and which file carries it out.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

mod client;
mod compare;
mod down;
mod error;
mod exec;
mod hugepages;
mod instance;
mod logging;
mod options;
mod output;
mod program;
mod run;
mod shell;
mod show;
mod signals;
mod size;
mod terminal;
mod up;

use error::Error;
use options::MachineOptions;
use size::Size;

/// Memory cgroups around the processes of a KVM guest, from the outside.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a machine and mount its control files; stays until Ctrl-C unless --detach is given
    Up(UpArgs),
    /// Run a program of this host in a machine, connected to this terminal
    Exec(ExecArgs),
    /// Start a machine, run one program in it, and take it down again
    Run(RunArgs),
    /// Run a command of this host that finds the control files of a machine at /sys/fs/cgroup/memory
    /// and /sys/fs/cgroup/hugetlb
    Shell(ShellArgs),
    /// List the tasks of a machine
    Ps(PsArgs),
    /// Show groups and tasks of a machine, again and again
    Top(TopArgs),
    /// Verify the invariants of a machine; exit status 1 and a report when one is broken
    Check(Named),
    /// Show what a machine counted: exits, faults, system calls it does not have
    Stat(StatArgs),
    /// Play a scenario once for each set of options, each time on a fresh machine
    Compare(CompareArgs),
    /// End a machine: its programs are killed, its control files unmounted
    Down(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Which machine
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(Debug, Args)]
struct StatArgs {
    #[command(flatten)]
    named: Named,
    /// Show what the last times were like that a group was out of memory
    #[arg(long)]
    oom: bool,
}

#[derive(Debug, Args)]
struct UpArgs {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    machine: MachineOptions,
    /// Where to mount the control files, an existing directory [default: one in the runtime
    /// directory]
    #[arg(long, value_name = "DIR")]
    mount: Option<PathBuf>,
    /// Return as soon as the control files answer
    #[arg(long)]
    detach: bool,
    /// This process is what `--detach` started, and --detach is still there
    #[arg(long, hide = true)]
    daemon: bool,
}

#[derive(Debug, Args)]
struct ProgramArgs {
    /// Set a variable of the program's environment; NAME alone passes on this shell's value
    #[arg(long = "env", value_name = "NAME=VALUE")]
    envs: Vec<OsString>,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    argv: Vec<OsString>,
}

#[derive(Debug, Args)]
struct ExecArgs {
    #[command(flatten)]
    named: Named,
    /// The group to start in, a path relative to the mount point
    #[arg(long, value_name = "PATH", default_value = "/", hide_default_value = true)]
    cgroup: String,
    /// Print the task id and leave the program alone: it reads and writes nothing, and lives on
    #[arg(long)]
    detach: bool,
    /// Give the program this terminal: keys go to it one by one, Ctrl-C and Ctrl-Z too
    #[arg(short, long, conflicts_with = "detach")]
    terminal: bool,
    #[command(flatten)]
    program: ProgramArgs,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Name of the machine while it runs [default: run-PROCESS]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    machine: MachineOptions,
    /// Mount the control files, on an existing directory, while the program runs
    #[arg(long, value_name = "DIR")]
    mount: Option<PathBuf>,
    /// Memory limit of the program's group, which is named `run`
    #[arg(long, value_name = "SIZE")]
    limit: Option<Size>,
    #[command(flatten)]
    program: ProgramArgs,
}

#[derive(Debug, Args)]
struct ShellArgs {
    #[command(flatten)]
    named: Named,
    /// The command and its arguments [default: $SHELL]
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    argv: Vec<OsString>,
}

#[derive(Debug, Args)]
struct PsArgs {
    #[command(flatten)]
    named: Named,
    /// List the last moves of tasks between groups instead
    #[arg(long)]
    moves: bool,
    /// List removed groups that are still there instead, and what keeps them
    #[arg(long, conflicts_with = "moves")]
    dead: bool,
}

#[derive(Debug, Args)]
struct TopArgs {
    #[command(flatten)]
    named: Named,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// End after so many looks
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The scenario, a TOML file
    scenario: PathBuf,
    /// Multiply every size in it, by a number or a fraction such as 1/8
    #[arg(long, default_value_t)]
    scale: compare::Scale,
    /// Where to write the picture (SVG) and the samples (CSV)
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

/// Reads the command line and carries it out.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let result = match cli.command {
        Command::Up(args) => up::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Ps(args) if args.dead => show::dead(&args.named.name),
        Command::Ps(args) if args.moves => show::moves(&args.named.name),
        Command::Ps(args) => show::tasks(&args.named.name),
        Command::Top(args) => show::top(&args),
        Command::Check(named) => show::check(&named.name),
        Command::Stat(args) if args.oom => show::ooms(&args.named.name),
        Command::Stat(args) => show::stat(&args.named.name),
        Command::Compare(args) => compare::run(&args),
        Command::Down(named) => down::run(&named.name),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads our output has gone, as with `vmcg ps | head -1`: nothing to complain about.
        if !matches!(&error, Error::Output(why) if why.kind() == std::io::ErrorKind::BrokenPipe) {
            output::complain(&error);
        }
        ExitCode::from(1)
    })
}

/// Shows help where it was asked for; an error of usage is one line and status 2.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // The help goes to standard error then; if that is closed there is nothing to be done.
        let _ = error.print();
        return ExitCode::from(2);
    }
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    // What is missing or possible is listed on the lines after the first.
    for more in
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
    {
        line.push_str(if line.ends_with(':') { " " } else { "; " });
        line.push_str(more);
    }
    output::complain(&format_args!("{line}; see `vmcg --help`"));
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_after_the_program_are_the_programs() {
        let cli = Cli::try_parse_from(["vmcg", "exec", "--cgroup", "A", "prog", "--detach", "x"])
            .unwrap();
        let Command::Exec(args) = cli.command else { panic!("not exec") };
        assert!(!args.detach);
        assert_eq!(args.program.argv, ["prog", "--detach", "x"]);
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for bad in ["x", "12Q", "-1", "99999999999999999999G", ""] {
            let option = format!("--memory={bad}");
            let error = Cli::try_parse_from(["vmcg", "up", &option]).unwrap_err().to_string();
            assert!(error.contains("--memory"), "{bad}: {error}");
        }
    }
}

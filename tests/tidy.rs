//! The checkable half of the style guide. Clippy checks what it can; this checks the rest.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file may have.
const LINES_MAX: usize = 600;

/// Files that are one table, which may be longer than [`LINES_MAX`].
const TABLES: [&str; 0] = [];

/// Files that need unsafe code. Adding to the list is a decision, said in the commit message.
const UNSAFE_FILES: [&str; 9] = [
    "guest/kernel/src/heap.rs",
    "guest/kernel/src/physical.rs",
    "guest/kernel/src/task/extended.rs",
    "guest/kernel/src/trap/entry.rs",
    "vmm/src/gate.rs",
    "vmm/src/interrupt.rs",
    "vmm/src/kvm_stats.rs",
    "vmm/src/slot.rs",
    "vmm/src/uffd.rs",
];

/// Crates that forbid unsafe code, by the root file that says so.
const SAFE_CRATES: [&str; 4] =
    ["vmm/memcg/src/lib.rs", "fusefs/src/lib.rs", "guest/abi/src/lib.rs", "tests/lib.rs"];

/// Where printing is the purpose: the command line, the measurements, programs, and build scripts.
const PRINTERS: [&str; 7] = [
    "vmm/src/main.rs",
    "vmm/src/cli",
    "vmm/build.rs",
    "tests/",
    "guest/programs/",
    "guest/kernel/build.rs",
    "vmm/memcg/benches/order.rs",
];

struct Source {
    name: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut todo = vec![root()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a folder of the project") {
            let path = entry.expect("a folder of the project").path();
            let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_built = file_name.starts_with("target") || file_name.starts_with('.');
            if path.is_dir() && !is_built {
                todo.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push(Source { name, text: fs::read_to_string(&path).expect("a source") });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Lines of a source that are code, with their numbers: comments and doc comments are left out.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.starts_with("//"))
}

/// Every line of code of every source for which `is_wrong` answers true.
fn wrong_lines(is_wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in files("rs") {
        for (number, line) in code(&source).filter(|(_, line)| is_wrong(&source, line)) {
            wrong.push(format!("{}:{number}: {line}", source.name));
        }
    }
    wrong
}

#[track_caller]
fn assert_none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n{}", wrong.join("\n"));
}

/// Whether `word` stands in `line` on its own.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn no_file_is_longer_than_one_concept() {
    let is_long = |source: &Source| source.text.lines().count() > LINES_MAX;
    let long: Vec<String> = files("rs")
        .iter()
        .filter(|source| is_long(source) && !TABLES.contains(&source.name.as_str()))
        .map(|source| format!("{}: {} lines", source.name, source.text.lines().count()))
        .collect();
    assert_none("a file is at most 600 lines", &long);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = files("rs")
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.name)
        .collect();
    assert_none("a file begins with //!", &silent);
}

#[test]
fn no_module_hides_in_mod_rs() {
    let hidden: Vec<String> = files("rs")
        .into_iter()
        .map(|source| source.name)
        .filter(|name| name.ends_with("/mod.rs"))
        .collect();
    assert_none("foo.rs + foo/, no mod.rs", &hidden);
}

#[test]
fn no_module_is_a_drawer_for_everything() {
    let drawers: Vec<String> = files("rs")
        .into_iter()
        .map(|source| source.name)
        .filter(|name| {
            let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
            ["util", "utils", "common", "helper", "helpers", "misc"].contains(&stem.as_ref())
        })
        .collect();
    assert_none("a module is named after its concept", &drawers);
}

#[test]
fn tests_are_named_as_sentences() {
    let prefixed = wrong_lines(|_, line| line.contains(concat!("fn ", "test_")));
    assert_none("no test_ prefix", &prefixed);
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let without: Vec<String> = files("toml")
        .into_iter()
        .filter(|manifest| manifest.name.ends_with("/Cargo.toml"))
        .filter(|manifest| !manifest.text.contains("[lints]\nworkspace = true"))
        .map(|manifest| manifest.name)
        .collect();
    assert_none("a crate ends with [lints] workspace = true", &without);
}

#[test]
fn unsafe_code_is_where_the_list_says() {
    for source in files("rs") {
        let is_unsafe = code(&source).any(|(_, line)| {
            has_word(line, "unsafe") && !line.contains('"') && !line.contains("unsafe_code")
        });
        let is_listed = UNSAFE_FILES.contains(&source.name.as_str());
        assert_eq!(is_unsafe, is_listed, "{}: unsafe code, and the list", source.name);
        let is_opened = source.text.contains("#![expect(") && source.text.contains("unsafe_code,");
        assert!(!is_unsafe || is_opened, "{}: #![expect(unsafe_code, reason = ..)]", source.name);
    }
    for listed in UNSAFE_FILES {
        assert!(root().join(listed).exists(), "{listed} is listed and does not exist");
    }
}

#[test]
fn crates_that_need_no_unsafe_code_forbid_it() {
    for name in SAFE_CRATES {
        let text = fs::read_to_string(root().join(name)).expect(name);
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name} forbids unsafe code");
    }
}

#[test]
fn unfinished_work_names_its_issue() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let mut open = Vec::new();
    for source in ["rs", "c", "md", "sh"].into_iter().flat_map(files) {
        for (index, line) in source.text.lines().enumerate() {
            let is_open = |mark| has_word(line, mark) && !line.contains(&format!("{mark}(#"));
            if marks.into_iter().any(is_open) {
                open.push(format!("{}:{}: {line}", source.name, index + 1));
            }
        }
    }
    assert_none("unfinished work names its issue", &open);
}

#[test]
fn names_are_imported_one_by_one() {
    let globs = wrong_lines(|_, line| {
        let is_use = line.starts_with("use ") || line.starts_with("pub use ");
        is_use && line.ends_with("::*;") && line != "use super::*;"
    });
    assert_none("no glob imports", &globs);
}

#[test]
fn only_the_command_line_prints() {
    let printing = wrong_lines(|source, line| {
        let prints = ["println!", "eprintln!", "print!", "eprint!"];
        let is_printer = PRINTERS.iter().any(|place| source.name.starts_with(place));
        !is_printer && prints.iter().any(|print| has_word_before_bang(line, print))
    });
    assert_none("printing is for the command line", &printing);
}

fn has_word_before_bang(line: &str, print: &str) -> bool {
    line.match_indices(print)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn a_dropped_result_says_why() {
    let mut dropped = Vec::new();
    for source in files("rs") {
        let mut above = "";
        for (index, line) in source.text.lines().map(str::trim).enumerate() {
            let is_reasoned = above.starts_with("//") || above.starts_with("let _ =");
            if line.starts_with("let _ =") && !is_reasoned {
                dropped.push(format!("{}:{}: {line}", source.name, index + 1));
            }
            above = line;
        }
    }
    assert_none("`let _ =` needs a reason on the line above", &dropped);
}

#[test]
fn only_fusefs_knows_fuser_and_only_vmm_knows_kvm() {
    for manifest in files("toml") {
        let knows = |name: &str| manifest.text.lines().any(|line| line.starts_with(name));
        let is_root = manifest.name == "Cargo.toml";
        let may_fuse = ["fusefs/Cargo.toml", "tests/Cargo.toml"].contains(&manifest.name.as_str());
        assert!(is_root || may_fuse || !knows("fuser"), "{} names fuser", manifest.name);
        let may_kvm = manifest.name == "vmm/Cargo.toml";
        assert!(is_root || may_kvm || !knows("kvm"), "{} names kvm", manifest.name);
    }
}

#[test]
fn end_to_end_tests_say_when_they_are_not_run() {
    for source in files("rs").iter().filter(|source| source.name.starts_with("tests/e2e")) {
        let tests = source.text.matches("#[test]\n").count();
        let told = source.text.matches("#[cfg_attr(no_kvm, ignore").count();
        assert_eq!(tests, told, "{}: every test names /dev/kvm", source.name);
    }
}

#[test]
fn every_guest_program_is_run_by_a_test_or_a_measurement() {
    let sources = files("rs");
    let users: Vec<&Source> = sources
        .iter()
        .filter(|source| {
            source.name.starts_with("tests/") || source.name.starts_with("fusefs/tests")
        })
        .collect();
    for source in ["c", "rs"].into_iter().flat_map(files) {
        let Some(name) = source.name.strip_prefix("guest/programs/") else { continue };
        let stem = name.split('.').next().expect("a name");
        let quoted = format!("\"{stem}\"");
        assert!(users.iter().any(|user| user.text.contains(&quoted)), "nothing runs {name}");
    }
}

/// Names of control files as the table in `fusefs/src/files.rs` has them.
fn control_files() -> Vec<String> {
    let table = fs::read_to_string(root().join("fusefs/src/files.rs")).expect("the table");
    let quoted = table.split('"').skip(1).step_by(2);
    let is_name = |name: &&str| {
        let families = ["memory.", "cgroup.", "hugetlb."];
        families.iter().any(|family| name.starts_with(family))
            || ["tasks", "notify_on_release", "release_agent"].contains(name)
    };
    quoted.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_readme_names_every_control_file() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let names = control_files();
    assert!(names.len() >= 9, "the table of control files has moved: {names:?}");
    let missing: Vec<String> = names.into_iter().filter(|name| !readme.contains(name)).collect();
    assert_none("README.md names every control file", &missing);
}

/// A row of the guest kernel's tables of system calls.
struct SystemCall {
    number: u64,
    name: String,
    /// What is missing; empty where nothing is.
    missing: String,
}

/// Rows `(number, "name", handler), // partial: what is missing` of the guest kernel's tables.
fn system_calls() -> Vec<SystemCall> {
    let sources = files("rs");
    let tables = sources.iter().filter(|file| file.name.starts_with("guest/kernel/src/syscall"));
    let rows = tables.flat_map(|file| file.text.lines()).filter_map(|line| {
        let (number, rest) = line.trim().strip_prefix('(')?.split_once(", \"")?;
        let (name, rest) = rest.split_once("\", ")?;
        let missing = rest.split_once("// partial: ").map_or("", |(_, missing)| missing);
        let (name, missing) = (name.to_owned(), missing.to_owned());
        Some(SystemCall { number: number.parse().ok()?, name, missing })
    });
    let mut calls: Vec<SystemCall> = rows.collect();
    calls.sort_by_key(|call| call.number);
    calls
}

#[test]
fn system_calls_have_linuxs_numbers() {
    let header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
    let header = fs::read_to_string(header).expect("the C library's headers are installed");
    let calls = system_calls();
    assert!(calls.len() >= 50, "the tables have moved: {}", calls.len());
    for SystemCall { number, name, .. } in calls {
        let defined = format!("#define __NR_{name} {number}");
        assert!(header.lines().any(|line| line == defined), "{name} is not {number}");
    }
}

/// The table of system calls as README.md has it.
fn system_call_table() -> String {
    let calls = system_calls();
    let mut table = format!("{} system calls; others answer ENOSYS, and `vmcg stat` ", calls.len());
    table.push_str("counts them.\n\n| number | name | state |\n|---|---|---|\n");
    for SystemCall { number, name, missing } in calls {
        let state = if missing.is_empty() { "full".into() } else { format!("partial: {missing}") };
        table.push_str(&format!("| {number} | {name} | {state} |\n"));
    }
    table
}

#[test]
fn the_readmes_table_of_system_calls_is_the_kernels() {
    const START: &str =
        "<!-- system calls: UPDATE_README=1 cargo test --test tidy writes them -->\n";
    const END: &str = "<!-- end of system calls -->\n";
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let (before, rest) = readme.split_once(START).expect("README.md has the mark of the table");
    let (_, after) = rest.split_once(END).expect("README.md has the mark of the table's end");
    let wanted = format!("{before}{START}{}{END}{after}", system_call_table());
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(&path, &wanted).expect("README.md can be written");
    }
    let is_current = readme == wanted || std::env::var_os("UPDATE_README").is_some();
    assert!(is_current, "README.md: UPDATE_README=1 cargo test --test tidy writes the table");
}

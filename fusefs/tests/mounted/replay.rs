//! Replays a transcript that a real kernel gave: one line an operation, with its outcome.
//!
//! The lines come from a probe that makes a fresh group for every case. What it does between the
//! lines (preparing a group, say) is in [`Replay::prepare`]; cases that keep descriptors open from
//! line to line are in `scripts.rs`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use serde_json::{Value, json};

use crate::operations;

/// A line of a transcript.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The case it belongs to.
    pub(crate) case: String,
    /// What is done.
    pub(crate) op: String,
    /// On what, relative to the group of the case.
    pub(crate) path: String,
    /// With what.
    pub(crate) arg: Value,
    /// What must come of it.
    pub(crate) expected: Outcome,
}

/// What comes of an operation: an errno or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Symbolic error; none for success.
    pub(crate) errno: Option<String>,
    /// The result.
    pub(crate) out: Value,
}

/// The group of the current case.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Where it is.
    pub(crate) base: String,
    /// The limit file of the transcript's controller.
    pub(crate) limit: &'static str,
    /// How many lines of the case are done.
    pub(crate) step: usize,
}

impl Outcome {
    /// Makes the outcome of something done.
    pub(crate) fn of<T: Into<Value>>(result: io::Result<T>) -> Self {
        match result {
            Ok(out) => Self { errno: None, out: out.into() },
            Err(error) => Self { errno: Some(symbol(&error)), out: Value::Null },
        }
    }
}

/// Reads a transcript.
pub(crate) fn transcript(text: &str) -> Vec<Line> {
    // JSON has no way to say "these bytes are not text" but lone surrogates.
    text.replace("\\udcff\\udcfe", NOT_UTF8).lines().map(line).collect()
}

/// Stands for the one name in the transcripts that is not UTF-8.
pub(crate) const NOT_UTF8: &str = "not UTF-8";

fn line(text: &str) -> Line {
    let value: Value = serde_json::from_str(text).unwrap();
    let string = |key: &str| value[key].as_str().map(expand);
    Line {
        case: string("case").unwrap(),
        op: string("op").unwrap(),
        path: string("path").unwrap(),
        arg: match &value["arg"] {
            Value::String(arg) => Value::String(expand(arg)),
            other => other.clone(),
        },
        expected: Outcome { errno: string("errno"), out: value["out"].clone() },
    }
}

/// Undoes the shortening of long strings: `<255 x 'n'>` is 255 times the letter.
pub(crate) fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once('<') else { return text.to_owned() };
    let Some((count, rest)) = rest.split_once(" x '") else { return text.to_owned() };
    let Some((what, after)) = rest.split_once("'>") else { return text.to_owned() };
    let Ok(count) = count.parse() else { return text.to_owned() };
    format!("{before}{}{}", what.repeat(count), expand(after))
}

/// Shortens long strings, as the transcripts do.
pub(crate) fn shorten(text: &str) -> String {
    match text.chars().next() {
        Some(first) if text.len() > 200 && text.chars().all(|c| c == first) => {
            format!("<{} x '{first}'>", text.len())
        }
        _ => text.to_owned(),
    }
}

/// Returns the symbol of an error.
pub(crate) fn symbol(error: &io::Error) -> String {
    let number = error.raw_os_error().unwrap_or(0);
    let known = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::ESRCH, "ESRCH"),
        (libc::EIO, "EIO"),
        (libc::ENXIO, "ENXIO"),
        (libc::E2BIG, "E2BIG"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EBUSY, "EBUSY"),
        (libc::EEXIST, "EEXIST"),
        (libc::ENODEV, "ENODEV"),
        (libc::ENOTDIR, "ENOTDIR"),
        (libc::EISDIR, "EISDIR"),
        (libc::EINVAL, "EINVAL"),
        (libc::ENOTTY, "ENOTTY"),
        (libc::ERANGE, "ERANGE"),
        (libc::ENAMETOOLONG, "ENAMETOOLONG"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::EOPNOTSUPP, "ENOTSUP"),
        (libc::EILSEQ, "EILSEQ"),
    ];
    let symbol = known.into_iter().find(|(known, _)| *known == number);
    symbol.map_or_else(|| number.to_string(), |(_, symbol)| symbol.to_owned())
}

impl Replay {
    /// Returns an absolute path.
    pub(crate) fn at(&self, path: &str) -> String {
        match path {
            "." => self.base.clone(),
            _ if path.starts_with('/') => path.to_owned(),
            _ => format!("{}/{path}", self.base),
        }
    }

    /// Opens a file or directory of the group.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(open(self.at(path), flags, Mode::from_raw_mode(0o644))?)
    }

    /// Reads a whole file, with what differs from run to run made equal.
    pub(crate) fn content(&self, path: &str) -> io::Result<String> {
        let content = fs::read(self.at(path))?;
        Ok(equalise(path, &String::from_utf8(content).unwrap()))
    }

    /// Does what `line` says.
    pub(crate) fn perform(&mut self, line: &Line) -> Outcome {
        self.prepare(line);
        let outcome = operations::perform(self, line);
        self.clean_up(line);
        self.step += 1;
        outcome
    }

    /// Does what the probe did before this line without saying so.
    fn prepare(&self, line: &Line) {
        match (line.case.as_str(), line.op.as_str()) {
            ("payload.matrix", _) => fs::create_dir(self.at("p")).unwrap(),
            ("payload.memsw_below_a_low_limit", _) => {
                fs::create_dir(self.at("p")).unwrap();
                fs::write(self.at("p/memory.limit_in_bytes"), "0").unwrap();
            }
            ("rename.cgroups", "rename") => {
                for name in ["z", "z/sub", "b", "p", "p/q"] {
                    fs::create_dir(self.at(name)).unwrap();
                }
                fs::write(self.at(&format!("z/{}", self.limit)), "4194304").unwrap();
            }
            _ => {}
        }
        let umask = match line.path.as_str() {
            "umask077" => 0o077,
            "umask000" => 0,
            _ => 0o022,
        };
        rustix::process::umask(Mode::from_raw_mode(umask));
    }

    fn clean_up(&self, line: &Line) {
        match (line.case.as_str(), line.op.as_str()) {
            ("payload.matrix" | "payload.memsw_below_a_low_limit", _) => {
                fs::remove_dir(self.at("p")).unwrap();
            }
            ("rename.cgroups", "limit after the rename") => self.remove_below(),
            _ => {}
        }
    }

    /// Removes every group below that of the case.
    pub(crate) fn remove_below(&self) {
        fn remove(path: &std::path::Path) {
            for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    remove(&entry.path());
                    fs::remove_dir(entry.path()).unwrap();
                }
            }
        }
        remove(self.base.as_ref());
    }
}

/// Hides usage figures, which depend on what the machine does besides.
fn equalise(path: &str, content: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    let hide = |line: &str| match line.trim().parse::<u64>() {
        Ok(number) if number > 0 && name.ends_with("usage_in_bytes") => "#".to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = content.split('\n').map(hide).collect();
    lines.join("\n")
}

/// Makes the result of a write: bytes accepted, and what the file shows afterwards.
pub(crate) fn written(written: io::Result<usize>, shown: io::Result<String>) -> Outcome {
    let value = shown.unwrap_or_else(|error| format!("!{}", symbol(&error)));
    let (n, errno) = match written {
        Ok(n) => (Some(n), None),
        Err(error) => (None, Some(symbol(&error))),
    };
    Outcome { errno, out: json!({ "n": n, "value": value }) }
}

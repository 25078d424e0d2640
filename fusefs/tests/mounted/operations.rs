//! The operations of a transcript that need nothing but their line.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom, Timespec,
    Timestamps, XattrFlags,
};
use rustix::io::{Errno, pread, pwrite, read, write};
use serde_json::{Value, json};

use crate::replay::{Line, NOT_UTF8, Outcome, Replay, shorten, written};

/// Does what `line` says.
pub(crate) fn perform(replay: &Replay, line: &Line) -> Outcome {
    let path = line.path.as_str();
    if let Some(outcome) = on_tree(replay, line, path) {
        return outcome;
    }
    if let Some(outcome) = on_content(replay, line, path) {
        return outcome;
    }
    if let Some(outcome) = on_attributes(replay, line, path) {
        return outcome;
    }
    panic!("no such operation: {line:?}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn octal(value: &Value) -> Option<u32> {
    value.as_str().map(|text| u32::from_str_radix(text.trim_start_matches("0o"), 8).unwrap())
}

fn done<E: Into<io::Error>>(result: Result<(), E>) -> Outcome {
    Outcome::of(result.map(|()| Value::Null).map_err(Into::into))
}

fn on_tree(replay: &Replay, line: &Line, path: &str) -> Option<Outcome> {
    let at = replay.at(path);
    let special = |name: &str, kind, device| {
        done(rustix::fs::mknodat(CWD, replay.at(name), kind, Mode::from_raw_mode(0o644), device))
    };
    Some(match line.op.as_str() {
        "mkdir" => {
            let mode = Mode::from_raw_mode(octal(&line.arg).unwrap_or(0o777));
            done(rustix::fs::mkdir(at, mode))
        }
        "rmdir" => done(rustix::fs::rmdir(at)),
        "unlink" => done(rustix::fs::unlink(at)),
        "rename" => done(rustix::fs::rename(at, replay.at(text(&line.arg)))),
        "rename to missing" => done(rustix::fs::rename(at, replay.at("missing"))),
        "rename onto tasks" => done(rustix::fs::rename(at, replay.at("tasks"))),
        "mknod regular" | "mknod over existing" => special(path, FileType::RegularFile, 0),
        "mkfifo" => special(path, FileType::Fifo, 0),
        "mknod char" => special(path, FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        "symlink" | "symlink over existing" => done(rustix::fs::symlink("tasks", at)),
        "link file" => done(rustix::fs::link(replay.at("tasks"), at)),
        "link dir" => done(rustix::fs::link(replay.at("a"), at)),
        "readlink file" | "readlink dir" => done(fs::read_link(at).map(drop)),
        "listdir" => Outcome::of(names(&at, |_| true)),
        "dirs" => Outcome::of(names(&at, |entry| entry.file_type().unwrap().is_dir())),
        _ => return None,
    })
}

fn names(at: &str, keep: impl Fn(&fs::DirEntry) -> bool) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(at)?.map(Result::unwrap).filter(keep);
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_str().unwrap_or(NOT_UTF8).to_owned()).collect();
    names.sort();
    Ok(names.iter().map(|name| shorten(name)).collect())
}

fn on_content(replay: &Replay, line: &Line, path: &str) -> Option<Outcome> {
    Some(match line.op.as_str() {
        "read" if path == "." => {
            let directory = replay.open(path, OFlags::RDONLY | OFlags::DIRECTORY);
            done(directory.and_then(|fd| Ok(read(fd, &mut [0; 10]).map(drop)?)))
        }
        "read" => Outcome::of(replay.content(path)),
        "write" => {
            let (payload, offset) = match &line.arg {
                Value::Array(both) => (text(&both[0]), both[1].as_u64()),
                payload => (text(payload), None),
            };
            let accepted = replay.open(path, write_flags(line, replay.step)).and_then(|fd| {
                Ok(match offset {
                    Some(offset) => pwrite(fd, payload.as_bytes(), offset)?,
                    None => write(fd, payload.as_bytes())?,
                })
            });
            written(accepted, replay.content(path))
        }
        "writes" => {
            let fd = replay.open(path, OFlags::WRONLY).unwrap();
            let pieces = line.arg.as_array().unwrap().iter();
            let counts = pieces.map(|piece| write(&fd, text(piece).as_bytes()));
            Outcome::of(counts.collect::<Result<Vec<_>, Errno>>().map_err(Into::into))
        }
        "writev" => {
            let fd = replay.open(path, OFlags::WRONLY).unwrap();
            let pieces = line.arg.as_array().unwrap().iter();
            let pieces: Vec<_> =
                pieces.map(|piece| io::IoSlice::new(text(piece).as_bytes())).collect();
            Outcome::of(rustix::io::writev(fd, &pieces).map_err(Into::into))
        }
        "pread" => {
            let fd = replay.open(path, OFlags::RDONLY).unwrap();
            let (size, offset) = (line.arg[0].as_u64().unwrap(), line.arg[1].as_u64().unwrap());
            let mut buffer = vec![0; usize::try_from(size).unwrap()];
            let count = pread(fd, &mut buffer, offset).unwrap();
            Outcome::of(Ok(String::from_utf8(buffer[..count].to_vec()).unwrap()))
        }
        "read 1 byte at a time" => {
            let fd = replay.open(path, OFlags::RDONLY).unwrap();
            Outcome::of(Ok((0..12).map(|_| piece(&fd, 1)).collect::<Vec<_>>()))
        }
        "read 7 bytes at a time until EOF: lengths add up" => {
            let whole = replay.content(path).unwrap().len();
            let fd = replay.open(path, OFlags::RDONLY).unwrap();
            let read: usize = (0..whole / 7 + 2).map(|_| piece(&fd, 7).len()).sum();
            Outcome::of(Ok(read == whole))
        }
        "hierarchical limits" => {
            let content = replay.content(path).unwrap();
            let limits = content.lines().filter(|line| line.starts_with("hierarchical_"));
            Outcome::of(Ok(limits.map(str::to_owned).collect::<Vec<_>>()))
        }
        "limit after the rename" => {
            Outcome::of(replay.content(&format!("{path}/{}", replay.limit)))
        }
        _ => return None,
    })
}

/// Reads at most `size` bytes from where the descriptor stands.
pub(crate) fn piece(fd: &impl std::os::fd::AsFd, size: usize) -> String {
    let mut buffer = vec![0; size];
    let count = read(fd, &mut buffer).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

/// The probe does not say which flags it opened with; they follow a pattern.
fn write_flags(line: &Line, step: usize) -> OFlags {
    match line.case.as_str() {
        "io.open_flags_for_write" => {
            let extras = [
                OFlags::TRUNC,
                OFlags::APPEND,
                OFlags::TRUNC | OFlags::APPEND,
                OFlags::CREATE,
                OFlags::SYNC,
                OFlags::NONBLOCK,
            ];
            let mode = if step % 3 == 1 { OFlags::RDWR } else { OFlags::WRONLY };
            mode | extras[step / 3]
        }
        "open.one_way_files" if step % 6 == 5 => OFlags::WRONLY | OFlags::TRUNC,
        _ => OFlags::WRONLY,
    }
}

fn flags(names: &str) -> OFlags {
    let bit = |name: &str| match name {
        "O_RDONLY" => libc::O_RDONLY,
        "O_WRONLY" => libc::O_WRONLY,
        "O_RDWR" => libc::O_RDWR,
        "O_TRUNC" => libc::O_TRUNC,
        "O_APPEND" => libc::O_APPEND,
        "O_CREAT" => libc::O_CREAT,
        "O_EXCL" => libc::O_EXCL,
        "O_DIRECTORY" => libc::O_DIRECTORY,
        "O_NOFOLLOW" => libc::O_NOFOLLOW,
        "O_DIRECT" => libc::O_DIRECT,
        "O_PATH" => libc::O_PATH,
        "O_TMPFILE" => libc::O_TMPFILE,
        "O_NOATIME" => libc::O_NOATIME,
        other => panic!("no such flag: {other}"),
    };
    let bits = names.split(' ').fold(0, |all, name| all | bit(name));
    OFlags::from_bits_retain(bits.unsigned_abs())
}

fn on_attributes(replay: &Replay, line: &Line, path: &str) -> Option<Outcome> {
    let at = replay.at(path);
    let writable = || replay.open(path, OFlags::RDWR).unwrap();
    Some(match line.op.as_str() {
        "stat" => Outcome::of(fs::symlink_metadata(at).map(|found| {
            let mode = found.permissions().mode();
            json!({
                "type": if found.is_dir() { "d" } else { "-" },
                "mode": format!("0o{:o}", mode & 0o7777),
                "nlink": found.nlink(),
                "size": found.size(),
                "uid": found.uid(),
                "gid": found.gid(),
            })
        })),
        "open" => done(replay.open(path, flags(text(&line.arg))).map(drop)),
        "chmod" => {
            let mode = Mode::from_raw_mode(octal(&line.arg).unwrap());
            done(rustix::fs::chmod(at, mode))
        }
        "chown" => done(std::os::unix::fs::chown(at, Some(1000), Some(1001))),
        "utime" => {
            let [last_access, last_modification] =
                [1, 2].map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 });
            let times = Timestamps { last_access, last_modification };
            done(rustix::fs::utimensat(CWD, at, &times, AtFlags::empty()))
        }
        "mtime" => Outcome::of(fs::metadata(at).map(|found| found.mtime())),
        "truncate" => {
            let size = line.arg[0].as_u64().unwrap();
            done(fs::OpenOptions::new().write(true).open(at).and_then(|file| file.set_len(size)))
        }
        "ftruncate" => done(rustix::fs::ftruncate(writable(), 0)),
        "lseek" => {
            let offset = line.arg[0].as_i64().unwrap();
            let from = match text(&line.arg[1]) {
                "SEEK_SET" => SeekFrom::Start(offset.unsigned_abs()),
                "SEEK_END" => SeekFrom::End(offset),
                "SEEK_CUR" => SeekFrom::Current(offset),
                "SEEK_DATA" => SeekFrom::Data(offset.unsigned_abs()),
                "SEEK_HOLE" => SeekFrom::Hole(offset.unsigned_abs()),
                other => panic!("no such place: {other}"),
            };
            Outcome::of(rustix::fs::seek(writable(), from).map_err(Into::into))
        }
        "fsync" if path == "." => {
            let directory = replay.open(path, OFlags::RDONLY | OFlags::DIRECTORY);
            done(directory.and_then(|fd| Ok(rustix::fs::fsync(fd)?)))
        }
        "fsync" => done(rustix::fs::fsync(writable())),
        "fdatasync" => done(rustix::fs::fdatasync(writable())),
        "fallocate" => done(rustix::fs::fallocate(writable(), FallocateFlags::empty(), 0, 4096)),
        "ioctl TCGETS" => done(rustix::termios::tcgetattr(writable()).map(drop)),
        "flock" => {
            let lock = FlockOperation::NonBlockingLockExclusive;
            done(rustix::fs::flock(writable(), lock))
        }
        "lockf" => {
            let lock = FlockOperation::NonBlockingLockExclusive;
            done(rustix::fs::fcntl_lock(writable(), lock))
        }
        "poll for everything" => Outcome::of(Ok(json!([poll(&writable())]))),
        "statvfs (bsize, namemax)" => {
            let found = rustix::fs::statvfs(at).unwrap();
            Outcome::of(Ok(json!([found.f_bsize, found.f_namemax])))
        }
        _ => return on_labels(line, &at),
    })
}

fn on_labels(line: &Line, at: &str) -> Option<Outcome> {
    if line.op == "listxattr" {
        let mut names = [0; 256];
        let size = rustix::fs::listxattr(at, &mut names).unwrap();
        let names = String::from_utf8(names[..size].to_vec()).unwrap();
        let mut names: Vec<_> = names.split_terminator('\0').map(str::to_owned).collect();
        names.sort();
        return Some(Outcome::of(Ok(names)));
    }
    let (operation, name) = line.op.split_once(' ')?;
    Some(match operation {
        "setxattr" => done(rustix::fs::setxattr(at, name, b"v", XattrFlags::empty())),
        "getxattr" => {
            let mut value = [0; 16];
            let size = rustix::fs::getxattr(at, name, &mut value).map_err(Into::into);
            Outcome::of(size.map(|size| String::from_utf8(value[..size].to_vec()).unwrap()))
        }
        _ => return None,
    })
}

/// Asks what a descriptor is ready for.
pub(crate) fn poll(fd: &impl std::os::fd::AsFd) -> Vec<&'static str> {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let all = [
        ("POLLIN", PollFlags::IN),
        ("POLLOUT", PollFlags::OUT),
        ("POLLPRI", PollFlags::PRI),
        ("POLLERR", PollFlags::ERR),
        ("POLLHUP", PollFlags::HUP),
        ("POLLNVAL", PollFlags::NVAL),
    ];
    let mut fds = [PollFd::new(fd, PollFlags::IN | PollFlags::OUT | PollFlags::PRI)];
    rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    let ready = fds[0].revents();
    all.into_iter().filter(|(_, flag)| ready.contains(*flag)).map(|(name, _)| name).collect()
}

//! Finding the program to run, and seeing at once what cannot be one.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use object::elf::{EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{FileKind, LittleEndian, ReadCache};
use rustix::fs::{Access, FileType};
use vmm::jobs::Program;

use super::ProgramArgs;
use super::error::Error;

/// Variables of this process that a program inherits; `--env` adds others.
const INHERITED: [&str; 7] = ["HOME", "LANG", "LOGNAME", "PATH", "TERM", "TZ", "USER"];

/// Where programs are looked for by a program whose client has no PATH, as login(1) sets it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {}: {reason}", path.display())]
pub(super) struct BadProgram {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("not found in PATH; for one in this directory write ./NAME")]
    NotInPath,
    #[error(transparent)]
    System(#[from] io::Error),
    #[error("it is a directory")]
    Directory,
    #[error("it is no regular file")]
    NotRegular,
    #[error("no permission to execute it; chmod +x may help")]
    NotExecutable,
    #[error("neither an ELF file nor a script that begins with #!")]
    NotElf,
    #[error("a 32-bit ELF file, and the guest runs 64-bit programs only")]
    Bits32,
    #[error("an ELF file for another processor than x86-64")]
    OtherProcessor,
    #[error("an ELF file, but no program: an object file or a core dump")]
    NoProgram,
    #[error("a truncated ELF file: {what} ends at byte {end}, the file at {size}")]
    Truncated { what: &'static str, end: u64, size: u64 },
    #[error("a damaged ELF file: {0}")]
    Damaged(String),
}

/// Opens and checks the program that `args` names.
///
/// # Errors
/// [`Error::Program`] and [`Error::Environment`] say what is wrong with it.
pub(super) fn open(args: &ProgramArgs) -> Result<Program, Error> {
    let name = args.argv.first().cloned().unwrap_or_default();
    let path = find(&name)?;
    let file = examine(&path).map_err(|reason| BadProgram { path: path.clone(), reason })?;
    let cwd = std::env::current_dir().map_err(Error::system("find the current directory"))?;
    Ok(Program {
        file,
        path: path.into_os_string().into_vec(),
        cwd: cwd.into_os_string().into_vec(),
        argv: args.argv.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
        envp: environment(&args.envs)?,
    })
}

fn find(name: &OsStr) -> Result<PathBuf, BadProgram> {
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return std::path::absolute(&path)
            .map_err(|why| BadProgram { path, reason: Reason::System(why) });
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file() && is_executable(path))
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(|| BadProgram { path: name.into(), reason: Reason::NotInPath })
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

fn examine(path: &Path) -> Result<File, Reason> {
    let found = rustix::fs::stat(path).map_err(io::Error::from)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Reason::Directory),
        _ => return Err(Reason::NotRegular),
    }
    if !is_executable(path) {
        return Err(Reason::NotExecutable);
    }
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start)?;
    file.rewind()?;
    if !start.starts_with(b"#!") {
        examine_elf(&file)?;
        file.rewind()?;
    }
    Ok(file)
}

/// Checks what the headers say; what the segments hold is the guest's business.
fn examine_elf(file: &File) -> Result<(), Reason> {
    let size = file.metadata()?.len();
    let mut start = [0; 20];
    let Ok(kind) = read_start(file, &mut start) else { return Err(Reason::NotElf) };
    match kind {
        FileKind::Elf64 => {}
        FileKind::Elf32 => return Err(Reason::Bits32),
        _ => return Err(Reason::NotElf),
    }
    let header_end = size_of::<FileHeader64<LittleEndian>>() as u64;
    if size < header_end {
        return Err(Reason::Truncated { what: "its header", end: header_end, size });
    }
    let data = ReadCache::new(file);
    let damaged = |why: object::Error| Reason::Damaged(why.to_string().to_lowercase());
    // A big-endian file is for another processor, whichever that is.
    let header = FileHeader64::<LittleEndian>::parse(&data).map_err(damaged)?;
    let Ok(endian) = header.endian() else { return Err(Reason::OtherProcessor) };
    if header.e_machine(endian) != EM_X86_64 {
        return Err(Reason::OtherProcessor);
    }
    if !matches!(header.e_type(endian), ET_EXEC | ET_DYN) {
        return Err(Reason::NoProgram);
    }
    let headers_end = u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
    let headers_end = header.e_phoff(endian).saturating_add(headers_end);
    if headers_end > size {
        return Err(Reason::Truncated { what: "its segment table", end: headers_end, size });
    }
    let mut has_segment = false;
    for segment in header.program_headers(endian, &data).map_err(damaged)? {
        has_segment |= segment.p_type(endian) == PT_LOAD;
        let end = segment.p_offset(endian).saturating_add(segment.p_filesz(endian));
        if segment.p_type(endian) == PT_LOAD && end > size {
            return Err(Reason::Truncated { what: "a segment", end, size });
        }
    }
    if has_segment { Ok(()) } else { Err(Reason::Damaged("it has no segments to load".to_owned())) }
}

/// Reads the first bytes and tells what kind of file they begin.
fn read_start(file: &File, start: &mut [u8; 20]) -> Result<FileKind, object::Error> {
    let mut reader: &File = file;
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    FileKind::parse(&start[..])
}

/// The variables a program gets.
fn environment(wanted: &[OsString]) -> Result<Vec<Vec<u8>>, Error> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| {
            INHERITED.iter().any(|inherited| name == inherited)
                || name.as_bytes().starts_with(b"LC_")
        })
        .collect();
    if !variables.iter().any(|(name, _)| name == "PATH") {
        variables.push(("PATH".into(), PATH.into()));
    }
    for entry in wanted {
        let bytes = entry.as_bytes();
        let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(end) => (&bytes[..end], Some(OsStr::from_bytes(&bytes[end + 1..]).to_owned())),
            None => (bytes, std::env::var_os(entry)),
        };
        if name.is_empty() {
            return Err(Error::Environment(entry.to_string_lossy().into_owned()));
        }
        let name = OsStr::from_bytes(name);
        variables.retain(|(other, _)| other != name);
        // A variable that this shell does not have either is not set.
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    variables.sort();
    let join =
        |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    Ok(variables.into_iter().map(join).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Says why `bytes` in an executable file are no program.
    fn refusal(bytes: &[u8]) -> String {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("program");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        examine(&path).map_or_else(|reason| reason.to_string(), |_| String::new())
    }

    fn ourselves() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn a_program_and_a_script_pass() {
        assert_eq!(refusal(&ourselves()), "");
        assert_eq!(refusal(b"#!/bin/sh\n"), "");
    }

    #[test]
    fn what_is_no_program_is_named() {
        let whole = ourselves();
        let changed = |at: usize, bytes: &[u8]| {
            let mut copy = whole.clone();
            copy[at..at + bytes.len()].copy_from_slice(bytes);
            refusal(&copy)
        };
        assert!(refusal(b"").contains("ELF"));
        assert!(refusal(b"some text that is no program\n").contains("neither an ELF"));
        assert!(refusal(&whole[..40]).contains("truncated"));
        assert!(refusal(&whole[..64]).contains("truncated"));
        assert!(refusal(&whole[..8192]).contains("truncated"));
        assert!(changed(4, &[1]).contains("32-bit"));
        assert!(changed(18, &[183, 0]).contains("another processor"));
        assert!(changed(16, &[1, 0]).contains("no program"));
        assert!(changed(32, &u64::MAX.to_le_bytes()).contains("truncated"));
        assert!(changed(54, &[7, 0]).contains("ELF"));
    }

    #[test]
    fn directories_missing_files_and_files_without_permission_are_named() {
        let place = tempfile::tempdir().unwrap();
        let plain = place.path().join("plain");
        std::fs::write(&plain, ourselves()).unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(examine(place.path()), Err(Reason::Directory)));
        assert!(matches!(examine(&plain), Err(Reason::NotExecutable)));
        assert!(matches!(examine(&place.path().join("x")), Err(Reason::System(_))));
        assert!(matches!(examine(Path::new("/dev/null")), Err(Reason::NotRegular)));
        let error = find("surely-no-such-program".as_ref()).unwrap_err().to_string();
        assert!(error.contains("surely-no-such-program") && error.contains("PATH"), "{error}");
    }

    #[test]
    fn variables_are_replaced_passed_on_and_refused() {
        let variables = environment(&["HOME=/x=y".into(), "NEW=".into(), "UNSET_HERE".into()]);
        let variables = variables.unwrap();
        assert!(variables.contains(&b"HOME=/x=y".to_vec()));
        assert!(variables.contains(&b"NEW=".to_vec()));
        assert!(!variables.iter().any(|entry| entry.starts_with(b"UNSET_HERE")));
        assert_eq!(variables.iter().filter(|entry| entry.starts_with(b"HOME=")).count(), 1);
        assert!(matches!(environment(&["=x".into()]), Err(Error::Environment(_))));
    }
}

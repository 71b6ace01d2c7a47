//! The program that is to be launched: where it is, and whether the library can be loaded into it.

use goblin::elf::header::{EM_X86_64, ELFCLASS64};
use goblin::elf::program_header::PT_INTERP;
use goblin::elf::{Elf, ProgramHeader};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Exit statuses are those of a shell: 127 not found, 126 cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("{}: command not found", .0.display())]
    NotFound(PathBuf),
    #[error("unknown option {}; ckpt_launch --help lists all", .0.display())]
    Option(PathBuf),
    #[error("{} is a folder, not a program", .0.display())]
    Folder(PathBuf),
    #[error("{}: permission denied; is it executable?", .0.display())]
    NotExecutable(PathBuf),
    #[error("{} is {} and you are not root: the kernel keeps libraries out of it; start a copy without that", .0.display(), .1)]
    Privileged(PathBuf, &'static str),
    #[error("{} is not a 64-bit x86 program; ckpt cannot checkpoint it", .0.display())]
    Foreign(PathBuf),
    #[error("{} is statically linked: libckpt.so cannot be loaded into it; link it dynamically", .0.display())]
    Static(PathBuf),
    #[error("{} is linked with another C library ({}): libckpt.so needs glibc", .0.display(), .1)]
    OtherLibrary(PathBuf, String),
    #[error("{} is a script for {}, which is not there", .0.display(), .1.display())]
    NoInterpreter(PathBuf, PathBuf),
    #[error("{} is a script: {source}", .path.display())]
    Interpreter { path: PathBuf, source: Box<ProgramError> },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

impl ProgramError {
    pub fn exit_status(&self) -> i32 {
        match self {
            ProgramError::NotFound(_) => 127,
            ProgramError::Option(_) => 2,
            _ => 126,
        }
    }
}

/// As execvp(3) looks for it.
pub fn find(name: &OsStr) -> Result<PathBuf, ProgramError> {
    // The parser takes the first word that it does not know for the program.
    let is_option = name.as_bytes().starts_with(b"-");
    let not_found = || if is_option { ProgramError::Option(name.into()) } else { ProgramError::NotFound(name.into()) };
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return if path.exists() { Ok(path) } else { Err(not_found()) };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|p| is_executable(p) && p.is_file())
        .ok_or_else(not_found)
}

/// Programs that cannot carry the library are refused before they start. Source: execve(2), ld.so(8).
pub fn check(path: &Path) -> Result<(), ProgramError> {
    check_at(path, 0)
}

fn check_at(path: &Path, depth: u32) -> Result<(), ProgramError> {
    // As many as the kernel follows.
    const SCRIPT_DEPTH: u32 = 5;
    if path.is_dir() {
        return Err(ProgramError::Folder(path.into()));
    }
    if !is_executable(path) {
        return Err(ProgramError::NotExecutable(path.into()));
    }
    let mut head = Vec::new();
    // A program may be executable and not readable: then it is taken as it is.
    if File::open(path).and_then(|f| f.take(64 << 10).read_to_end(&mut head)).is_err() {
        return Ok(());
    }
    match script_interpreter(&head) {
        Some(_) if depth >= SCRIPT_DEPTH => Ok(()),
        Some(by) if !by.exists() => Err(ProgramError::NoInterpreter(path.into(), by)),
        // What env starts is looked up the same way as itself.
        Some(by) => check_at(&by, depth + 1).map_err(|e| ProgramError::Interpreter { path: path.into(), source: Box::new(e) }),
        None => check_elf(path, &head),
    }
}

fn check_elf(path: &Path, head: &[u8]) -> Result<(), ProgramError> {
    if !head.starts_with(b"\x7fELF") {
        return Ok(());
    }
    let Ok(elf) = Elf::parse_header(head) else { return Err(ProgramError::Foreign(path.into())) };
    if head.get(4) != Some(&ELFCLASS64) || elf.e_machine != EM_X86_64 {
        return Err(ProgramError::Foreign(path.into()));
    }
    refuse_privileged(path)?;
    let ctx = goblin::container::Ctx::new(goblin::container::Container::Big, goblin::container::Endian::Little);
    let headers = ProgramHeader::parse(head, elf.e_phoff as usize, elf.e_phnum as usize, ctx).unwrap_or_default();
    match headers.iter().find(|h| h.p_type == PT_INTERP) {
        Some(h) => refuse_musl(path, head.get(h.file_range()).unwrap_or_default()),
        None if is_loader(path) => Ok(()),
        None => Err(ProgramError::Static(path.into())),
    }
}

/// Its loader knows LD_PRELOAD, but not all of what the library asks of libc.
fn refuse_musl(path: &Path, loader: &[u8]) -> Result<(), ProgramError> {
    let loader = String::from_utf8_lossy(loader.split(|&b| b == 0).next().unwrap_or_default());
    let is_musl = loader.rsplit('/').next().is_some_and(|name| name.starts_with("ld-musl"));
    if is_musl { Err(ProgramError::OtherLibrary(path.into(), loader.into_owned())) } else { Ok(()) }
}

/// ld.so(8), which is a program too: the one that it is told to run can carry the library.
pub fn is_loader(path: &Path) -> bool {
    let name = path.file_name().map_or(&[][..], OsStrExt::as_bytes);
    let has_name = || {
        let bytes = std::fs::read(path).ok()?;
        let elf = Elf::parse(&bytes).ok()?;
        Some(elf.interpreter.is_none() && elf.soname.is_some_and(|n| n.starts_with("ld")))
    };
    name.starts_with(b"ld") && has_name() == Some(true)
}

/// The loader drops LD_PRELOAD where an exec changes the user, the group or the capabilities (AT_SECURE).
fn refuse_privileged(path: &Path) -> Result<(), ProgramError> {
    // SAFETY: only asks.
    if unsafe { libc::geteuid() } == 0 {
        return Ok(());
    }
    let mode = std::fs::metadata(path).map_err(|source| ProgramError::Io { path: path.into(), source })?.mode();
    let what = match () {
        _ if mode & 0o4000 != 0 => "setuid",
        _ if mode & 0o2010 == 0o2010 => "setgid",
        _ if has_capabilities(path) => "given capabilities (getcap shows them)",
        _ => return Ok(()),
    };
    Err(ProgramError::Privileged(path.into(), what))
}

fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: asks for the size only.
    unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

/// The file after `#!`, as the kernel reads it (fs/binfmt_script.c).
fn script_interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let name = line.split(|b| b" \t\r".contains(b)).find(|w| !w.is_empty())?;
    Some(PathBuf::from(OsString::from_vec(name.to_vec())))
}

fn is_executable(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ckpt-program-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn shell_and_scripts_for_it_are_taken() {
        check(Path::new("/bin/sh")).unwrap();
        check(&file("ok.sh", b"#! /bin/sh -e\necho\n")).unwrap();
        check(&file("plain", b"echo\n")).unwrap();
    }

    #[test]
    fn a_misspelt_option_is_not_looked_for_as_a_program() {
        assert_eq!(find("--chekpoint".as_ref()).unwrap_err().exit_status(), 2);
        assert_eq!(find("no-such-program".as_ref()).unwrap_err().exit_status(), 127);
        assert!(check(Path::new("/tmp")).unwrap_err().to_string().contains("is a folder"));
    }

    #[test]
    fn foreign_and_static_programs_are_refused_also_behind_a_script() {
        let mut elf = std::fs::read("/bin/sh").unwrap();
        elf.truncate(4096);
        elf[18] = 183;
        let arm = file("arm", &elf);
        assert!(matches!(check(&arm), Err(ProgramError::Foreign(_))));
        elf[18] = 62;
        elf[56] = 0;
        let fixed = file("static", &elf);
        assert!(matches!(check(&fixed), Err(ProgramError::Static(_))));
        let mut musl = std::fs::read("/bin/sh").unwrap();
        let name = b"/lib64/ld-linux-x86-64.so.2\0";
        let at = musl.windows(name.len()).position(|w| w == name).unwrap();
        musl[at..at + name.len()].copy_from_slice(b"/lib/ld-musl-x86_64.so.1\0\0\0\0");
        let said = check(&file("musl", &musl)).unwrap_err().to_string();
        assert!(said.contains("ld-musl-x86_64.so.1): libckpt.so needs glibc"), "{said}");
        let script = file("behind", format!("#!{}\n", fixed.display()).as_bytes());
        let said = check(&script).unwrap_err().to_string();
        assert!(said.contains("is a script") && said.contains("statically linked"), "{said}");
        let lost = file("lost", b"#!/nonexistent/sh\n");
        assert!(check(&lost).unwrap_err().to_string().contains("/nonexistent/sh, which is not there"));
    }
}

//! `ckpt_restart_script.sh` beside the images: one word to bring the computation back.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub const NAME: &str = "ckpt_restart_script.sh";

/// Complete and durable on return. It names the computation, not a generation: `ckpt_restart` takes the newest complete
/// one, so the script of an earlier checkpoint is still right and stays as it is.
pub fn write(folder: &Path, program: &str, computation: &[u8; 16]) -> io::Result<()> {
    let to = folder.join(NAME);
    let content = content(program, computation, &restart_tool());
    if std::fs::read(&to).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let temporary = folder.join(format!(".{NAME}.{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    let written = fill(&temporary, &content).and_then(|()| std::fs::rename(&temporary, &to));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn fill(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn content(program: &str, computation: &[u8; 16], tool: &OsStr) -> Vec<u8> {
    let id: String = computation[..4].iter().map(|b| format!("{b:02x}")).collect();
    let program: String = program.chars().filter(|c| !c.is_control()).collect();
    let mut text = format!("#!/bin/sh\n# Brings {program} back from its newest complete checkpoint; options are those of ckpt_restart.\nrestart=").into_bytes();
    text.extend(quoted(tool.as_bytes()));
    text.extend(b"\n[ -x \"$restart\" ] || restart=ckpt_restart\n");
    text.extend(format!("exec \"$restart\" \"$@\" \"$(dirname -- \"$0\")\"/*-{id}*-g*.img\n").into_bytes());
    text
}

/// As one word of sh(1).
fn quoted(word: &[u8]) -> Vec<u8> {
    let mut out = b"'".to_vec();
    for &b in word {
        if b == b'\'' { out.extend(b"'\\''") } else { out.push(b) }
    }
    out.push(b'\'');
    out
}

/// Beside the program that runs.
fn restart_tool() -> std::ffi::OsString {
    std::env::current_exe().map_or_else(|_| "ckpt_restart".into(), |p| p.with_file_name("ckpt_restart").into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_the_shell_would_read() {
        assert_eq!(quoted(b"/a b'c"), b"'/a b'\\''c'");
        let text = String::from_utf8(content("x\ny", &[0xab; 16], OsStr::new("/opt/ckpt_restart"))).unwrap();
        assert!(text.contains("restart='/opt/ckpt_restart'\n") && text.contains("/*-abababab*-g*.img\n") && text.contains("Brings xy back"));
    }
}

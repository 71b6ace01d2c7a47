//! What is asked of every descriptor, once: link, stat, flags; fdinfo only by the kinds that need it.

use crate::sys;
use std::cell::OnceCell;
use std::io;
use std::os::fd::RawFd;

pub struct Probe {
    pub fd: RawFd,
    pub link: Vec<u8>,
    pub stat: libc::stat,
    pub flags: i32,
    fdinfo: OnceCell<String>,
}

impl Probe {
    pub fn new(fd: RawFd, stat: libc::stat) -> io::Result<Probe> {
        let link = sys::readlink(&format!("/proc/self/fd/{fd}"))?;
        let flags = sys::fcntl(fd, libc::F_GETFL, 0)?;
        Ok(Probe {
            fd,
            link,
            stat,
            flags,
            fdinfo: OnceCell::new(),
        })
    }

    pub fn file_type(&self) -> u32 {
        self.stat.st_mode & libc::S_IFMT
    }

    /// The name of an anonymous inode: `eventfd` for `anon_inode:[eventfd]`.
    pub fn anon(&self) -> Option<String> {
        let name = self.link.strip_prefix(b"anon_inode:")?;
        Some(
            String::from_utf8_lossy(name)
                .trim_matches(|c| c == '[' || c == ']')
                .to_string(),
        )
    }

    pub fn access(&self) -> i32 {
        self.flags & libc::O_ACCMODE
    }

    pub fn readable(&self) -> bool {
        matches!(self.access(), libc::O_RDONLY | libc::O_RDWR)
    }

    pub fn writable(&self) -> bool {
        matches!(self.access(), libc::O_WRONLY | libc::O_RDWR)
    }

    pub fn fdinfo(&self) -> io::Result<&str> {
        if let Some(text) = self.fdinfo.get() {
            return Ok(text);
        }
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd))?;
        Ok(self.fdinfo.get_or_init(|| text))
    }

    /// The value after `name:` in fdinfo.
    pub fn info(&self, name: &str) -> io::Result<&str> {
        let missing = || io::Error::other(format!("no `{name}` in fdinfo"));
        field(self.fdinfo()?, name).ok_or_else(missing)
    }

    pub fn info_hex(&self, name: &str) -> io::Result<u64> {
        let text = self.info(name)?;
        u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(io::Error::other)
    }

    pub fn info_dec(&self, name: &str) -> io::Result<i64> {
        self.info(name)?.parse().map_err(io::Error::other)
    }

    pub fn describe(&self) -> String {
        String::from_utf8_lossy(&self.link).into_owned()
    }
}

pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim);
    text.lines().find_map(value)
}

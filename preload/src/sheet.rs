//! A file in memory for the agent. Where RLIMIT_FSIZE is low this process can neither make one grow nor write to it: the
//! agent gives one that is large already, it is mapped piece by piece, and cut when all is in it.

use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use core::ffi::CStr;

pub struct Sheet {
    pub fd: Fd,
    /// what was put
    len: u64,
    /// bytes that it has from the beginning; 0: it grows
    room: u64,
}

impl Sheet {
    /// `given`: the agent's descriptor, or -1.
    pub fn new(name: &CStr, given: Fd) -> Result<Sheet> {
        if given >= 0 {
            // SAFETY: numbers only.
            let room = unsafe { syscall3(libc::SYS_lseek, given as usize, 0, libc::SEEK_END as usize) }?;
            return Ok(Sheet { fd: given, len: 0, room: room as u64 });
        }
        // SAFETY: name is NUL-terminated.
        let fd = unsafe { syscall2(libc::SYS_memfd_create, name.as_ptr() as usize, libc::MFD_CLOEXEC as usize) }?;
        Ok(Sheet { fd: fd as Fd, len: 0, room: 0 })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.len;
        self.len += bytes.len() as u64;
        self.put_at(at, bytes)
    }

    /// Over what was put before.
    pub fn put_at(&self, at: u64, mut bytes: &[u8]) -> Result<()> {
        if self.room != 0 {
            return self.lay(at, bytes);
        }
        let mut at = at as usize;
        while !bytes.is_empty() {
            // SAFETY: bytes is readable.
            match unsafe { syscall4(libc::SYS_pwrite64, self.fd as usize, bytes.as_ptr() as usize, bytes.len(), at) } {
                Ok(0) => return Err(Errno(libc::EIO)),
                Ok(n) => (bytes, at) = (&bytes[n..], at + n),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// By a mapping of the pages that the bytes belong to.
    fn lay(&self, at: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if at + bytes.len() as u64 > self.room {
            return Err(Errno(libc::EFBIG));
        }
        let page = at & !(ckpt_sys::PAGE as u64 - 1);
        let inside = (at - page) as usize;
        let len = ckpt_sys::page_up(inside + bytes.len());
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping, inside the file's size, that is gone again below.
        unsafe {
            let to = syscall6(libc::SYS_mmap, 0, len, prot as usize, libc::MAP_SHARED as usize, self.fd as usize, page as usize)?;
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), (to + inside) as *mut u8, bytes.len());
            munmap(to, len)
        }
    }

    /// All is in it.
    pub fn cut(&mut self) -> Result<()> {
        if self.room != 0 {
            // SAFETY: numbers only.
            unsafe { syscall2(libc::SYS_ftruncate, self.fd as usize, self.len as usize) }?;
            self.room = self.len;
        }
        Ok(())
    }
}

//! The list of what an image holds of a process's memory.

use crate::sheet::Sheet;
use ckpt_sys::calls::*;
use ckpt_sys::flat::*;
use ckpt_sys::raw::*;

/// Runs of memory that has data, and guards, on their way into a memfd.
pub struct RunTable {
    pub sheet: Sheet,
    pub count: u64,
    pub bytes: u64,
    last: Run,
    buffered: usize,
    buffer: [Run; 256],
}

impl RunTable {
    /// `given`: a memfd to take, or -1.
    pub fn new(given: Fd) -> Result<RunTable> {
        let sheet = Sheet::new(c"ckpt-runs", given)?;
        Ok(RunTable { sheet, count: 0, bytes: 0, last: Run::default(), buffered: 0, buffer: [Run::default(); 256] })
    }

    /// A range that faults has no data.
    pub fn add_guard(&mut self, addr: u64, bytes: u64) -> Result<()> {
        self.push()?;
        self.last = Run { addr: addr | Run::GUARD, bytes };
        self.push()
    }

    pub fn add(&mut self, addr: u64, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        if self.last.addr + self.last.bytes == addr && self.last.bytes != 0 {
            self.last.bytes += bytes;
            return Ok(());
        }
        self.push()?;
        self.last = Run { addr, bytes };
        Ok(())
    }

    fn push(&mut self) -> Result<()> {
        if self.last.bytes == 0 {
            return Ok(());
        }
        self.buffer[self.buffered] = self.last;
        self.buffered += 1;
        self.count += 1;
        self.last = Run::default();
        if self.buffered == self.buffer.len() { self.flush() } else { Ok(()) }
    }

    pub fn run(&self, index: u64) -> Result<Run> {
        let mut bytes = [0; size_of::<Run>()];
        let at = index as usize * size_of::<Run>();
        // SAFETY: bytes is writable for its length.
        let got = unsafe { syscall4(libc::SYS_pread64, self.sheet.fd as usize, bytes.as_mut_ptr() as usize, bytes.len(), at) }?;
        from_bytes(&bytes).filter(|_| got == bytes.len()).ok_or(Errno(libc::EIO))
    }

    fn flush(&mut self) -> Result<()> {
        let n = core::mem::take(&mut self.buffered) * size_of::<Run>();
        self.sheet.put(&bytes_of(&self.buffer)[..n])
    }

    /// Nothing more comes.
    pub fn end(&mut self) -> Result<()> {
        self.push()?;
        self.flush()
    }
}

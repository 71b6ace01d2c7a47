//! The memory that all processes of the computation on this host share with their agent: ids after a restart, what they
//! tell each other (`ckpt_publish`), what they may know (`ckpt_status`). What one agent's processes publish goes on to
//! the others by the coordinator.

use ckpt_coordinator::client::{Client, ClientError};
use ckpt_sys::board::Notice;
use ckpt_sys::calls::{futex_wait, futex_wake_all};
use ckpt_sys::idtable::{IdTable, SIZE};
use ckpt_sys::names::{self, Names};
use ckpt_wire::AgentMessage;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Table(pub OwnedFd);

impl Table {
    pub fn new(name: &CStr) -> io::Result<Table> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&fd, SIZE as i64)?;
        Ok(Table(fd))
    }

    /// A view that stays for the life of this process.
    pub fn map(&self) -> io::Result<&'static IdTable> {
        let len = NonZeroUsize::new(SIZE).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a fresh mapping of a memfd of this length, touched through this type only and never unmapped.
        unsafe {
            let at = mmap(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, self.0.as_fd(), 0)?;
            IdTable::at(at.as_ptr().cast()).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
    }

    /// Before there are processes: what they may know of the computation. `generation`: what it is brought back from, or 0.
    pub fn announce(&self, computation: [u8; 16], generation: u32) -> io::Result<()> {
        self.map()?.board.write(&Notice { computation, generation, at_us: 0 });
        Ok(())
    }

    /// Another agent's takes its place, under the same number: processes that have not looked yet find that one.
    pub fn replace(&self, other: &OwnedFd) {
        // SAFETY: numbers only; the descriptor stays ours.
        unsafe { libc::dup3(other.as_raw_fd(), self.0.as_raw_fd(), libc::O_CLOEXEC) };
    }
}

/// This agent's side of what processes tell each other.
pub struct Exchange {
    table: &'static IdTable,
    /// Entries that the coordinator knows, and those that came from there.
    told: HashSet<usize>,
    foreign: HashSet<usize>,
    /// readable when there may be something new
    bell: Arc<OwnedFd>,
}

impl Exchange {
    pub fn open(table: &Table) -> io::Result<Exchange> {
        let table = table.map()?;
        // SAFETY: a new descriptor that nobody else owns.
        let bell = unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                fd if fd >= 0 => Arc::new(OwnedFd::from_raw_fd(fd)),
                _ => return Err(io::Error::last_os_error()),
            }
        };
        let ring = Arc::clone(&bell);
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || watch(&table.names, &ring))?;
        Ok(Exchange { table, told: HashSet::new(), foreign: HashSet::new(), bell })
    }

    pub fn fd(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// A coordinator that is new to us.
    pub fn forget(&mut self) {
        self.told.clear();
    }

    /// Tells the coordinator what processes here have published.
    pub fn tell(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let mut count = 0u64;
        // SAFETY: eight bytes; nothing there is fine.
        unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
        let mut new = Vec::new();
        self.table.names.each(|number, key, value| {
            if !names::is_local(key) && !self.foreign.contains(&number) && !self.told.contains(&number) {
                new.push((number, AgentMessage::Published { key: key.to_vec(), value: value.to_vec() }));
            }
        });
        new.into_iter().try_for_each(|(number, message)| {
            client.send(&message)?;
            self.told.insert(number);
            Ok(())
        })
    }

    /// What the coordinator tells goes to the processes here.
    pub fn hear(&mut self, key: &[u8], value: &[u8]) {
        let names = &self.table.names;
        let mut known = vec![0; value.len()];
        if names::is_local(key) || names.look_up(key, &mut known) == Some(value.len()) && known == value {
            return;
        }
        if let Ok(number) = names.publish(key, value) {
            self.foreign.insert(number);
            futex_wake_all(&names.published);
        }
    }

    /// A checkpoint is complete: processes here can know it from now on.
    pub fn complete(&self, computation: [u8; 16], generation: u32) {
        let at_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        self.table.board.write(&Notice { computation, generation, at_us });
    }
}

/// Until the exchange is gone, which shows at the next word.
fn watch(names: &Names, bell: &Arc<OwnedFd>) {
    while Arc::strong_count(bell) > 1 {
        let seen = names.published.load(Acquire);
        let one = 1u64;
        // SAFETY: eight bytes.
        unsafe { libc::write(bell.as_raw_fd(), (&raw const one).cast(), 8) };
        let _ = futex_wait(&names.published, seen, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_elsewhere_is_there_once_and_a_table_can_take_anothers_place() -> io::Result<()> {
        let (one, two) = (Table::new(c"one")?, Table::new(c"two")?);
        let mut exchange = Exchange::open(&one)?;
        exchange.hear(b"port", b"80");
        exchange.hear(b"port", b"80");
        exchange.hear(b"port", b"81");
        exchange.hear(b"\0shm", b"7");
        assert_eq!(exchange.foreign.len(), 2);
        exchange.complete([1; 16], 3);
        two.announce([2; 16], 9)?;
        two.replace(&one.0);
        let table = two.map()?;
        let mut value = [0; 2];
        assert_eq!((table.names.look_up(b"port", &mut value), &value), (Some(2), b"81"));
        assert_eq!(table.board.read().map(|notice| (notice.computation, notice.generation)), Some(([1; 16], 3)));
        Ok(())
    }

    #[test]
    fn the_bell_rings_for_each_word() -> io::Result<()> {
        let table = Table::new(c"bell")?;
        let exchange = Exchange::open(&table)?;
        let rings = || {
            let ready = crate::link::poll(&[exchange.fd()], std::time::Duration::from_secs(60))?;
            let mut count = 0u64;
            // SAFETY: eight bytes.
            unsafe { libc::read(exchange.fd(), (&raw mut count).cast(), 8) };
            Ok::<bool, io::Error>(!ready.is_empty())
        };
        // At the start, for what may be there already.
        assert!(rings()?);
        let names = &table.map()?.names;
        assert!(names.publish(b"a", b"1").is_ok());
        futex_wake_all(&names.published);
        assert!(rings()?);
        Ok(())
    }
}

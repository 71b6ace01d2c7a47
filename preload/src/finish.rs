//! A call that our signal cut short, where natively nothing would have: the thread finishes it on its way back, and the
//! program sees the whole count.

use crate::descriptors;
use crate::eintr::reg;
use crate::handler::Slot;
use ckpt_sys::calls::Fd;
use ckpt_sys::raw::*;
use core::sync::atomic::Ordering::*;

const MESSAGE: i64 = size_of::<libc::mmsghdr>() as i64;

/// Has a thread that comes back from a call with less than natively go on with the rest. False: it does not.
///
/// # Safety
/// The thread is parked; `r` are its registers, and the kernel has read the call's arguments.
pub unsafe fn finish(slot: &Slot, r: &mut [i64; 23], nr: i64, args: &[u64; 6], done: i64) -> bool {
    let is_part = (1..args[2] as i64).contains(&done);
    // SAFETY: by the contract.
    unsafe {
        if is_part && is_cut_short(slot, nr, args) {
            go_on(slot, r, nr, done);
        } else if is_part && nr == libc::SYS_recvmmsg {
            more_messages(slot, r, args, done);
        } else if nr == libc::SYS_sendmmsg && done > 0 && args[3] & libc::MSG_DONTWAIT as u64 == 0 {
            return send_rest(slot, r, args, done);
        } else if let Some(rest) = Rest::of(slot, nr, args, done) {
            rest.go_on(slot, r, nr, done);
        } else if let Some(v) = Vector::cut_short(slot, nr, args, done) {
            v.go_on(slot, r);
        } else {
            return false;
        }
    }
    true
}

/// A transfer on a blocking descriptor that natively ends only when all bytes have gone.
fn is_cut_short(slot: &Slot, nr: i64, args: &[u64; 6]) -> bool {
    let whole = match nr {
        libc::SYS_write | libc::SYS_pwrite64 => true,
        libc::SYS_sendto => args[3] & libc::MSG_DONTWAIT as u64 == 0,
        libc::SYS_recvfrom => args[3] & libc::MSG_WAITALL as u64 != 0 && args[3] & libc::MSG_PEEK as u64 == 0,
        _ => false,
    };
    whole && is_blocking(slot, args[0])
}

/// What a call is made once more for, whose memory or count other registers tell than those of write(2).
struct Rest {
    /// the register that counts, and what is left
    counts: (i32, i64),
    /// the register of the address that moves on; offsets in files the kernel has moved itself
    moves: Option<i32>,
}

impl Rest {
    /// A natively whole count of `nr`, which is not whole. What else could have ended it (the end of the file) does so again.
    fn of(slot: &Slot, nr: i64, args: &[u64; 6], done: i64) -> Option<Rest> {
        const MOST: u64 = 0x7fff_f000;
        let (counts, count, moves) = match nr {
            libc::SYS_getrandom => (libc::REG_RSI, args[1], Some(libc::REG_RDI)),
            libc::SYS_read if done > 0 => (libc::REG_RDX, read_by_all(slot, args[0], args[2]), Some(libc::REG_RSI)),
            libc::SYS_sendfile => (libc::REG_R10, args[3], None),
            libc::SYS_copy_file_range => (libc::REG_R8, args[4], None),
            _ => return None,
        };
        let count = count.min(MOST) as i64;
        let natively_all = || match nr {
            // Into a pipe goes what fits, natively too.
            libc::SYS_sendfile => kind_of(slot, args[0]).is_some_and(|(kind, _)| kind == libc::S_IFREG || kind == libc::S_IFSOCK && is_blocking(slot, args[0])),
            _ => true,
        };
        let is_part = (1..count).contains(&done);
        (is_part && natively_all()).then_some(Rest { counts: (counts, count - done), moves })
    }

    /// As `go_on`.
    ///
    /// # Safety
    /// The thread is parked; `r` are its registers.
    unsafe fn go_on(self, slot: &Slot, r: &mut [i64; 23], nr: i64, done: i64) {
        // SAFETY: by the contract.
        unsafe { enter(slot, r, [done, nr], [0; 6], crate::asm::finish_once) };
        r[reg(self.counts.0)] = self.counts.1;
        if let Some(which) = self.moves {
            r[reg(which)] += done;
        }
    }
}

/// /dev/zero, /dev/urandom, ...
const MEMORY_DEVICES: u64 = 1;

/// How much read(2) waits for: of a terminal without lines what VMIN says. 0: for anything.
fn read_by_all(slot: &Slot, number: u64, count: u64) -> u64 {
    match kind_of(slot, number) {
        Some((libc::S_IFCHR, device)) if device >> 8 == MEMORY_DEVICES => count,
        Some((libc::S_IFCHR, _)) if is_blocking(slot, number) => count.min(at_least(slot, number)),
        _ => 0,
    }
}

fn at_least(slot: &Slot, number: u64) -> u64 {
    let asked = descriptors::with(slot.tid.load(Acquire), number as Fd, |fd| {
        // Four words of flags, one byte, 19 characters.
        let mut termios = [0u8; 36];
        // SAFETY: the kernel's struct termios.
        let known = unsafe { syscall3(libc::SYS_ioctl, fd as usize, libc::TCGETS as usize, termios.as_mut_ptr() as usize) };
        let [lines, time, min] = [termios[12] & libc::ICANON as u8, termios[17 + libc::VTIME], termios[17 + libc::VMIN]];
        if known.is_ok() && lines == 0 && time == 0 { min.into() } else { 0 }
    });
    asked.unwrap_or(0)
}

/// The kind of a file, and the number of the device that it is.
fn kind_of(slot: &Slot, number: u64) -> Option<(u32, u64)> {
    descriptors::with(slot.tid.load(Acquire), number as Fd, |fd| {
        let mut stat = [0u64; 18];
        // SAFETY: stat is as long as struct stat, whose fourth word begins with the mode; the sixth is st_rdev.
        let known = unsafe { syscall2(libc::SYS_fstat, fd as usize, stat.as_mut_ptr() as usize) };
        known.is_ok().then_some((stat[3] as u32 & libc::S_IFMT, stat[5]))
    })?
}

fn is_blocking(slot: &Slot, number: u64) -> bool {
    // SAFETY: numbers only.
    let flags = |fd: Fd| unsafe { syscall2(libc::SYS_fcntl, fd as usize, libc::F_GETFL as usize) };
    let asked = descriptors::with(slot.tid.load(Acquire), number as Fd, flags);
    asked.is_some_and(|flags| flags.is_ok_and(|flags| flags & libc::O_NONBLOCK as usize == 0))
}

/// A transfer of several pieces of memory (writev, sendmsg, ...) and the call that goes on with one of them.
struct Vector {
    pieces: *const [u64; 2],
    count: u64,
    call: i64,
    /// flags, or offset in the file
    extra: u64,
    done: i64,
    /// of sendmmsg: how many are done, with this one, and its length
    messages: [i64; 2],
}

impl Vector {
    /// `done`: what the call came back with.
    fn cut_short(slot: &Slot, nr: i64, args: &[u64; 6], done: i64) -> Option<Vector> {
        if done <= 0 {
            return None;
        }
        let new = |pieces: u64, count, call, extra| Vector { pieces: pieces as *const [u64; 2], count, call, extra, done, messages: [0; 2] };
        let has = |flag: i32| args[2] & flag as u64 != 0;
        let v = match nr {
            libc::SYS_writev => new(args[1], args[2], libc::SYS_write, 0),
            libc::SYS_pwritev2 if args[3] as i64 == -1 && args[5] == 0 => new(args[1], args[2], libc::SYS_write, 0),
            libc::SYS_pwritev => new(args[1], args[2], libc::SYS_pwrite64, args[3] + done as u64),
            libc::SYS_sendmsg if !has(libc::MSG_DONTWAIT) => Vector::of_message(args, libc::SYS_sendto, done),
            libc::SYS_recvmsg if has(libc::MSG_WAITALL) && !has(libc::MSG_PEEK) => Vector::of_message(args, libc::SYS_recvfrom, done),
            _ => return None,
        };
        // SAFETY: the kernel has read `count` pieces there.
        let pieces = unsafe { core::slice::from_raw_parts(v.pieces, v.count as usize) };
        let all = pieces.iter().map(|p| p[1]).sum::<u64>();
        (all > done as u64 && is_blocking(slot, args[0])).then_some(v)
    }

    fn of_message(args: &[u64; 6], call: i64, done: i64) -> Vector {
        // SAFETY: the kernel has read the message's header: msg_iov is its third word, msg_iovlen the fourth.
        let header = unsafe { (args[1] as *const [u64; 4]).read() };
        Vector { pieces: header[2] as *const [u64; 2], count: header[3], call, extra: args[2], done, messages: [0; 2] }
    }

    /// As `go_on`.
    ///
    /// # Safety
    /// The thread is parked; `r` are its registers.
    unsafe fn go_on(mut self, slot: &Slot, r: &mut [i64; 23]) {
        let mut first = self.done as u64;
        loop {
            // SAFETY: the pieces are those of `cut_short`, and fewer than all are done.
            let len = unsafe { (*self.pieces)[1] };
            if first < len {
                break;
            }
            first -= len;
            self.pieces = self.pieces.wrapping_add(1);
            self.count -= 1;
        }
        let [messages, len] = self.messages;
        let more = [self.pieces as i64, self.count as i64, first as i64, self.extra as i64, messages, len];
        // SAFETY: by the contract.
        unsafe { enter(slot, r, [self.done, self.call], more, crate::asm::finish_vector) };
    }
}

/// Has the thread go on at `entry` (`asm.rs`) with its registers, two words and six more on the stack: where the signal's
/// information was, which sigreturn(2) does not read. From there to the red zone of the program lie the processor's registers.
///
/// # Safety
/// The thread is parked; `r` are its registers.
pub unsafe fn enter(slot: &Slot, r: &mut [i64; 23], [third, fourth]: [i64; 2], more: [i64; 6], entry: unsafe extern "C" fn()) {
    /// Of struct ucontext, as the kernel has it.
    const CONTEXT: u64 = 304;
    let now = |which: i32| r[reg(which)];
    let [a, b, c, d, e, f] = more;
    let words = [
        now(libc::REG_RIP), now(libc::REG_RSI), now(libc::REG_RDX), third, fourth, now(libc::REG_R10), now(libc::REG_RSP),
        now(libc::REG_RDI), now(libc::REG_R8), now(libc::REG_R9), a, b, c, d, e, f,
    ];
    let at = slot.frame.load(Acquire) + CONTEXT;
    // SAFETY: the 128 bytes of a siginfo_t, in the frame that the thread will return through.
    unsafe { (at as *mut [i64; 16]).write(words) };
    r[reg(libc::REG_RSP)] = at as i64;
    r[reg(libc::REG_RIP)] = entry as *const () as i64;
}

/// Has the thread finish the transfer, and come back with the whole count.
///
/// # Safety
/// As `enter`.
unsafe fn go_on(slot: &Slot, r: &mut [i64; 23], nr: i64, done: i64) {
    // SAFETY: by the contract.
    unsafe { enter(slot, r, [done, nr], [0; 6], crate::asm::finish_write) };
    r[reg(libc::REG_RSI)] += done;
    r[reg(libc::REG_RDX)] -= done;
    if nr == libc::SYS_pwrite64 {
        r[reg(libc::REG_R10)] += done;
    }
}

/// recvmmsg that our signal cut short. The kernel has left its own ERESTARTSYS in the socket for the next call
/// (net/socket.c, do_recvmmsg), which no program should ever see.
///
/// # Safety
/// As `go_on`.
unsafe fn more_messages(slot: &Slot, r: &mut [i64; 23], args: &[u64; 6], done: i64) {
    let at_once = args[3] & (libc::MSG_DONTWAIT | libc::MSG_WAITFORONE) as u64 != 0;
    if at_once || !is_blocking(slot, args[0]) {
        return;
    }
    let (mut error, mut len) = (0i32, 4u32);
    let (error, len) = (&raw mut error as usize, &raw mut len as usize);
    descriptors::with(slot.tid.load(Acquire), args[0] as Fd, |fd| {
        // SAFETY: room for an int and its length; reading the error takes it away.
        let _ = unsafe { syscall5(libc::SYS_getsockopt, fd as usize, libc::SOL_SOCKET as usize, libc::SO_ERROR as usize, error, len) };
    });
    if args[4] != 0 {
        // With a timeout it may end early.
        return;
    }
    // SAFETY: by the contract.
    unsafe { go_on(slot, r, libc::SYS_recvmmsg, done) };
    r[reg(libc::REG_RSI)] += done * (MESSAGE - 1);
    r[reg(libc::REG_RIP)] = crate::asm::finish_messages as *const () as i64;
}

/// sendmmsg that our signal cut short: the rest of the message that it was at, of which the kernel has noted how much has
/// gone, then the messages behind it. False: nothing is left.
///
/// # Safety
/// As `go_on`.
unsafe fn send_rest(slot: &Slot, r: &mut [i64; 23], args: &[u64; 6], done: i64) -> bool {
    const MOST: i64 = 1024;
    let (count, last) = (args[2] as i64, args[1] as i64 + (done - 1) * MESSAGE);
    // SAFETY: the kernel has read and written that header, and read its pieces: msg_iov is its third word, msg_iovlen the
    // fourth, msg_len comes behind its seven.
    let (pieces, len, sent) = unsafe { (*((last + 16) as *const *const [u64; 2]), *((last + 24) as *const u64), *((last + 56) as *const u32)) };
    // SAFETY: as above.
    let whole = unsafe { core::slice::from_raw_parts(pieces, len as usize) }.iter().map(|p| p[1]).sum::<u64>();
    let is_part = u64::from(sent) < whole;
    if count > MOST || (done >= count && !is_part) || !is_blocking(slot, args[0]) {
        return false;
    }
    if is_part {
        let v = Vector { pieces, count: len, call: libc::SYS_sendto, extra: args[3], done: sent.into(), messages: [done, whole as i64] };
        // SAFETY: by the contract; less than all of the message has gone.
        unsafe { v.go_on(slot, r) };
    } else {
        // SAFETY: by the contract.
        unsafe { enter(slot, r, [done, libc::SYS_sendmmsg], [0; 6], crate::asm::finish_messages) };
        r[reg(libc::REG_RSI)] += done * MESSAGE;
        r[reg(libc::REG_RDX)] -= done;
    }
    true
}

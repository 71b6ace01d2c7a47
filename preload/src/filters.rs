//! Seccomp filters: noted as the program sets them, because only a privileged tracer can read them back, and set again by
//! each thread as the last thing after a restart. Where the program sets them our hooks make no system call but the
//! first time, before there is a filter: it could be one that kills for it.

use crate::arena::Arena;
use crate::hooks::own_descriptor;
use crate::{procfs, thread};
use ckpt_sys::calls::*;
use ckpt_sys::raw::*;
use ckpt_sys::seccomp::*;
use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::*};

/// Copied to a forked child, which has the filters too.
static NOTES: AtomicPtr<Notes> = AtomicPtr::new(core::ptr::null_mut());
static BUSY: AtomicBool = AtomicBool::new(false);
/// The main thread's descriptor (`pthread_self`): filters of that thread are inherited by every thread that is made later.
static MAIN: AtomicUsize = AtomicUsize::new(0);

/// For the constructor.
pub fn prepare() {
    MAIN.store(own_descriptor(), Relaxed);
}

/// For the constructor: the filters of the program that exec'ed this one, which hold for it too.
pub fn inherit(text: &[u8]) {
    make();
    let mut words = words(text);
    let mut filter = || {
        let [by, flags, len] = [words.next()?, words.next()?, words.next()?];
        let instruction = || {
            let (code, k) = (words.next()?, words.next()?);
            Some(Instruction { code: code as u16, jt: (code >> 16) as u8, jf: (code >> 24) as u8, k })
        };
        note(Noted { by, flags, at: 0, len }, core::iter::from_fn(instruction));
        Some(())
    };
    while filter().is_some() {}
}

/// For the environment of an exec'ed program.
pub fn variable() -> Option<*const c_char> {
    // SAFETY: never unmapped.
    let notes = unsafe { NOTES.load(Acquire).as_ref() }?;
    let passed = notes.head.text != 0 && notes.head.count.load(Acquire) != 0 && notes.head.incomplete.load(Acquire) == 0;
    passed.then_some(notes.text.as_ptr().cast())
}

/// `ask` sets a filter by call number `by`; its answer is the caller's.
pub fn set(by: i64, flags: u32, program: *const Program, ask: impl FnOnce() -> Result<usize>) -> Result<usize> {
    if NOTES.load(Acquire).is_null() {
        make();
    }
    let done = ask()?;
    // TSYNC that failed answers a thread's id.
    if let Some(program) = crate::hooks::load(program).filter(|_| done == 0) {
        // SAFETY: the kernel has just read the instructions there.
        let code = (0..program.len.into()).map(|i| unsafe { program.filter.add(i).read_unaligned() });
        note(Noted { by: by as u32, flags, at: 0, len: program.len.into() }, code);
    }
    Ok(done)
}

fn make() {
    let Ok(at) = map_anon(SIZE) else { return };
    // So that it is not joined with what lies beside it: the agent looks for its length.
    let _ = madvise(at as usize, SIZE, libc::MADV_DONTDUMP);
    let at = at.cast::<Notes>();
    // SAFETY: new zeroed memory of this size that nobody else knows; zeros are a valid value of every field.
    let notes = unsafe { &mut *at };
    notes.head.magic = MAGIC;
    notes.text[..VARIABLE.len()].copy_from_slice(VARIABLE);
    notes.head.text = VARIABLE.len() as u32;
    if NOTES.compare_exchange(core::ptr::null_mut(), at, AcqRel, Acquire).is_err() {
        // SAFETY: the mapping is ours alone.
        let _ = unsafe { syscall2(libc::SYS_munmap, at as usize, SIZE) };
    }
}

/// Those of other threads hold for these alone.
fn is_for_all(flags: u32) -> bool {
    flags & TSYNC != 0 || own_descriptor() == MAIN.load(Relaxed)
}

fn note(filter: Noted, code: impl Iterator<Item = Instruction>) {
    // SAFETY: never unmapped; written by one thread at a time (`BUSY`).
    let Some(notes) = (unsafe { NOTES.load(Acquire).as_mut() }) else { return };
    if BUSY.swap(true, Acquire) {
        return notes.head.incomplete.store(1, Release);
    }
    let (count, at) = (notes.head.count.load(Relaxed), notes.head.instructions);
    let place = notes.instructions.get_mut(at as usize..(at as usize).saturating_add(filter.len as usize));
    match (notes.head.filters.get_mut(count as usize), place) {
        (Some(slot), Some(place)) if is_for_all(filter.flags) && filter.flags & NEW_LISTENER == 0 => {
            *slot = Noted { at, ..filter };
            place.iter_mut().zip(code).for_each(|(to, i)| *to = i);
            notes.head.instructions += filter.len;
            let words = place.iter().flat_map(|i| [u32::from(i.code) | u32::from(i.jt) << 16 | u32::from(i.jf) << 24, i.k]);
            notes.head.text = write(&mut notes.text, notes.head.text as usize, [filter.by, filter.flags, filter.len].into_iter().chain(words));
            notes.head.count.store(count + 1, Release);
        }
        _ => notes.head.incomplete.store(1, Release),
    }
    BUSY.store(false, Release);
}

/// Behind the first `used` bytes; the new number of those, 0 when it does not fit.
fn write(text: &mut [u8], used: usize, words: impl Iterator<Item = u32>) -> u32 {
    let mut at = used;
    for word in words {
        let digits = written(word);
        // The NUL stays behind the last.
        let Some(room) = text.get_mut(at..at + digits.len() + 1).filter(|_| used != 0) else { return 0 };
        room[..digits.len()].copy_from_slice(&digits);
        at += digits.len();
    }
    at as u32
}

/// Which threads lack some of the filters; all stand still. Errors: ENOSPC, there are too many.
pub fn note_threads(a: &Arena) -> Result<()> {
    // SAFETY: never unmapped; the program stands still.
    let Some(notes) = (unsafe { NOTES.load(Acquire).as_mut() }) else { return Ok(()) };
    notes.head.lacking = 0;
    let most = thread::parked(a).map(|slot| procfs::filters(slot.tid.load(Acquire))).max().unwrap_or(0);
    for slot in thread::parked(a) {
        let filters = most - procfs::filters(slot.tid.load(Acquire));
        if filters != 0 {
            *notes.lacking.get_mut(notes.head.lacking as usize).ok_or(Errno(libc::ENOSPC))? = Lacking { frame: slot.frame.load(Acquire), filters };
            notes.head.lacking += 1;
        }
    }
    Ok(())
}

/// By a restored thread that is about to go back to `frame`. Without its filters it does not: they are there for safety.
pub fn enter(frame: u64) {
    // SAFETY: never unmapped; nobody writes it while threads leave the restorer.
    let Some(notes) = (unsafe { NOTES.load(Acquire).as_ref() }) else { return };
    let (count, lacking) = (notes.head.count.load(Acquire) as usize, notes.head.lacking as usize);
    let lacks = notes.lacking[..lacking.min(LACKING)].iter().find(|l| l.frame == frame).map_or(0, |l| l.filters as usize);
    for filter in notes.head.filters.iter().take(count.saturating_sub(lacks)) {
        let from = filter.at as usize;
        let code = notes.instructions.get(from..from.saturating_add(filter.len as usize));
        if code.is_none_or(|code| set_again(filter, code).is_err()) {
            let _ = kill(getpid(), libc::SIGKILL);
        }
    }
}

/// By the call that it was set by first: the filter before it may allow no other.
fn set_again(filter: &Noted, code: &[Instruction]) -> Result<usize> {
    let program = Program { len: code.len() as u16, filter: code.as_ptr() };
    let at = &raw const program as usize;
    match i64::from(filter.by) {
        libc::SYS_prctl => prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER as usize, at, 0, 0),
        // SAFETY: `program` and its instructions stay while the kernel reads them.
        _ => unsafe { syscall3(libc::SYS_seccomp, SET_MODE_FILTER as usize, (filter.flags & (LOG | SPEC_ALLOW)) as usize, at) },
    }
}

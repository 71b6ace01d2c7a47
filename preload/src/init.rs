//! The constructor: takes our two variables out of the environment and installs the signal handler.

use crate::procfs::Path as Text;
use crate::state::{self, Told};
use ckpt_sys::calls;
use ckpt_sys::flat::Outer;
use core::ffi::{CStr, c_char, c_int};

#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = init;

extern "C" fn init(_argc: c_int, _argv: *mut *mut c_char, envp: *mut *mut c_char) {
    // SAFETY: glibc passes the environment to constructors; nothing else runs yet.
    unsafe { start(envp) };
}

/// # Safety
/// `envp` is the process's NULL-terminated environment.
unsafe fn start(envp: *mut *mut c_char) -> Option<()> {
    // SAFETY: by the contract.
    if let Some(at) = unsafe { find(envp, b"CKPT_RESTORE=") } {
        // SAFETY: environment strings are NUL-terminated.
        let value = unsafe { CStr::from_ptr(*at).to_bytes() };
        crate::restore::enter(parse(&value[13..])?);
    }
    let begin = crate::times::now();
    // SAFETY: by the contract.
    let [code, frame] = unsafe { [auxiliary(envp, libc::AT_SYSINFO_EHDR), auxiliary(envp, AT_MINSIGSTKSZ)] };
    // SAFETY: what the kernel says is there.
    let vdso = unsafe { vdso(code) };
    crate::crowded::note_frame(frame);
    // SAFETY: by the contract.
    let agent = unsafe { take(envp, b"CKPT_AGENT=") }?;
    // SAFETY: by the contract.
    let preload = unsafe { find(envp, b"LD_PRELOAD=") }?;
    // SAFETY: environment strings are NUL-terminated and writable.
    let exec = unsafe {
        let (text, told) = read_agent(CStr::from_ptr(agent).to_bytes())?;
        state::set_control(text.c_str().to_bytes(), &told, vdso).then_some(())?;
        wipe(agent);
        split_preload(preload)?;
        told.exec
    };
    let signal = state::ckpt_signal();
    reserve(signal);
    state::map_state().ok()?;
    crate::hooks::prepare();
    crate::filters::prepare();
    crate::rseq::prepare();
    // SAFETY: by the contract.
    unsafe { crate::faults::arm(envp) };
    // SAFETY: by the contract; environment strings are NUL-terminated.
    if let Some(filters) = unsafe { take(envp, ckpt_sys::seccomp::VARIABLE) } {
        // SAFETY: as above.
        crate::filters::inherit(unsafe { &CStr::from_ptr(filters).to_bytes()[ckpt_sys::seccomp::VARIABLE.len()..] });
        // SAFETY: our own string, read already.
        unsafe { wipe(filters) };
    }
    crate::handler::install(signal).ok()?;
    unblock(signal);
    crate::times::began(state::state()?, exec, begin);
    Some(())
}

/// `CKPT_AGENT=name,agent,program,table,outer,signal[,when exec was called,what callbacks took]`; the agent's own child is told 0 for the program: itself.
fn read_agent(text: &[u8]) -> Option<(Text, Told)> {
    let mut words = text.split(|&b| b == b',');
    let name = core::str::from_utf8(words.next()?).ok()?;
    let (agent_pid, program) = (parse(words.next()?)?, parse(words.next()?)?);
    let table = words.next()?;
    let mut five = || words.next().and_then(parse);
    let outer = Outer { agent: five()?, group: five()?, real_group: five()?, session: five()?, real_session: five()? };
    let signal = parse(words.next()?)?;
    let exec = crate::times::read_stamp(words);
    let program = if program == 0 { calls::getpid() } else { program };
    let ids_virtual = table.starts_with(b"v");
    let id_table = parse(table.strip_prefix(b"v").unwrap_or(table)).map_or(0, |fd| attach_ids(agent_pid, fd).unwrap_or(0));
    let mut out = Text::new(name).text(",").number(agent_pid).text(",").number(program).text(",");
    out = out.text(core::str::from_utf8(table).ok()?).text(",");
    for n in [outer.agent, outer.group, outer.real_group, outer.session, outer.real_session] {
        out = out.number(n).text(",");
    }
    out = out.number(signal);
    Some((out, Told { agent_pid, program, signal, id_table, ids_virtual, outer, exec }))
}

/// Not in libc's headers before 2.34.
const AT_MINSIGSTKSZ: u64 = 51;

/// A value of the auxiliary vector, which lies behind the environment; 0 where it is not there.
///
/// # Safety
/// As `start`, and nothing has been taken out of the environment yet.
unsafe fn auxiliary(mut envp: *mut *mut c_char, what: u64) -> u64 {
    // SAFETY: walks up to the NULL, then up to AT_NULL.
    unsafe {
        while !(*envp).is_null() {
            envp = envp.add(1);
        }
        let mut auxv = envp.add(1).cast::<[u64; 2]>();
        while (*auxv)[0] != 0 && (*auxv)[0] != what {
            auxv = auxv.add(1);
        }
        if (*auxv)[0] == 0 { 0 } else { (*auxv)[1] }
    }
}

/// Start and end of the kernel's code in this process: the first segment of the ELF image at `start` is all of it.
///
/// # Safety
/// `start` is 0 or a valid ELF image.
unsafe fn vdso(start: u64) -> [u64; 2] {
    if start == 0 {
        return [0; 2];
    }
    // SAFETY: by the contract.
    unsafe {
        let headers = *((start + 32) as *const u64);
        let len = *((start + headers + 40) as *const u64);
        [start, start + ckpt_sys::page_up(len as usize) as u64]
    }
}

/// The table of ids is the agent's memfd; its descriptors can be opened by the same user.
pub fn attach_ids(agent: i32, number: i32) -> Option<usize> {
    let path = Text::new("/proc/").number(agent).text("/fd/").number(number);
    let fd = calls::open(path.c_str(), libc::O_RDWR | libc::O_CLOEXEC).ok()?;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping of the memfd.
    let at = unsafe {
        ckpt_sys::raw::syscall6(libc::SYS_mmap, 0, ckpt_sys::idtable::SIZE, prot as usize, libc::MAP_SHARED as usize, fd as usize, 0)
    };
    calls::close(fd);
    at.ok()
}

/// What the kernel shows as the environment (/proc/PID/environ) is the strings themselves.
///
/// # Safety
/// `s` is one of our own environment strings, already copied.
unsafe fn wipe(s: *mut c_char) {
    // SAFETY: by the contract.
    unsafe { core::ptr::write_bytes(s, 0, CStr::from_ptr(s).to_bytes().len()) };
}

/// The last real-time signal is taken off the program's: SIGRTMAX is one less for it.
fn reserve(signal: c_int) {
    // SAFETY: a literal name; the function is `int __libc_allocate_rtsig(int high)`.
    unsafe {
        let take = dlsym(core::ptr::null_mut(), c"__libc_allocate_rtsig".as_ptr());
        if signal == 64 && !take.is_null() {
            let take: extern "C" fn(c_int) -> c_int = core::mem::transmute(take);
            take(0);
        }
    }
}

/// The mask is inherited over exec; ours may be in it (posix_spawnattr_setsigmask).
fn unblock(signal: c_int) {
    let set = crate::signals::bit(signal);
    // SAFETY: set is 8 bytes.
    let _ = unsafe {
        ckpt_sys::raw::syscall4(libc::SYS_rt_sigprocmask, libc::SIG_UNBLOCK as usize, &raw const set as usize, 0, 8)
    };
}

fn parse(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i32, |n, d| d.is_ascii_digit().then(|| n * 10 + (d - b'0') as i32))
}

/// # Safety
/// As `start`.
pub unsafe fn find(mut envp: *mut *mut c_char, name: &[u8]) -> Option<*mut *mut c_char> {
    // SAFETY: walks up to the NULL.
    unsafe {
        while !(*envp).is_null() {
            if CStr::from_ptr(*envp).to_bytes().starts_with(name) {
                return Some(envp);
            }
            envp = envp.add(1);
        }
    }
    None
}

/// # Safety
/// As `start`; `at` points to an entry.
unsafe fn remove(mut at: *mut *mut c_char) {
    // SAFETY: shifts the tail, NULL included, down by one.
    unsafe {
        while !(*at).is_null() {
            *at = *at.add(1);
            at = at.add(1);
        }
    }
}

/// # Safety
/// As `start`.
unsafe fn take(envp: *mut *mut c_char, name: &[u8]) -> Option<*mut c_char> {
    // SAFETY: by the contract.
    unsafe {
        let at = find(envp, name)?;
        let value = *at;
        remove(at);
        Some(value)
    }
}

/// `LD_PRELOAD=/our/libckpt.so[:theirs]`: ours is kept and wiped, theirs stays in the environment.
///
/// # Safety
/// As `start`.
unsafe fn split_preload(at: *mut *mut c_char) -> Option<()> {
    // SAFETY: the string is NUL-terminated and lies on the initial stack for the life of the process; behind our part
    // there is room for the name (11 bytes) in front of theirs.
    unsafe {
        let all = CStr::from_ptr(*at).to_bytes();
        let colon = all.iter().position(|&b| b == b':');
        state::set_preload(&all[..colon.unwrap_or(all.len())]).then_some(())?;
        match colon {
            None => {
                wipe(*at);
                remove(at);
            }
            Some(colon) => {
                let name_at = (*at).add(colon + 1 - 11);
                core::ptr::write_bytes(*at, 0, colon + 1 - 11);
                core::ptr::copy_nonoverlapping(b"LD_PRELOAD=".as_ptr(), name_at.cast(), 11);
                *at = name_at;
            }
        }
    }
    Some(())
}

#[link(name = "c")]
unsafe extern "C" {
    fn dlsym(handle: *mut core::ffi::c_void, name: *const c_char) -> *mut core::ffi::c_void;
}

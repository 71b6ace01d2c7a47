// A Rust program over the crate of plugins/api: checkpoints itself, keeps some off, has a plugin of its own.
use ckpt::plugin::{self, Event, Plugin};
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Counts what it is told, and has a descriptor of its own.
struct Counts {
    told: [AtomicU32; 8],
    fd: AtomicU32,
    torn: [AtomicU32; 2],
}

impl Plugin for Counts {
    fn name(&self) -> &'static CStr {
        c"counts"
    }

    fn wants(&self, event: Event) -> bool {
        !matches!(event, Event::Exit)
    }

    fn at(&self, event: Event) -> Result<(), &'static str> {
        self.told[event as usize].fetch_add(1, SeqCst);
        let fd = self.fd.load(SeqCst) as i32;
        match event {
            Event::PreCheckpoint if self.torn[0].load(SeqCst) != self.torn[1].load(SeqCst) => Err("torn apart"),
            Event::PreCheckpoint if fd > 0 && !plugin::take_fd(fd) => Err("the descriptor cannot be taken"),
            Event::Restart if fd > 0 => reopen(fd),
            _ => Ok(()),
        }
    }
}

/// /dev/zero where /dev/null was.
fn reopen(fd: i32) -> Result<(), &'static str> {
    // SAFETY: a literal path; numbers.
    unsafe {
        let zero = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if zero != fd {
            libc::dup2(zero, fd);
            libc::close(zero);
        }
    }
    Ok(())
}

static COUNTS: Counts =
    Counts { told: [const { AtomicU32::new(0) }; 8], fd: AtomicU32::new(0), torn: [AtomicU32::new(0), AtomicU32::new(0)] };

fn note(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("GUEST_DIR").unwrap_or_default()).join(name)
}

fn told(event: Event) -> u32 {
    COUNTS.told[event as usize].load(SeqCst)
}

/// A section that no checkpoint may cut through: the plugin would see it.
fn section() {
    let _no_checkpoint = ckpt::delay();
    COUNTS.torn[0].fetch_add(1, SeqCst);
    std::thread::sleep(std::time::Duration::from_millis(5));
    COUNTS.torn[1].fetch_add(1, SeqCst);
}

fn itself(resumed: &mut u32, restarted: &mut u32) {
    let before = ckpt::restarts();
    match ckpt::checkpoint() {
        Ok(ckpt::Outcome::Resumed) => *resumed += 1,
        Ok(ckpt::Outcome::Restarted) => {
            assert!(ckpt::restarts() > before, "FAIL: a restart that is not counted");
            *restarted += 1;
        }
        Err(why) => assert!(!ckpt::enabled() && why.to_string() == "not started by ckpt_launch", "FAIL: {why}"),
    }
}

fn main() {
    // SAFETY: a literal path.
    let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    COUNTS.fd.store(fd as u32, SeqCst);
    assert_eq!(plugin::register(&COUNTS), ckpt::enabled());
    assert_eq!(plugin::publish(c"key", b"value"), ckpt::enabled());
    let mut value = [0; 8];
    assert_eq!(plugin::look_up(c"key", &mut value, 0), ckpt::enabled().then_some(5));
    let (mut resumed, mut restarted, mut round) = (0, 0, 1);
    itself(&mut resumed, &mut restarted);
    std::fs::write(note("ready"), "").unwrap();
    while !note("go").exists() {
        section();
        if note(&format!("ping.{round}")).exists() {
            std::fs::write(note(&format!("pong.{round}")), "").unwrap();
            round += 1;
        }
    }
    let restarts = ckpt::restarts();
    let status = ckpt::status();
    assert_eq!(status.as_ref().map(|s| (s.restarts, s.ready)), ckpt::enabled().then_some((restarts, true)), "FAIL: {status:?}");
    assert!(status.is_none_or(|s| s.generation > Some(0)), "FAIL: no checkpoint is known");
    if ckpt::enabled() {
        assert!(resumed == 1 && restarted == 0, "FAIL: {resumed} {restarted}");
        assert_eq!(told(Event::Restart), restarts, "FAIL: told of each restart");
        assert!(told(Event::PreSuspend) >= told(Event::PreCheckpoint) && told(Event::PreCheckpoint) > restarts);
    }
    let mut byte = [1u8];
    // SAFETY: one byte.
    let got = unsafe { libc::read(fd, byte.as_mut_ptr().cast(), 1) };
    assert_eq!((got, byte[0]), if restarts > 0 { (1, 0) } else { (0, 1) }, "FAIL: the plugin's descriptor");
}

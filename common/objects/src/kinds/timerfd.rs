//! timerfd: clock, flags, remaining time, interval and unread expirations are in fdinfo.

use crate::probe::Probe;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TimerfdState {
    pub clock: i32,
    /// TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET.
    pub settime_flags: i32,
    /// Expirations nobody has read yet.
    pub ticks: u64,
    /// Remaining time; both zero when disarmed.
    pub value: (i64, i64),
    pub interval: (i64, i64),
}

pub fn capture(probe: &Probe) -> io::Result<TimerfdState> {
    let mut now = libc::itimerspec { it_interval: timespec((0, 0)), it_value: timespec((0, 0)) };
    // The kernel counts the ticks of an expired periodic timer when it is asked: fdinfo alone says one.
    // SAFETY: a struct that the kernel fills.
    sys::cvt(unsafe { libc::timerfd_gettime(probe.fd, &mut now) })?;
    let octal = |name| i32::from_str_radix(probe.info(name)?, 8).map_err(io::Error::other);
    Ok(TimerfdState {
        clock: probe.info_dec("clockid")? as i32,
        settime_flags: octal("settime flags")?,
        ticks: probe.info_dec("ticks")? as u64,
        value: pair(probe.info("it_value")?)?,
        interval: pair(probe.info("it_interval")?)?,
    })
}

/// `(12, 345)`
pub(crate) fn pair(text: &str) -> io::Result<(i64, i64)> {
    let bad = || io::Error::other(format!("unexpected time in fdinfo: {text}"));
    let inner = text
        .strip_prefix('(')
        .and_then(|t| t.strip_suffix(')'))
        .ok_or_else(bad)?;
    let (s, ns) = inner.split_once(',').ok_or_else(bad)?;
    Ok((
        s.trim().parse().map_err(|_| bad())?,
        ns.trim().parse().map_err(|_| bad())?,
    ))
}

fn timespec(time: (i64, i64)) -> libc::timespec {
    libc::timespec {
        tv_sec: time.0,
        tv_nsec: time.1,
    }
}

pub fn rebuild(state: &TimerfdState) -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    let fd = sys::own(unsafe { libc::timerfd_create(state.clock, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })?;
    arm(&fd, state)?;
    if state.ticks > 0 {
        restore_ticks(&fd, state)?;
    }
    Ok(fd)
}

fn arm(fd: &OwnedFd, state: &TimerfdState) -> io::Result<()> {
    let mut spec = libc::itimerspec {
        it_interval: timespec(state.interval),
        it_value: timespec(state.value),
    };
    let mut flags = 0;
    // A wall-clock alarm keeps its date; any other timer keeps its remaining time.
    let wall = state.clock == libc::CLOCK_REALTIME || state.clock == libc::CLOCK_REALTIME_ALARM;
    if spec.it_value.tv_sec == 0 && spec.it_value.tv_nsec == 0 {
        // A periodic timer that has expired rests until it is read.
        spec.it_value = spec.it_interval;
    }
    let armed = state.value != (0, 0);
    if wall && armed && state.settime_flags & libc::TFD_TIMER_ABSTIME != 0 {
        flags = state.settime_flags;
        spec.it_value = add(now(state.clock), state.value);
    }
    // SAFETY: a filled struct.
    sys::cvt(unsafe { libc::timerfd_settime(fd.as_raw_fd(), flags, &spec, std::ptr::null_mut()) }).map(drop)
}

/// TFD_IOC_SET_TICKS needs CONFIG_CHECKPOINT_RESTORE; without it the timer is made to expire once now.
fn restore_ticks(fd: &OwnedFd, state: &TimerfdState) -> io::Result<()> {
    const TFD_IOC_SET_TICKS: u64 = 0x4008_5400;
    if sys::ioctl_set(fd.as_raw_fd(), TFD_IOC_SET_TICKS, &state.ticks).is_ok() {
        return Ok(());
    }
    let soon = TimerfdState {
        value: (0, 1),
        settime_flags: 0,
        ..state.clone()
    };
    arm(fd, &soon)
}

fn now(clock: i32) -> libc::timespec {
    let mut time = timespec((0, 0));
    // SAFETY: a struct that the kernel fills.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}

fn add(a: libc::timespec, b: (i64, i64)) -> libc::timespec {
    let ns = a.tv_nsec + b.1;
    timespec((a.tv_sec + b.0 + ns / 1_000_000_000, ns % 1_000_000_000))
}

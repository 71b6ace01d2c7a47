//! What of the machine a program may have picked up at its start: processor features, the kernel's vdso, clocks.
//! The agent is in the program's time namespace, so its own clocks are the program's.

use crate::vdso::Vdso;
use serde::{Deserialize, Serialize};
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// /proc/sys/kernel/osrelease and version
    pub kernel: String,
    /// Words of cpuid: 1 ecx, 1 edx, 7.0 ebx, 7.0 ecx, 7.0 edx, 7.1 eax, 0x80000001 ecx.
    pub features: [u32; 7],
    /// State that the kernel saves for programs (AVX, AVX-512, AMX); 0 without XSAVE.
    pub xcr0: u64,
    pub vdso: Vdso,
    pub clocks: Clocks,
}

/// CLOCK_MONOTONIC and CLOCK_BOOTTIME, nanoseconds.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// /proc/sys/kernel/random/boot_id: they go on only within a boot
    pub boot_id: String,
    pub now: [i64; 2],
    /// of the time namespace: what is added to the kernel's own
    pub offsets: [i64; 2],
}

impl Clocks {
    /// Those of this process. In one that has called unshare(CLONE_NEWTIME), offsets are its children's.
    pub fn here() -> Clocks {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        let offset = |name: &str| text.lines().find_map(|l| offset(l.strip_prefix(name)?)).unwrap_or(0);
        Clocks { boot_id, now: [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME].map(now), offsets: [offset("monotonic"), offset("boottime")] }
    }
}

/// Seconds and nanoseconds, as time_namespaces(7) has them.
fn offset(text: &str) -> Option<i64> {
    let mut words = text.split_whitespace().map_while(|w| w.parse::<i64>().ok());
    let (seconds, nanoseconds) = (words.next()?, words.next()?);
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

fn now(clock: libc::clockid_t) -> i64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: t is a struct timespec.
    unsafe { libc::clock_gettime(clock, &mut t) };
    t.tv_sec.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec)
}

/// Bits that compilers and libraries ask for before they use the instructions: word, bit, name.
const NAMES: [(usize, u32, &str); 28] = [
    (0, 0, "SSE3"), (0, 1, "PCLMULQDQ"), (0, 9, "SSSE3"), (0, 12, "FMA"), (0, 13, "CMPXCHG16B"), (0, 19, "SSE4.1"),
    (0, 20, "SSE4.2"), (0, 22, "MOVBE"), (0, 23, "POPCNT"), (0, 25, "AES"), (0, 28, "AVX"), (0, 29, "F16C"),
    (0, 30, "RDRAND"), (2, 3, "BMI1"), (2, 5, "AVX2"), (2, 8, "BMI2"), (2, 9, "ERMS"), (2, 11, "RTM"),
    (2, 16, "AVX-512F"), (2, 17, "AVX-512DQ"), (2, 19, "ADX"), (2, 29, "SHA"), (2, 30, "AVX-512BW"),
    (2, 31, "AVX-512VL"), (3, 3, "PKU"), (4, 24, "AMX-TILE"), (5, 4, "AVX-VNNI"), (6, 5, "LZCNT"),
];

impl Machine {
    /// The one we run on.
    pub fn here() -> Machine {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default().trim().to_owned();
        let (one, seven) = (__cpuid(1), __cpuid_count(7, 0));
        let has_xsave = one.ecx & 1 << 27 != 0;
        Machine {
            kernel: format!("{} {}", read("osrelease"), read("version")),
            features: [one.ecx, one.edx, seven.ebx, seven.ecx, seven.edx, __cpuid_count(7, 1).eax, __cpuid(0x8000_0001).ecx],
            // SAFETY: OSXSAVE is set: the instruction may be used.
            xcr0: if has_xsave { unsafe { xcr0() } } else { 0 },
            vdso: Vdso::here(),
            clocks: Clocks::here(),
        }
    }

    /// Names of what `self` has and `other` has not.
    pub fn missing_in(&self, other: &Machine) -> Vec<&'static str> {
        let lacks = |(word, bit, _): &(usize, u32, &str)| self.features[*word] & !other.features[*word] & 1 << bit != 0;
        let mut names: Vec<&str> = NAMES.iter().filter(|n| lacks(n)).map(|n| n.2).collect();
        let state = self.xcr0 & !other.xcr0;
        names.extend([(0x4, "AVX state"), (0xe0, "AVX-512 state"), (0x6_0000, "AMX state")].iter().filter(|s| state & s.0 != 0).map(|s| s.1));
        names
    }
}

/// # Safety
/// OSXSAVE must be set.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: by the contract.
    unsafe { _xgetbv(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_lacks_nothing_of_itself() {
        let here = Machine::here();
        assert!(here.missing_in(&here).is_empty());
        assert!(here.clocks.now.iter().all(|&t| t > 0) && !here.clocks.boot_id.is_empty());
        let old = Machine { features: [0; 7], xcr0: 3, ..here.clone() };
        assert!(here.missing_in(&old).contains(&"SSE4.2"));
    }
}

//! What of the machine a program may have picked up at its start: processor features, the kernel's vdso.

use ckpt_sys::crc::crc32c;
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
    /// Length of the vdso's image, bytes, and a checksum of its symbol table: where its functions are.
    pub vdso: (u64, u32),
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
            vdso: vdso(),
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

/// Length and checksum of the dynamic symbols of the vdso that this process has; zeros without one.
fn vdso() -> (u64, u32) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Some(line) = maps.lines().find(|l| l.ends_with("[vdso]")) else { return (0, 0) };
    let range = line.split_whitespace().next().and_then(|r| r.split_once('-'));
    let address = |text: &str| usize::from_str_radix(text, 16).ok();
    let Some((start, end)) = range.and_then(|(a, b)| address(a).zip(address(b))) else { return (0, 0) };
    // SAFETY: the kernel's own page, readable for the life of the process.
    let image = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) };
    (image.len() as u64, symbols(image).map_or(0, crc32c))
}

/// `.dynsym` and `.dynstr`, which lie next to each other (elf(5)).
fn symbols(image: &[u8]) -> Option<&[u8]> {
    const PT_DYNAMIC: u64 = 2;
    const DT_STRTAB: u64 = 5;
    const DT_SYMTAB: u64 = 6;
    const DT_STRSZ: u64 = 10;
    let word = |at: usize| image.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let (table, size, count) = (word(32)? as usize, word(54)? as u16 as usize, word(56)? as u16 as usize);
    let headers = (0..count).map(|i| table + i * size);
    let dynamic = headers.filter(|&h| word(h).is_some_and(|w| w & 0xffff_ffff == PT_DYNAMIC)).find_map(|h| word(h + 8))? as usize;
    let entries = (0..64).map_while(|i| Some((word(dynamic + i * 16)?, word(dynamic + i * 16 + 8)?))).take_while(|e| e.0 != 0);
    let entries: Vec<(u64, u64)> = entries.collect();
    let value = |tag: u64| entries.iter().find(|e| e.0 == tag).map(|e| e.1 as usize);
    let (symbols, strings, len) = (value(DT_SYMTAB)?, value(DT_STRTAB)?, value(DT_STRSZ)?);
    image.get(symbols.min(strings)..strings.checked_add(len)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_lacks_nothing_of_itself() {
        let here = Machine::here();
        assert!(here.missing_in(&here).is_empty());
        assert_ne!(here.vdso.1, 0, "the vdso's symbols were not found");
        let old = Machine { features: [0; 7], xcr0: 3, ..here.clone() };
        assert!(here.missing_in(&old).contains(&"SSE4.2"));
    }
}

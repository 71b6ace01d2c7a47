//! The kernel's vdso: code for system calls that need no kernel. Programs keep addresses in it (glibc, Go, the JVM, the
//! auxiliary vector), so under another kernel the old one stays where it was and passes calls on.

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Vdso {
    /// An ELF image (elf(5)); empty without one.
    pub image: Vec<u8>,
    /// Length of the kernel's data before it (`[vvar]`, `[vvar_vclock]`), bytes.
    pub data_len: u64,
}

/// A function of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// offset in the image
    pub at: u64,
    pub len: u64,
}

const PT_DYNAMIC: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const STT_FUNC: u64 = 2;

impl Vdso {
    /// That of this process.
    pub fn here() -> Vdso {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let range = |line: &str| {
            let (a, b) = line.split_whitespace().next()?.split_once('-')?;
            usize::from_str_radix(a, 16).ok().zip(usize::from_str_radix(b, 16).ok())
        };
        let of = |name: &str| maps.lines().filter(|l| l.split_whitespace().last().is_some_and(|w| w.starts_with(name))).filter_map(range).collect::<Vec<_>>();
        let data_len = of("[vvar").iter().map(|(start, end)| (end - start) as u64).sum();
        let Some(&(start, end)) = of("[vdso]").first() else { return Vdso::default() };
        // SAFETY: the kernel's own pages, readable for the life of the process.
        let image = unsafe { std::slice::from_raw_parts(start as *const u8, end - start) }.to_vec();
        Vdso { image, data_len }
    }

    /// Its functions. Of a damaged image, those that can be read.
    pub fn entries(&self) -> Vec<Entry> {
        self.tables().map(|(symbols, strings)| self.symbols(symbols, strings)).unwrap_or_default()
    }

    fn word(&self, at: usize) -> Option<u64> {
        self.image.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Offsets of `.dynsym` and `.dynstr`.
    fn tables(&self) -> Option<(usize, usize)> {
        let (table, size, count) = (self.word(32)? as usize, self.word(54)? as u16 as usize, self.word(56)? as u16 as usize);
        let headers = (0..count).map(|i| table.saturating_add(i * size));
        let dynamic = headers.filter(|&h| self.word(h).is_some_and(|w| w & 0xffff_ffff == PT_DYNAMIC)).find_map(|h| self.word(h.checked_add(8)?))?;
        let entry = |i: usize| {
            let at = (dynamic as usize).checked_add(i * 16)?;
            Some((self.word(at)?, self.word(at.checked_add(8)?)?))
        };
        let value = |tag: u64| (0..64).map_while(entry).take_while(|e| e.0 != 0).find(|e| e.0 == tag).map(|e| e.1 as usize);
        value(DT_SYMTAB).zip(value(DT_STRTAB))
    }

    /// The string table follows the symbols.
    fn symbols(&self, symbols: usize, strings: usize) -> Vec<Entry> {
        let entry = |i: usize| {
            let at = symbols.checked_add(i * 24).filter(|at| at + 24 <= strings)?;
            Some((self.word(at)?, self.word(at + 8)?, self.word(at + 16)?))
        };
        let function = |(head, at, len): (u64, u64, u64)| {
            let name = self.image.get(strings.checked_add(head as u32 as usize)?..)?.split(|&b| b == 0).next()?;
            let is_function = head >> 32 & 0xf == STT_FUNC && head >> 48 != 0;
            let inside = at.checked_add(len)? <= self.image.len() as u64;
            (is_function && inside).then(|| Entry { name: String::from_utf8_lossy(name).into_owned(), at, len })
        };
        (0..256).map_while(entry).filter_map(function).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_this_kernel_are_found() {
        let entries = Vdso::here().entries();
        for name in ["__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"] {
            assert!(entries.iter().any(|e| e.name == name && e.len > 12), "{name} in {entries:?}");
        }
    }

    #[test]
    fn a_damaged_image_has_no_functions() {
        let mut here = Vdso::here();
        here.image[32..64].fill(0xff);
        assert!(here.entries().is_empty());
        assert!(Vdso { image: vec![0; 100], data_len: 0 }.entries().is_empty());
    }
}

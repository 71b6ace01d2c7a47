//! A program keeps addresses in the vdso it was started with. Under another kernel the old one comes back as memory whose
//! functions lead to the new one's.

use ckpt_image::Vdso;
use ckpt_image::vdso::Entry;
use ckpt_sys::flat::plan::{FORWARD_LEN, Forward, NO_FUNCTION};

pub struct Forwarding {
    pub old: Vec<u8>,
    pub entries: Vec<Forward>,
}

/// The system call that does the same as a function of the vdso (arch/x86/entry/vdso).
const CALLS: [(&str, i64); 6] = [
    ("clock_gettime", libc::SYS_clock_gettime),
    ("gettimeofday", libc::SYS_gettimeofday),
    ("time", libc::SYS_time),
    ("getcpu", libc::SYS_getcpu),
    ("clock_getres", libc::SYS_clock_getres),
    ("getrandom", libc::SYS_getrandom),
];

/// Err: the function that there is no room in to lead elsewhere.
pub fn between(old: &Vdso, new: &Vdso) -> Result<Forwarding, String> {
    let targets = new.entries();
    let entries = old.entries();
    let mut forwards = Vec::new();
    for e in &entries {
        let Some(to) = target(e, &targets) else { continue };
        let crowded = entries.iter().any(|o| o.at > e.at && o.at < e.at + FORWARD_LEN);
        if e.len < FORWARD_LEN || crowded {
            return Err(e.name.clone());
        }
        // Two names of one function.
        if !forwards.iter().any(|f: &Forward| f.at == e.at) {
            forwards.push(Forward { at: e.at, to });
        }
    }
    Ok(Forwarding { old: old.image.clone(), entries: forwards })
}

/// Where to go; None: nobody calls it without the hardware that it is for.
fn target(e: &Entry, targets: &[Entry]) -> Option<u64> {
    let plain = e.name.strip_prefix("__vdso_").unwrap_or(&e.name);
    let call = || CALLS.iter().find(|c| c.0 == plain).map(|c| NO_FUNCTION - c.1 as u64);
    targets.iter().find(|t| t.name == e.name).map(|t| t.at).or_else(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_leads_to_its_name_or_to_the_kernel() {
        let here = Vdso::here();
        let same = between(&here, &here).unwrap_or_else(|e| panic!("{e}"));
        assert!(same.entries.len() >= 4 && same.entries.iter().all(|f| f.at == f.to), "{:?}", same.entries);
        let none = between(&here, &Vdso::default()).unwrap_or_else(|e| panic!("{e}"));
        assert!(none.entries.iter().all(|f| NO_FUNCTION - f.to < 1024) && none.entries.len() >= 4);
    }
}

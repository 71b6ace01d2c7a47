//! Threads that share less with the others than threads do: a table of descriptors of their own, a working directory and
//! umask of their own (unshare(2), clone(2) without CLONE_FILES or CLONE_FS).

use crate::procfs;
use crate::sharing::{KCMP_FILES, KCMP_FS, heads};
use ckpt_image::Apart;
use ckpt_sys::flat::ThreadRecord;
use std::os::unix::ffi::OsStrExt;

/// Those of one process, the ones that make others first. Err: a thread that no other can make again.
pub fn of(pid: i32, threads: &[ThreadRecord]) -> Result<Vec<Apart>, i32> {
    let tids: Vec<i32> = threads.iter().map(|t| t.tid).collect();
    let Some((&first, others)) = tids.split_first() else { return Ok(Vec::new()) };
    // SAFETY: kcmp only compares; an error (-1, where it is denied) tells nothing.
    let differs = |tid: i32, what: i32| unsafe { libc::syscall(libc::SYS_kcmp, first, tid, what, 0, 0) } > 0;
    if !others.iter().any(|&t| differs(t, KCMP_FILES) || differs(t, KCMP_FS)) {
        return Ok(Vec::new());
    }
    let (files, folder) = (heads(&tids, KCMP_FILES), heads(&tids, KCMP_FS));
    let is_odd = |t: i32| files[&t] != first || folder[&t] != first;
    let mut out = Vec::new();
    for (i, &tid) in others.iter().enumerate().filter(|(_, t)| is_odd(**t)) {
        let own = |maker: i32| {
            let of = |heads: &std::collections::HashMap<i32, i32>, flag: i32| match () {
                _ if heads[&maker] == heads[&tid] => Some(0),
                _ if heads[&tid] == tid => Some(flag),
                _ => None,
            };
            Some(of(&files, libc::CLONE_FILES)? | of(&folder, libc::CLONE_FS)?)
        };
        let makers = tids[..=i].iter().filter_map(|&maker| Some((own(maker)?, maker)));
        let (own, maker) = makers.min_by_key(|m| m.0.count_ones()).ok_or(tid)?;
        out.push(apart(pid, tid, maker, own));
    }
    Ok(out)
}

fn apart(pid: i32, tid: i32, maker: i32, own: i32) -> Apart {
    let task = format!("{pid}/task/{tid}");
    let status = procfs::status_of(&task).unwrap_or_default();
    Apart {
        tid,
        maker,
        own: own as u32,
        cwd: procfs::link_of(&task, "cwd").map(|p| p.as_os_str().as_bytes().to_vec()).unwrap_or_default(),
        umask: procfs::status_value(&status, "Umask").and_then(|v| u32::from_str_radix(v, 8).ok()).unwrap_or(0o022),
    }
}

//! What a restart does with an image before anything is started, in one call: for fuzzers and tests.

use crate::chain::Chain;
use crate::image_set::Member;
use crate::{plan, validate};
use ckpt_image::{Credentials, ImageFile, MapMeta};
use ckpt_sys::flat::Outer;
use std::path::Path;

/// Reads, compares every checksum, validates, plans. Err: why the image is refused.
pub fn examine(path: &Path) -> Result<(), String> {
    let member = open(path)?;
    member.verify(false).map_err(|e| e.to_string())?;
    validated(member)
}

/// As `examine`, believing the checksums of data: an attacker makes them right.
pub fn plan_only(path: &Path) -> Result<(), String> {
    validated(open(path)?)
}

fn open(path: &Path) -> Result<Member, String> {
    let file = ImageFile::open(path).map_err(|e| e.to_string())?;
    Member::open(file, None).map_err(|e| e.to_string())
}

fn validated(member: Member) -> Result<(), String> {
    let members = [member];
    validate::check(&members).map_err(|e| e.to_string())?;
    let [member] = &members;
    let bodies = || member.meta.processes.iter().filter_map(|p| p.body.as_ref());
    let id_table = (plan::free_address(bodies()), -1);
    for (i, process) in member.meta.processes.iter().enumerate() {
        let Some(body) = &process.body else { continue };
        if let Some(chain) = Chain::of(member, i) {
            chain.peek(body.record.0.control, 8);
        }
        let objects = &member.meta.objects;
        let relations = crate::rebuild::Relations::default();
        let given = plan::Given {
            relations: &relations,
            map_fd: &|_: &MapMeta| None,
            agent: 3,
            exe: -1,
            reads: &[],
            feed: ckpt_sys::flat::plan::Feed::NONE,
            lazy: &[],
            first_own: objects.highest_fd() + 1,
            exact: true,
            collapse: true,
            keep_ids: &|_: &Credentials| true,
            agent_name: b"name",
            preload: b"LD_PRELOAD=/lib",
            environment: &[],
            fds: objects.descriptors(process.pid).unwrap_or(&[]),
            late: &|id| objects.late(id, process.pid),
            undo: &[],
            told: &[],
            notifies: &[],
            thread_fds: &[],
            id_table,
            agent_pid: 2,
            no_hangup: true,
            vdso: None,
            outer: Outer::default(),
            renamed: &[],
            program_id: &|then| then,
        };
        plan::build(body, &given);
    }
    Ok(())
}

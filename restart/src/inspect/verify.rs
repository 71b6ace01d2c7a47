//! Every checksum of an image and of those it builds on.

use crate::image_set::Member;
use crate::{memory, validate};
use ckpt_sys::crc::crc32c;

/// How many images it builds on.
pub fn check(member: Member) -> Result<usize, String> {
    let parents = member.parents.len();
    members(&[member])?;
    Ok(parents)
}

pub fn members(members: &[Member]) -> Result<(), String> {
    validate::check(members).map_err(|e| e.to_string())?;
    memory::verify(members).map_err(|e| e.to_string())?;
    members.iter().try_for_each(files)
}

/// Programs and libraries.
fn files(m: &Member) -> Result<(), String> {
    for f in &m.meta.files {
        let sound = |p: &(u64, ckpt_objects::BlobRef, u32)| m.file.read_blob(&p.1).is_ok_and(|b| crc32c(&b) == p.2);
        if !f.pieces.iter().all(sound) {
            let name = String::from_utf8_lossy(&f.identity.path);
            return Err(format!("{}: damaged: its copy of {name} does not match its checksum", m.file.path.display()));
        }
    }
    Ok(())
}

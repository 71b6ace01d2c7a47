//! Every checksum of an image and of those it builds on.

use crate::image_set::Member;
use crate::validate;

/// How many images it builds on.
pub fn check(member: Member) -> Result<usize, String> {
    let parents = member.parents.len();
    members(&[member])?;
    Ok(parents)
}

pub fn members(members: &[Member]) -> Result<(), String> {
    members.iter().try_for_each(|m| m.verify(false).map_err(|e| e.to_string()))?;
    validate::check(members).map_err(|e| e.to_string())
}

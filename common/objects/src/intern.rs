//! Which descriptors are the same open file description.

use crate::model::ObjectId;
use crate::sys;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::os::fd::RawFd;

/// Descriptions of one inode, in kcmp order, each with one descriptor that stands for it.
type Bucket = Vec<(RawFd, ObjectId)>;

#[derive(Default)]
pub struct Intern {
    buckets: HashMap<(u64, u64), Bucket>,
    kcmp_denied: Cell<bool>,
}

impl Intern {
    /// The object of `fd` if it is known, else where to insert it.
    fn find(&self, bucket: &Bucket, fd: RawFd) -> Result<ObjectId, usize> {
        if self.kcmp_denied.get() {
            return self.find_by_query(bucket, fd);
        }
        let compare = |entry: &(RawFd, ObjectId)| {
            sys::kcmp_file(entry.0, fd).unwrap_or_else(|_| {
                self.kcmp_denied.set(true);
                Ordering::Less
            })
        };
        let found = bucket.binary_search_by(compare);
        if self.kcmp_denied.get() {
            return self.find_by_query(bucket, fd);
        }
        found.map(|at| bucket[at].1)
    }

    fn find_by_query(&self, bucket: &Bucket, fd: RawFd) -> Result<ObjectId, usize> {
        let same = |entry: &&(RawFd, ObjectId)| sys::same_file_query(entry.0, fd).unwrap_or(false);
        bucket.iter().find(same).map(|e| e.1).ok_or(bucket.len())
    }

    pub fn lookup(&self, fd: RawFd, stat: &libc::stat) -> Option<ObjectId> {
        let bucket = self.buckets.get(&(stat.st_dev, stat.st_ino))?;
        self.find(bucket, fd).ok()
    }

    /// Remembers `fd` as the representative of `id`; it must be new.
    pub fn insert(&mut self, fd: RawFd, stat: &libc::stat, id: ObjectId) {
        let key = (stat.st_dev, stat.st_ino);
        let bucket = self.buckets.remove(&key).unwrap_or_default();
        let at = self.find(&bucket, fd).err().unwrap_or(bucket.len());
        let bucket = self.buckets.entry(key).or_insert(bucket);
        bucket.insert(at, (fd, id));
    }
}

pub fn same_object(a: RawFd, b: RawFd) -> bool {
    match sys::kcmp_file(a, b) {
        Ok(order) => order == Ordering::Equal,
        Err(_) => sys::same_file_query(a, b).unwrap_or(false),
    }
}

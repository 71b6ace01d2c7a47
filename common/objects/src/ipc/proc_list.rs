//! /proc/sysvipc/{shm,msg,sem}: a line with the names of the columns, then one line for each object.

use std::collections::HashMap;

pub struct Row(HashMap<String, i64>);

impl Row {
    pub fn number(&self, column: &str) -> i64 {
        self.0.get(column).copied().unwrap_or(0)
    }

    pub fn id(&self, column: &str) -> i32 {
        self.number(column) as i32
    }
}

/// Empty where the kernel has no System V IPC.
pub fn read(family: &str) -> Vec<Row> {
    parse(&std::fs::read_to_string(format!("/proc/sysvipc/{family}")).unwrap_or_default())
}

pub(crate) fn parse(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    let row = |line: &str| {
        let values = line.split_ascii_whitespace().map(|w| w.parse().unwrap_or(0));
        Row(columns.iter().map(|c| c.to_string()).zip(values).collect())
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_found_by_name() {
        let rows = super::parse("  key  shmid perms size cpid\n  1124073473  5  640  10000  77\n  0 6 1600 4096 78\n");
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].id("shmid"), rows[0].number("size"), rows[1].id("cpid")), (5, 10000, 78));
        assert_eq!(rows[1].number("absent"), 0);
    }
}

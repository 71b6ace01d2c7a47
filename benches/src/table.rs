//! Figures beside their targets.

pub struct Row {
    name: String,
    value: String,
    target: String,
    missed: bool,
    against: String,
}

impl Row {
    pub fn seconds(name: &str, s: f64, most: f64) -> Row {
        Row::new(name, format_seconds(s), if most.is_finite() { format!("<= {}", format_seconds(most)) } else { String::new() }, s > most)
    }

    pub fn ratio(name: &str, ratio: f64, most: f64, base: &str) -> Row {
        Row::new(name, format!("{ratio:.2}x"), format!("<= {most}x"), ratio > most).with_base(base)
    }

    pub fn mib(name: &str, bytes: u64, most: f64) -> Row {
        let mib = bytes as f64 / f64::from(1 << 20);
        Row::new(name, format!("{mib:.*} MiB", usize::from(mib < 10.0)), format!("<= {most} MiB"), mib > most)
    }

    /// What could not be measured is a missed target, not the end of the run.
    pub fn failed(name: &str, e: &std::io::Error) -> Row {
        Row::new(name, format!("failed: {e}"), String::new(), true)
    }

    pub fn against(mut self, ratio: f64, base: &str) -> Row {
        self.against = format!("{ratio:.2}x {base}");
        self
    }

    fn with_base(mut self, base: &str) -> Row {
        self.against = base.into();
        self
    }

    fn new(name: &str, value: String, target: String, missed: bool) -> Row {
        Row { name: name.into(), value, target, missed, against: String::new() }
    }

    fn line(&self) -> String {
        let mark = if self.missed { "**missed**" } else { "" };
        format!("| {} | {} | {} | {} | {mark} |", self.name, self.value, self.target, self.against)
    }
}

fn format_seconds(s: f64) -> String {
    if s < 0.1 { format!("{:.1} ms", s * 1e3) } else { format!("{s:.2} s") }
}

pub struct Table {
    only: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    pub fn new(only: Vec<String>) -> Table {
        Table { only, rows: Vec::new() }
    }

    pub fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| group.contains(o.as_str()))
    }

    pub fn add(&mut self, row: Row) {
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    fn text(&self) -> String {
        let head = "| what | ckpt | target | compared with | |\n|---|---|---|---|---|\n".to_owned();
        self.rows.iter().fold(head, |all, r| all + &r.line() + "\n")
    }

    pub fn print(&self) {
        print!("{}", self.text());
    }

    /// docs/PERFORMANCE.md.
    pub fn page(&self, machine: &str, stages: &[String]) -> String {
        let stages = stages.iter().fold("| program | stages of the checkpoint |\n|---|---|\n".to_owned(), |all, s| all + s + "\n");
        format!("{}\nMachine: {machine}.\n\n{}\n{}\n{stages}", include_str!("above.md"), self.text(), include_str!("below.md"))
    }
}

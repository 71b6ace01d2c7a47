//! The summary at the end, docs/SUPPORT.md, and the list of known gaps.

use crate::guests::Guest;
use crate::run::{Mode, Outcome};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// `guest mode reason` lines: what is known not to work. Mode `*` stands for all; `mode@ids` is so with `--ids` of that
/// name alone.
#[derive(Default)]
pub struct Gaps(Vec<(String, String, String)>);

impl Gaps {
    pub fn read(root: &Path) -> Result<Gaps, String> {
        let path = root.join("tests/known-gaps.txt");
        let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Ok(Gaps::parse(&text))
    }

    fn parse(text: &str) -> Gaps {
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        let split = lines.filter_map(|l| {
            let mut words = l.splitn(3, ' ');
            Some((words.next()?.into(), words.next()?.into(), words.next().unwrap_or("").into()))
        });
        Gaps(split.collect())
    }

    pub fn reason(&self, guest: &str, mode: Mode, ids: Option<&str>, is_root: bool) -> Option<&str> {
        let is_mode = |word: &str| match word.split_once('@') {
            Some((word, of)) => word == mode.name() && if of == "user" { !is_root } else { ids == Some(of) },
            None => word == "*" || word == mode.name(),
        };
        let entry = self.0.iter().find(|(g, m, _)| g == guest && is_mode(m))?;
        Some(&entry.2)
    }
}

/// What became of one run, with the list of known gaps applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
    Gap(String),
    Surprise,
}

impl Verdict {
    pub fn of(outcome: Outcome, gap: Option<&str>) -> Verdict {
        match (outcome, gap) {
            (Outcome::Skip(why), _) => Verdict::Skipped(why),
            (Outcome::Pass, None) => Verdict::Passed,
            (Outcome::Pass, Some(_)) => Verdict::Surprise,
            (Outcome::Fail(why), None) => Verdict::Failed(why),
            (Outcome::Fail(_), Some(reason)) => Verdict::Gap(reason.into()),
        }
    }

    fn cell(&self) -> &'static str {
        match self {
            Verdict::Passed | Verdict::Surprise => "yes",
            Verdict::Failed(_) => "**no**",
            Verdict::Skipped(_) => "-",
            Verdict::Gap(_) => "gap",
        }
    }
}

pub type Results = BTreeMap<(String, Mode), Verdict>;

/// Passed, failed, skipped, known gaps.
pub fn count(results: &Results) -> (usize, usize, usize, usize) {
    let of = |want: fn(&Verdict) -> bool| results.values().filter(|v| want(v)).count();
    (
        of(|v| matches!(v, Verdict::Passed | Verdict::Surprise)),
        of(|v| matches!(v, Verdict::Failed(_))),
        of(|v| matches!(v, Verdict::Skipped(_))),
        of(|v| matches!(v, Verdict::Gap(_))),
    )
}

/// One row per family, one column per mode: passed/run.
pub fn matrix(results: &Results, modes: &[Mode]) -> String {
    let mut families: BTreeMap<&str, BTreeMap<Mode, (usize, usize)>> = BTreeMap::new();
    for ((name, mode), verdict) in results {
        let family = name.split('/').next().unwrap_or(name);
        let cell = families.entry(family).or_default().entry(*mode).or_default();
        if !matches!(verdict, Verdict::Skipped(_)) {
            cell.1 += 1;
            cell.0 += usize::from(matches!(verdict, Verdict::Passed | Verdict::Surprise));
        }
    }
    let mut text = format!("{:<12}", "");
    for mode in modes {
        let _ = write!(text, "{:>10}", mode.name());
    }
    for (family, row) in families {
        let _ = write!(text, "\n{family:<12}");
        for mode in modes {
            let (passed, run) = row.get(mode).copied().unwrap_or_default();
            let _ = write!(text, "{:>10}", format!("{passed}/{run}"));
        }
    }
    text
}

/// The whole matrix, as a page.
pub fn support(guests: &[Guest], results: &Results) -> String {
    let mut text = String::from(
        "# What is supported\n\nMade by `cargo xtask test --report docs/SUPPORT.md`: every row is a program of \
         tests/guests that checks itself,\nrun natively, under ckpt_launch, over a checkpoint, over a checkpoint with \
         kill and restart, and over two of those.\n`-`: skipped here, `gap`: known not to work (the reasons are at \
         the end), **no**: failed.\n",
    );
    let mut family = "";
    for guest in guests {
        if guest.family != family {
            family = &guest.family;
            let _ = write!(text, "\n## {family}\n\n| guest | what | native | launched | resume | restart | twice |\n");
            text += "|---|---|---|---|---|---|---|\n";
        }
        let name = guest.name.split_once('/').map_or(guest.name.as_str(), |n| n.1);
        let _ = write!(text, "| {name} | {} |", guest.about.replace('|', "\\|"));
        for mode in Mode::ALL {
            let cell = results.get(&(guest.name.clone(), mode)).map_or("", Verdict::cell);
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    let gaps = results.iter().filter_map(|((name, mode), verdict)| match verdict {
        Verdict::Gap(why) => Some(format!("- {name}, {}: {why}\n", mode.name())),
        _ => None,
    });
    let gaps: String = gaps.collect();
    if !gaps.is_empty() {
        let _ = write!(text, "\n## Known gaps\n\n{gaps}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_apply_to_their_mode() {
        let gaps = Gaps::parse("# comment\na/b restart@virtual needs exact ids\na/c * never\na/d resume@user needs root\n");
        assert_eq!(gaps.reason("a/b", Mode::Restart, Some("virtual"), true), Some("needs exact ids"));
        assert_eq!(gaps.reason("a/b", Mode::Restart, None, true), None);
        assert_eq!(gaps.reason("a/b", Mode::Native, Some("virtual"), false), None);
        assert_eq!(gaps.reason("a/c", Mode::Twice, None, true), Some("never"));
        assert_eq!(gaps.reason("a/d", Mode::Resume, None, false), Some("needs root"));
        assert_eq!(gaps.reason("a/d", Mode::Resume, None, true), None);
    }

    #[test]
    fn a_gap_that_passes_is_a_surprise() {
        assert_eq!(Verdict::of(Outcome::Pass, Some("x")), Verdict::Surprise);
        assert_eq!(Verdict::of(Outcome::Fail("y".into()), Some("x")), Verdict::Gap("x".into()));
        assert_eq!(Verdict::of(Outcome::Fail("y".into()), None), Verdict::Failed("y".into()));
    }
}

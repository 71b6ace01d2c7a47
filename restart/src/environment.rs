//! `--modify-env FILE`: what changes in the environment of every process.

use ckpt_agent::launch::Failure;
use std::path::Path;

/// `NAME=VALUE` or `NAME`, each with a NUL behind it. Empty lines and those that begin with `#` say nothing.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = std::fs::read(path).map_err(|e| Failure(format!("{}: {e}", path.display()), 1))?;
    parse(&text).map_err(|line| Failure(format!("{} line {line}: expected NAME=VALUE, or NAME to remove it", path.display()), 2))
}

/// Err: the number of a line that is neither.
fn parse(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::new();
    for (number, line) in (1..).zip(text.split(|&b| b == b'\n')) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let name = line.split(|&b| b == b'=').next().unwrap_or_default();
        if name.is_empty() || name.contains(&b' ') || line.contains(&0) {
            return Err(number);
        }
        out.extend_from_slice(line);
        out.push(0);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_strings() {
        assert_eq!(parse(b"# display\nDISPLAY=:1\n\nSSH_AGENT_PID\nX=a b=c\n"), Ok(b"DISPLAY=:1\0SSH_AGENT_PID\0X=a b=c\0".to_vec()));
        assert_eq!(parse(b"A=1\nnot a name=2"), Err(2));
        assert_eq!(parse(b"=x"), Err(1));
    }
}

//! Size against pause, checkpoint and restart time, as an SVG with logarithmic axes.

use crate::measure::Bench;
use crate::tool::Tool;
use std::fmt::Write;
use std::io;

const SIZES: [u32; 4] = [16, 64, 256, 1024];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 50.0;
/// Seconds at the lower and the upper end.
const LEAST: f64 = 0.001;
const MOST: f64 = 10.0;

/// Name, colour, (MiB, seconds).
type Series = (&'static str, &'static str, Vec<(f64, f64)>);

pub fn measure(b: &Bench) -> io::Result<String> {
    let mut series: [Series; 3] = [("pause", "#2a9d8f", vec![]), ("checkpoint", "#e76f51", vec![]), ("restart", "#264653", vec![])];
    for mib in SIZES {
        let f = b.cycle(Tool::Ckpt, mib, "random", &[])?;
        for (s, seconds) in series.iter_mut().zip([f.pause, f.command, f.full]) {
            s.2.push((f64::from(mib), seconds));
        }
    }
    Ok(draw(&series))
}

fn x(mib: f64) -> f64 {
    let (from, to) = (f64::from(SIZES[0]).log2(), f64::from(SIZES[SIZES.len() - 1]).log2());
    LEFT + (mib.log2() - from) / (to - from) * (WIDTH - LEFT - RIGHT)
}

fn y(seconds: f64) -> f64 {
    let part = (seconds.clamp(LEAST, MOST) / LEAST).log10() / (MOST / LEAST).log10();
    HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
}

fn draw(series: &[Series]) -> String {
    let mut out = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n");
    let _ = writeln!(out, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>");
    for (seconds, label) in [(0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s")] {
        let (y, right) = (y(seconds), WIDTH - RIGHT);
        let _ = writeln!(out, "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, y + 4.0);
    }
    for mib in SIZES {
        let label = if mib < 1024 { format!("{mib} MiB") } else { format!("{} GiB", mib / 1024) };
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", x(f64::from(mib)), HEIGHT - BOTTOM + 22.0);
    }
    for (name, colour, points) in series {
        let line: Vec<String> = points.iter().map(|&(mib, s)| format!("{:.1},{:.1}", x(mib), y(s))).collect();
        let _ = writeln!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", line.join(" "));
        if let Some(&(mib, s)) = points.last() {
            let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>", x(mib) + 8.0, y(s) + 4.0);
        }
    }
    out + "</svg>\n"
}

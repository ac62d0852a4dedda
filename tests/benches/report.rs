//! The table of results.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::measure::Figure;

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

/// What was found so far.
pub struct Report {
    started: Instant,
    machine: Vec<String>,
    rows: Vec<Row>,
}

/// A line of the table.
enum Row {
    Section(&'static str),
    Result { what: String, ours: String, theirs: String, ratio: String, goal: String },
}

/// What is to be reached, and whether it was.
#[derive(Debug, Clone)]
pub struct Goal {
    text: String,
    reached: bool,
}

impl Goal {
    /// A value that is to be `bound` or more.
    pub fn at_least(name: &str, bound: f64, unit: &str, value: f64) -> Self {
        let text = format!("{name}: ≥ {}{unit}", number(bound));
        Self { text, reached: value >= bound }
    }

    /// A value that is to be `bound` or less.
    pub fn at_most(name: &str, bound: f64, unit: &str, value: f64) -> Self {
        let text = format!("{name}: ≤ {}{unit}", number(bound));
        Self { text, reached: value <= bound }
    }

    /// A latency that is to be `bound` or less.
    pub fn within(name: &str, bound: Duration, value: Duration) -> Self {
        let text = format!("{name}: ≤ {}", latency(bound));
        Self { text, reached: value <= bound }
    }
}

impl Report {
    /// An empty one.
    pub fn new(machine: Vec<String>) -> Self {
        Self { started: Instant::now(), machine, rows: Vec::new() }
    }

    /// Begins a section of the table.
    pub fn section(&mut self, title: &'static str) {
        self.progress(title);
        self.rows.push(Row::Section(title));
    }

    /// Tells what is going on.
    pub fn progress(&self, doing: &str) {
        eprintln!("{:>4} s  {doing}", self.started.elapsed().as_secs());
    }

    /// Two rates side by side.
    pub fn rates(&mut self, what: &str, ours: Figure, peer: &str, theirs: Figure, goal: Option<Goal>) {
        let ratio = number(ours.rate / theirs.rate);
        let theirs = format!("{peer}: {}", rate(theirs));
        self.row(what, rate(ours), theirs, ratio, goal);
    }

    /// Two latencies side by side.
    pub fn latencies(&mut self, what: &str, ours: Duration, peer: &str, theirs: Duration, goal: Option<Goal>) {
        let ratio = number(ours.as_secs_f64() / theirs.as_secs_f64());
        let theirs = format!("{peer}: {}", latency(theirs));
        self.row(what, latency(ours), theirs, ratio, goal);
    }

    /// A value with nothing beside it.
    pub fn value(&mut self, what: &str, value: String, goal: Option<Goal>) {
        self.row(what, value, String::new(), String::new(), goal);
    }

    /// Any line.
    pub fn row(&mut self, what: &str, ours: String, theirs: String, ratio: String, goal: Option<Goal>) {
        self.progress(&format!("  {what}: {ours}  {theirs}  {ratio}"));
        let goal = goal.map_or_else(String::new, |goal| {
            let mark = if goal.reached { "reached" } else { "**missed**" };
            format!("{}, {mark}", goal.text)
        });
        let what = what.to_owned();
        self.rows.push(Row::Result { what, ours, theirs, ratio, goal });
    }

    /// The table in Markdown, with the machine above it.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for line in &self.machine {
            let _ = writeln!(text, "- {line}");
        }
        text.push_str("\n| | Capitune | compared with | ratio | goal |\n|---|--:|---|--:|---|\n");
        for row in &self.rows {
            let _ = match row {
                Row::Section(title) => writeln!(text, "| **{title}** | | | | |"),
                Row::Result { what, ours, theirs, ratio, goal } => {
                    writeln!(text, "| {what} | {ours} | {theirs} | {ratio} | {goal} |")
                }
            };
        }
        text
    }

    /// Puts the table between the marks in the page at `path`.
    pub fn write_into(&self, path: &Path) -> std::io::Result<()> {
        let page = std::fs::read_to_string(path)?;
        let marks = page.split_once(BEGIN).zip(page.split_once(END));
        let Some(((before, _), (_, after))) = marks else {
            return Err(std::io::Error::other("the page has no place for the table"));
        };
        let table = self.markdown();
        std::fs::write(path, format!("{before}{BEGIN}\n{table}{END}{after}"))
    }
}

/// A rate, with the 99th percentile of the latency where it was taken.
pub fn rate(figure: Figure) -> String {
    let rate = format!("{}/s", number(figure.rate));
    if figure.p99.is_zero() {
        return rate;
    }
    format!("{rate} (p99 {})", latency(figure.p99))
}

/// Three digits are all that a measurement is good for.
pub fn number(value: f64) -> String {
    if value >= 100.0 {
        let unit = 10_f64.powf(value.log10().floor() - 2.0);
        return thousands(((value / unit).round() * unit) as u64);
    }
    let decimals = if value >= 10.0 { 1 } else { 2 };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A whole number, to the digit.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many of what.
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A latency in the unit that suits it.
pub fn latency(latency: Duration) -> String {
    let seconds = latency.as_secs_f64();
    if seconds >= 1.0 {
        format!("{} s", number(seconds))
    } else if seconds >= 0.001 {
        format!("{} ms", number(seconds * 1e3))
    } else {
        format!("{} µs", number(seconds * 1e6))
    }
}

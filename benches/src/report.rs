//! Tables that read well on a terminal and are Markdown too.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Appending to a string does not fail.
const STRING: &str = "writing to a string does not fail";
/// What the page says above all tables.
const PREFACE: &str = "# Benchmarks\n\nWhat the sandbox and the host cost against native code that does the same work. \
    Ratios are of one run, in which the\nvariants took turns; absolute numbers are the machine's. `cargo xtask bench --write` \
    makes this page.\n";

/// One bench's part of the page.
pub(crate) struct Section {
    /// Its heading.
    pub(crate) title: &'static str,
    /// What is under the heading.
    pub(crate) body: String,
}

/// A table: the first column is text, the others are numbers.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    texts: usize,
}

impl Table {
    /// A table of which the first `texts` columns are texts, which stand to the left.
    pub(crate) fn new(texts: usize, header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()], texts }
    }

    /// Appends a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table in Markdown, in aligned columns.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column < self.texts {
                    true => write!(text, "| {cell:<width$} "),
                    false => write!(text, "| {cell:>width$} "),
                }
                .expect(STRING);
            }
            text.push_str("|\n");
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let rule = "-".repeat(width + 1);
                    match column < self.texts {
                        true => write!(text, "|{rule}-"),
                        false => write!(text, "|{rule}:"),
                    }
                    .expect(STRING);
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// What the numbers were measured on and with.
pub(crate) fn origin(command: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cpu = cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("Measured with `cargo xtask bench {command}` on {cores} cores of {cpu}.\n")
}

/// Shows a section on standard output.
#[expect(clippy::print_stdout, reason = "the tables are what the bench is for")]
pub(crate) fn print(section: &Section) {
    println!("## {}\n\n{}", section.title, section.body);
}

/// Tells how far a bench is.
#[expect(clippy::print_stderr, reason = "a bench takes minutes and stdout is for its tables")]
pub(crate) fn tell(line: &str) {
    eprintln!("{line}");
}

/// Replaces the sections in the page at `path`; those of benches that did not run stay.
pub(crate) fn write(path: &Path, sections: &[Section]) -> Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut parts: Vec<(String, String)> = old
        .split("\n## ")
        .skip(1)
        .filter_map(|part| part.split_once('\n').map(|(title, body)| (title.to_owned(), body.trim().to_owned())))
        .collect();
    for Section { title, body } in sections {
        let body = body.trim().to_owned();
        match parts.iter_mut().find(|(known, _)| known == title) {
            Some(part) => part.1 = body,
            None => parts.push(((*title).to_owned(), body)),
        }
    }
    parts.sort();
    let mut page = PREFACE.to_owned();
    for (title, body) in parts {
        write!(page, "\n## {title}\n\n{body}\n").expect(STRING);
    }
    fs::write(path, page).with_context(|| format!("could not write {}", path.display()))
}

//! Mistakes in a manifest, as a user reads them: where, what, the line itself, and what to do.
//!
//! A line is shown with care: a manifest may hold secrets, so values that could be one are shown as `***`; control
//! characters are not passed on to the terminal; a very long line is cut to what surrounds the mistake.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

/// Widest excerpt of a line, in columns.
const EXCERPT_MAX: usize = 120;

/// A mistake before it is tied to lines and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Bytes of the text that it is about; `None` for what concerns the file as a whole.
    pub(super) span: Option<Range<usize>>,
    /// What is wrong: one clause.
    pub(super) message: String,
    /// What to do.
    pub(super) help: Option<String>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line and column, both counted from 1, the column in characters; `None` if the file could not be read at all.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    excerpt: Option<Excerpt>,
}

/// The line of a mistake, ready to print.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    indent: usize,
    carets: usize,
}

/// All mistakes of one manifest, in the order of the text; never empty. `Display` is what a user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    path: PathBuf,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Ties mistakes to the text. `masked` are the spans whose content is not shown.
    pub(super) fn new(path: &Path, text: &str, mut mistakes: Vec<Mistake>, masked: &[Range<usize>]) -> Self {
        mistakes.sort_by_key(|mistake| mistake.span.as_ref().map_or(0, |span| span.start));
        mistakes.dedup();
        let list = mistakes.into_iter().map(|mistake| Diagnostic::locate(text, mistake, masked)).collect();
        Self { path: path.to_owned(), list }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let help = if error.kind() == io::ErrorKind::IsADirectory {
            "name the manifest inside of it"
        } else {
            "check the path, and that this user may read the file"
        };
        Self::whole(path, format!("cannot read the manifest: {error}"), Some(help.to_owned()))
    }

    pub(super) fn not_utf8(path: &Path, error: &FromUtf8Error) -> Self {
        let offset = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count();
        let help = "save the file as UTF-8".to_owned();
        Self::whole(path, format!("line {line} is not UTF-8, which TOML requires"), Some(help))
    }

    fn whole(path: &Path, message: String, help: Option<String>) -> Self {
        Self { path: path.to_owned(), list: vec![Diagnostic { at: None, message, help, excerpt: None }] }
    }

    /// The manifest.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mistakes, in the order of the text.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        for diagnostic in &self.list {
            diagnostic.write(f, &self.path)?;
            writeln!(f)?;
        }
        match self.list.len() {
            1 => write!(f, "1 mistake in {path}"),
            count => write!(f, "{count} mistakes in {path}"),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    fn locate(text: &str, mistake: Mistake, masked: &[Range<usize>]) -> Self {
        let Mistake { span, message, help } = mistake;
        // Keys and values are quoted in both, and may hold anything.
        let message: String = message.chars().map(printable).collect();
        let help = help.map(|help| help.chars().map(|c| if c == '\n' { c } else { printable(c) }).collect());
        let Some(span) = span else { return Self { at: Some((1, 1)), message, help, excerpt: None } };
        let start = floor_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line_end = if text[line_start..line_end].ends_with('\r') { line_end - 1 } else { line_end };
        let line = 1 + text[..line_start].matches('\n').count();
        let column = 1 + text[line_start..start].chars().count();
        let excerpt = Excerpt::cut(text, line_start..line_end, &(start..span.end.max(start)), masked);
        Self { at: Some((line, column)), message, help, excerpt: Some(excerpt) }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
        let path = path.display();
        let Some((line, column)) = self.at else {
            writeln!(f, "{path}: {}", self.message)?;
            return self.write_help(f, 2);
        };
        writeln!(f, "{path}:{line}:{column}: {}", self.message)?;
        let number = line.to_string();
        let margin = number.len() + 2;
        if let Some(excerpt) = &self.excerpt {
            writeln!(f, "  {number} | {}", excerpt.line)?;
            writeln!(
                f,
                "{:margin$} | {:indent$}{:^>carets$}",
                "",
                "",
                "",
                indent = excerpt.indent,
                carets = excerpt.carets
            )?;
        }
        self.write_help(f, margin + 1)
    }

    fn write_help(&self, f: &mut fmt::Formatter<'_>, margin: usize) -> fmt::Result {
        let Some(help) = &self.help else { return Ok(()) };
        for (index, line) in help.lines().enumerate() {
            let lead = if index == 0 { "= help:" } else { "       " };
            writeln!(f, "{:margin$}{lead} {line}", "")?;
        }
        Ok(())
    }
}

impl Excerpt {
    /// Renders the line at `bounds` and counts columns as it goes, since masks, tabs and wide characters all move them.
    fn cut(text: &str, bounds: Range<usize>, span: &Range<usize>, masked: &[Range<usize>]) -> Self {
        let mut cells: Vec<(char, usize)> = Vec::new();
        let (mut first, mut last) = (None, None);
        let mut hidden_until = None;
        for (offset, character) in text[bounds.clone()].char_indices() {
            let offset = bounds.start + offset;
            let before = cells.len();
            if masked.iter().any(|mask| mask.contains(&offset)) {
                if hidden_until != Some(offset) {
                    cells.extend([('*', 1); 3]);
                }
                hidden_until = Some(offset + character.len_utf8());
            } else {
                cells.push((printable(character), width(character)));
            }
            if span.contains(&offset) || (span.is_empty() && offset == span.start) {
                first = first.or(Some(if cells.len() > before { before } else { before.saturating_sub(3) }));
                last = Some(cells.len());
            }
        }
        let first = first.unwrap_or(cells.len());
        let last = last.unwrap_or(first).max(first);
        let start = if cells.len() > EXCERPT_MAX { first.saturating_sub(EXCERPT_MAX / 3) } else { 0 };
        let end = cells.len().min(start + EXCERPT_MAX);
        let (lead, trail) = (if start > 0 { "… " } else { "" }, if end < cells.len() { " …" } else { "" });
        let columns = |cells: &[(char, usize)]| cells.iter().map(|(_, width)| width).sum::<usize>();
        let shown: String = cells[start..end].iter().map(|(character, _)| *character).collect();
        Self {
            line: format!("{lead}{shown}{trail}").trim_end().to_owned(),
            indent: lead.chars().count() + columns(&cells[start..first.min(end)]),
            carets: columns(&cells[first.min(end)..last.min(end)]).max(1),
        }
    }
}

/// The largest boundary of a character at or below `offset`.
fn floor_boundary(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// What stands for a character that a terminal might obey.
const fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        // Beside the control characters: those that turn the direction of a line.
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

/// Columns that a terminal gives a character. Coarse on purpose: only the placing of carets depends on it.
const fn width(character: char) -> usize {
    match character as u32 {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

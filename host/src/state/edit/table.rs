//! Plain text in columns.

use std::fmt;

/// Writes `rows` under `head`, every column as wide as its widest cell, two spaces between them, empty cells as `-`.
pub(super) fn write<const N: usize>(f: &mut fmt::Formatter<'_>, head: [&str; N], rows: &[[String; N]]) -> fmt::Result {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            let cell = if cell.is_empty() { "-" } else { cell };
            text.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(f, "{}", text.trim_end())
    };
    line(head)?;
    rows.iter().try_for_each(|row| line(row.each_ref().map(String::as_str)))
}

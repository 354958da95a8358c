//! Output: data to stdout, words for people to stderr. Tables and text for people, JSON for pipes.

use std::io::{self, Write};

use serde_json::Value;

/// Prints a line of data.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    // At once: whoever follows a stream wants it now, also through a pipe.
    out.flush()
}

/// Prints a value as JSON on several lines.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    line(&format!("{value:#}"))
}

/// Prints a value as data: text as it is, anything else as JSON on one line.
pub(crate) fn value(value: &Value) -> io::Result<()> {
    match value {
        Value::Null => line("null"),
        other => line(&text(other)),
    }
}

/// A value as one text; what isn't there as none.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Prints a table: headers, then rows.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    line(&columns(headers, rows))
}

/// Says something to the person in front of the terminal. That nobody listens is no error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
}

/// The same text without what could command a terminal: a handler's output is not ours.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A moment as people read it: without the fraction of the second.
pub(crate) fn moment(value: &Value) -> String {
    value.as_str().map(|text| text.get(..19).unwrap_or(text).replace('T', " ")).unwrap_or_default()
}

fn columns(headers: &[&str], rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> =
        std::iter::once(headers.iter().map(|header| (*header).to_owned()).collect())
            .chain(rows.iter().cloned())
            .map(|row: Vec<String>| {
                row.iter().map(|cell| harmless(cell).replace(['\n', '\t'], " ")).collect()
            })
            .collect();
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let lines = cells.iter().map(|row| {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".into(), "long cell".into()], vec!["bbbb".into(), "x\ny".into()]];
        assert_eq!(columns(&["ID", "WHAT"], &rows), "ID    WHAT\na     long cell\nbbbb  x y");
    }

    #[test]
    fn output_of_handlers_commands_no_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n\tc"), "a\u{fffd}[2Jb\u{fffd}\n\tc");
    }
}

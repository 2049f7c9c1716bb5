//! What people see: notes, errors, tables.

use std::io::{IsTerminal, Write, stderr, stdout};

use acode_rt::error::{Code, Error, Kind, Result};
use serde::Serialize;

use super::Global;
use super::target::Target;

pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One line of ours on standard error; `kind` is `error`, `warning` or `note`.
pub(crate) fn note(kind: &str, text: &str) {
    let coloured = stderr().is_terminal() && colours_wanted();
    let (on, off) = match (coloured, kind) {
        (true, "error") => ("\u{1b}[31m", "\u{1b}[0m"),
        (true, _) => ("\u{1b}[33m", "\u{1b}[0m"),
        (false, _) => ("", ""),
    };
    // There is nobody to tell that standard error is closed.
    let _ = writeln!(stderr(), "acode-rt: {on}{kind}{off}: {text}");
}

pub(crate) fn json_note(value: &serde_json::Value) {
    let _ = writeln!(stderr(), "{value}");
}

pub(crate) fn error(global: &Global, error: &Error) {
    if global.json {
        json_note(&error.to_json());
    } else {
        note("error", &error.report());
    }
}

/// A result on standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // As with `list | head -1`: whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| output_error("standard output", error)),
    }
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| {
        Error::new(
            Code::OutputFile,
            Kind::Io,
            "print",
            "the result cannot be written",
        )
        .because(error)
    })?;
    text.push('\n');
    print(&text)
}

/// That something was done to one of our containers.
pub(crate) fn done(global: &Global, what: &str, found: &Target) -> Result<()> {
    if global.json {
        let line =
            serde_json::json!({"name": found.name(), "id": found.inspect.id, "action": what});
        print(&format!("{line}\n"))
    } else if global.quiet {
        Ok(())
    } else {
        print(&format!("{what} {}\n", found.name()))
    }
}

pub(crate) fn output_error(what: &str, error: std::io::Error) -> Error {
    Error::new(Code::OutputFile, Kind::Io, "write", "it cannot be written")
        .on(what)
        .because(error)
}

/// A table with aligned columns. On a terminal its last column is cut so that a row takes a line.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = stdout()
        .is_terminal()
        .then(|| {
            rustix::termios::tcgetwinsize(stdout())
                .ok()
                .map(|size| usize::from(size.ws_col))
        })
        .flatten()
        .filter(|columns| *columns > 0);
    layout(head, rows, width)
}

fn layout(head: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(cell);
            row.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        let row = row.trim_end();
        match width {
            Some(width) if row.chars().count() > width => {
                text.extend(row.chars().take(width.saturating_sub(1)));
                text.push('…');
            }
            _ => text.push_str(row),
        }
        text.push('\n');
    }
    text
}

/// How long ago, for people.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_fit() {
        let rows = vec![
            vec!["a".to_owned(), "long value".into()],
            vec!["é".into(), "x".into()],
        ];
        assert_eq!(
            layout(&["N", "VALUE"], &rows, None),
            "N  VALUE\na  long value\né  x\n"
        );
        assert_eq!(
            layout(&["N", "VALUE"], &rows, Some(8)),
            "N  VALUE\na  long…\né  x\n"
        );
    }
}

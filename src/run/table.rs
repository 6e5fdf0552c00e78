//! Tables for people on a terminal.

/// Characters of a cell; the rest is cut.
const CELL_CHARS_MAX: usize = 44;

/// Lays cells out in columns, the first row being their names. What is not printable is escaped: names come from files,
/// venues and the broker.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let cell = |text: &String| {
        let text: String = text.chars().flat_map(char::escape_debug).collect();
        let is_long = text.chars().count() > CELL_CHARS_MAX;
        if is_long { text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect() } else { text }
    };
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(cell)).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Writes cells as CSV (RFC 4180), the first row being their names.
pub(super) fn csv<const N: usize>(rows: &[[String; N]]) -> String {
    let cell = |text: &String| {
        let is_plain = !text.contains(['"', ',', '\n', '\r']);
        if is_plain { text.clone() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
    };
    rows.iter().map(|row| row.each_ref().map(cell).join(",")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_in_columns_and_are_escaped() {
        let rows = [["a", "name"], ["long", "x\u{1b}[2J"], ["b", &"y".repeat(60)]].map(|row| row.map(str::to_owned));
        let shown = table(&rows);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(&lines[..2], ["a     name", "long  x\\u{1b}[2J"]);
        assert!(lines[2].ends_with('…') && lines[2].chars().count() == 6 + CELL_CHARS_MAX);
    }

    #[test]
    fn cells_of_csv_are_quoted_where_they_must_be() {
        let rows = [["plain", "with, comma"], ["a \"word\"", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(csv(&rows), "plain,\"with, comma\"\n\"a \"\"word\"\"\",");
    }
}

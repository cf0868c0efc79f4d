//! Figures as a table on standard output and as JSON below `target/bench`. Medians, because one disturbed round must not decide.

use std::path::Path;

use serde::Serialize;
use shared::failure::{Context, Failure};

/// The value in the middle; of an even number, the mean of the two.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Prints a table; the first column is text.
#[expect(clippy::print_stdout, reason = "this is what the user wants to see")]
pub fn print(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).chain([head[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate();
        padded
            .map(|(column, (cell, width))| if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
            .collect::<Vec<_>>()
            .join("  ")
    };
    println!("\n{title}\n{}", line(&mut head.iter().copied()));
    for row in rows {
        println!("{}", line(&mut row.iter().map(String::as_str)));
    }
}

/// Says whether a claim held.
#[expect(clippy::print_stdout, reason = "this is what the user wants to see")]
pub fn claim(what: &str, held: bool) -> bool {
    println!("{} {what}", if held { "holds:        " } else { "does NOT hold:" });
    held
}

/// Writes the figures of a run.
///
/// # Errors
/// When the file cannot be written.
pub fn write(target_folder: &Path, name: &str, figures: &impl Serialize) -> Result<(), Failure> {
    let folder = target_folder.join("bench");
    std::fs::create_dir_all(&folder).context("create target/bench")?;
    let text = serde_json::to_string_pretty(figures).context("write the figures")?;
    std::fs::write(folder.join(format!("{name}.json")), text + "\n").context("write the figures")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }
}

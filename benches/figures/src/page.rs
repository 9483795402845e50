//! A page of figures: tables in Markdown, and plots beside it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    machine,
    plot::{self, Axes, Curve, Line, number},
    stats::spread,
    turns::Turns,
};
use anyhow::Context as _;

/// A page that is being written.
pub struct Page {
    folder: PathBuf,
    file: PathBuf,
    text: String,
}

impl Page {
    /// `name`.md in `folder`, which is made.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(folder: &Path, name: &str, title: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let machine = machine::described();
        Ok(Self {
            folder: folder.to_owned(),
            file: folder.join(name).with_extension("md"),
            text: format!(
                "# {title}\n\n{machine}. Medians, and the least and the greatest of all rounds.\n"
            ),
        })
    }

    /// Words between tables and plots.
    pub fn paragraph(&mut self, text: &str) {
        _ = write!(self.text, "\n{text}\n");
    }

    /// A row for each side: what its line is, the value of what is `over`, and what was measured. Nothing is varied where
    /// `over` is empty.
    pub fn table<const N: usize>(
        &mut self,
        title: &str,
        [line, over]: [&str; 2],
        columns: [&str; N],
        turns: &Turns<N>,
    ) {
        let varies = !over.is_empty();
        let first = match varies {
            true => format!("{line} | {over}"),
            false => line.to_owned(),
        };
        let columns = columns.join(" | ");
        _ = write!(self.text, "\n## {title}\n\n| {first} | {columns} |\n");
        self.text
            .push_str(&"|---".repeat(N + 1 + usize::from(varies)));
        self.text.push_str("|\n");
        for side in &turns.sides {
            _ = write!(self.text, "| {} |", side.line);
            if varies {
                _ = write!(self.text, " {} |", side.over);
            }
            for values in &side.values {
                let [least, middle, most] = spread(values).map(number);
                _ = write!(self.text, " {middle} ({least}-{most}) |");
            }
            self.text.push('\n');
        }
    }

    /// A plot of the medians of one of the things measured, named by the last part of `curve`.
    pub fn plot<const N: usize>(
        &mut self,
        axes: Axes,
        [title, over, unit]: [&'static str; 3],
        turns: &Turns<N>,
        column: usize,
    ) -> anyhow::Result<()> {
        let mut lines: Vec<Line> = Vec::new();
        for side in &turns.sides {
            if lines.last().is_none_or(|line| line.name != side.line) {
                lines.push(Line::new(side.line));
            }
            if let Some(line) = lines.last_mut() {
                line.points.push((side.over as f64, side.median(column)));
            }
        }
        self.curve(&Curve {
            title,
            over,
            unit,
            axes,
            lines,
        })
    }

    /// Any plot.
    pub fn curve(&mut self, curve: &Curve) -> anyhow::Result<()> {
        let name = plot::file_name(curve);
        plot::draw(curve, &self.folder.join(&name))?;
        _ = write!(self.text, "\n![{}]({name})\n", curve.title);
        Ok(())
    }

    /// Writes it, and says where.
    pub fn finish(self) -> anyhow::Result<PathBuf> {
        fs::write(&self.file, self.text).with_context(|| self.file.display().to_string())?;
        Ok(self.file)
    }
}

//! The figures as a table, and as a folder of `perf-reports/`.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use benches::{
    machine,
    plot::{self, Curve},
    stats::spread,
};

use crate::goal::{Figure, Goal, Wanted};

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<(&'static str, Figure)>,
    pub(crate) curves: Vec<Curve>,
}

impl Report {
    pub(crate) fn add(&mut self, goal: &Goal, figures: Vec<Figure>) {
        for figure in figures {
            eprintln!("  {}: {}", figure.name, line(&figure));
            self.figures.push((goal.name, figure));
        }
    }

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "\n| what | figure | median | spread | goal | | last round |\n|---|---|---|---|---|---|---|\n",
        );
        for (name, figure) in &self.figures {
            let [least, middle, most] = spread(&figure.values);
            let verdict = |is_met| if is_met { "met" } else { "**missed**" };
            let (goal, met) = match figure.wanted {
                Wanted::AtLeast(goal) => (format!("≥ {goal}"), verdict(middle >= goal)),
                Wanted::AtMost(goal) => (format!("≤ {goal}"), verdict(middle <= goal)),
                Wanted::Known => (String::new(), ""),
            };
            _ = writeln!(
                table,
                "| {name} | {} | {middle:.2} | {least:.2}-{most:.2} | {goal} | {met} | {} |",
                figure.name, figure.note
            );
        }
        table
    }

    /// `README.md` and the plots, in `folder`.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut page = format!("# {}\n\n{}\n", machine::described(), command());
        page.push_str(&self.table());
        for curve in &self.curves {
            let name = plot::file_name(curve);
            plot::draw(curve, &folder.join(&name))?;
            _ = write!(page, "\n## {}\n\n![{0}]({name})\n\n", curve.title);
            page.push_str(&plot::numbers(curve));
        }
        let file = folder.join("README.md");
        fs::write(&file, page).with_context(|| file.display().to_string())
    }
}

/// How this was made.
fn command() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    format!("`make perf ARGS=\"{}\"`", arguments.join(" "))
}

fn line(figure: &Figure) -> String {
    let [least, middle, most] = spread(&figure.values);
    format!("{middle:.2} ({least:.2} to {most:.2}); {}", figure.note)
}

//! How much code each transport is.

use std::{fs, path::Path};

use anyhow::Context as _;
use figures::page::Page;

const ROOT: &str = "apps/chat";

pub(crate) fn measure(out: &Path) -> anyhow::Result<()> {
    let mut page = Page::new(out, "lines", "The two chats: lines of code")?;
    page.paragraph(
        "Without comments, empty lines and unit tests. What both have in common is written once.",
    );
    let mut table = String::from("| | lines |\n|---|---|\n");
    for (what, paths) in [
        ("gRPC: server and client", &["src/grpc"][..]),
        ("RabbitMQ: server and client", &["src/rabbitmq"]),
        (
            "in common: the server's core",
            &["src/hub", "src/log", "src/message.rs", "src/text.rs"],
        ),
        ("in common: the client", &["src/client"]),
        (
            "in common: what travels, commands",
            &[
                "src/wire.rs",
                "src/transport.rs",
                "src/server.rs",
                "src/main.rs",
                "proto",
            ],
        ),
    ] {
        let counts = paths.iter().map(|path| count(&Path::new(ROOT).join(path)));
        let sum: usize = counts.sum::<anyhow::Result<_>>()?;
        table.push_str(&format!("| {what} | {sum} |\n"));
    }
    page.paragraph(&table);
    println!("{}", page.finish()?.display());
    Ok(())
}

fn count(path: &Path) -> anyhow::Result<usize> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?;
        return entries.map(|entry| count(&entry?.path())).sum();
    }
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    Ok(code.lines().filter(is_code).count())
}

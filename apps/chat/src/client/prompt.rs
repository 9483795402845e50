//! A prompt on a terminal, above which messages appear as they arrive.

use anyhow::Context as _;
use rustyline::{Config, DefaultEditor, ExternalPrinter, error::ReadlineError};
use tokio::sync::{mpsc, oneshot};

use super::{
    session::Event,
    talk::{Answer, Talk, told},
};
use crate::text::{complain, say};

/// A line, and where the next prompt is to be sent.
type Typed = (String, oneshot::Sender<String>);

/// Until /quit or Ctrl-D; whether all is with the server.
///
/// # Errors
/// The terminal cannot be read, or the client's folder cannot be written.
pub async fn run(
    mut talk: Talk,
    mut events: mpsc::Receiver<Event>,
    to: Option<String>,
) -> anyhow::Result<bool> {
    if let Some(name) = to {
        print(talk.line(&format!("/to {name}")).await?);
    }
    say("/help lists what you can do");
    let mut editor = DefaultEditor::with_config(Config::builder().auto_add_history(true).build())?;
    let mut printer = editor.create_external_printer()?;
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let Some((_, mut line)) = told(&event) else {
                continue;
            };
            if let Event::Ended(_) = event {
                line.push_str(" (Ctrl-D ends)");
            }
            if printer.print(format!("{line}\n")).is_err() {
                return;
            }
        }
    });
    let (typed, mut lines) = mpsc::channel(1);
    let first = prompt(&talk);
    let reader = std::thread::spawn(move || read(&mut editor, first, &typed));
    while let Some((line, next)) = lines.recv().await {
        match talk.line(&line).await? {
            Answer::Quit => break,
            answer => print(answer),
        }
        _ = next.send(prompt(&talk));
    }
    drop(lines);
    let read = tokio::task::spawn_blocking(move || reader.join()).await?;
    read.map_err(|_| anyhow::anyhow!("the prompt has ended unexpectedly"))??;
    let written = talk.all_written().await;
    let is_well = written.inspect_err(|why| complain(why)).is_ok();
    Ok(is_well && !talk.has_ended())
}

fn read(
    editor: &mut DefaultEditor,
    mut prompt: String,
    typed: &mpsc::Sender<Typed>,
) -> anyhow::Result<()> {
    loop {
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue, // Ctrl-C: the line is given up
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error).context("the terminal cannot be read"),
        };
        let (next, asked) = oneshot::channel();
        if typed.blocking_send((line, next)).is_err() {
            return Ok(());
        }
        // What the line asks for is shown first.
        let Ok(next) = asked.blocking_recv() else {
            return Ok(());
        };
        prompt = next;
    }
}

fn prompt(talk: &Talk) -> String {
    talk.addressee()
        .map_or_else(|| "> ".to_owned(), |name| format!("to {name}> "))
}

fn print(answer: Answer) {
    match answer {
        Answer::Shown(lines) | Answer::Failed(lines) if !lines.is_empty() => say(&lines),
        _ => {}
    }
}

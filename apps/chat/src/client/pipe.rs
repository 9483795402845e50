//! Lines in, lines out: for scripts, and for tests.

use std::io::{BufRead as _, Write as _};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    session::Event,
    talk::{Answer, Talk, told},
};
use crate::text::complain;

/// Until the input ends (and if it is to stay, until SIGTERM); whether nothing was refused and all is with the server.
///
/// # Errors
/// The client's folder cannot be written.
pub async fn run(
    mut talk: Talk,
    mut events: mpsc::Receiver<Event>,
    to: Option<String>,
    stay: bool,
) -> anyhow::Result<bool> {
    let mut is_well = true;
    let mut terminated = signal(SignalKind::terminate())?;
    let done = tokio::select! {
        done = to_the_end(&mut talk, &mut events, to, stay, &mut is_well) => done,
        _ = terminated.recv() => Ok(()),
    };
    // What is kept does not come again: the session ends, and what it has told until then is shown.
    drop(talk);
    while let Some(event) = events.recv().await {
        is_well &= tell(&event)?;
    }
    done?;
    Ok(is_well)
}

async fn to_the_end(
    talk: &mut Talk,
    events: &mut mpsc::Receiver<Event>,
    to: Option<String>,
    stay: bool,
    is_well: &mut bool,
) -> anyhow::Result<()> {
    let mut input = lines(to.map(|name| format!("/to {name}")));
    let mut has_ended = false;
    loop {
        tokio::select! {
            line = input.recv(), if !has_ended => match line {
                Some(Ok(line)) => match while_told(events, is_well, talk.line(&line)).await? {
                    Answer::Shown(lines) => show(&lines)?,
                    Answer::Failed(why) => *is_well = fail(&why),
                    Answer::Quit => break,
                },
                Some(Err(why)) => *is_well = fail(&why),
                None if stay => has_ended = true,
                None => break,
            },
            event = events.recv() => match event {
                Some(event) => *is_well &= tell(&event)?,
                None => {
                    *is_well = false; // said already
                    return Ok(());
                }
            },
        }
    }
    if let Err(why) = while_told(events, is_well, talk.all_written()).await {
        *is_well = fail(&why);
    }
    Ok(())
}

/// What is told meanwhile is shown too.
async fn while_told<T>(
    events: &mut mpsc::Receiver<Event>,
    is_well: &mut bool,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => match tell(&event) {
                Ok(was_well) => *is_well &= was_well,
                Err(_) => *is_well = false, // nobody reads the output
            },
            done = &mut work => return done,
        }
    }
}

/// The lines of the input, as they are asked for; or why there is none.
fn lines(first: Option<String>) -> mpsc::Receiver<Result<String, String>> {
    let (typed, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let input = (1..).zip(std::io::stdin().lock().split(b'\n'));
        let input = input.map_while(|(number, line)| Some(text(number, line.ok()?)));
        for line in first.map(Ok).into_iter().chain(input) {
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn text(number: u64, mut line: Vec<u8>) -> Result<String, String> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line)
        .map_err(|_| format!("not sent: line {number} of the input is not UTF-8"))
}

/// Whether it is no refusal and no end.
fn tell(event: &Event) -> std::io::Result<bool> {
    match told(event) {
        Some((true, line)) => show(&line)?,
        Some((false, line)) => complain(&line),
        None => {}
    }
    Ok(!matches!(event, Event::Refused(..) | Event::Ended(_)))
}

fn show(lines: &str) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut output = std::io::stdout().lock();
    writeln!(output, "{lines}")?;
    output.flush()
}

fn fail(why: &str) -> bool {
    complain(why);
    false
}

//! The map on the screen: a table that is drawn anew on a terminal, a line for each change elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aguacero::{config::Config, shutdown::Shutdown};
use crossterm::{
    cursor::{Hide, MoveTo, Show},
    queue,
    style::Print,
    terminal::{
        Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen,
        LeaveAlternateScreen, size,
    },
};
use processor::{Event, Follow, Source};

use super::{
    map::{Change, HOLDS_MS, Map, Who},
    picture,
};
use crate::{
    daily_sales::calendar::Calendar,
    declared::{Positions, Strays},
    text::say,
};

/// How often the table is drawn, and it is looked who is gone.
const EVERY: Duration = Duration::from_millis(500);
/// How much older what is read at start may be than what is shown: clocks differ, and what has arrived takes its time
/// into Kafka.
const MARGIN_MS: i64 = 60_000;
/// Lines of a terminal that does not say how many it has.
const LINES: u16 = 24;

/// What is known, and how it is shown.
pub struct View {
    positions: Positions,
    strays: Strays,
    calendar: Calendar,
    map: Mutex<Map>,
    is_terminal: bool,
    clock: fn() -> i64,
}

impl View {
    /// Of the streams that the configuration declares; `clock` tells milliseconds since 1970.
    pub fn of(config: &Config, calendar: Calendar, clock: fn() -> i64) -> anyhow::Result<Self> {
        Ok(Self {
            positions: Positions::of(config)?,
            strays: Strays::of(config)?,
            calendar,
            map: Mutex::default(),
            is_terminal: io::stdout().is_terminal(),
            clock,
        })
    }

    /// Shows until the shutdown.
    pub async fn show(&self, shutdown: Shutdown) {
        let _screen = self.is_terminal.then(Screen::enter);
        while !shutdown.is_requested() {
            self.refresh();
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    fn refresh(&self) {
        let mut map = self.lock();
        let gone = map.expire((self.clock)());
        if !self.is_terminal {
            return self.tell(&map, &gone);
        }
        // The cursor ends on a line of its own.
        let lines = size().map_or(LINES, |(_, lines)| lines).saturating_sub(1);
        let screen = picture::screen(&map, &self.calendar, lines.into());
        drop(map); // who reads does not wait for the terminal
        draw(&screen);
    }

    fn tell(&self, map: &Map, changes: &[Change]) {
        for change in changes {
            say(&picture::line(&self.calendar, map.now_ms(), change));
        }
    }

    fn heard(&self, map: &mut Map, event: &Event, now_ms: i64) -> Option<Change> {
        let (who, place) = if event.stream == self.positions.stream {
            let (plate, place) = self.positions.seen(event)?;
            (Who::Cart(plate.to_owned()), place)
        } else if event.stream == self.strays.stream {
            (Who::Stray(event.id), self.strays.place(event)?)
        } else {
            return None;
        };
        map.hear(event.id, (who, place), event.document.at_ms, now_ms)
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follow for View {
    fn since_ms(&self) -> i64 {
        (self.clock)() - HOLDS_MS - MARGIN_MS
    }

    fn see(&self, _: &Source, events: &[Event]) {
        let now_ms = (self.clock)();
        let mut map = self.lock();
        let heard = events
            .iter()
            .filter_map(|event| self.heard(&mut map, event, now_ms));
        let mut changes: Vec<_> = heard.collect();
        changes.extend(map.expire(now_ms)); // and what there is no room for
        if !self.is_terminal {
            self.tell(&map, &changes);
        }
    }
}

/// A screen beside that of the shell, which is back as it was when this is dropped.
struct Screen;

impl Screen {
    fn enter() -> Self {
        let mut out = io::stdout();
        // A terminal that is gone is noticed by nobody.
        _ = queue!(out, EnterAlternateScreen, DisableLineWrap, Hide);
        _ = out.flush();
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout();
        _ = queue!(out, Show, EnableLineWrap, LeaveAlternateScreen);
        _ = out.flush();
    }
}

/// Line by line over what was there, so that nothing flickers.
fn draw(screen: &str) {
    let mut out = io::stdout().lock();
    _ = queue!(out, MoveTo(0, 0));
    for line in screen.lines() {
        _ = queue!(
            out,
            Print(line),
            Clear(ClearType::UntilNewLine),
            Print("\r\n")
        );
    }
    _ = queue!(out, Clear(ClearType::FromCursorDown));
    _ = out.flush();
}

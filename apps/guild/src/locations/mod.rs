//! `guild locations`: where every cart is and which strays were reported, live on the terminal.
//!
//! The state is a [`map`] in memory, rebuilt from Kafka at start by what arrived in the last minute; no database is
//! needed. [`picture`] is the map as text, [`view`] puts it on the screen.

pub mod map;
pub mod picture;

pub mod view;

use std::sync::Arc;

use aguacero::{config::FilesOf, essential::essential};
use jiff::civil::Time;
use processor::{App, Options};

use crate::{
    daily_sales::{calendar::Calendar, closer::now_ms},
    declared::{POSITIONS, STRAYS},
};
use view::View;

/// Its name, of which its group is made.
pub const NAME: &str = "locations";
/// `locations`
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    #[command(flatten)]
    options: Options,
}

/// Until it is told to stop.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let calendar = Calendar::santiago(Time::midnight())?;
    let streams = [POSITIONS, STRAYS];
    let app = App::build(NAME, &command.options, &[FilesOf::Kafka], &streams).await?;
    let view = Arc::new(View::of(app.config(), calendar, now_ms)?);
    let (showing, shutdown) = (view.clone(), app.shutdown());
    let shown = tokio::spawn(async move {
        essential("showing the map", showing.show(shutdown)).await;
    });
    let ended = app.follow(view).await;
    shown.abort(); // if it ended by itself; the terminal is given back
    _ = shown.await;
    ended
}

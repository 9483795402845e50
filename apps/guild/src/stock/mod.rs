//! `guild stock`: sales in groups of five, as they come, and deliveries for carts that have fewer than twenty left.
//!
//! What a sale brings about is pure ([`groups`]); what is remembered lies in PostgreSQL and changes in the transaction of
//! the sale ([`tables`]), so a group that was begun survives, and a sale that is repeated counts once. Deliveries are
//! shown after their commit ([`announce`]).

pub mod groups;

pub mod announce;
pub mod tables;

use std::sync::Once;

use aguacero::{
    cli::{self, ConfigFile},
    config::FilesOf,
    essential::essential,
};
use anyhow::bail;
use jiff::civil::Time;
use processor::{App, Options, connection, pool, told};
use tokio::sync::watch;

use crate::{
    daily_sales::calendar::Calendar,
    declared::SALES,
    text::{say, shown},
};
use groups::STOCK_FULL;
use tables::{ALONE, Stock, TABLES};

/// Its name, of which its group is made.
pub const NAME: &str = "stock";
/// Whose files it reads.
const FILES: [FilesOf; 2] = [FilesOf::Kafka, FilesOf::Postgres];

const DELIVER: &str = "UPDATE guild.deliveries SET delivered = true, delivered_at = now() \
     WHERE id = $1 AND NOT delivered RETURNING plate, amount";

const FILL: &str = "UPDATE guild.stock_carts SET stock = $2 WHERE plate = $1";

const WAS_MADE: &str = "SELECT plate FROM guild.deliveries WHERE id = $1";

/// `stock`
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// A delivery is made as soon as it is prepared: the cart is full until its next sale
    #[arg(long, env = "GUILD_AUTOREPO")]
    autorepo: bool,
    #[command(flatten)]
    options: Options,
}

/// `stock VERB`
#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    /// Tell that a delivery was made: the cart is full until its next sale, and may get another one
    Delivered {
        /// Number of the delivery, as it was announced
        id: i64,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Does what the command says.
pub async fn run(command: Command) -> anyhow::Result<()> {
    match &command.verb {
        Some(Verb::Delivered { id, file }) => delivered(*id, file).await,
        None => process(&command).await,
    }
}

/// Until it is told to stop.
async fn process(command: &Command) -> anyhow::Result<()> {
    let calendar = Calendar::santiago(Time::midnight())?;
    let app = App::build(NAME, &command.options, &FILES, &[SALES]).await?;
    let shutdown = app.shutdown();
    let (sender, committed) = watch::channel(());
    let stock = Stock::of(app.config(), command.autorepo, sender)?;
    app.exactly_once(&TABLES, |pool| {
        let announcing = announce::run(pool.clone(), calendar, committed, shutdown);
        tokio::spawn(essential("announcing deliveries", announcing));
        Ok(stock)
    })
    .await
}

/// A delivery was made. Again changes nothing.
async fn delivered(id: i64, file: &ConfigFile) -> anyhow::Result<()> {
    let config = cli::load_for(file, &FILES);
    let pool = pool(&config.postgres, 1)?;
    TABLES.ensure_soon(&pool, &config.postgres).await?;
    let fails = |error: processor::Error| anyhow::anyhow!("PostgreSQL: {}", told(&error));
    let mut client = connection(&pool).await?;
    let transaction = client.transaction().await.map_err(fails)?;
    transaction.batch_execute(ALONE).await.map_err(fails)?;
    let Some(row) = transaction
        .query_opt(DELIVER, &[&id])
        .await
        .map_err(fails)?
    else {
        match transaction
            .query_opt(WAS_MADE, &[&id])
            .await
            .map_err(fails)?
        {
            None => bail!("there is no delivery {id}"),
            Some(row) => say(&format!(
                "reparto {id}: carrito {}, ya estaba hecho",
                shown(row.get(0))
            )),
        }
        return Ok(());
    };
    let (plate, amount): (String, i64) = (row.get(0), row.get(1));
    transaction
        .execute(FILL, &[&plate, &STOCK_FULL])
        .await
        .map_err(fails)?;
    transaction.commit().await.map_err(fails)?;
    say(&format!(
        "reparto {id}: carrito {}, {amount} sopaipillas, hecho",
        shown(&plate)
    ));
    Ok(())
}

/// Says it once.
fn say_without_plate() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "there are sales that name no cart: they count in their groups, and get no delivery"
        );
    });
}

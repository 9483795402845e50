//! How many sopaipillas each cart has sold, exactly: a processor in fifty lines. Try it with
//! `cargo run -p processor --example sales-by-cart -- --config examples/guild.toml`.

use aguacero::{cli, config::FilesOf};
use clap::Parser;
use processor::{App, Apply, Declared, Error, Event, Options, Source, Tables, Transaction, Values};

const TABLES: Tables = Tables {
    processor: "sales-by-cart",
    schema: "guild",
    steps: &["CREATE TABLE guild.sales_by_cart (plate text PRIMARY KEY, sold bigint NOT NULL)"],
};

const ADD: &str = "INSERT INTO guild.sales_by_cart AS cart (plate, sold) VALUES ($1, $2) \
     ON CONFLICT (plate) DO UPDATE SET sold = cart.sold + EXCLUDED.sold";

/// Where the fields are that it reads.
struct SalesByCart {
    sales: usize,
    plate: usize,
    sold: usize,
}

impl Apply for SalesByCart {
    fn wants(&self, stream: usize) -> bool {
        stream == self.sales
    }

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        _: &Source,
        events: &[&Event],
    ) -> Result<(), Error> {
        let add = transaction.prepare_cached(ADD).await?;
        for event in events {
            if let (Some(plate), Some(sold)) = (event.text(self.plate), event.integer(self.sold)) {
                transaction.execute(&add, &[&plate, &sold]).await?;
            }
        }
        Ok(())
    }
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() {
    cli::exit_on_error(run(&Command::parse().options).await)
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let files = [FilesOf::Kafka, FilesOf::Postgres];
    let app = App::build("sales-by-cart", options, &files, &["ventas"]).await?;
    let sales = Declared::stream(app.config(), "ventas")?;
    let apply = SalesByCart {
        sales: sales.index(),
        plate: sales.field("Patente carrito")?,
        sold: sales.field("Cantidad de Sopaipillas")?,
    };
    app.exactly_once(&TABLES, |_| Ok(apply)).await
}

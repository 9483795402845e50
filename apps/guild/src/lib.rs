//! The guild of street vendors: three processors of what arrives by `examples/guild.toml`, each a command and a consumer
//! group of its own, which can be away for a day and catch up. `docs/processors.md` tells what each promises.
//!
//! # Where to begin
//! [`daily_sales`] closes each day at 23:59 in Santiago with a report, [`stock`] prepares deliveries for carts that run
//! out, [`locations`] shows where every cart is. In each, what is reckoned is apart from where it comes from: pure
//! modules (`calendar`, `matching`, `reckoning`, `report`; `groups`; `map`, `picture`) and beside them those that speak
//! to PostgreSQL, Kafka and the screen.

pub mod declared;
pub mod place;
pub mod text;

pub mod daily_sales;
pub mod locations;
pub mod stock;

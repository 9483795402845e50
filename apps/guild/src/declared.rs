//! The guild's streams, as `examples/guild.toml` declares them: which fields the processors read, and what they mean.

use aguacero::config::Config;
use processor::{Declared, Event, Values};

use crate::place::Place;

/// Stream of the members.
pub const MEMBERS: &str = "miembros";
/// Stream of the sales.
pub const SALES: &str = "ventas";
/// Stream of the carts' own positions.
pub const POSITIONS: &str = "ubicaciones";
/// Stream of the strays that were reported.
pub const STRAYS: &str = "reportes";

/// Fields of [`MEMBERS`].
#[derive(Debug, Clone, Copy)]
pub struct Members {
    /// Position in `Config::streams`.
    pub stream: usize,
    name: usize,
    surname: usize,
    rut: usize,
    plate: usize,
}

impl Members {
    /// Where they are.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let members = Declared::stream(config, MEMBERS)?;
        Ok(Self {
            stream: members.index(),
            name: members.field("Nombre")?,
            surname: members.field("Apellido")?,
            rut: members.field("Rut")?,
            plate: members.field("Patente carrito")?,
        })
    }

    /// The rut, as it was written: it may end in K.
    #[must_use]
    pub fn rut<'a>(&self, event: &'a Event) -> Option<&'a str> {
        event.text(self.rut)
    }

    /// Name and surname.
    #[must_use]
    pub fn name(&self, event: &Event) -> String {
        let parts = [self.name, self.surname].map(|field| event.text(field).unwrap_or_default());
        parts.join(" ").trim().to_owned()
    }

    /// The member's cart.
    #[must_use]
    pub fn plate<'a>(&self, event: &'a Event) -> Option<&'a str> {
        event.text(self.plate)
    }
}

/// Fields of [`SALES`].
#[derive(Debug, Clone, Copy)]
pub struct Sales {
    /// Position in `Config::streams`.
    pub stream: usize,
    customer: usize,
    sold: usize,
    stock: usize,
    place: usize,
    plate: usize,
}

impl Sales {
    /// Where they are.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let sales = Declared::stream(config, SALES)?;
        Ok(Self {
            stream: sales.index(),
            customer: sales.field("Cliente")?,
            sold: sales.field("Cantidad de Sopaipillas")?,
            stock: sales.field("Stock restante")?,
            place: sales.field("Ubicación del carrito")?,
            plate: sales.field("Patente carrito")?,
        })
    }

    /// Who bought.
    #[must_use]
    pub fn customer<'a>(&self, event: &'a Event) -> Option<&'a str> {
        event.text(self.customer)
    }

    /// How many sopaipillas.
    #[must_use]
    pub fn sold(&self, event: &Event) -> Option<i64> {
        event.integer(self.sold)
    }

    /// What the cart has left.
    #[must_use]
    pub fn stock(&self, event: &Event) -> Option<i64> {
        event.integer(self.stock)
    }

    /// Where the sale was made.
    #[must_use]
    pub fn place(&self, event: &Event) -> Option<Place> {
        place(event, self.place)
    }

    /// The cart, if the sale names it.
    #[must_use]
    pub fn plate<'a>(&self, event: &'a Event) -> Option<&'a str> {
        event.text(self.plate)
    }
}

/// Fields of [`POSITIONS`].
#[derive(Debug, Clone, Copy)]
pub struct Positions {
    /// Position in `Config::streams`.
    pub stream: usize,
    plate: usize,
    place: usize,
}

impl Positions {
    /// Where they are.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let positions = Declared::stream(config, POSITIONS)?;
        Ok(Self {
            stream: positions.index(),
            plate: positions.field("Patente carrito")?,
            place: positions.field("Ubicación del carrito")?,
        })
    }

    /// The cart, and where it is.
    #[must_use]
    pub fn seen<'a>(&self, event: &'a Event) -> Option<(&'a str, Place)> {
        Some((event.text(self.plate)?, place(event, self.place)?))
    }
}

/// Fields of [`STRAYS`].
#[derive(Debug, Clone, Copy)]
pub struct Strays {
    /// Position in `Config::streams`.
    pub stream: usize,
    place: usize,
}

impl Strays {
    /// Where they are.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        let strays = Declared::stream(config, STRAYS)?;
        Ok(Self {
            stream: strays.index(),
            place: strays.field("Coordenadas")?,
        })
    }

    /// Where it was seen.
    #[must_use]
    pub fn place(&self, event: &Event) -> Option<Place> {
        place(event, self.place)
    }
}

fn place(event: &Event, field: usize) -> Option<Place> {
    let (lat, lon) = event.coordinates(field)?;
    Some(Place { lat, lon })
}

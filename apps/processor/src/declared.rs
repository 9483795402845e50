//! Where a processor finds the fields that it reads, by the names that the configuration declares.

use aguacero::config::{Config, Stream};
use anyhow::Context as _;

/// A stream that a processor reads.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    stream: &'a Stream,
}

impl<'a> Declared<'a> {
    /// The stream called `name`.
    pub fn stream(config: &'a Config, name: &str) -> anyhow::Result<Self> {
        let stream = config.stream(name).with_context(|| {
            format!("the configuration declares no stream {name}, which this processor reads")
        })?;
        Ok(Self { stream })
    }

    /// Its position in `Config::streams`, as events have it.
    #[must_use]
    pub fn index(&self) -> usize {
        self.stream.index
    }

    /// The position of the field called `name`, or by one of its other names, in an event's fields.
    pub fn field(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.stream.names.find(name);
        let (field, _) = found.with_context(|| {
            let stream = &self.stream.name;
            format!("stream {stream} declares no field {name:?}, which this processor reads")
        })?;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guild() -> Config {
        let toml = include_str!("../../../examples/guild.toml");
        Config::parse(toml, "guild.toml", []).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn what_is_not_declared_is_told_by_name() {
        let config = guild();
        let no_stream = Declared::stream(&config, "sales").expect_err("no such stream");
        assert!(no_stream.to_string().contains("no stream sales"));
        let ventas = Declared::stream(&config, "ventas").expect("it is declared");
        assert_eq!(ventas.field("Cliente").ok(), ventas.field("cliente").ok());
        let no_field = ventas.field("Rut").expect_err("no such field");
        assert!(
            no_field
                .to_string()
                .contains("stream ventas declares no field \"Rut\"")
        );
    }
}

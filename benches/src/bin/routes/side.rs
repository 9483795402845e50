//! The three sides: a gateway and one producer each, on the stream of `examples/votes.toml`.

use aguacero::config::Via;
use benches::{
    sides::{Effort, Server},
    turns::{self, Turns, in_turns},
};
use e2e::{Builder, Pipeline};

/// Where events are posted to, on every side.
pub(crate) const PATH: &str = "/votes";
/// The stream.
pub(crate) const STREAM: &str = "votes";
/// Processes of a side among those that are counted.
pub(crate) const GATEWAY: usize = 0;
pub(crate) const PRODUCER: usize = 1;
pub(crate) const KAFKA: usize = 2;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Librdkafka,
    Engine,
    Wasm,
}

/// All of them, as tables have them, in the order of their turns.
pub(crate) const SIDES: [(&str, Side); 3] = [
    ("gRPC, librdkafka", Side::Librdkafka),
    ("gRPC, engine", Side::Engine),
    ("WebAssembly", Side::Wasm),
];
/// Beside the native engine, in the order of `SIDES` without it.
const RATIOS: [&str; 2] = [
    "gRPC, librdkafka / gRPC, engine",
    "WebAssembly / gRPC, engine",
];

impl Side {
    pub(crate) fn via(self) -> Via {
        match self {
            Self::Librdkafka | Self::Engine => Via::Grpc,
            Self::Wasm => Via::Wasm,
        }
    }

    /// What is started: no more than a gateway and this side's producer.
    pub(crate) fn pipeline(self) -> Builder {
        let declared = declaration(&e2e::repository("examples/votes.toml"), self.via());
        let pipeline = Pipeline::builder(&declared).as_declared().into_kafka_only();
        match self {
            Self::Librdkafka => pipeline.with("kafka_producer.client", "librdkafka"),
            Self::Engine => pipeline.with("kafka_producer.client", "engine"),
            Self::Wasm => pipeline,
        }
    }

    pub(crate) async fn start(self) -> anyhow::Result<Server> {
        Server::into_kafka(self.pipeline()).await
    }
}

/// The streams of `toml`, with one route by `via` in the place of all that it has.
fn declaration(toml: &str, via: Via) -> String {
    let routes = format!("[[streams.{STREAM}.routes]]");
    let streams = toml.split(&routes).next().unwrap_or_default();
    format!(
        "{streams}{routes}\npath = \"{PATH}\"\nvia = \"{}\"\n",
        via.name()
    )
}

/// Servers of all sides, and what is measured of each.
pub(crate) struct Sides(Vec<Server>);

impl Sides {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for (_, side) in SIDES {
            servers.push(side.start().await?);
        }
        Ok(Self(servers))
    }

    pub(crate) fn of(&self, side: Side) -> &Server {
        let place = SIDES.iter().position(|(_, of)| *of == side);
        &self.0[place.unwrap_or_default()]
    }

    /// What `measure` makes of each side, side by side at each of `over`.
    pub(crate) async fn beside<const N: usize>(
        &self,
        effort: Effort,
        over: &[u64],
        mut measure: impl AsyncFnMut(&Server, u64) -> anyhow::Result<[f64; N]>,
    ) -> anyhow::Result<Turns<N>> {
        let lines: Vec<_> = SIDES.iter().map(|(name, _)| *name).zip(&self.0).collect();
        let mut parts = Vec::new();
        for value in over {
            parts.push(in_turns(effort.rounds, &lines, &[*value], &mut measure).await?);
        }
        Ok(turns::joined(parts))
    }
}

/// How many times as much as the native engine in the same round.
pub(crate) fn ratios<const N: usize>(turns: &Turns<N>) -> Turns<N> {
    let of = |name: &str, over| {
        let mut sides = turns.sides.iter();
        sides.find(|side| side.line == name && side.over == over)
    };
    let [librdkafka, engine, wasm] = SIDES.map(|(name, _)| name);
    let mut sides = Vec::new();
    for (line, name) in RATIOS.into_iter().zip([librdkafka, wasm]) {
        for side in turns.sides.iter().filter(|side| side.line == name) {
            let Some(base) = of(engine, side.over) else {
                continue;
            };
            let each = |n: usize| {
                let rounds = side.values[n].iter().zip(&base.values[n]);
                rounds.map(|(value, base)| value / base).collect()
            };
            sides.push(turns::Side {
                line,
                over: side.over,
                values: std::array::from_fn(each),
            });
        }
    }
    Turns { sides }
}

#[cfg(test)]
mod tests {
    use aguacero::config::Config;

    use super::*;

    #[test]
    fn each_side_has_one_route_and_the_same_stream() {
        let toml = e2e::repository("examples/votes.toml");
        let whole = Config::parse(&toml, "votes", []).unwrap();
        for via in Via::ALL {
            let side = Config::parse(&declaration(&toml, via), "a side", []).unwrap();
            assert_eq!(side.vias(), [via]);
            let (stream, of_all) = (side.stream(STREAM).unwrap(), whole.stream(STREAM).unwrap());
            assert_eq!(stream.counters.len(), of_all.counters.len());
            assert_eq!(stream.routes.len(), 1);
            assert_eq!(stream.routes[0].path, PATH);
        }
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let side = |line, values: [f64; 2]| turns::Side {
            line,
            over: 10,
            values: [values.to_vec()],
        };
        let [librdkafka, engine, wasm] = SIDES.map(|(name, _)| name);
        let turns = Turns {
            sides: vec![
                side(librdkafka, [4.0, 8.0]),
                side(engine, [2.0, 1.0]),
                side(wasm, [3.0, 3.0]),
            ],
        };
        let ratios = ratios(&turns);
        let all: Vec<_> = ratios
            .sides
            .iter()
            .map(|s| (s.line, &s.values[0]))
            .collect();
        assert_eq!(
            all,
            [(RATIOS[0], &vec![2.0, 8.0]), (RATIOS[1], &vec![1.5, 3.0])]
        );
    }
}

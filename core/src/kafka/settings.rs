//! What the settings that a topic has on the broker do to what is promised.
//!
//! A setting that *breaks* a promise (an event that was answered 200 could vanish before it is archived) is refused at
//! start. One that *limits* what works (events that the broker refuses, a bound that is not kept) is told, and so is
//! one that comes to break a promise while processes run: whoever reads on loses less than whoever stops.
//! Why each is judged as it is: `docs/decisions/0025`.

use std::{
    collections::HashMap,
    fmt::{self, Display},
    time::Duration,
};

use super::{Described, Topics};
use crate::{
    conditions::Condition,
    config::{Config, Topic},
    record::OVERHEAD,
};

/// What the log, and `/readyz`, say of such a topic.
pub const ENDANGERS: &str = "a topic's settings endanger what is promised";
/// How often whoever watches looks again.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Retention below this is told where no bound is declared: an outage of a night is longer.
const SHORT_MS: i64 = 3_600_000;
/// The same by size, for each partition.
const SMALL_BYTES: i64 = 64 << 20;
/// By so much the clock of a gateway may well be ahead.
const SKEW_MS: i64 = 60_000;

/// Values by name, as the broker applies them.
pub(super) type Values = HashMap<String, String>;

/// What a setting does to what is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is as it should be.
    None,
    /// Something does not work, or not as declared; no event that was answered 200 is lost by it.
    Limits,
    /// Events that were answered 200 can be lost.
    Breaks,
}

/// A setting of a topic, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The topic's name.
    pub topic: String,
    /// The setting's name, as Kafka has it.
    pub name: &'static str,
    /// What it is set to.
    pub value: String,
    /// What it does.
    pub effect: Effect,
    /// The same in words, with how to mend it.
    pub words: String,
}

/// `topic messages: cleanup.policy = compact: Kafka keeps only …`
impl Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            name,
            value,
            words,
            ..
        } = self;
        write!(f, "topic {topic}: {name} = {value}: {words}")
    }
}

/// Whether a `cleanup.policy` keeps only the latest record of each key.
pub(super) fn is_compact(policy: &str) -> bool {
    policy.split(',').any(|policy| policy.trim() == "compact")
}

/// Those that somebody should look at.
#[must_use]
pub fn conditions(settings: &[Setting]) -> Vec<Condition> {
    let wrong = settings.iter().filter(|s| s.effect != Effect::None);
    let condition = |s: &Setting| Condition {
        labels: vec![("topic", s.topic.clone()), ("setting", s.name.to_owned())],
        words: s.to_string(),
        value: 1.0,
    };
    wrong.map(condition).collect()
}

/// What the broker has of the declared topics, for somebody who reads it, and whether nothing of it is refused.
/// Blocks for up to some seconds.
pub async fn explain(config: &Config, process: &str) -> (String, bool) {
    let mut text = format!("Kafka at {}\n", config.kafka.brokers);
    match settings(config, process).await {
        Ok((found, settings)) => {
            for topic in &config.topics {
                text += &told(topic, found.get(&topic.name), &settings);
            }
            let is_refused = settings.iter().any(|s| s.effect == Effect::Breaks);
            (text, !is_refused)
        }
        Err(error) => (text + &format!("  {error}\n"), false),
    }
}

type Answer = (HashMap<String, Described>, Vec<Setting>);

async fn settings(config: &Config, process: &str) -> Result<Answer, super::TopicError> {
    let topics = Topics::new(&config.kafka, process)?;
    let names: Vec<_> = config.topics.iter().map(|t| t.name.as_str()).collect();
    let mut found = topics.describe_or_barred(&names)?;
    let settings = topics.settings(config, &mut found).await?;
    Ok((found, settings))
}

fn told(topic: &Topic, there: Option<&Described>, settings: &[Setting]) -> String {
    let name = &topic.name;
    let Some(there) = there else {
        return format!("topic {name}: is not there; whoever starts first makes it as declared\n");
    };
    let partitions = there.partitions;
    let mut text = format!("topic {name}: partitions {partitions}\n");
    for Setting {
        name,
        value,
        effect,
        words,
        ..
    } in settings.iter().filter(|s| s.topic == *name)
    {
        let effect = match effect {
            Effect::None => "ok      ",
            Effect::Limits => "limits  ",
            Effect::Breaks => "REFUSED ",
        };
        text += &format!("  {effect}{name} = {value}: {words}\n");
    }
    text
}

/// Every setting that matters of a topic as it is `there`. Events may have `event_bytes_max`.
pub(super) fn judge(
    declared: &Topic,
    there: &Described,
    values: &Values,
    event_bytes_max: usize,
) -> Vec<Setting> {
    let judge = Judge {
        declared,
        replicas: there.replicas,
        values,
        event_bytes_max,
    };
    let named = |name: &'static str, judged: Option<(String, Effect, String)>| {
        judged.map(|(value, effect, words)| Setting {
            topic: declared.name.clone(),
            name,
            value,
            effect,
            words,
        })
    };
    let all = [
        named("partitions", judge.partitions(there.partitions)),
        named("replication.factor", judge.replication()),
        named("min.insync.replicas", judge.min_insync()),
        named("unclean.leader.election.enable", judge.unclean_election()),
        named("cleanup.policy", judge.cleanup()),
        named("retention.ms", judge.retention()),
        named("retention.bytes", judge.retention_bytes()),
        named("message.timestamp.type", judge.timestamp_type()),
        named(BEFORE, judge.timestamp_before(BEFORE)),
        named(DIFFERENCE, judge.timestamp_before(DIFFERENCE)),
        named("message.timestamp.after.max.ms", judge.timestamp_after()),
        named("max.message.bytes", judge.size()),
    ];
    all.into_iter().flatten().collect()
}

const BEFORE: &str = "message.timestamp.before.max.ms";
/// Of brokers before 4.0, beside the one above.
const DIFFERENCE: &str = "message.timestamp.difference.max.ms";

/// A topic, while its settings are judged: each is its value, what that does, and words; none if the broker does not
/// have such a setting.
struct Judge<'a> {
    declared: &'a Topic,
    replicas: usize,
    values: &'a Values,
    event_bytes_max: usize,
}

type Judged = Option<(String, Effect, String)>;

impl Judge<'_> {
    fn number(&self, name: &str) -> Option<i64> {
        self.values.get(name)?.parse().ok()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.values.get(name).is_some_and(|v| v == value)
    }

    fn partitions(&self, partitions: i32) -> Judged {
        let declared = self.declared.partitions;
        let (effect, words) = match partitions < declared {
            true => (
                Effect::Breaks,
                format!(
                    "{declared} partitions are declared, the broker has {partitions}. Add partitions on the broker, or declare fewer"
                ),
            ),
            false => (Effect::None, format!("{declared} are declared")),
        };
        Some((partitions.to_string(), effect, words))
    }

    fn replication(&self) -> Judged {
        let (declared, is) = (self.declared.replication, self.replicas);
        let (effect, words) = match is < usize::try_from(declared).unwrap_or(0) {
            true => (
                Effect::Limits,
                format!(
                    "replication = {declared} is declared: fewer brokers than meant may be lost. Reassign its partitions to more brokers, or declare less"
                ),
            ),
            false => (Effect::None, format!("{declared} are declared")),
        };
        Some((is.to_string(), effect, words))
    }

    fn min_insync(&self) -> Judged {
        let (declared, is) = (
            self.declared.min_insync,
            self.number("min.insync.replicas")?,
        );
        let (effect, words) = if is < i64::from(declared) {
            (
                Effect::Breaks,
                format!(
                    "min_insync = {declared} is declared, the broker's min.insync.replicas is {is}: an acknowledged event could be lost. Raise it on the broker, or declare less"
                ),
            )
        } else if usize::try_from(is).is_ok_and(|is| is > self.replicas) {
            let words = format!(
                "there are {} replicas, so the broker takes no event. Lower it, or add replicas",
                self.replicas
            );
            (Effect::Limits, words)
        } else {
            (
                Effect::None,
                "so many brokers have an event before its 200".into(),
            )
        };
        Some((is.to_string(), effect, words))
    }

    fn unclean_election(&self) -> Judged {
        let value = self.values.get("unclean.leader.election.enable")?;
        let (effect, words) = match (value.as_str(), self.replicas > 1) {
            ("true", true) => (
                Effect::Breaks,
                "a replica that lacks acknowledged events may become the leader, and they are lost. Set it to false",
            ),
            ("true", false) => (Effect::None, "there is no other replica that could lead"),
            _ => (Effect::None, "only who has every acknowledged event leads"),
        };
        Some((value.clone(), effect, words.into()))
    }

    fn cleanup(&self) -> Judged {
        let value = self.values.get("cleanup.policy")?;
        let (effect, words) = match is_compact(value) {
            true => (
                Effect::Breaks,
                "Kafka keeps only the newest event of each key, so that acknowledged events vanish, and refuses events without a key (503). Set it to delete",
            ),
            false => (Effect::None, "an event stays as long as retention says"),
        };
        Some((value.clone(), effect, words.into()))
    }

    /// Nothing is deleted by age or size.
    fn keeps_all(&self) -> bool {
        !self
            .values
            .get("cleanup.policy")
            .is_some_and(|policy| policy.contains("delete"))
    }

    fn retention(&self) -> Judged {
        let is = self.number("retention.ms")?;
        let min = i64::try_from(self.declared.retention_min.as_millis()).unwrap_or(i64::MAX);
        let (effect, words) = if is < 0 || self.keeps_all() {
            (Effect::None, "nothing is deleted for its age".into())
        } else if is < min {
            (
                Effect::Breaks,
                format!(
                    "retention_min_ms = {min} is declared: what the consumer has not archived after {} is lost. Raise it on the broker, or declare less",
                    time(is)
                ),
            )
        } else if min == 0 && is < SHORT_MS {
            (
                Effect::Limits,
                format!(
                    "what the consumer has not archived after {} is lost. Raise it, or say with retention_min_ms that so much is enough",
                    time(is)
                ),
            )
        } else {
            (
                Effect::None,
                format!(
                    "what the consumer has not archived after {} is lost",
                    time(is)
                ),
            )
        };
        Some((is.to_string(), effect, words))
    }

    fn retention_bytes(&self) -> Judged {
        let is = self.number("retention.bytes")?;
        let min = i64::try_from(self.declared.retention_min_bytes).unwrap_or(i64::MAX);
        let lost = "of a partition that has more, what the consumer has not archived is lost";
        let (effect, words) = if is < 0 || self.keeps_all() {
            (
                Effect::None,
                "nothing is deleted for a partition's size".into(),
            )
        } else if is < min {
            (
                Effect::Breaks,
                format!(
                    "retention_min_bytes = {min} is declared: {lost}. Raise it on the broker, or declare less"
                ),
            )
        } else if min == 0 && !self.declared.retention_min.is_zero() {
            (
                Effect::Limits,
                format!(
                    "{lost}, however young it is, so that retention_min_ms is not kept. Set it to -1, or say with retention_min_bytes that so much is enough"
                ),
            )
        } else if min == 0 && is < SMALL_BYTES {
            (
                Effect::Limits,
                format!("{lost}. Raise it, or say with retention_min_bytes that so much is enough"),
            )
        } else {
            (Effect::None, lost.into())
        };
        Some((is.to_string(), effect, words))
    }

    fn timestamp_type(&self) -> Judged {
        let value = self.values.get("message.timestamp.type")?;
        let (effect, words) = match self.is_broker_time() {
            true => (
                Effect::Limits,
                "an event's time of arrival (`at` in the archive) is when the broker stored it, and that of a dead letter when it was replayed. Set it to CreateTime",
            ),
            false => (
                Effect::None,
                "an event's time of arrival is that at the gateway",
            ),
        };
        Some((value.clone(), effect, words.into()))
    }

    fn is_broker_time(&self) -> bool {
        self.is("message.timestamp.type", "LogAppendTime")
    }

    fn timestamp_before(&self, name: &str) -> Judged {
        let is = self.number(name)?;
        let is_free = is == i64::MAX || self.is_broker_time();
        let (effect, words) = match is_free {
            true => (
                Effect::None,
                "dead letters can be replayed at any age".into(),
            ),
            false => (
                Effect::Limits,
                format!(
                    "the broker refuses events that arrived more than {} ago: dead letters that are replayed, and those of a gateway whose clock is behind. Set it to {}",
                    time(is),
                    i64::MAX
                ),
            ),
        };
        Some((is.to_string(), effect, words))
    }

    fn timestamp_after(&self) -> Judged {
        let is = self.number("message.timestamp.after.max.ms")?;
        let is_strict = is < SKEW_MS && !self.is_broker_time();
        let (effect, words) = match is_strict {
            true => (
                Effect::Limits,
                format!(
                    "the broker refuses the events of a gateway whose clock is ahead by more than {}. Set it to an hour (3600000)",
                    time(is)
                ),
            ),
            false => (
                Effect::None,
                "the clock of a gateway may be ahead by less".into(),
            ),
        };
        Some((is.to_string(), effect, words))
    }

    fn size(&self) -> Judged {
        let is = self.number("max.message.bytes")?;
        let most = usize::try_from(is).unwrap_or(0).saturating_sub(OVERHEAD);
        let (effect, words) = match most < self.event_bytes_max {
            true => (
                Effect::Limits,
                format!(
                    "events of more than {most} bytes are refused (413), though gateway.event_bytes_max = {}. Raise it on the broker to {}, or lower that",
                    self.event_bytes_max,
                    self.event_bytes_max + OVERHEAD
                ),
            ),
            false => (Effect::None, "the largest event fits".into()),
        };
        Some((is.to_string(), effect, words))
    }
}

/// `90 s`, `36 h`
fn time(ms: i64) -> String {
    match ms {
        ms if ms % 3_600_000 == 0 && ms > 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;

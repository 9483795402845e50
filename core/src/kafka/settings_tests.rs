use super::*;

fn topic(replicas: usize) -> (Topic, Described) {
    let declared = Topic {
        name: "t".into(),
        partitions: 1,
        replication: i32::try_from(replicas).unwrap(),
        min_insync: 1,
        retention_min: Duration::ZERO,
        retention_min_bytes: 0,
        reserved: Vec::new(),
        ordinary: vec![0],
    };
    let there = Described {
        incarnation: "x".into(),
        partitions: 1,
        replicas,
        in_sync: vec![replicas],
        min_insync: 0,
        batch_bytes_max: 0,
    };
    (declared, there)
}

/// As a broker of Kafka 4 has it of itself, but for one.
fn values(name: &str, value: &str) -> Values {
    let mut values: Values = [
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "false"),
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("message.timestamp.type", "CreateTime"),
        (BEFORE, "9223372036854775807"),
        ("message.timestamp.after.max.ms", "3600000"),
        ("max.message.bytes", "1048588"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    values.insert(name.to_owned(), value.to_owned());
    values
}

fn effect_of(name: &str, value: &str, topic: &(Topic, Described)) -> Effect {
    let judged = judge(&topic.0, &topic.1, &values(name, value), 900 << 10);
    let others = judged.iter().filter(|s| s.name != name);
    for other in others {
        assert_eq!(other.effect, Effect::None, "{name} = {value}: {other}");
    }
    let judged = judged.iter().find(|s| s.name == name);
    judged.unwrap_or_else(|| panic!("{name}")).effect
}

#[test]
fn each_setting_is_judged_by_what_it_does_to_what_is_promised() {
    use Effect::{Breaks, Limits, None};
    let forever = i64::MAX.to_string();
    for (name, value, effect) in [
        ("cleanup.policy", "delete", None),
        ("cleanup.policy", "", None),
        ("cleanup.policy", "compact", Breaks),
        ("cleanup.policy", "delete, compact", Breaks),
        ("min.insync.replicas", "0", Breaks),
        ("min.insync.replicas", "3", None),
        ("min.insync.replicas", "4", Limits),
        ("unclean.leader.election.enable", "false", None),
        ("unclean.leader.election.enable", "true", Breaks),
        ("retention.ms", "-1", None),
        ("retention.ms", "3600000", None),
        ("retention.ms", "3599999", Limits),
        ("retention.bytes", "67108864", None),
        ("retention.bytes", "67108863", Limits),
        ("message.timestamp.type", "LogAppendTime", Limits),
        (BEFORE, &forever, None),
        (BEFORE, "86400000", Limits),
        (DIFFERENCE, "86400000", Limits),
        ("message.timestamp.after.max.ms", "60000", None),
        ("message.timestamp.after.max.ms", "1000", Limits),
        ("max.message.bytes", "923136", None),
        ("max.message.bytes", "923135", Limits),
    ] {
        let is = effect_of(name, value, &topic(3));
        assert_eq!(is, effect, "{name} = {value}");
    }
    let unclean = "unclean.leader.election.enable";
    assert_eq!(effect_of(unclean, "true", &topic(1)), None, "nobody else");
    let mut fewer = topic(3);
    fewer.1.replicas = 2;
    let judged = judge(&fewer.0, &fewer.1, &values("retention.ms", "-1"), 1);
    let replication = judged.iter().find(|s| s.name == "replication.factor");
    assert_eq!(replication.unwrap().effect, Limits);
}

#[test]
fn retention_below_a_declared_bound_is_refused_and_that_which_cannot_hold_it_told() {
    use Effect::{Breaks, Limits, None};
    let mut topic = topic(1);
    topic.0.retention_min = Duration::from_secs(60);
    assert_eq!(effect_of("retention.ms", "59999", &topic), Breaks);
    assert_eq!(effect_of("retention.ms", "60000", &topic), None);
    assert_eq!(effect_of("retention.ms", "-1", &topic), None);
    assert_eq!(effect_of("retention.bytes", "1000000000", &topic), Limits);
    topic.0.retention_min_bytes = 1000;
    assert_eq!(effect_of("retention.bytes", "999", &topic), Breaks);
    assert_eq!(effect_of("retention.bytes", "1000", &topic), None);
    // Where nothing is deleted, neither age nor size counts.
    let mut all = values("retention.ms", "1");
    all.insert("cleanup.policy".into(), String::new());
    let judged = judge(&topic.0, &topic.1, &all, 1);
    assert!(judged.iter().all(|s| s.effect == None), "{judged:?}");
}

use std::{path::Path, time::Duration};

use super::{Config, Mistakes, OnIdConflict, Partitioning, TextPlain, Type, Via};
use crate::scalar::Scalar;

/// The least that a file can declare.
const MINIMAL: &str = r#"
[topics.messages]
partitions = 6

[streams.weather]
topic = "messages"
fields = [{ name = "país", aliases = ["pais"], type = "string", required = true }]
counters = [{ name = "by_country", by = ["país"] }]

[[streams.weather.routes]]
path = "/input"
"#;

fn parse(text: &str) -> Result<Config, Mistakes> {
    parse_with(text, &[])
}

fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let environment = environment
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()));
    Config::parse(text, "aguacero.toml", environment)
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

/// What is printed about a file with mistakes, line by line.
fn mistakes(text: &str) -> Vec<String> {
    mistakes_with(text, &[])
}

fn mistakes_with(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let mistakes = parse_with(text, environment).expect_err("there are mistakes");
    mistakes.to_string().lines().map(str::to_owned).collect()
}

/// The minimal file with something replaced.
fn edited(from: &str, to: &str) -> String {
    assert!(
        MINIMAL.contains(from),
        "{from:?} is not in the minimal file"
    );
    MINIMAL.replacen(from, to, 1)
}

/// The minimal file with another line in the stream's own table.
fn with_key(line: &str) -> String {
    edited(
        "topic = \"messages\"\n",
        &format!("topic = \"messages\"\n{line}\n"),
    )
}

/// The minimal file with another table behind it.
fn with_table(table: &str) -> String {
    format!("{MINIMAL}\n{table}\n")
}

#[track_caller]
fn only_mistake(text: &str, expected: &str) {
    assert_eq!(mistakes(text), [expected], "in {text}");
}

/// That there is one mistake, whose text holds all of `parts`.
#[track_caller]
fn mistake_says(text: &str, parts: &[&str]) {
    let found = mistakes(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    for part in parts {
        assert!(found[0].contains(part), "{part:?} is not in {:?}", found[0]);
    }
}

fn repository_file(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let text = std::fs::read_to_string(&path).expect("the file is in the repository");
    Config::parse(&text, name, []).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

mod tables;

mod defaults {
    use super::*;

    #[test]
    fn a_minimal_file_has_just_topics_and_streams() {
        let config = valid(MINIMAL);
        let stream = config.stream("weather").expect("declared");
        assert_eq!(stream.archive, "weather");
        assert_eq!(config.topic_of(stream).ordinary, [0, 1, 2, 3, 4, 5]);
        assert!(matches!(stream.spread.otherwise, Partitioning::Sticky));
        assert_eq!(stream.counters[0].max_distinct, 10_000);
        assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.gateway.ack_timeout, Duration::from_secs(10));
        assert_eq!(config.consumer.instance, None);
        assert!(config.gateway.workers >= 1);
    }

    #[test]
    fn an_empty_required_string_does_not_fit_unless_it_is_allowed() {
        let field = |text: &str| valid(text).streams[0].fields[0].clone();
        assert_eq!(field(MINIMAL).min_bytes, 1);
        assert_eq!(
            field(&edited("required = true", "required = true, min_bytes = 0")).min_bytes,
            0
        );
        assert_eq!(field(&edited(", required = true", "")).min_bytes, 0);
    }

    #[test]
    fn a_string_without_a_bound_has_the_events() {
        let config = valid(&with_table("[gateway]\nevent_bytes_max = 5000"));
        assert_eq!(config.streams[0].fields[0].max_bytes, 5000);
    }
}

mod files {
    use super::*;

    #[test]
    fn the_built_in_file_declares_the_weather() {
        let config = repository_file("aguacero.toml");
        let stream = config.stream("weather").expect("declared");
        assert_eq!(stream.routes[0].path, "/input");
        assert_eq!(stream.archive, "messages");
        assert_eq!(config.topic_of(stream).name, "messages");
        assert_eq!(config.topic_of(stream).partitions, 6);
        assert_eq!(stream.fields[1].names, ["país", "pais", "country"]);
        assert_eq!(stream.counters[0].by, [1]);
    }

    /// The comments show every commented-out key at its default.
    #[test]
    fn what_the_built_in_file_comments_out_are_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aguacero.toml");
        let text = std::fs::read_to_string(path).expect("the file is in the repository");
        let (declared, processes) = text.split_once("[kafka]").expect("has process tables");
        let workers = format!("# workers            = {}", valid(MINIMAL).gateway.workers);
        let examples = [
            "# instance",
            "# keys ",
            "# tls_",
            "# proxies ",
            "# module ",
            "# sha256_file ",
        ]; // of what has no default
        let uncommented: String = format!("[kafka]{processes}")
            .replace("# workers            = 1", &workers)
            .lines()
            .filter(|line| !examples.iter().any(|key| line.contains(key)))
            .map(|line| line.trim_start_matches("# ").to_owned() + "\n")
            .collect();
        let written = valid(&format!("{declared}{uncommented}"));
        let mut defaults = valid(&text);
        defaults.topics = written.topics.clone();
        assert_eq!(format!("{defaults:?}"), format!("{written:?}"));
        assert!(uncommented.contains("\nlisten"), "{uncommented}");
    }

    #[test]
    fn votes_take_numbers_as_strings_too() {
        let config = repository_file("examples/votes.toml");
        let stream = config.stream("votes").expect("declared");
        assert_eq!(stream.fields[3].types.0, [Type::String, Type::Integer]);
        let routes = [("/votes/grpc", Via::Grpc), ("/votes/wasm", Via::Wasm)];
        let declared = stream.routes.iter().map(|route| (&*route.path, route.via));
        assert!(declared.eq(routes));
        assert_eq!(config.vias(), Via::ALL);
        assert_eq!(stream.counters.len(), 4);
    }

    #[test]
    fn the_guild_has_partitions_of_their_own() {
        let config = repository_file("examples/guild.toml");
        assert!(config.topics.iter().all(|topic| topic.ordinary.len() >= 2));
        let members = config.stream("miembros").expect("declared");
        let (field, is) = members.spread.rules[0]
            .when
            .clone()
            .expect("has a condition");
        assert_eq!(members.fields[field].name, "Registro premium");
        assert_eq!(is[0], Scalar::Bool(true));
        assert_eq!(
            config.topic_of(members).reserved,
            [("premium".to_owned(), 2)]
        );
        assert_eq!(members.spread.rules[0].partition, 2);

        let (reports, positions) = (config.stream("reportes"), config.stream("ubicaciones"));
        let (reports, positions) = (reports.expect("declared"), positions.expect("declared"));
        assert_eq!(reports.topic, positions.topic);
        assert!(reports.spread.rules[0].when.is_none());
        assert!(
            !config
                .topic_of(reports)
                .ordinary
                .contains(&reports.spread.rules[0].partition)
        );
        assert!(matches!(positions.spread.otherwise, Partitioning::Key(0)));
    }

    #[test]
    fn topics_and_streams_keep_the_order_of_the_file() {
        let config = repository_file("examples/guild.toml");
        let names: Vec<_> = config
            .streams
            .iter()
            .map(|stream| stream.name.as_str())
            .collect();
        assert_eq!(names, ["miembros", "ventas", "reportes", "ubicaciones"]);
        assert!(
            config
                .streams
                .iter()
                .enumerate()
                .all(|(i, stream)| stream.index == i)
        );
        assert_eq!(config.topics[0].name, "miembros");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_mistake_that_says_so() {
        let mistakes = Config::load(Path::new("nowhere.toml"), &[]).expect_err("is not there");
        assert!(
            mistakes
                .to_string()
                .starts_with("nowhere.toml: cannot be read: "),
            "{mistakes}"
        );
    }
}

mod reporting {
    use super::*;

    #[test]
    fn every_mistake_is_reported_together_with_its_line() {
        let text = r#"
[topics.messages]
partitions = 0
replicas = 3

[gateway]
listen = "localhost"
ack_timeout_ms = "8s"

[streams.weather]
topic = "mesages"
fields = [
  { name = "país", type = "text" },
]
counters = [{ name = "total", by = ["pais"] }]
"#;
        assert_eq!(
            mistakes(text),
            [
                "aguacero.toml:3:14: topics.messages.partitions: must be between 1 and 10000, is 0",
                "aguacero.toml:4:1: topics.messages.replicas: unknown key; known here: \
                 partitions, replication, min_insync, retention_min_ms, retention_min_bytes, reserved",
                "aguacero.toml:7:10: gateway.listen: must be an IP address and a port, like \
                 127.0.0.1:8080, is \"localhost\"",
                "aguacero.toml:8:18: gateway.ack_timeout_ms: must be a whole number, is the string \
                 \"8s\"; write milliseconds, like 8000 for 8 s",
                "aguacero.toml:10:10: streams.weather.routes: has no route, so no event can come \
                 in; write [[streams.weather.routes]] with a path",
                "aguacero.toml:11:9: streams.weather.topic: no topic \"mesages\" is declared; did \
                 you mean \"messages\"?",
                "aguacero.toml:13:27: streams.weather.fields[0].type: there is no type \"text\"; \
                 known here: string, integer, number, boolean, object, array, coordinates",
                "aguacero.toml:15:22: streams.weather.counters[0].name: must not begin with \
                 \"total\", which the ledger keeps for itself",
                "aguacero.toml:15:37: streams.weather.counters[0].by[0]: no field of this stream is \
                 called \"pais\"; did you mean \"país\"?",
            ]
        );
    }

    #[test]
    fn a_line_that_is_not_toml_does_not_hide_the_mistakes_of_others() {
        let text = edited("partitions = 6", "partitions = \nreplication = 0");
        let found = mistakes(&text);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("aguacero.toml:3:"), "{found:#?}");
        assert!(found[0].contains("not TOML"), "{found:#?}");
        assert!(found[1].starts_with("aguacero.toml:4:15: topics.messages.replication"));
    }

    #[test]
    fn what_may_stand_in_a_broken_part_is_not_called_missing() {
        let found = mistakes(&edited("[topics.messages]", "[topics.messages"));
        assert!(
            found.iter().all(|mistake| mistake.contains("not TOML")),
            "{found:#?}"
        );
    }

    #[test]
    fn unknown_tables_and_keys_are_mistakes() {
        only_mistake(
            &with_table("[gatway]"),
            "aguacero.toml:13:2: gatway: unknown table; did you mean \"gateway\"?",
        );
        only_mistake(
            &with_table("[kafka]\nmessage_timeout = 5"),
            "aguacero.toml:14:1: kafka.message_timeout: unknown key; did you mean \
             \"message_timeout_ms\"?",
        );
        mistake_says(
            &with_key("colour = 1"),
            &["streams.weather.colour: unknown key; known here: "],
        );
        mistake_says(
            &edited("required", "requierd"),
            &["did you mean \"required\"?"],
        );
    }

    #[test]
    fn a_key_of_the_wrong_type_says_what_it_is() {
        mistake_says(
            &edited("partitions = 6", "partitions = 6.5"),
            &["3:14", "is the number 6.5"],
        );
        mistake_says(
            &with_table("[kafka]\nbrokers = 9092"),
            &["a string", "is the number 9092"],
        );
        mistake_says(
            &format!("gateway = 3\n{MINIMAL}"),
            &["1:1: gateway", "must be a table"],
        );
        mistake_says(&edited("path = ", "path = 1 #"), &["must be a string"]);
        mistake_says(
            &edited("true }", "1 }"),
            &["required: must be true or false"],
        );
    }

    #[test]
    fn one_mistake_is_not_reported_twice() {
        mistake_says(
            &edited("type = \"string\"", "type = \"sting\""),
            &["did you mean \"string\"?"],
        );
        mistake_says(
            &edited("partitions = 6", "partitions = \"6\"\nreserved = { x = 9 }"),
            &["\"6\""],
        );
        mistake_says(
            &edited("by = [\"país\"]", "by = [5]"),
            &["by[0]: must be a string"],
        );
        mistake_says(
            &edited("path = \"/input\"", "path = 5"),
            &["path: must be a string"],
        );
        mistake_says(
            &edited("[[streams.weather.routes]]", "[streams.weather.routes]"),
            &["each under [[streams.weather.routes]], is a table"],
        );
    }

    #[test]
    fn no_damage_to_a_file_does_more_than_make_mistakes() {
        let guild = include_str!("../../../examples/guild.toml");
        let mut accepted = 0;
        for (i, c) in guild.char_indices().step_by(5) {
            let (before, after) = (&guild[..i], &guild[i + c.len_utf8()..]);
            let damaged = [
                before.to_owned(),
                format!("{before}{after}"),
                format!("{before}]{after}"),
                format!("{before}\"{after}"),
            ];
            for text in damaged {
                match parse(&text) {
                    Ok(_) => accepted += 1,
                    Err(mistakes) => assert!(mistakes.iter().all(|mistake| mistake.line > 0)),
                }
            }
        }
        assert!(accepted > 0, "a comment can be damaged");
    }

    #[test]
    fn columns_count_characters() {
        let text = edited(
            "name = \"país\", aliases = [\"pais\"]",
            "name = \"ñandú\", aliases = [1]",
        );
        let found = mistakes(&text);
        assert!(found[0].starts_with("aguacero.toml:7:40: "), "{found:#?}");
    }

    #[test]
    fn nothing_declared_is_a_mistake() {
        let found = mistakes("");
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("aguacero.toml:1:1: topics: none is declared"));
        assert!(found[1].starts_with("aguacero.toml:1:1: streams: none is declared"));
    }
}

mod environment {
    use super::*;

    #[test]
    fn a_variable_overrides_a_key_and_a_default() {
        let text = with_table("[gateway]\nlisten = \"127.0.0.1:1\"");
        let environment = [
            ("AGUACERO_GATEWAY_LISTEN", "0.0.0.0:80"),
            ("AGUACERO_KAFKA_BROKERS", "a:9092,b:9092"),
            ("AGUACERO_KAFKA_PRODUCER_QUEUE_BYTES_MAX", "100000000"),
            ("AGUACERO_CONSUMER_INSTANCE", "consumer-1"),
            ("AGUACERO_CONSUMER_GROUP", ""),
        ];
        let config = parse_with(&text, &environment).expect("valid");
        assert_eq!(config.gateway.listen.to_string(), "0.0.0.0:80");
        assert_eq!(config.kafka.brokers, "a:9092,b:9092");
        assert_eq!(config.kafka_producer.queue_bytes_max, 100_000_000);
        assert_eq!(config.consumer.instance.as_deref(), Some("consumer-1"));
        assert_eq!(config.consumer.group, "aguacero-archive");
    }

    #[test]
    fn a_mistake_in_a_variable_names_it() {
        let found = mistakes_with(
            MINIMAL,
            &[
                ("AGUACERO_GATEWAY_WORKERS", "many"),
                ("AGUACERO_KAFKA_MESSAGE_TIMEOUT_MS", "20000"),
            ],
        );
        assert_eq!(
            found,
            [
                "AGUACERO_GATEWAY_WORKERS: must be a whole number, is \"many\"",
                "AGUACERO_KAFKA_MESSAGE_TIMEOUT_MS: must be less than gateway.ack_timeout_ms \
                 (10000), is 20000: the gateway must still be waiting when Kafka's outcome comes",
            ]
        );
    }

    #[test]
    fn a_variable_that_overrides_nothing_is_a_mistake() {
        assert_eq!(
            mistakes_with(MINIMAL, &[("AGUACERO_REDIS_URI", "redis://r/0")]),
            [
                "AGUACERO_REDIS_URI: overrides no key of the file; did you mean \"AGUACERO_REDIS_URL\"?"
            ]
        );
    }

    #[test]
    fn variables_with_another_purpose_are_left_alone() {
        let others = [
            ("AGUACERO_CONFIG", "x"),
            ("AGUACERO_LOG", "debug"),
            ("AGUACERO_CACHE", "/c"),
            ("AGUACERO_GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("AGUACERO_GATEWAY_PORT", "tcp://10.0.0.1:80"),
            (
                "AGUACERO_KAFKA_BOOTSTRAP_PORT_9092_TCP",
                "tcp://10.0.0.1:9092",
            ),
        ];
        parse_with(MINIMAL, &others).expect("they are not ours");
    }

    #[test]
    fn a_password_comes_from_the_environment_only() {
        let uri = "mongodb://user:secret@db:27017";
        let found = mistakes(&with_table(&format!("[mongodb]\nuri = \"{uri}\"")));
        assert!(
            found[0].contains("set AGUACERO_MONGODB_URI instead"),
            "{found:#?}"
        );
        assert!(!found[0].contains("secret"), "{found:#?}");
        let config = parse_with(MINIMAL, &[("AGUACERO_MONGODB_URI", uri)]).expect("valid");
        assert_eq!(config.mongodb.uri, uri);
    }
}

mod stores {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::{config::FilesOf, kafka::client_config};

    const ALL: [FilesOf; 3] = [FilesOf::Kafka, FilesOf::Redis, FilesOf::Mongodb];

    /// A folder with files of each kind, all of them readable by their owner only.
    fn files() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificate = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
        for (name, text) in [
            ("ca", certificate),
            ("certificate", certificate),
            ("key", key),
            ("both", &format!("{key}{certificate}")),
            ("password", "sesame\n"),
            ("nothing", ""),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file in our own folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        }
        folder
    }

    /// The minimal file and `tables`, in which `@` stands for the folder, read by a process that reads `files`.
    fn read(
        files: &[FilesOf],
        folder: &tempfile::TempDir,
        tables: &str,
    ) -> Result<Config, Mistakes> {
        let tables = tables.replace('@', &folder.path().display().to_string());
        Config::parse_for(files, &with_table(&tables), "aguacero.toml", [])
    }

    const SECURE: &str = r#"
        [kafka]
        tls = true
        ca = "@/ca"
        certificate = "@/certificate"
        key = "@/key"
        sasl = "scram-sha-512"
        username = "k"
        password_file = "@/password"
        [redis]
        url = "rediss://r:6379/0"
        ca = "@/ca"
        password_file = "@/password"
        [mongodb]
        tls = true
        ca = "@/ca"
        certificate_key = "@/both"
        username = "m"
        password_file = "@/password"
    "#;

    #[test]
    fn tls_and_passwords_are_read_from_files() {
        let folder = files();
        let config = read(&ALL, &folder, SECURE).unwrap_or_else(|m| panic!("{m}"));
        assert_eq!(config.warnings, [""; 0]);
        let client = client_config(&config.kafka, "test");
        let file = |name: &str| folder.path().join(name).display().to_string();
        for (key, value) in [
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", &*file("ca")),
            ("ssl.certificate.location", &file("certificate")),
            ("ssl.key.location", &file("key")),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "k"),
            ("sasl.password", "sesame"),
        ] {
            assert_eq!(client.get(key), Some(value), "{key}");
        }
        assert_eq!(client.get("enable.ssl.certificate.verification"), None);
        assert_eq!(client.get("ssl.endpoint.identification.algorithm"), None);
        assert_eq!(config.mongodb.auth_source, "admin");
        let shown = format!("{config:?} {client:?} {}", crate::cli::Summary(&config));
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn a_process_need_not_have_the_files_of_a_store_that_it_does_not_use() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        read(&[], &folder, SECURE).unwrap_or_else(|m| panic!("{m}"));
        let found = read(&[FilesOf::Redis], &folder, SECURE).expect_err("there are no files");
        assert_eq!(found.iter().count(), 2, "{found}");
        assert!(
            found.iter().all(|m| m.path.starts_with("redis.")),
            "{found}"
        );
    }

    #[test]
    fn a_path_is_relative_to_the_folder_of_the_configuration() {
        let folder = files();
        let text = with_table(&SECURE.replace("@/", ""));
        let name = folder.path().join("aguacero.toml").display().to_string();
        let config = Config::parse_for(&ALL, &text, &name, []).unwrap_or_else(|m| panic!("{m}"));
        let redis = config.redis.tls.and_then(|tls| tls.ca);
        assert_eq!(redis, Some(folder.path().join("ca")));
    }

    #[test]
    fn every_file_that_is_not_as_it_should_be_is_told_at_once() {
        let tables = SECURE
            .replace("@/certificate", "@/key")
            .replace("key = \"@/key\"", "key = \"@/ca\"")
            .replace("@/both", "@/missing")
            .replacen("@/password", "@/nothing", 1);
        let found = read(&ALL, &files(), &tables)
            .expect_err("there are mistakes")
            .to_string();
        for part in [
            "kafka.certificate: the file ",
            "key has no certificate in it; it must be PEM",
            "kafka.key: the file ",
            "ca has no private key in it; it must be PEM",
            "kafka.password_file: the file ",
            "nothing is empty; write the password into it",
            "mongodb.certificate_key: the file ",
            "missing cannot be read: No such file or directory",
        ] {
            assert!(found.contains(part), "{part:?} is not in\n{found}");
        }
        assert_eq!(found.lines().count(), 4, "{found}");
    }

    #[test]
    fn a_secret_that_everybody_may_read_is_warned_of() {
        let folder = files();
        let password = folder.path().join("password");
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).expect("our own file");
        let config = read(&[FilesOf::Redis], &folder, SECURE).unwrap_or_else(|m| panic!("{m}"));
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
        let warning = &config.warnings[0];
        assert!(
            warning.starts_with("redis.password_file (line "),
            "{warning}"
        );
        assert!(warning.contains("readable by everybody"), "{warning}");
    }

    #[test]
    fn keys_that_anybody_could_read_are_warned_of() {
        let folder = files();
        fs::write(folder.path().join("keys"), "").expect("our own folder");
        for (listen, mode, warnings) in [
            ("127.0.0.1:8080", 0o640, 0),
            ("127.0.0.1:8080", 0o642, 1),
            ("0.0.0.0:8080", 0o640, 1),
            ("[::]:8080", 0o644, 2),
        ] {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path().join("keys"), mode).expect("our own file");
            let table = format!("[gateway]\nlisten = \"{listen}\"\nkeys = \"@/keys\"");
            let config = read(&[FilesOf::Gateway], &folder, &table);
            let config = config.unwrap_or_else(|m| panic!("{m}"));
            assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
        }
    }

    #[test]
    fn a_password_in_the_file_is_refused_and_not_repeated() {
        for table in ["kafka", "redis", "mongodb"] {
            for value in ["\"sesame\"", "5354", "[\"sesame\"]"] {
                let found = mistakes(&with_table(&format!("[{table}]\npassword = {value}")));
                assert_eq!(found.len(), 1, "{found:#?}");
                assert!(found[0].contains("as password_file"), "{found:#?}");
                assert!(
                    !found[0].contains("sesame") && !found[0].contains("5354"),
                    "{found:#?}"
                );
            }
        }
        let variable = [("AGUACERO_KAFKA_PASSWORD", "sesame")];
        let found = mistakes_with(MINIMAL, &variable);
        assert!(
            found[0].contains("AGUACERO_KAFKA_PASSWORD_FILE"),
            "{found:#?}"
        );
        assert!(!found[0].contains("sesame"), "{found:#?}");
    }

    #[test]
    fn the_path_of_a_password_may_come_from_the_environment() {
        let text = with_table("[kafka]\nsasl = \"plain\"\nusername = \"k\"");
        let path = [("AGUACERO_KAFKA_PASSWORD_FILE", "/run/secrets/kafka")];
        let config = parse_with(&text, &path).unwrap_or_else(|m| panic!("{m}"));
        let sasl = config.kafka.sasl.expect("declared");
        assert_eq!(
            sasl.credentials.password_file,
            Path::new("/run/secrets/kafka")
        );
    }

    #[test]
    fn keys_that_go_together_are_missed_alone() {
        for (table, says) in [
            (
                "[kafka]\nca = \"f\"",
                "kafka.ca: does nothing without tls = true",
            ),
            (
                "[redis]\nca = \"f\"",
                "redis.ca: does nothing without TLS: write rediss:// in url",
            ),
            (
                "[mongodb]\ncertificate_key = \"f\"",
                "does nothing without tls = true",
            ),
            (
                "[kafka]\ntls = true\nkey = \"f\"",
                "kafka.key: needs certificate beside it",
            ),
            (
                "[kafka]\nsasl = \"plain\"",
                "kafka.sasl: needs username and password_file",
            ),
            (
                "[kafka]\nsasl = \"gssapi\"",
                "known here: scram-sha-512, scram-sha-256, plain",
            ),
            (
                "[kafka]\nusername = \"k\"\npassword_file = \"f\"",
                "does nothing without sasl",
            ),
            (
                "[redis]\nusername = \"r\"",
                "redis.username: needs password_file beside it",
            ),
            (
                "[mongodb]\npassword_file = \"f\"",
                "mongodb.password_file: needs username beside it",
            ),
        ] {
            mistake_says(&with_table(table), &[says]);
        }
        valid(&with_table("[redis]\npassword_file = \"f\""));
    }

    #[test]
    fn kafka_is_not_told_a_password_in_the_open() {
        let table = |brokers: &str, more: &str| {
            with_table(&format!(
                "[kafka]\nbrokers = \"{brokers}\"\nusername = \"k\"\npassword_file = \"f\"\n{more}"
            ))
        };
        let plain = "sasl = \"plain\"";
        mistake_says(
            &table("127.0.0.1:9092,k:9092", plain),
            &["kafka.sasl: would send the password readable to everybody on the way"],
        );
        valid(&table("127.0.0.1:9092, localhost:9093,[::1]:1", plain));
        valid(&table("k:9092", &format!("{plain}\ntls = true")));
        valid(&table("k:9092", "sasl = \"scram-sha-256\""));
    }

    #[test]
    fn redis_is_told_a_password_in_the_open_with_a_warning() {
        let with = |url: &str| {
            let text = with_table(&format!("[redis]\nurl = \"{url}\"\npassword_file = \"f\""));
            valid(&text).warnings
        };
        assert_eq!(with("redis://r:6379/0").len(), 1);
        assert_eq!(with("redis://127.0.0.1:6379/0"), [""; 0]);
        assert_eq!(with("rediss://r:6379/0"), [""; 0]);
    }

    #[test]
    fn nobody_may_ask_that_certificates_are_believed_unseen() {
        for table in [
            "[redis]\nurl = \"rediss://r:6379/0#insecure\"",
            "[mongodb]\nuri = \"mongodb://m:1/?tls=true&tlsInsecure=true\"",
            "[mongodb]\nuri = \"mongodb://m:1/?tlsAllowInvalidCertificates=true\"",
        ] {
            mistake_says(&with_table(table), &["believed unseen"]);
        }
    }

    #[test]
    fn a_password_from_the_environment_is_not_shown_by_debug() {
        let variables = [
            ("AGUACERO_REDIS_URL", "redis://:sesame@r:6379/0"),
            ("AGUACERO_MONGODB_URI", "mongodb://me:sesame@m:27017"),
        ];
        let config = parse_with(MINIMAL, &variables).expect("valid");
        let shown = format!("{config:?}");
        assert!(!shown.contains("sesame"), "{shown}");
        assert!(
            config.mongodb.uri.contains("sesame"),
            "it is used all the same"
        );

        let text = with_table("[redis]\npassword_file = \"f\"");
        let found = mistakes_with(&text, &variables);
        assert!(found[0].contains("one password too many"), "{found:#?}");
        assert!(!found[0].contains("sesame"), "{found:#?}");
    }
}

mod relations {
    use super::*;

    #[test]
    fn deadlines_must_nest() {
        only_mistake(
            &with_table("[kafka]\nmessage_timeout_ms = 10000"),
            "aguacero.toml:14:22: kafka.message_timeout_ms: must be less than \
             gateway.ack_timeout_ms (10000), is 10000: the gateway must still be waiting when \
             Kafka's outcome comes",
        );
        mistake_says(
            &with_table("[gateway]\nrequest_timeout_ms = 9000"),
            &["gateway.request_timeout_ms: must be more than gateway.ack_timeout_ms (10000)"],
        );
        valid(&with_table("[kafka]\nmessage_timeout_ms = 9999"));
        only_mistake(
            &with_table("[gateway]\npartition_slow_ms = 10001"),
            "aguacero.toml:14:21: gateway.partition_slow_ms: must be at most gateway.ack_timeout_ms \
             (10000), is 10001: no receipt is waited for longer, so no partition would ever be slow",
        );
        only_mistake(
            &with_table("[gateway]\ndrain_timeout_ms = 9999"),
            "aguacero.toml:14:20: gateway.drain_timeout_ms: must be at least gateway.ack_timeout_ms \
             (10000), is 9999: what is on its way at SIGTERM must still get its answer",
        );
        valid(&with_table(
            "[gateway]\npartition_slow_ms = 10000\ndrain_timeout_ms = 10000",
        ));
        // What is not declared gives way.
        let short = "[kafka]\nmessage_timeout_ms = 300\n[gateway]\nack_timeout_ms = 400";
        let long = "[gateway]\nack_timeout_ms = 30000\nrequest_timeout_ms = 40000";
        let gateway = |table: &str| valid(&with_table(table)).gateway;
        assert_eq!(gateway(short).partition_slow.as_millis(), 400);
        assert_eq!(gateway(long).drain_timeout.as_millis(), 30_000);
    }

    #[test]
    fn a_string_fits_into_an_event() {
        let field =
            |keys: &str, table: &str| format!("{}\n{table}", edited("required = true", keys));
        let small = "[gateway]\nevent_bytes_max = 1000";
        mistake_says(
            &field("min_bytes = 1001", small),
            &["fields[0].min_bytes: must be at most gateway.event_bytes_max (1000), is 1001"],
        );
        valid(&field("min_bytes = 1000", small));
        let two = "required = true, min_bytes = 600 },\n  \
                   { name = \"city\", type = \"string\", required = true, min_bytes = 600";
        mistake_says(
            &field(two, small),
            &["fields[1].min_bytes: makes it 1200 bytes that each event must have"],
        );
        valid(&field(
            &two.replacen("required = true", "required = false", 1),
            small,
        ));
    }

    #[test]
    fn proxies_that_are_everybody_are_refused() {
        for everybody in [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8, 0.0.0.0/0",
            "0.0.0.0/1, 128.0.0.0/1",
            "128.0.0.0/2, 0.0.0.0/1, 192.0.0.0/2",
            "::/1, 8000::/1",
            "2000::/3",
            "203.0.113.7/0",
        ] {
            mistake_says(
                &with_table(&format!("[gateway]\nproxies = \"{everybody}\"")),
                &[
                    ":14:11: gateway.proxies: trusts ",
                    "load balancers, like 10.0.0.0/8",
                ],
            );
        }
        let networks = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, 2001:db8::/32";
        valid(&with_table(&format!("[gateway]\nproxies = \"{networks}\"")));
    }

    #[test]
    fn mistakes_between_keys_are_told_together_each_with_its_line() {
        let text = with_table(
            "[gateway]\npartition_slow_ms = 20000\ndrain_timeout_ms = 1\nproxies = \"::/0\"\nbody_bytes_max = 268435456",
        );
        let text = text
            .replace("/input", "/<input>")
            .replace("required = true", "min_bytes = 999999");
        let mut lines: Vec<_> = mistakes(&text)
            .iter()
            .filter_map(|m| m.split(':').nth(1)?.parse::<u32>().ok())
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, [7, 11, 14, 15, 16, 17], "{:#?}", mistakes(&text));
    }

    #[test]
    fn what_is_in_flight_fits_into_the_producers_queue() {
        mistake_says(
            &with_table("[gateway]\nbytes_in_flight_max = 268435456"),
            &[
                "gateway.bytes_in_flight_max: kafka_producer.queue_bytes_max (268435456) must be more than",
                "together (276824064)",
            ],
        );
        mistake_says(
            &with_table("[gateway]\nbody_bytes_max = 201326592"),
            &[
                "gateway.body_bytes_max: kafka_producer.queue_bytes_max (268435456) must be more than",
            ],
        );
        valid(&with_table("[gateway]\nbody_bytes_max = 201326591"));
        valid(&with_table("[gateway]\nworkers = 1024"));
        mistake_says(
            &with_table("[gateway]\npartition_bytes_in_flight_max = 67108865"),
            &["must be at most gateway.bytes_in_flight_max (67108864)"],
        );
    }

    #[test]
    fn the_largest_event_fits_everywhere() {
        mistake_says(
            &with_table("[gateway]\nevent_bytes_max = 1000001"),
            &["1000000"],
        );
        mistake_says(
            &with_table("[gateway]\nbody_bytes_max = 1000"),
            &["must be at least gateway.event_bytes_max (921600), is 1000"],
        );
        mistake_says(
            &with_table("[consumer]\nbatch_bytes_max = 1000"),
            &["must be at least gateway.event_bytes_max"],
        );
    }

    #[test]
    fn processes_listen_in_different_places() {
        mistake_says(
            &with_table("[consumer]\nadmin = \"0.0.0.0:9180\""),
            &["consumer.admin: must differ from gateway.admin, which is 0.0.0.0:9180 too"],
        );
        mistake_says(
            &with_table("[kafka_producer]\nsocket = \"/tmp/aguacero/redis-writer.sock\""),
            &["kafka_producer.socket: must differ from redis_writer.socket"],
        );
        valid(&with_table(
            "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
             [consumer]\nadmin = \"127.0.0.1:0\"",
        ));
    }

    #[test]
    fn a_relation_is_not_judged_on_a_value_that_is_wrong_itself() {
        let text = "[gateway]\nack_timeout_ms = \"no\"\nrequest_timeout_ms = 9000";
        mistake_says(
            &with_table(text),
            &["ack_timeout_ms: must be a whole number"],
        );
    }

    #[test]
    fn dead_letters_have_a_collection_of_their_own() {
        mistake_says(
            &with_key("archive = \"dead_letters\""),
            &["streams.weather.archive: must differ from mongodb.dead_letters"],
        );
    }
}

mod processes {
    use super::*;

    #[test]
    fn addresses_and_names_of_services_are_checked() {
        let wrong = [
            ("[kafka]\nbrokers = \"a:9092,b\"", "\"b\" is not one"),
            ("[redis]\nurl = \"localhost\"", "redis://host:port/db"),
            (
                "[redis]\nurl = \"rediss://r/0#insecure\"",
                "believed unseen",
            ),
            ("[mongodb]\nuri = \"localhost\"", "mongodb://host:port"),
            ("[mongodb]\ndatabase = \"a.b\"", "1 to 63 bytes"),
            ("[mongodb]\ndead_letters = \"a$\"", "\"$\""),
            (
                "[kafka_producer]\ncompression = \"zst\"",
                "did you mean \"zstd\"?",
            ),
            ("[consumer]\ngroup = \"\"", "1 to 255 bytes"),
            ("[consumer]\ninstance = \"a b\"", "1 to 249"),
        ];
        for (table, part) in wrong {
            mistake_says(&with_table(table), &[part]);
        }
    }

    #[test]
    fn a_socket_path_fits_into_a_socket_address() {
        let path = |length: usize| format!("/{}", "s".repeat(length - 1));
        let table = |length| with_table(&format!("[redis_writer]\nsocket = \"{}\"", path(length)));
        valid(&table(100));
        mistake_says(&table(101), &["1 to 100 bytes", "has 101"]);
    }
}

mod topics {
    use super::*;

    fn with_topic(name: &str, keys: &str) -> String {
        with_table(&format!("[topics.{name}]\n{keys}"))
    }

    #[test]
    fn a_topic_needs_partitions_and_a_legal_name() {
        mistake_says(
            &with_topic("a", ""),
            &["topics.a.partitions: is missing; write partitions = 1"],
        );
        mistake_says(
            &with_topic("\"a b\"", "partitions = 1"),
            &["topics.\"a b\": must be 1 to 249"],
        );
        mistake_says(
            &with_table("[topics.\"a.b\"]\npartitions = 1\n[topics.a_b]\npartitions = 1"),
            &["topics.a_b", "the same as a.b"],
        );
        mistake_says(
            &with_topic("a", "partitions = 1\nmin_insync = 2"),
            &["at most replication (1)"],
        );
    }

    #[test]
    fn reserved_partitions_exist_once_and_leave_one() {
        mistake_says(
            &with_topic("a", "partitions = 2\nreserved = { x = 2 }"),
            &["topics.a.reserved.x: must be the number of a partition, 0 to 1, is 2"],
        );
        mistake_says(
            &with_topic("a", "partitions = 3\nreserved = { x = 1, y = 1 }"),
            &["reserved.y: partition 1 is already \"x\""],
        );
        mistake_says(
            &with_topic("a", "partitions = 2\nreserved = { x = 1, y = 0 }"),
            &["topics.a.reserved: leaves no partition for ordinary events"],
        );
    }
}

mod streams {
    use super::*;

    #[test]
    fn a_stream_needs_a_declared_topic_and_a_route_of_its_own() {
        mistake_says(
            &edited("topic = \"messages\"", ""),
            &["streams.weather.topic: is missing"],
        );
        mistake_says(
            &edited("topic = \"messages\"", "topic = \"x\""),
            &["write [topics.x]"],
        );
        let twice = "[[streams.weather.routes]]\npath = \"/input\"";
        mistake_says(
            &with_table(twice),
            &["routes[1].path", "already a route (line 11)"],
        );
        for path in ["input", "/a?b", "/país", "/a b"] {
            mistake_says(
                &edited("/input", path),
                &["streams.weather.routes[0].path: must be"],
            );
        }
        for (sign, encoded) in [
            ('<', "%3C"),
            ('>', "%3E"),
            ('`', "%60"),
            ('{', "%7B"),
            ('|', "%7C"),
            ('^', "%5E"),
            ('[', "%5B"),
        ] {
            let says = format!("no request's path has \"{sign}\" (RFC 3986); write {encoded}");
            mistake_says(&edited("/input", &format!("/a{sign}b")), &[&says]);
        }
        for path in ["/a%", "/a%2", "/%zz"] {
            mistake_says(&edited("/input", path), &["two hexadecimal digits"]);
        }
        for path in ["/a/../b", "/./a", "/a/.."] {
            mistake_says(&edited("/input", path), &["which clients take out"]);
        }
        for path in ["/", "/a-._~b/!$&'()*+,;=:@%3C", "/a/...", "//"] {
            valid(&edited("/input", path));
        }
    }

    #[test]
    fn a_route_goes_by_a_transport_that_exists() {
        mistake_says(
            &edited("path = \"/input\"", "path = \"/input\"\nvia = \"wasi\""),
            &["there is no transport \"wasi\"; did you mean \"wasm\"?"],
        );
    }

    #[test]
    fn names_are_legal() {
        mistake_says(
            &MINIMAL.replace("streams.weather", "streams.Weather"),
            &["64 of a-z"],
        );
        mistake_says(
            &with_key("archive = \"system.x\""),
            &["streams.weather.archive", "system."],
        );
        for name in ["total", "overflow", "meta", "watermark_x", "pending:"] {
            mistake_says(&edited("by_country", name), &["counters[0].name"]);
        }
        for name in ["_id", "_aguacero", "", "a.b", "$a"] {
            mistake_says(
                &edited("[\"pais\"]", &format!("[\"{name}\"]")),
                &["aliases[0]"],
            );
        }
    }

    #[test]
    fn fields_are_found_by_their_aliases() {
        let config = valid(&with_key("key = \"pais\"\nid = \"país\""));
        assert!(matches!(
            config.streams[0].spread.otherwise,
            Partitioning::Key(0)
        ));
        assert_eq!(config.streams[0].id, Some(0));
    }

    #[test]
    fn a_name_means_one_field() {
        mistake_says(
            &edited(
                "required = true }",
                "required = true }, { name = \"pais\" }",
            ),
            &["fields[1].name: \"pais\" already names a field of this stream (line 7)"],
        );
    }

    #[test]
    fn a_string_that_names_an_event_has_a_bound_of_its_own() {
        let id = |keys: &str| with_key("id = \"país\"").replace("required = true", keys);
        let max = |text: &str| valid(text).streams[0].fields[0].max_bytes;
        assert_eq!(max(&id("required = true")), 512);
        assert_eq!(max(&id("max_bytes = 100")), 100);
        mistake_says(
            &id("max_bytes = 513"),
            &["fields[0].max_bytes: must be at most 512, as the field names the event, is 513"],
        );
        mistake_says(
            &id("min_bytes = 513"),
            &["fields[0].min_bytes: must be at most 512, as the field names the event, is 513"],
        );
    }

    #[test]
    fn keys_ids_and_counters_are_plain_values() {
        for wrong in [
            "\"object\"",
            "[\"string\", \"array\"]",
            "\"coordinates\"",
            "[]",
        ] {
            mistake_says(
                &edited("type = \"string\"", &format!("type = {wrong}")),
                &[
                    "counters[0].by[0]",
                    "type string, integer, number or boolean",
                ],
            );
        }
        mistake_says(
            &with_key("key = \"x\""),
            &["streams.weather.key: no field of this stream"],
        );
        mistake_says(
            &with_key("id = \"x\""),
            &["streams.weather.id: no field of this stream"],
        );
    }

    #[test]
    fn bounds_go_with_the_type_and_in_order() {
        let field = |keys: &str| edited("required = true", keys);
        mistake_says(
            &field("min = 1"),
            &["fields[0].min: bounds a field of type integer or number"],
        );
        mistake_says(
            &field("min_bytes = 3, max_bytes = 2"),
            &["max_bytes: must be at least min_bytes"],
        );
        mistake_says(
            &field("values = [\"a\", 1]"),
            &["values[1]: the field is never this"],
        );
        mistake_says(
            &field("values = [\"a\", \"a\"]"),
            &["values[1]: is listed twice"],
        );
        mistake_says(
            &field("max_bytes = 3, values = [\"abc\", \"abcd\"]"),
            &["fields[0].values: lists \"abcd\", which the bounds"],
        );
        let number = |keys: &str| field(keys).replace("\"string\"", "\"number\"");
        mistake_says(
            &number("max = 3, values = [1, 3.5]"),
            &["fields[0].values: lists \"3.5\", which the bounds"],
        );
        mistake_says(
            &number("min = 2, max = 1.5"),
            &["max: must be at least min (2), is 1.5"],
        );
        mistake_says(
            &number("max_bytes = 3"),
            &["max_bytes: bounds a field of type string"],
        );
        valid(&number("min = 0, max = 1.5"));
    }

    #[test]
    fn a_stream_spreads_in_one_way() {
        mistake_says(&with_key("spread = \"round\""), &["must be \"sticky\""]);
        mistake_says(
            &with_key("spread = \"sticky\"\nkey = \"país\""),
            &["does not go with key"],
        );
        valid(&with_key("spread = \"sticky\""));
    }

    #[test]
    fn rules_lead_to_reserved_partitions() {
        let rules = |rules: &str| {
            with_key(&format!("rules = [{rules}]"))
                .replace("partitions = 6", "partitions = 6\nreserved = { own = 4 }")
        };
        let config = valid(&rules(
            "{ when = { field = \"pais\", is = [\"Chile\"] }, partition = \"own\" }",
        ));
        assert_eq!(config.streams[0].spread.rules[0].partition, 4);
        assert_eq!(config.topics[0].ordinary, [0, 1, 2, 3, 5]);
        mistake_says(
            &rules("{ partition = \"owm\" }"),
            &["did you mean \"own\"?"],
        );
        mistake_says(
            &rules("{ when = { field = \"pais\" }, partition = \"own\" }"),
            &["when.is"],
        );
        mistake_says(
            &rules("{ when = { field = \"pais\", is = [true] }, partition = \"own\" }"),
            &["rules[0].when.is[0]: the field is never this"],
        );
        mistake_says(
            &rules("{ partition = \"own\" }, { partition = \"own\" }"),
            &["rules[1]: is never reached"],
        );
    }

    #[test]
    fn counters_are_bounded() {
        let counter = |keys: &str| edited("by = [\"país\"]", keys);
        mistake_says(
            &counter("by = [\"país\"], max_distinct = 0"),
            &["must be between 1 and"],
        );
        mistake_says(&counter("by = []"), &["by: needs at least one field"]);
        mistake_says(
            &counter("by = [\"país\", \"pais\"]"),
            &["by[1]: is listed twice"],
        );
        mistake_says(
            &counter("by = [\"país\"], max_distinct = 1, values = [\"a\", \"b\"]"),
            &["lists 2 values, more than max_distinct (1)"],
        );
        mistake_says(
            &edited(
                "by = [\"país\"] }",
                "by = [\"país\"] }, { name = \"by_country\", by = [\"país\"] }",
            ),
            &["already has a counter \"by_country\""],
        );
    }

    #[test]
    fn what_becomes_of_another_event_under_an_id_can_be_declared() {
        let of = |line: &str| valid(&with_key(line)).streams[0].on_id_conflict;
        assert_eq!(of(""), OnIdConflict::DeadLetter);
        assert_eq!(
            of("on_id_conflict = \"dead-letter\""),
            OnIdConflict::DeadLetter
        );
        assert_eq!(of("on_id_conflict = \"first\""), OnIdConflict::First);
        for wrong in ["last", "First", ""] {
            mistake_says(
                &with_key(&format!("on_id_conflict = \"{wrong}\"")),
                &["streams.weather.on_id_conflict", "first"],
            );
        }
    }
}

mod fingerprints {
    use super::*;

    fn of(text: &str) -> (u64, u64) {
        let config = valid(text);
        (config.fingerprint, config.streams[0].counters_fingerprint)
    }

    /// If this fails, running processes and filled Redises would no longer be recognised.
    #[test]
    fn they_are_the_same_in_every_release() {
        assert_eq!(of(MINIMAL), (1966330269138096925, 13338889762930317048));
    }

    #[test]
    fn they_change_when_the_definition_does() {
        let (config, counters) = of(MINIMAL);
        let edits = [
            ("partitions = 6", "partitions = 7"),
            ("required = true", "required = false"),
            ("\"pais\"", "\"paiz\""),
            ("/input", "/other"),
            ("type = \"string\"", "type = \"string\", max_bytes = 8"),
        ];
        for (from, to) in edits {
            let (other, same) = of(&edited(from, to));
            assert_ne!(other, config, "{to}");
            assert_eq!(same, counters, "{to}");
        }
        let counter_edits = [
            ("by_country", "by_place"),
            ("by = [\"país\"]", "by = [\"país\"], max_distinct = 5"),
            ("by = [\"país\"]", "by = [\"país\"], values = [\"Chile\"]"),
        ];
        for (from, to) in counter_edits {
            let (other, others) = of(&edited(from, to));
            assert_ne!(other, config, "{to}");
            assert_ne!(others, counters, "{to}");
        }
    }

    #[test]
    fn they_stay_when_only_the_writing_or_a_process_changes() {
        let same = [
            format!("# a comment\n{MINIMAL}"),
            edited("by = [\"país\"]", "by = [\"pais\"], max_distinct = 10_000"),
            edited(
                "topic = \"messages\"",
                "archive = \"weather\"\ntopic = \"messages\"",
            ),
            with_table("[gateway]\nevent_bytes_max = 5000\nlisten = \"127.0.0.1:1\""),
        ];
        for text in same {
            assert_eq!(of(&text), of(MINIMAL), "{text}");
        }
    }
}

mod access {
    use super::*;
    use crate::config::Access;

    fn access(text: &str) -> Access {
        valid(text).streams[0].access
    }

    #[test]
    fn a_stream_takes_keys_if_there_are_any_unless_it_says_that_it_is_open() {
        let keys = "[gateway]\nkeys = \"keys.toml\"";
        assert_eq!(access(MINIMAL), Access::Open);
        assert_eq!(access(&with_table(keys)), Access::Keys);
        let open = with_key("access = \"open\"");
        assert_eq!(access(&format!("{open}\n{keys}\n")), Access::Open);
        let variable = [("AGUACERO_GATEWAY_KEYS", "/run/keys.toml")];
        let config = parse_with(MINIMAL, &variable).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.streams[0].access, Access::Keys);
        assert_eq!(
            config.gateway.keys.as_deref(),
            Some(Path::new("/run/keys.toml"))
        );
    }

    #[test]
    fn keys_without_a_file_of_keys_are_a_mistake() {
        mistake_says(
            &with_key("access = \"keys\""),
            &[
                "aguacero.toml:7:",
                "streams.weather.access",
                "keys = \"keys.toml\" under [gateway]",
            ],
        );
        mistake_says(
            &with_key("access = \"opem\""),
            &["there is no access \"opem\"; did you mean \"open\"?"],
        );
    }

    #[test]
    fn who_may_write_is_no_part_of_the_fingerprint() {
        let plain = valid(MINIMAL).fingerprint;
        let keys = with_table("[gateway]\nkeys = \"keys.toml\"");
        let cors = with_key("cors = { origins = [\"https://a.example\"] }");
        assert_eq!(
            (valid(&keys).fingerprint, valid(&cors).fingerprint),
            (plain, plain)
        );
    }
}

mod cors {
    use super::*;

    fn with_origins(origins: &str) -> String {
        with_key(&format!("cors = {{ origins = [{origins}] }}"))
    }

    #[test]
    fn origins_are_taken_as_a_browser_sends_them() {
        for good in [
            "\"*\"",
            "\"https://a.example\", \"http://localhost:3000\"",
            "\"http://[::1]:8080\"",
            "\"capacitor://localhost\"",
        ] {
            let config = valid(&with_origins(good));
            let cors = config.streams[0].cors.as_ref().expect("declared");
            assert_eq!(cors.is_any(), good.contains('*'));
            assert_eq!(cors.max_age, Duration::from_secs(600));
        }
    }

    #[test]
    fn an_origin_that_would_never_match_is_a_mistake() {
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/",
            "https://A.example",
            "https://a.example/page",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:x",
            "https://a.example:",
            "https://user@a.example",
            "https://*.a.example",
            "https://[::g]",
            "null",
            "",
        ] {
            mistake_says(
                &with_origins(&format!("\"{wrong}\"")),
                &["streams.weather.cors.origins[0]"],
            );
        }
        mistake_says(
            &with_origins("\"https://a.example\", \"*\""),
            &["origins[1]", "list it alone"],
        );
        mistake_says(&with_origins(""), &["needs at least one"]);
    }

    #[test]
    fn fields_that_a_page_may_send_are_any_unless_they_are_listed() {
        let headers = |more: &str| {
            let cors = format!("cors = {{ origins = [\"*\"]{more} }}");
            valid(&with_key(&cors)).streams[0]
                .cors
                .clone()
                .expect("declared")
                .headers
        };
        assert_eq!(headers(""), None);
        assert_eq!(headers(", headers = []"), Some(vec![]));
        assert_eq!(
            headers(", headers = [\"X-Page\"]"),
            Some(vec!["x-page".to_owned()])
        );
        for wrong in ["", "a b", "a,b", "año"] {
            let cors = format!("cors = {{ origins = [\"*\"], headers = [\"{wrong}\"] }}");
            mistake_says(&with_key(&cors), &["streams.weather.cors.headers[0]"]);
        }
    }

    #[test]
    fn what_text_plain_holds_has_to_be_said() {
        let held = |line: &str| valid(&with_key(line)).streams[0].text_plain;
        assert_eq!(held(""), None);
        assert_eq!(held("text_plain = \"json\""), Some(TextPlain::Json));
        assert_eq!(held("text_plain = \"ndjson\""), Some(TextPlain::Ndjson));
        mistake_says(
            &with_key("text_plain = \"csv\""),
            &["streams.weather.text_plain"],
        );
    }
}

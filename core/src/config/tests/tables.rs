//! `[postgres]`, `[tables]` and `[streams.NAME.table]`.

use super::*;
use crate::config::{ColumnValue, FilesOf, OnConflict, SqlTable};

/// A stream with fields of every type.
const TYPED: &str = r#"
[topics.ventas]
partitions = 2

[streams.ventas]
topic = "ventas"
fields = [
  { name = "Cliente", aliases = ["cliente"], type = "string", required = true },
  { name = "cantidad", type = "integer" },
  { name = "precio", type = "number" },
  { name = "premium", type = "boolean" },
  { name = "ubicación", type = "coordinates" },
  { name = "detalle", type = "object" },
  { name = "lista", type = "array" },
  { name = "todo" },
  { name = "hora", type = ["string", "integer"] },
  { name = "medida", type = ["integer", "number"] },
  { name = "cosas", type = ["array", "object"] },
]

[[streams.ventas.routes]]
path = "/ventas"
"#;

/// That stream with a table of these lines.
fn with_lines(lines: &str) -> String {
    format!("{TYPED}\n[streams.ventas.table]\n{lines}\n")
}

/// That stream with a table of these columns.
fn with_columns(columns: &str) -> String {
    with_lines(&format!("columns = [{columns}]"))
}

fn table_of(text: &str) -> SqlTable {
    let table = valid(text).streams[0].table.clone();
    table.expect("declared")
}

/// What is said of the table of these lines.
#[track_caller]
fn table_mistake_says(lines: &str, parts: &[&str]) {
    mistake_says(&with_lines(lines), parts);
}

const ID: &str = r#"{ name = "id", value = "id" }"#;

mod of_a_stream {
    use super::*;

    #[test]
    fn a_stream_has_none_unless_it_declares_one() {
        assert_eq!(valid(TYPED).streams[0].table, None);
    }

    #[test]
    fn it_is_called_as_the_stream_and_takes_new_keys_only() {
        let table = table_of(&with_columns(ID));
        assert_eq!(table.name.to_string(), "\"public\".\"ventas\"");
        assert_eq!(table.primary_key, [0; 0]);
        assert_eq!(table.on_conflict, OnConflict::Insert);
    }

    #[test]
    fn a_name_may_have_a_schema() {
        let named = |name: &str| {
            let lines = format!("name = \"{name}\"\ncolumns = [{ID}]");
            table_of(&with_lines(&lines)).name
        };
        let name = named("gremio.ventas");
        assert_eq!((&*name.schema, &*name.name), ("gremio", "ventas"));
        assert_eq!(name.to_string(), "\"gremio\".\"ventas\"");
        assert_eq!(named("año_2026").to_string(), "\"public\".\"año_2026\"");
    }

    #[test]
    fn a_column_has_the_type_that_holds_what_the_field_can_have() {
        let fields = [
            ("Cliente", "text"),
            ("cantidad", "bigint"),
            ("precio", "double precision"),
            ("premium", "boolean"),
            ("ubicación", "point"),
            ("detalle", "jsonb"),
            ("lista", "jsonb"),
            ("todo", "jsonb"),
            ("hora", "text"),
            ("medida", "double precision"),
            ("cosas", "jsonb"),
        ];
        let columns = fields.iter().enumerate();
        let columns: Vec<_> = columns
            .map(|(i, (field, _))| format!("{{ name = \"c{i}\", field = \"{field}\" }}"))
            .collect();
        let table = table_of(&with_columns(&columns.join(",")));
        for (i, (column, (field, sql_type))) in table.columns.iter().zip(fields).enumerate() {
            assert_eq!(column.sql_type, sql_type, "{field}");
            assert_eq!(column.value, ColumnValue::Field(i), "{field}");
            assert_eq!(column.not_null, field == "Cliente", "{field}");
        }
        let table = table_of(&with_columns(
            r#"{ name = "c", field = "cliente" }, { name = "d", field = "Cliente", type = "varchar(128)", not_null = false }"#,
        ));
        assert_eq!(table.columns[0].value, ColumnValue::Field(0), "by an alias");
        assert_eq!(table.columns[1].sql_type, "varchar(128)");
        assert!(!table.columns[1].not_null);
    }

    #[test]
    fn what_is_known_beside_the_fields_has_types_of_its_own() {
        for (name, value, sql_type) in [
            ("id", ColumnValue::Id, "uuid"),
            ("arrival", ColumnValue::Arrival, "timestamptz"),
            ("topic", ColumnValue::Topic, "text"),
            ("partition", ColumnValue::Partition, "integer"),
            ("offset", ColumnValue::Offset, "bigint"),
        ] {
            let column = format!("{{ name = \"c\", value = \"{name}\" }}");
            let column = table_of(&with_columns(&column)).columns[0].clone();
            assert_eq!((column.value, &*column.sql_type), (value, sql_type));
            assert!(column.not_null, "{name}");
        }
    }

    #[test]
    fn a_key_and_what_a_row_that_is_there_means() {
        let columns = r#"columns = [{ name = "cliente", field = "Cliente" }, { name = "visto", value = "arrival" }]"#;
        for (word, on_conflict) in [
            ("insert", OnConflict::Insert),
            ("update", OnConflict::Update),
            ("ignore", OnConflict::Ignore),
        ] {
            let key = r#"primary_key = ["visto", "cliente"]"#;
            let lines = format!("{columns}\n{key}\non_conflict = \"{word}\"");
            let table = table_of(&with_lines(&lines));
            assert_eq!(table.on_conflict, on_conflict);
            assert_eq!(table.primary_key, [1, 0]);
        }
    }

    #[test]
    fn names_are_such_as_postgresql_takes() {
        for name in [
            "Ventas", "", "1a", "a b", "a-b", "a\\\"b", "a.b.c", "a.", ".a", "ÑANDÚ",
        ] {
            let lines = format!("name = \"{name}\"\ncolumns = [{ID}]");
            table_mistake_says(
                &lines,
                &["streams.ventas.table.name: must be 1 to 63 bytes of"],
            );
        }
        let long = format!("name = \"{}\"\ncolumns = [{ID}]", "a".repeat(64));
        table_mistake_says(&long, &["1 to 63 bytes"]);
        let ours = format!("name = \"aguacero.ventas\"\ncolumns = [{ID}]");
        let says = "the schema aguacero holds what this program needs; choose another";
        table_mistake_says(&ours, &["streams.ventas.table.name: ", says]);
        for name in ["Id", "", "offset no"] {
            let column = format!("columns = [{{ name = \"{name}\", value = \"id\" }}]");
            table_mistake_says(
                &column,
                &["table.columns[0].name: must be 1 to 63 bytes of"],
            );
        }
    }

    #[test]
    fn two_streams_do_not_share_a_table() {
        let second = TYPED.split_once("[streams.ventas]").expect("a stream").1;
        let second = second
            .replace("streams.ventas", "streams.otras")
            .replace("/ventas", "/otras");
        let one = with_lines(&format!("name = \"a\"\ncolumns = [{ID}]"));
        let text = |name: &str| {
            format!(
                "{one}\n[streams.otras]{second}\n[streams.otras.table]\nname = \"{name}\"\ncolumns = [{ID}]\n"
            )
        };
        for again in ["a", "public.a"] {
            let says = format!(
                "streams.otras.table.name: another stream has the table \"{again}\" (line "
            );
            mistake_says(&text(again), &[&says, "; choose another"]);
        }
        valid(&text("b.a"));
    }

    #[test]
    fn it_has_columns_each_once_of_something() {
        let needs = "streams.ventas.table.columns: needs at least one; write columns = [{ name = \"id\", value = \"id\" }]";
        table_mistake_says("", &[needs]);
        table_mistake_says("columns = []", &[needs]);
        let columns = |text: &str| format!("columns = [{text}]");
        let twice = columns(&format!("{ID}, {ID}"));
        table_mistake_says(
            &twice,
            &["table.columns[1].name: this table already has a column \"id\""],
        );
        for both_or_none in ["", r#", field = "Cliente", value = "id""#] {
            let lines = columns(&format!("{{ name = \"c\"{both_or_none} }}, {ID}"));
            let says = "needs a field, or else a value, which may be id, arrival, topic, partition, offset";
            table_mistake_says(&lines, &["table.columns[0]: ", says]);
        }
        let nameless = columns(&format!("{{ value = \"id\" }}, {ID}"));
        table_mistake_says(&nameless, &["table.columns[0].name: is missing"]);
    }

    #[test]
    fn a_column_holds_what_there_is() {
        let of = |what: &str| format!("columns = [{{ name = \"c\", {what} }}, {ID}]");
        table_mistake_says(
            &of("field = \"Clinte\""),
            &[
                "columns[0].field: no field of this stream is called \"Clinte\"; did you mean \"Cliente\"?",
            ],
        );
        table_mistake_says(
            &of("value = \"arival\""),
            &["columns[0].value: there is no \"arival\"; did you mean \"arrival\"?"],
        );
        table_mistake_says(
            &of("value = \"hash of it\""),
            &["known here: id, arrival, topic, partition, offset"],
        );
        table_mistake_says(
            &of("value = \"id\", tipe = \"x\""),
            &["did you mean \"type\"?"],
        );
    }

    #[test]
    fn a_type_is_words_and_bounds_alone() {
        let of = |sql_type: &str| {
            format!("columns = [{{ name = \"c\", field = \"Cliente\", type = \"{sql_type}\" }}]")
        };
        for sql_type in [
            "varchar(128)",
            "numeric(12, 2)",
            "timestamp with time zone",
            "text[]",
            "gremio.rut",
        ] {
            assert_eq!(
                table_of(&with_lines(&of(sql_type))).columns[0].sql_type,
                sql_type
            );
        }
        for sql_type in [
            "text; DROP TABLE ventas",
            "text DEFAULT 'x'",
            "text -- no",
            "(text)",
            "\\\"text\\\"",
            "text\\nNULL",
        ] {
            let says = "columns[0].type: must be a type of PostgreSQL's, like text, varchar(128) or numeric(12, 2)";
            table_mistake_says(&of(sql_type), &[says]);
        }
    }

    #[test]
    fn a_key_is_made_of_columns() {
        let key = |key: &str| format!("columns = [{ID}]\nprimary_key = [{key}]");
        table_mistake_says(
            &key("\"idd\""),
            &["primary_key[0]: there is no column \"idd\"; did you mean \"id\"?"],
        );
        table_mistake_says(&key("\"id\", \"id\""), &["primary_key[1]: is listed twice"]);
    }

    #[test]
    fn a_row_that_is_there_is_found_by_a_key_and_replaced_by_arrival() {
        let lines = |word: &str| format!("columns = [{ID}]\non_conflict = \"{word}\"");
        let key = "\nprimary_key = [\"id\"]";
        let needs_key =
            "table.on_conflict: needs a primary_key, by which a row is found that is there";
        table_mistake_says(&lines("ignore"), &[needs_key]);
        let needs_arrival = "table.on_conflict: needs a column with value = \"arrival\", by which the later of two events is known";
        table_mistake_says(&(lines("update") + key), &[needs_arrival]);
        table_mistake_says(
            &(lines("upsert") + key),
            &["table.on_conflict: cannot be \"upsert\"; "],
        );
        table_mistake_says(
            &(lines("updat") + key),
            &["table.on_conflict: cannot be \"updat\"; did you mean \"update\"?"],
        );
    }
}

mod of_the_server {
    use super::*;

    #[test]
    fn it_is_on_this_machine_unless_the_file_or_the_environment_says_otherwise() {
        let config = valid(MINIMAL);
        assert_eq!(config.postgres.url, "postgres://127.0.0.1:5432/aguacero");
        assert!(config.postgres.tls.is_none() && config.postgres.credentials.is_none());
        let variable = [("AGUACERO_POSTGRES_URL", "postgres://p:5433/gremio")];
        let config = parse_with(MINIMAL, &variable).unwrap_or_else(|m| panic!("{m}"));
        assert_eq!(config.postgres.address(), "postgres://p:5433/gremio");
    }

    #[test]
    fn a_url_names_host_and_database() {
        for url in [
            "localhost",
            "mysql://h/d",
            "postgres://h",
            "postgres://h:5432/",
            "postgres:///d",
            "postgres://h/?user=x",
            "",
        ] {
            let text = with_table(&format!("[postgres]\nurl = \"{url}\""));
            let says = "postgres.url: must be like postgres://host:port/database";
            mistake_says(&text, &[says]);
        }
        for url in [
            "postgresql://h/d",
            "postgres://me@h:5432/d?connect_timeout=3",
        ] {
            valid(&with_table(&format!("[postgres]\nurl = \"{url}\"")));
        }
    }

    #[test]
    fn tls_is_declared_beside_the_url() {
        for option in [
            "sslmode=disable",
            "sslmode=require",
            "sslnegotiation=direct",
        ] {
            let text = with_table(&format!("[postgres]\nurl = \"postgres://h/d?{option}\""));
            mistake_says(
                &text,
                &[
                    "postgres.url: says how TLS is spoken",
                    "tls = true beside it",
                ],
            );
        }
        let config = valid(&with_table("[postgres]\ntls = true"));
        let tls = config.postgres.tls.expect("declared");
        assert!(tls.ca.is_none() && tls.identity.is_none());
    }

    #[test]
    fn keys_that_go_together_are_missed_alone() {
        for (table, says) in [
            ("ca = \"f\"", "postgres.ca: does nothing without tls = true"),
            (
                "tls = true\ncertificate = \"f\"",
                "postgres.certificate: needs key beside it",
            ),
            (
                "password_file = \"f\"",
                "postgres.password_file: needs username beside it",
            ),
            (
                "uri = \"x\"",
                "postgres.uri: unknown key; did you mean \"url\"?",
            ),
        ] {
            mistake_says(&with_table(&format!("[postgres]\n{table}")), &[says]);
        }
    }

    #[test]
    fn a_name_needs_no_password_where_a_certificate_proves_it() {
        let config = valid(&with_table("[postgres]\nusername = \"u\""));
        assert_eq!(config.postgres.username.as_deref(), Some("u"));
        assert!(config.postgres.credentials.is_none());
    }

    #[test]
    fn a_password_is_in_a_file_alone_and_never_shown() {
        for value in ["\"sesame\"", "5354"] {
            let found = mistakes(&with_table(&format!("[postgres]\npassword = {value}")));
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].contains("as password_file"), "{found:#?}");
            assert!(
                !found[0].contains("sesame") && !found[0].contains("5354"),
                "{found:#?}"
            );
        }
        let inside = with_table("[postgres]\nurl = \"postgres://me:sesame@h/d\"");
        let found = mistakes(&inside);
        assert!(
            found[0].contains("postgres.url") && !found[0].contains("sesame"),
            "{found:#?}"
        );
        let variable = [("AGUACERO_POSTGRES_URL", "postgres://me:sesame@h:1/d")];
        let config = parse_with(MINIMAL, &variable).unwrap_or_else(|m| panic!("{m}"));
        assert!(
            config.postgres.url.contains("sesame"),
            "it is used all the same"
        );
        let shown = format!("{config:?} {}", config.postgres.address());
        assert!(!shown.contains("sesame"), "{shown}");
        let file = with_table("[postgres]\nusername = \"me\"\npassword_file = \"f\"");
        let found = mistakes_with(&file, &variable);
        assert!(found[0].contains("one password too many"), "{found:#?}");
    }

    #[test]
    fn its_files_are_read_by_the_processes_that_need_them_alone() {
        let text = with_table(
            "[postgres]\ntls = true\nca = \"nowhere/ca\"\nusername = \"u\"\npassword_file = \"nowhere/password\"",
        );
        let read = |files: &[FilesOf]| Config::parse_for(files, &text, "aguacero.toml", []);
        read(&[FilesOf::Kafka]).unwrap_or_else(|m| panic!("{m}"));
        let found = read(&[FilesOf::Postgres]).expect_err("there are no files");
        let paths: Vec<_> = found.iter().map(|mistake| &*mistake.path).collect();
        assert_eq!(paths, ["postgres.ca", "postgres.password_file"], "{found}");
    }
}

mod of_the_process {
    use super::*;

    #[test]
    fn it_polls_as_the_consumer_does_with_a_group_and_a_port_of_its_own() {
        let config = valid(MINIMAL);
        let (tables, consumer) = (&config.tables, &config.consumer);
        assert_eq!(tables.admin.to_string(), "127.0.0.1:9186");
        assert_eq!(tables.group, "aguacero-tables");
        assert_eq!(tables.instance, None);
        let bounds = |c: &crate::config::Consumer| {
            (
                c.session_timeout,
                (c.batch_bytes_max, c.buffer_bytes_max),
                (c.writers, c.drain_timeout),
            )
        };
        assert_eq!(bounds(tables), bounds(consumer));
        let records = (tables.batch_records_max, consumer.batch_records_max);
        assert_eq!(records, (10_000, 5_000));
    }

    #[test]
    fn its_keys_are_its_own() {
        let text = "[tables]\ngroup = \"g\"\ninstance = \"a\"\nbatch_records_max = 10\nwriters = 4\nadmin = \"127.0.0.1:0\"";
        let config = valid(&with_table(text));
        let tables = &config.tables;
        assert_eq!(
            (&*tables.group, tables.instance.as_deref()),
            ("g", Some("a"))
        );
        assert_eq!((tables.batch_records_max, tables.writers), (10, 4));
        assert_eq!(config.consumer.group, "aguacero-archive");
        let variable = [("AGUACERO_TABLES_GROUP", "h")];
        let config = parse_with(MINIMAL, &variable).unwrap_or_else(|m| panic!("{m}"));
        assert_eq!(config.tables.group, "h");
    }

    #[test]
    fn its_keys_are_checked() {
        for (line, says) in [
            ("group = \"\"", "tables.group: must be 1 to 255 bytes"),
            ("instance = \"a b\"", "tables.instance: must be 1 to 249"),
            ("writers = 0", "tables.writers: must be "),
            (
                "batch_records_max = 100001",
                "tables.batch_records_max: must be ",
            ),
            (
                "admin = \"127.0.0.1:9183\"",
                "tables.admin: must differ from consumer.admin, which is 127.0.0.1:9183 too",
            ),
            ("settle_step = 5", "tables.settle_step: unknown key"),
            (
                "audit_interval_ms = 5000",
                "tables.audit_interval_ms: unknown key",
            ),
        ] {
            mistake_says(&with_table(&format!("[tables]\n{line}")), &[says]);
        }
    }
}

mod narrowed {
    use super::*;

    #[test]
    fn a_process_of_tables_has_the_topics_that_they_are_made_of_and_all_streams_in_these() {
        let other = TYPED.replace("ventas", "otras");
        let beside =
            "[streams.beside]\ntopic = \"ventas\"\n[[streams.beside.routes]]\npath = \"/beside\"\n";
        let text = format!("{other}\n{}\n{beside}", with_columns(ID));
        let config = valid(&text);
        assert_eq!(config.streams.len(), 3);
        let narrowed = config.narrowed(|stream| stream.table.is_some());
        let topics: Vec<_> = narrowed.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(topics, ["ventas"]);
        let streams = narrowed.streams.iter();
        let streams: Vec<_> = streams.map(|s| (&*s.name, s.index, s.topic)).collect();
        assert_eq!(streams, [("ventas", 0, 0), ("beside", 1, 0)]);
        let nothing = config.narrowed(|_| false);
        assert!(nothing.topics.is_empty() && nothing.streams.is_empty());
    }
}

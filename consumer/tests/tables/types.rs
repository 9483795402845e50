//! What a field's value becomes in PostgreSQL, and what PostgreSQL does not take.

use aguacero::id::EventId;
use serde_json::{Value, json};

use crate::tables::Tables;

/// A field of every type, each in a column of its default type, and one of each number in a text.
const DEFAULTS: &str = r#"
fields = [
  { name = "texto", type = "string" },
  { name = "entero", type = "integer" },
  { name = "número", type = "number" },
  { name = "lógico", type = "boolean" },
  { name = "ubicación", type = "coordinates" },
  { name = "objeto", type = "object" },
  { name = "lista", type = "array" },
  { name = "todo" },
  { name = "hora", type = ["string", "integer"] },
]
[streams.NAME-s.table]
name = "todo"
columns = [
  { name = "lugar", value = "offset" },
  { name = "texto", field = "texto" },
  { name = "entero", field = "entero" },
  { name = "número", field = "número" },
  { name = "lógico", field = "lógico" },
  { name = "ubicación", field = "ubicación" },
  { name = "objeto", field = "objeto" },
  { name = "lista", field = "lista" },
  { name = "todo", field = "todo" },
  { name = "hora", field = "hora" },
  { name = "entero_como_texto", field = "entero", type = "text" },
  { name = "número_como_texto", field = "número", type = "varchar" },
]
"#;

/// Columns of bounded and converted types, all of which may be empty.
const BOUNDED: &str = r#"
fields = [{ name = "todo", type = ["string", "integer", "number", "boolean", "array"] }]
[streams.NAME-s.table]
name = "bound"
columns = [
  { name = "lugar", value = "offset" },
  { name = "c", field = "todo", type = "TYPE" },
]
"#;

const ROWS: &str = "SELECT * FROM todo ORDER BY lugar";

/// The rows of these events, without their places.
async fn rows_of(events: &[&str]) -> Vec<Value> {
    let tables = Tables::with(1, DEFAULTS).await;
    let base = EventId::new_base();
    let events: Vec<_> = (0..)
        .zip(events)
        .map(|(n, json)| (base.plus(n), (*json).to_owned()))
        .collect();
    let last = tables.send(0, &events);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    running.stop().await;
    assert_eq!(tables.dead_letters().await, []);
    let mut rows = tables.rows(ROWS).await;
    for (row, lugar) in rows.iter_mut().zip(0..) {
        let taken = row.as_object_mut().unwrap().remove("lugar");
        assert_eq!(taken, Some(json!(lugar)));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_a_column_that_holds_it() {
    let rows = rows_of(&[
        r#"{"texto":"Ñandú \"☔\" \\ 👩‍🌾🏽\n\t'","entero":-42,"número":1.5,"lógico":true,"ubicación":"-33.45,-70.6667",
            "objeto":{"a":[1,null,{"ñ":"\"\\"}],"b":2.5},"lista":[true,"x",0.1],"todo":"sólo","hora":"12:30"}"#,
        r#"{"texto":"","entero":9223372036854775807,"número":-0.000001,"lógico":false,"ubicación":[-33.45,-70.6667],
            "objeto":{},"lista":[],"todo":[],"hora":930}"#,
        r#"{"entero":-9223372036854775808,"número":7,"ubicación":{"latitud":1,"longitud":-2},"todo":12}"#,
        r#"{"texto":null,"entero":null,"todo":null}"#,
    ])
    .await;
    let first = json!({
        "texto": "Ñandú \"☔\" \\ 👩‍🌾🏽\n\t'", "entero": -42, "número": 1.5, "lógico": true,
        "ubicación": "(-33.45,-70.6667)", "objeto": { "a": [1, null, { "ñ": "\"\\" }], "b": 2.5 },
        "lista": [true, "x", 0.1], "todo": "sólo", "hora": "12:30",
        "entero_como_texto": "-42", "número_como_texto": "1.5",
    });
    assert_eq!(rows[0], first);
    let second = json!({
        "texto": "", "entero": i64::MAX, "número": -1e-6, "lógico": false, "ubicación": "(-33.45,-70.6667)",
        "objeto": {}, "lista": [], "todo": [], "hora": "930",
        "entero_como_texto": "9223372036854775807", "número_como_texto": "-1e-6",
    });
    assert_eq!(rows[1], second);
    assert_eq!(rows[2]["entero"], json!(i64::MIN));
    assert_eq!(rows[2]["número"], json!(7));
    assert_eq!(rows[2]["número_como_texto"], json!("7"));
    assert_eq!(rows[2]["ubicación"], json!("(1,-2)"));
    assert_eq!(rows[2]["todo"], json!(12));
    assert!(rows[2]["texto"].is_null() && rows[2]["hora"].is_null());
    assert!(
        rows[3].as_object().unwrap().values().all(Value::is_null),
        "{:?}",
        rows[3]
    );
    assert_eq!(rows.len(), 4);
}

/// What becomes of each value in a column of a type: its row, or what the dead letter says.
async fn judged(sql_type: &str, cases: &[(&str, Result<Value, &str>)]) {
    let tables = Tables::with(1, &BOUNDED.replace("TYPE", sql_type)).await;
    let base = EventId::new_base();
    let events = (0..)
        .zip(cases)
        .map(|(n, (value, _))| (base.plus(n), format!(r#"{{"todo":{value}}}"#)));
    let last = tables.send(0, &events.collect::<Vec<_>>());
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    running.stop().await;
    let mut rows = tables
        .rows("SELECT c FROM bound ORDER BY lugar")
        .await
        .into_iter();
    let mut letters = tables.dead_letters().await.into_iter();
    for (value, expected) in cases {
        match expected {
            Ok(expected) => assert_eq!(
                rows.next().unwrap()["c"],
                *expected,
                "{value} as {sql_type}"
            ),
            Err(says) => {
                let (reason, detail) = letters.next().unwrap();
                assert_eq!(reason, "refused", "{value} as {sql_type}");
                assert!(detail.contains(says), "{value} as {sql_type}: {detail}");
            }
        }
    }
    assert_eq!((rows.next(), letters.next()), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_type_does_not_hold_is_a_dead_letter_with_postgresqls_words() {
    let too_long = "value too long for type character varying(5) (22001)";
    judged(
        "varchar(5)",
        &[
            ("\"ñandú\"", Ok(json!("ñandú"))),
            ("\"ñandúes\"", Err(too_long)),
            (
                "\"a\\u0000b\"",
                Err("invalid byte sequence for encoding \"UTF8\": 0x00 (22021)"),
            ),
            ("12345", Ok(json!("12345"))),
            ("123456", Err(too_long)),
            ("1.5", Ok(json!("1.5"))),
            ("true", Ok(json!("true"))),
        ],
    )
    .await;
    judged(
        "integer",
        &[
            ("2147483647", Ok(json!(i32::MAX))),
            (
                "2147483648",
                Err("value \"2147483648\" is out of range for type integer (22003)"),
            ),
            (
                "18446744073709551615",
                Err("out of range for type integer (22003)"),
            ),
            ("\"12\"", Ok(json!(12))),
            (
                "\"doce\"",
                Err("invalid input syntax for type integer: \"doce\" (22P02)"),
            ),
            ("\"\"", Err("(22P02)")),
            ("1.5", Err("(22P02)")),
            ("null", Ok(Value::Null)),
            ("-1", Ok(json!(-1))),
        ],
    )
    .await;
    judged(
        "jsonb",
        &[
            ("\"ñ\"", Ok(json!("ñ"))),
            (
                "\"a\\u0000b\"",
                Err("unsupported Unicode escape sequence (22P05)"),
            ),
            ("[1,\"a\"]", Ok(json!([1, "a"]))),
            ("1.5", Ok(json!(1.5))),
        ],
    )
    .await;
    judged(
        "numeric(5, 2)",
        &[
            ("123.456", Ok(json!(123.46))),
            ("1000", Err("numeric field overflow (22003)")),
        ],
    )
    .await;
    judged(
        "timestamptz",
        &[
            (
                "\"2026-11-29 23:59:00-03\"",
                Ok(json!("2026-11-30T02:59:00+00:00")),
            ),
            (
                "\"2026-02-30\"",
                Err("date/time field value out of range: \"2026-02-30\" (22008)"),
            ),
        ],
    )
    .await;
    judged(
        "point",
        &[
            ("\"(1,2)\"", Ok(json!("(1,2)"))),
            (
                "\"aquí\"",
                Err("invalid input syntax for type point: \"aquí\" (22P02)"),
            ),
        ],
    )
    .await;
}

/// Whichever statement writes the rows: a cast to a domain would cut what is too long.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_judges_what_comes_into_its_column() {
    for keys in ["", "primary_key = [\"lugar\"]\non_conflict = \"ignore\""] {
        let named = format!("name = \"bound\"\n{keys}");
        let declared = BOUNDED.replace("name = \"bound\"", &named);
        let tables = Tables::bare(1, "", &declared.replace("TYPE", "patente")).await;
        let domains = "CREATE DOMAIN corta AS varchar(7); CREATE DOMAIN patente AS corta CHECK (value LIKE 'CR-%')";
        tables.execute(domains).await;
        tables.apply().await;
        assert_eq!(tables.apply().await, [""; 0]);
        let base = EventId::new_base();
        let events = (0..)
            .zip(["CR-0001", "CR-00012", "XY-0001"])
            .map(|(n, value)| (base.plus(n), format!(r#"{{"todo":"{value}"}}"#)));
        let last = tables.send(0, &events.collect::<Vec<_>>());
        let running = tables.start().await;
        tables.is_finished(0, last).await;
        running.stop().await;
        assert_eq!(
            tables.rows("SELECT c FROM bound").await,
            [json!({ "c": "CR-0001" })]
        );
        let letters = tables.dead_letters().await;
        assert_eq!(letters.len(), 2, "{letters:?}");
        for (letter, says) in letters.iter().zip([
            "value too long for type character varying(7)",
            "value for domain patente violates check constraint",
        ]) {
            assert!(letter.1.contains(says), "{letters:?}");
        }
    }
}

//! Any body that is answered 200 is archived, with every decoded value equal; of any other nothing is in
//! Kafka. Bodies are made by a generator that knows what each should be archived as, and some are then
//! damaged; the seed of a run is printed, and E2E_SEED repeats it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use aguacero::id::EventId;
use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use e2e::{
    Pipeline, Request,
    archive::id_of,
    eventually,
    json::{Json, same},
    seed::Dice,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

const CASES: u32 = 80;
const BODIES_OF_A_CASE: usize = 24;

/// An event as it is written, and what may be done to its bytes.
#[derive(Debug, Clone)]
struct Event {
    tree: Json,
    /// Decides on white space and escapes.
    style: u64,
    damage: Option<Damage>,
}

#[derive(Debug, Clone)]
enum Damage {
    Replace(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Repeat(usize, usize),
}

/// How events travel.
#[derive(Debug, Clone)]
enum Sent {
    One(Event),
    Array(Vec<Event>),
    Lines(Vec<Event>),
}

fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "\0",
        "\u{1}\u{1f}\u{7f}\u{80}",
        "\"\\/\u{8}\u{c}\n\r\t",
        "\u{2028}\u{2029}",
        "\u{feff}",
        "\u{fffe}\u{ffff}",
        "👩‍🌾🏽🇦🇷",
        "𝔘𝔫𝔦",
        "e\u{301}",
        "null",
        "{\"a\":1}",
        "]}",
        "\\u0041",
        "\u{10ffff}",
        "$where",
        "a.b",
    ]);
    prop_oneof![3 => odd.prop_map(str::to_owned), 4 => "[ -~]{0,20}", 3 => "\\PC{0,12}", 1 => any::<String>()]
}

fn name() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        "$x",
        "$",
        "a.b",
        ".",
        "..",
        "_id2",
        "__proto__",
        "constructor",
        "0",
        "-1",
        "ñandú",
        "🦀",
        "País",
        "texto ",
        "_aguacero2",
        "a\u{301}",
        "\u{2028}",
        "\"",
        "\\",
        "length",
        "toString",
        "$numberLong",
        "$oid",
        "$date",
    ]);
    let fit = |name: &String| !name.contains('\0');
    prop_oneof![3 => odd.prop_map(str::to_owned), 2 => "[a-z]{1,8}", 1 => "\\PC{1,6}"]
        .prop_filter("no NUL", fit)
}

fn number() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "0",
        "-0",
        "-0.0",
        "0.0",
        "0e0",
        "-0E-0",
        "1e308",
        "1.7976931348623157e308",
        "-1e308",
        "4.9e-324",
        "2.2250738585072014e-308",
        "1e-400",
        "0.1e1",
        "1E+2",
        "100000000000000000000.0",
        "9007199254740993",
        "9007199254740993.0",
        "9223372036854775807",
        "-9223372036854775808",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "0.1",
        "3.141592653589793238462643383279",
        "123456789012345678901234567890e-30",
        "1.0000000000000002",
        "5e-1",
        "2.4703282292062328e-324",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "-9999999999999999999999999999999999",
        "179769313486231570000e288",
    ]);
    let double = || any::<f64>().prop_filter("a number", |f| f.is_finite());
    prop_oneof![
        4 => odd.prop_map(str::to_owned),
        2 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => "-?[1-9][0-9]{18,33}",
        1 => (-1000_i64..1000).prop_map(|n| n.to_string()),
        2 => double().prop_map(|f| format!("{f:?}")),
        2 => double().prop_map(|f| format!("{f:e}")),
        1 => (any::<u64>(), any::<u64>(), -300_i32..280).prop_map(|(a, b, e)| format!("{a}.{b}e{e}")),
    ]
}

fn unlike(fields: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut seen = BTreeSet::new();
    fields
        .into_iter()
        .filter(|(name, _)| seen.insert(name.clone()))
        .collect()
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::Bool),
        4 => number().prop_map(Json::Number),
        3 => text().prop_map(Json::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|fields| Json::Object(unlike(fields))),
        ]
    })
}

/// A value inside so many arrays and objects. The event's own braces are the first level of 64.
fn deep() -> impl Strategy<Value = Json> {
    (prop::collection::vec(any::<bool>(), 40..=63), name()).prop_map(|(levels, name)| {
        let wrap = |inner, is_array| match is_array {
            true => Json::Array(vec![inner]),
            false => Json::Object(vec![(name.clone(), inner)]),
        };
        levels.into_iter().fold(Json::Number("1".into()), wrap)
    })
}

fn event() -> impl Strategy<Value = Event> {
    let words =
        |max: usize| "\\PC{1,60}".prop_filter("fits", move |t| (1..=max).contains(&t.len()));
    let texto = prop::sample::select(vec!["texto", "text"]);
    let pais = prop::sample::select(vec!["país", "pais", "country"]);
    let reserved = [
        "_id",
        "_aguacero",
        "texto",
        "text",
        "país",
        "pais",
        "country",
    ];
    let others = prop::collection::vec(
        (
            name(),
            prop_oneof![9 => value().boxed(), 1 => deep().boxed()],
        ),
        0..6,
    );
    let tree = (
        texto,
        words(8192),
        pais,
        words(128),
        others,
        any::<prop::sample::Index>(),
    )
        .prop_map(move |(texto, text, pais, country, others, turn)| {
            let mut fields = vec![
                (texto.to_owned(), Json::String(text)),
                (pais.to_owned(), Json::String(country)),
            ];
            fields.extend(
                unlike(others)
                    .into_iter()
                    .filter(|(name, _)| !reserved.contains(&name.as_str())),
            );
            let turn = turn.index(fields.len());
            fields.rotate_left(turn);
            Json::Object(fields)
        });
    (tree, any::<u64>(), prop::option::weighted(0.4, damage())).prop_map(|(tree, style, damage)| {
        Event {
            tree,
            style,
            damage,
        }
    })
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![3 => prop::sample::select(b"{}[]\",:\\0-.eE \n\tu1".to_vec()), 1 => any::<u8>()];
    let at = 0_usize..10_000;
    prop_oneof![
        3 => (at.clone(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        3 => (at.clone(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        3 => at.clone().prop_map(Damage::Remove),
        1 => at.clone().prop_map(Damage::Cut),
        1 => (at, 1_usize..12).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let whole = || event().prop_map(|e| Event { damage: None, ..e });
    prop_oneof![
        8 => event().prop_map(Sent::One),
        1 => prop::collection::vec(whole(), 1..6).prop_map(Sent::Array),
        1 => prop::collection::vec(whole(), 1..6).prop_map(Sent::Lines),
    ]
}

/// Writes a value with white space and escapes that `style` decides on.
struct Writer {
    out: String,
    style: Dice,
    in_a_line: bool,
}

impl Writer {
    fn space(&mut self) {
        while self.style.below(6) == 0 {
            let spaces = if self.in_a_line {
                [' ', '\t', ' ', ' ']
            } else {
                [' ', '\t', '\n', '\r']
            };
            let chosen = self.style.below(4) as usize;
            self.out.push(spaces[chosen]);
        }
    }

    fn value(&mut self, value: &Json) {
        self.space();
        match value {
            Json::Null => self.out.push_str("null"),
            Json::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Json::Number(text) => self.out.push_str(text),
            Json::String(text) => self.string(text),
            Json::Array(values) => self.list('[', ']', values, Self::value),
            Json::Object(fields) => self.list('{', '}', fields, |out, (name, value)| {
                out.space();
                out.string(name);
                out.space();
                out.out.push(':');
                out.value(value);
            }),
        }
        self.space();
    }

    fn list<T>(&mut self, open: char, close: char, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.out.push(open);
        self.space();
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.out.push(close);
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            let escape = self.style.below(8) == 0;
            match c {
                '"' | '\\' if !escape => self.out.extend(['\\', c]),
                '/' if escape => self.out.push_str("\\/"),
                '\n' if !escape => self.out.push_str("\\n"),
                c if escape || c < ' ' || c == '"' || c == '\\' => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let digits = if self.style.below(2) == 0 {
                            format!("\\u{unit:04x}")
                        } else {
                            format!("\\u{unit:04X}")
                        };
                        self.out.push_str(&digits);
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

impl Event {
    fn text(&self, in_a_line: bool) -> String {
        let mut writer = Writer {
            out: String::new(),
            style: Dice::new(self.style),
            in_a_line,
        };
        writer.value(&self.tree);
        writer.out
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.text(false).into_bytes();
        let len = bytes.len();
        match self.damage {
            None => {}
            Some(Damage::Replace(at, byte)) => bytes[at % len] = byte,
            Some(Damage::Insert(at, byte)) => bytes.insert(at % len, byte),
            Some(Damage::Remove(at)) => _ = bytes.remove(at % len),
            Some(Damage::Cut(at)) => bytes.truncate(at % len),
            Some(Damage::Repeat(at, more)) => {
                let piece = bytes[at % len..(at % len + more).min(len)].to_vec();
                bytes.splice(at % len..at % len, piece);
            }
        }
        bytes
    }
}

/// What the archive is to hold, and Kafka.
type Expected = BTreeMap<EventId, (Bson, Vec<u8>)>;

/// Sends one body; returns what must be archived of it.
async fn send(client: &mut e2e::Client, key: &str, sent: &Sent) -> Result<Expected, TestCaseError> {
    let id = |position| EventId::of_client_key("weather", "", key.as_bytes(), position);
    let trimmed = |text: &[u8]| text.trim_ascii().to_vec();
    let (request, events) = match sent {
        Sent::One(event) => (
            Request::json("/input", event.bytes()),
            std::slice::from_ref(event),
        ),
        Sent::Array(events) => {
            let texts: Vec<_> = events.iter().map(|e| e.text(false)).collect();
            (
                Request::json("/input", format!(" [{}]\n", texts.join(","))),
                &events[..],
            )
        }
        Sent::Lines(events) => {
            let texts: Vec<_> = events.iter().map(|e| e.text(true)).collect();
            (Request::ndjson("/input", texts.join("\r\n")), &events[..])
        }
    };
    let answer = client.answer(&request.key(key)).await;
    let damaged = matches!(
        sent,
        Sent::One(Event {
            damage: Some(_),
            ..
        })
    );
    if answer.status != 200 {
        prop_assert!(damaged, "a sound event was refused: {}", answer.text());
        prop_assert!(
            matches!(answer.status, 400 | 422),
            "{} {}",
            answer.status,
            answer.text()
        );
        answer.problem(answer.status);
        return Ok(Expected::new());
    }
    let mut expected = Expected::new();
    match sent {
        Sent::One(event) => {
            let bytes = event.bytes();
            let text = std::str::from_utf8(&bytes)
                .map_err(|e| TestCaseError::fail(format!("accepted: {e}")))?;
            if text.trim_start().starts_with('[') {
                return Err(TestCaseError::reject("damage made an array of it"));
            }
            let tree = Json::read(text)
                .ok_or_else(|| TestCaseError::fail(format!("no JSON, and accepted: {text:?}")))?;
            expected.insert(id(0), (tree.archived(), trimmed(&bytes)));
        }
        Sent::Array(_) | Sent::Lines(_) => {
            for (i, event) in events.iter().enumerate() {
                let text = event.text(matches!(sent, Sent::Lines(_)));
                expected.insert(
                    id(i as u64),
                    (event.tree.archived(), trimmed(text.as_bytes())),
                );
            }
        }
    }
    Ok(expected)
}

/// Checks that the archive holds exactly what was expected of one case.
async fn compare(pipeline: &Pipeline, expected: &Expected) -> Result<(), TestCaseError> {
    let uuid = |id: &EventId| Binary {
        subtype: BinarySubtype::Uuid,
        bytes: id.0.to_vec(),
    };
    let ids: Vec<_> = expected.keys().map(|id| Bson::Binary(uuid(id))).collect();
    let filter = doc! { "_id": { "$in": ids } };
    let archived: Vec<Document> = eventually("every accepted event archived", async || {
        let found = pipeline.archive.find("messages", filter.clone()).await;
        if found.len() == expected.len() {
            Ok(found)
        } else {
            Err(format!("{} of {}", found.len(), expected.len()))
        }
    })
    .await;
    for mut document in archived {
        let (wanted, _) = &expected[&id_of(&document)];
        document.remove("_id");
        document.remove("_aguacero");
        let found = Bson::Document(document);
        prop_assert!(same(&found, wanted), "archived {found:?}\nfor {wanted:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_body_that_is_accepted_is_archived_as_it_was_meant_and_no_other_is_in_kafka() {
    let pipeline = std::sync::Arc::new(Pipeline::weather().start().await);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 200,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(
        config,
        TestRng::from_seed(RngAlgorithm::ChaCha, &Dice::for_test("property").bytes()),
    );
    let all = std::sync::Arc::new(std::sync::Mutex::new(Expected::new()));
    let (handle, theirs, shared) = (
        tokio::runtime::Handle::current(),
        pipeline.clone(),
        all.clone(),
    );
    let case_number = AtomicUsize::new(0);
    let result = tokio::task::spawn_blocking(move || {
        runner.run(&prop::collection::vec(sent(), BODIES_OF_A_CASE), |bodies| {
            let case = case_number.fetch_add(1, Ordering::Relaxed);
            handle.block_on(async {
                let mut client = theirs.client();
                let mut expected = Expected::new();
                for (i, body) in bodies.iter().enumerate() {
                    expected.extend(send(&mut client, &format!("case-{case}-{i}"), body).await?);
                }
                compare(&theirs, &expected).await?;
                shared.lock().expect("not poisoned").extend(expected);
                Ok(())
            })
        })
    })
    .await
    .expect("joined");
    result.unwrap_or_else(|e| panic!("{e}"));

    let all = all.lock().expect("not poisoned").clone();
    let mut in_kafka = BTreeMap::new();
    for record in pipeline.records("weather").await {
        in_kafka.insert(record.id(), record.value);
    }
    assert!(
        in_kafka.keys().eq(all.keys()),
        "Kafka holds {} events, {} were accepted",
        in_kafka.len(),
        all.len()
    );
    for (id, (_, value)) in &all {
        assert!(
            in_kafka[id] == *value,
            "the bytes of {id} are others than were sent"
        );
    }
    assert!(
        pipeline.archive.dead_letters().await.is_empty(),
        "what is accepted can be archived"
    );
    pipeline.exact("weather", all.len()).await;
    assert!(
        all.len() > CASES as usize * BODIES_OF_A_CASE / 2,
        "most of {} bodies were sound",
        all.len()
    );
}

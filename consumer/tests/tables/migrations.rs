//! Tables as declared: made, extended, and nothing that would lose data.

use consumer::tables::migrate::{self, Plan};

use crate::tables::{Tables, VENTAS, sales};

/// The declaration of the tests' tables, with something replaced.
struct Declared {
    tables: Tables,
}

impl Declared {
    /// Made as it is declared at first, with some rows.
    async fn with_rows(rows: u64) -> Self {
        let tables = Tables::new(1).await;
        if rows > 0 {
            let last = tables.send(0, &sales(rows));
            let running = tables.start().await;
            tables.is_finished(0, last).await;
            running.stop().await;
        }
        Self { tables }
    }

    /// Declares something else from now on.
    fn declare(&mut self, edits: &[(&str, &str)]) {
        let name = self.tables.world.topic().to_owned();
        let (before, after) = (VENTAS.replace("NAME", &name), VENTAS.to_owned());
        let after = edits.iter().fold(after, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let toml = self
            .tables
            .world
            .toml()
            .replace(&before, &after.replace("NAME", &name));
        let config = aguacero::config::Config::parse(&toml, "test", []);
        let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        self.tables.config.streams = config.narrowed(|stream| stream.table.is_some()).streams;
    }

    async fn plan(&self) -> Plan {
        let client = self.tables.pool.get().await.unwrap();
        migrate::plan(&self.tables.config, &client).await.unwrap()
    }

    /// What is done by `apply`, after which there is nothing to be done.
    async fn applied(&self, expected: &[&str]) {
        let plan = self.plan().await;
        assert_eq!(plan.mistakes, [""; 0]);
        assert_eq!(plan.statements, expected);
        assert_eq!(self.tables.apply().await, expected);
        assert_eq!(self.plan().await, Plan::default());
        assert_eq!(self.tables.apply().await, [""; 0]);
    }

    /// What stands against it, and that nothing at all is done then.
    async fn refused(&self, says: &[&str]) {
        let columns = "SELECT column_name, data_type, is_nullable, character_maximum_length FROM information_schema.columns \
             WHERE table_name = 'ventas' ORDER BY ordinal_position";
        let before = self.tables.rows(columns).await;
        let plan = self.plan().await;
        assert_eq!(plan.mistakes.len(), says.len(), "{plan:?}");
        for (mistake, says) in plan.mistakes.iter().zip(says) {
            assert!(mistake.contains(says), "{says}: {mistake}");
        }
        let mut client = self.tables.pool.get().await.unwrap();
        let error = migrate::apply(&self.tables.config, &mut client)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), plan.mistakes.join("\n"));
        drop(client);
        assert_eq!(self.tables.rows(columns).await, before);
    }
}

const CANTIDAD: &str = r#"{ name = "cantidad", field = "cantidad", type = "integer" }"#;
const CLIENTE: &str = r#"type = "varchar(20)", not_null = true"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_made_once() {
    let tables = Tables::bare(1, "", VENTAS).await;
    let done = tables.apply().await;
    let begins: Vec<_> = done
        .iter()
        .map(|sql| sql.split(" (").next().unwrap())
        .collect();
    let expected = [
        "CREATE SCHEMA aguacero",
        "CREATE TABLE aguacero.offsets",
        "CREATE TABLE aguacero.streams",
        "CREATE TABLE aguacero.events",
        "CREATE TABLE aguacero.dead_letters",
        "CREATE TABLE \"public\".\"ventas\"",
    ];
    assert_eq!(begins, expected);
    assert!(
        done[5].contains("\"cliente\" varchar(20) NOT NULL"),
        "{}",
        done[5]
    );
    assert!(done[5].contains("PRIMARY KEY (\"id\")"), "{}", done[5]);
    let declared = Declared { tables };
    assert_eq!(declared.plan().await, Plan::default());
    assert_eq!(declared.tables.apply().await, [""; 0]);
    declared.tables.execute("DROP TABLE aguacero.streams").await;
    let plan = declared.plan().await;
    assert_eq!(plan.statements.len(), 1, "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_missing_is_made() {
    let named = VENTAS.replace("name = \"ventas\"", "name = \"gremio.ventas\"");
    let tables = Tables::bare(1, "", &named).await;
    let done = tables.apply().await;
    assert_eq!(done[5], "CREATE SCHEMA \"gremio\"");
    assert!(
        done[6].starts_with("CREATE TABLE \"gremio\".\"ventas\""),
        "{}",
        done[6]
    );
    let last = tables.send(0, &sales(5));
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("gremio.ventas").await, 5);
    assert_eq!(tables.apply().await, [""; 0]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_extended_by_what_loses_nothing() {
    let mut declared = Declared::with_rows(10).await;
    let new = r#"{ name = "otra", field = "cantidad", type = "numeric(12,2)" }"#;
    declared.declare(&[(CANTIDAD, &format!("{CANTIDAD}, {new}"))]);
    let add = "ALTER TABLE \"public\".\"ventas\" ADD COLUMN \"otra\" numeric(12,2)";
    declared.applied(&[add]).await;
    let new = new.replace("(12,2)", "(14,3)");
    let wider = CANTIDAD.replace("integer", "bigint");
    declared.declare(&[
        (CANTIDAD, &format!("{wider}, {new}")),
        (CLIENTE, "type = \"text\", not_null = false"),
    ]);
    declared
        .applied(&[
            "ALTER TABLE \"public\".\"ventas\" ALTER COLUMN \"cliente\" TYPE text",
            "ALTER TABLE \"public\".\"ventas\" ALTER COLUMN \"cliente\" DROP NOT NULL",
            "ALTER TABLE \"public\".\"ventas\" ALTER COLUMN \"cantidad\" TYPE bigint",
            "ALTER TABLE \"public\".\"ventas\" ALTER COLUMN \"otra\" TYPE numeric(14,3)",
        ])
        .await;
    assert_eq!(
        declared
            .tables
            .count("ventas WHERE cantidad IS NOT NULL")
            .await,
        10
    );
    declared.declare(&[
        (CANTIDAD, &format!("{wider}, {new}")),
        (CLIENTE, "type = \"text\", not_null = true"),
    ]);
    declared
        .applied(&["ALTER TABLE \"public\".\"ventas\" ALTER COLUMN \"cliente\" SET NOT NULL"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_only_spelled_differently_is_the_same() {
    let mut declared = Declared::with_rows(0).await;
    declared.declare(&[
        (CLIENTE, "type = \"character varying(20)\", not_null = true"),
        (CANTIDAD, &CANTIDAD.replace("integer", "int4")),
        (
            "value = \"arrival\"",
            "value = \"arrival\", type = \"timestamp with time zone\"",
        ),
    ]);
    assert_eq!(declared.plan().await, Plan::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_data_is_refused_whole() {
    let mut declared = Declared::with_rows(10).await;
    let new = r#", { name = "otra", field = "cantidad", not_null = true }"#;
    let fine = r#", { name = "buena", field = "cantidad" }"#;
    for (edit, says) in [
        (
            (CLIENTE, "type = \"varchar(10)\", not_null = true"),
            "column cliente is character varying(20), and character varying(10) is declared",
        ),
        (
            (CANTIDAD, &*CANTIDAD.replace("integer", "smallint")),
            "column cantidad is integer, and smallint is declared",
        ),
        (
            (CANTIDAD, &CANTIDAD.replace("integer", "varchar(3)")),
            "column cantidad is integer, and character varying(3) is declared",
        ),
        (
            (CANTIDAD, &format!("{CANTIDAD}{fine}{new}")),
            "column otra is new, and rows that are there have nothing in it: declare it with not_null = false",
        ),
        (
            (
                "primary_key = [\"id\"]",
                "primary_key = [\"id\", \"cliente\"]",
            ),
            "its primary key is (id), and (id, cliente) is declared",
        ),
        (
            ("primary_key = [\"id\"]", ""),
            "its primary key is (id), and () is declared",
        ),
    ] {
        declared.declare(&[edit]);
        declared.refused(&[says]).await;
    }
    declared
        .tables
        .execute("UPDATE ventas SET cantidad = NULL")
        .await;
    declared.declare(&[(CANTIDAD, &CANTIDAD.replace(" }", ", not_null = true }"))]);
    declared
        .refused(&["column cantidad is to be in every row, and some have nothing in it"])
        .await;
    declared.declare(&[]);
    declared.tables.execute("ALTER TABLE ventas ADD COLUMN suya text NOT NULL DEFAULT ''; ALTER TABLE ventas ADD COLUMN libre text").await;
    assert_eq!(declared.plan().await, Plan::default());
    declared
        .tables
        .execute("ALTER TABLE ventas ALTER COLUMN suya DROP DEFAULT")
        .await;
    declared
        .refused(&["column suya is not declared, and every row must have it"])
        .await;
    assert_eq!(declared.tables.count("ventas").await, 10);
}

/// Where nothing is there to be lost, a column that every row must have is made.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_gets_what_every_row_must_have() {
    let mut declared = Declared::with_rows(0).await;
    let new = r#", { name = "otra", field = "cantidad", not_null = true }"#;
    declared.declare(&[(CANTIDAD, &format!("{CANTIDAD}{new}"))]);
    declared
        .applied(&["ALTER TABLE \"public\".\"ventas\" ADD COLUMN \"otra\" bigint NOT NULL"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_there_is_not_is_told_with_its_column() {
    let mut declared = Declared::with_rows(0).await;
    declared.declare(&[(CANTIDAD, &CANTIDAD.replace("integer", "intejer"))]);
    declared
        .refused(&["column cantidad is declared as intejer, a type that PostgreSQL has not"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_apply_at_once_do_it_once() {
    let tables = Tables::bare(1, "", VENTAS).await;
    let apply = || async {
        let mut client = tables.pool.get().await.unwrap();
        migrate::apply(&tables.config, &mut client).await
    };
    let done = tokio::join!(apply(), apply(), apply());
    let done = [done.0.unwrap(), done.1.unwrap(), done.2.unwrap()];
    let mut counts = done.map(|statements| statements.len());
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 6]);
}

//! The commands as an operator sees them.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Duration,
};

use crate::{
    tables::{OWNER, Tables, VENTAS, sales},
    world::{Process, command},
};

/// Long enough for a machine that compiles at the same time.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn it_runs_only_with_tables_as_they_are_declared() {
    let tables = Tables::bare(1, "", VENTAS).await;
    let (is_well, said) = tables.said(&["run"], OWNER);
    assert!(!is_well, "{said}");
    assert!(
        said.contains("run `consumer tables apply`, which would do this:"),
        "{said}"
    );
    assert!(
        said.contains("CREATE TABLE \"public\".\"ventas\""),
        "{said}"
    );

    let (is_well, planned) = tables.said(&["plan"], OWNER);
    assert!(is_well, "{planned}");
    assert_eq!(
        tables
            .count("pg_namespace WHERE nspname = 'aguacero'")
            .await,
        0,
        "a plan does nothing"
    );
    let (is_well, applied) = tables.said(&["apply"], OWNER);
    assert!(is_well);
    assert_eq!(applied, planned);
    for verb in ["plan", "apply"] {
        let (is_well, said) = tables.said(&[verb], OWNER);
        assert!(
            is_well && said.contains("the tables are as declared"),
            "{said}"
        );
    }
    let last = tables.send(0, &sales(10));
    let process = Process::start(tables.command(&["run"], OWNER));
    tables.is_finished(0, last).await;
    drop(process);

    tables
        .execute("ALTER TABLE ventas ALTER COLUMN cliente TYPE text")
        .await;
    let mistake = "column cliente is text, and character varying(20) is declared";
    for verb in ["run", "plan", "apply"] {
        let (is_well, said) = tables.said(&[verb], OWNER);
        assert!(!is_well && said.contains(mistake), "{verb}: {said}");
    }
}

/// A type that the time of arrival cannot become is no matter of a single event, and is told before any is read.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_run_with_a_column_that_can_never_be_written() {
    let never = VENTAS.replace(
        "value = \"arrival\"",
        "value = \"arrival\", type = \"bigint\"",
    );
    let tables = Tables::with(1, &never).await;
    let (is_well, said) = tables.said(&["run"], OWNER);
    assert!(!is_well, "{said}");
    assert!(
        said.contains("column \"llegada\" is of type bigint"),
        "{said}"
    );
}

/// `COPY` would tell of it with the first event only, and of a number that PostgreSQL gives itself never.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_run_with_a_column_that_postgresql_fills() {
    for fills in [
        "GENERATED ALWAYS AS (1) STORED",
        "NOT NULL GENERATED ALWAYS AS IDENTITY",
    ] {
        let stream = match fills.starts_with("NOT NULL") {
            true => VENTAS.replace(
                "field = \"cantidad\",",
                "field = \"cantidad\", not_null = true,",
            ),
            false => VENTAS.to_owned(),
        };
        let tables = Tables::with(1, &stream).await;
        let filled =
            format!("ALTER TABLE ventas DROP COLUMN cantidad, ADD COLUMN cantidad integer {fills}");
        tables.execute(&filled).await;
        let (is_well, said) = tables.said(&["run"], OWNER);
        let says = "cannot insert a non-DEFAULT value into column \"cantidad\"";
        assert!(!is_well && said.contains(says), "{fills}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_tables_says_what_to_write() {
    let tables = Tables::bare(1, "", "").await;
    for verb in ["run", "plan", "apply", "retry", "dead-letters"] {
        let (is_well, said) = tables.said(&[verb], OWNER);
        assert!(
            !is_well && said.contains("write [streams.NAME.table] with its columns"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_dead_letters_moves_no_cursor() {
    let tables = Tables::new(1).await;
    let mut events = sales(2);
    events[0].1 = "{\"cliente\":\"\\u001b[31mrojo y demasiado largo\"}".to_owned();
    events[1].1 = "{\"cliente\":\"\u{9b}31m\u{7f}también demasiado largo\"}".to_owned();
    let last = tables.send(0, &events);
    let running = tables.start().await;
    tables.is_finished(0, last).await;
    let (is_well, said) = tables.said(&["dead-letters"], OWNER);
    assert!(
        is_well && said.contains("2 dead letters, 2 shown"),
        "{said}"
    );
    assert!(
        !said.chars().any(|c| c.is_control() && c != '\n'),
        "{said:?}"
    );
    assert_eq!(said.lines().count(), 3, "{said}");
    running.stop().await;
}

/// A password that stands in the URL is shown by nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_without_a_password() {
    let tables = Tables::bare(1, "", VENTAS).await;
    let (mut command, _file) = command(tables.world.toml(), &["tables", "run"]);
    command.env(
        "AGUACERO_POSTGRES_URL",
        "postgres://me:sesame@127.0.0.1:1/nowhere",
    );
    command
        .env_remove("AGUACERO_POSTGRES_USERNAME")
        .env_remove("AGUACERO_POSTGRES_PASSWORD_FILE");
    command.stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap());
    let waits = move || {
        let mut lines = told.lines().map_while(Result::ok);
        lines.find(|line| line.contains("127.0.0.1:1"))
    };
    let told = tokio::time::timeout(TOLD_WITHIN, tokio::task::spawn_blocking(waits)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let line = told.expect("it says something").unwrap();
    let line = line.expect("it says that it waits");
    assert!(!line.contains("sesame"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_tables_needs_no_file_of_kafkas() {
    let tables = Tables::bare(1, "", VENTAS).await;
    let said = |verb: &str| {
        let (mut command, _file) = tables.command(&[verb], OWNER);
        command.env("AGUACERO_KAFKA_TLS", "true");
        command.env("AGUACERO_KAFKA_CA", "/nowhere/ca.crt");
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    for verb in ["plan", "apply", "dead-letters", "retry"] {
        let (is_well, said) = said(verb);
        assert!(is_well, "{verb}: {said}");
    }
    let (is_well, said) = said("run");
    assert!(!is_well && said.contains("/nowhere/ca.crt"), "{said}");
}

//! Who may only run cannot apply, and needs no more than to run.

use crate::{
    tables::{ADMIN, OWNER, Tables, VENTAS, host, pool, sales, url},
    world::Process,
};

/// What the process needs, as `scripts/rights` prints it.
const GRANTS: &str = "GRANT CONNECT ON DATABASE DATABASE TO ROLE; \
    GRANT USAGE ON SCHEMA public, aguacero TO ROLE; \
    GRANT SELECT, INSERT, UPDATE ON ventas, aguacero.offsets, aguacero.streams TO ROLE; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON aguacero.events, aguacero.dead_letters TO ROLE";

/// A role of this test, which goes with it.
struct Role {
    name: String,
    database: String,
}

impl Role {
    async fn new(tables: &Tables) -> Self {
        let role = Self {
            name: format!("{}_least", tables.database),
            database: tables.database.clone(),
        };
        let make = "REVOKE ALL ON DATABASE DATABASE FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE ROLE ROLE LOGIN";
        role.execute(make).await;
        role
    }

    async fn execute(&self, sql: &str) {
        let sql = sql.replace("DATABASE DATABASE", &format!("DATABASE {}", self.database));
        let sql = sql.replace("ROLE ROLE", &format!("ROLE {}", self.name));
        let sql = sql.replace("TO ROLE", &format!("TO {}", self.name));
        let sql = sql.replace("BY ROLE", &format!("BY {}", self.name));
        let admin = pool(url(ADMIN, &host(), &self.database));
        let done = admin.get().await.unwrap().batch_execute(&sql).await;
        done.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_the_least_rights_runs_and_retries_and_may_not_apply() {
    let tables = Tables::bare(1, "", VENTAS).await;
    let role = Role::new(&tables).await;
    // What is missing is told, not tried for ever.
    role.execute("GRANT CONNECT ON DATABASE DATABASE TO ROLE")
        .await;
    let (is_well, said) = tables.said(&["apply"], &role.name);
    assert!(!is_well && said.contains("permission denied"), "{said}");
    let (is_well, _) = tables.said(&["apply"], OWNER);
    assert!(is_well);
    role.execute(GRANTS).await;
    let (is_well, said) = tables.said(&["plan"], &role.name);
    assert!(is_well && said.contains("nothing is to be done"), "{said}");
    let (is_well, said) = tables.said(&["apply"], &role.name);
    assert!(is_well && said.contains("nothing was to be done"), "{said}");

    tables
        .execute("ALTER TABLE ventas ADD CONSTRAINT few CHECK (cantidad < 50)")
        .await;
    let events = sales(100);
    let last = tables.send(0, &[&events[..], &events[..10]].concat());
    let process = Process::start(tables.command(&["run"], &role.name));
    tables.is_finished(0, last).await;
    assert_eq!(tables.count("ventas").await, 50);
    tables
        .execute("ALTER TABLE ventas DROP CONSTRAINT few")
        .await;
    let (is_well, said) = tables.said(&["retry"], &role.name);
    assert!(is_well && said.contains("50 are rows now"), "{said}");
    let (is_well, said) = tables.said(&["dead-letters"], &role.name);
    assert!(is_well && said.contains("0 dead letters"), "{said}");
    drop(process);

    tables
        .execute("ALTER TABLE ventas DROP COLUMN cantidad")
        .await;
    let (is_well, said) = tables.said(&["apply"], &role.name);
    assert!(
        !is_well && said.contains("must be owner of table ventas"),
        "{said}"
    );
    role.execute("DROP OWNED BY ROLE; DROP ROLE ROLE").await;
}

//! How far each partition is finished, as the store has it.

use aguacero::ledger::Position;
use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

/// What is to be read next, and the leader epoch of the record before, if it is known.
pub(super) type Stands = (i64, Option<i32>);

const READ: &str = "SELECT next, leader_epoch FROM aguacero.offsets \
     WHERE consumer_group = $1 AND topic = $2 AND incarnation = $3 AND partition = $4";

const KEEP: &str = "INSERT INTO aguacero.offsets (consumer_group, topic, incarnation, partition, next, leader_epoch) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (consumer_group, topic, incarnation, partition) \
     DO UPDATE SET next = EXCLUDED.next, leader_epoch = EXCLUDED.leader_epoch";

/// What the store has of a partition; none if it never had any of it.
pub(super) async fn read(
    client: &impl GenericClient,
    (group, topic): (&str, &str),
    position: &Position,
) -> Result<Option<Stands>, Error> {
    let (incarnation, partition) = (&position.incarnation, position.partition);
    let read = client.prepare_cached(READ).await?;
    let row = client
        .query_opt(&read, &[&group, &topic, incarnation, &partition])
        .await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// Keeps it, in the transaction of what it stands for.
pub(super) async fn keep(
    client: &impl GenericClient,
    (group, topic): (&str, &str),
    position: &Position,
    (next, leader_epoch): Stands,
) -> Result<(), Error> {
    let (incarnation, partition) = (&position.incarnation, position.partition);
    let keep = client.prepare_cached(KEEP).await?;
    client
        .execute(
            &keep,
            &[
                &group,
                &topic,
                incarnation,
                &partition,
                &next,
                &leader_epoch,
            ],
        )
        .await?;
    Ok(())
}

//! What has come for a client goes into its queue: one task for each, in order, from behind what the broker has confirmed.

use futures_util::future::try_join_all;
use lapin::{BasicProperties, Connection, options::ConfirmSelectOptions};
use tokio::task::JoinSet;

use super::{PERSISTENT, Prefix, confirmed, declare, publish};
use crate::{
    hub::{Hub, shelf::Inbox},
    message::{ClientId, Registered},
    wire::proto,
};

/// Published before the first of them is waited for.
const ON_THEIR_WAY_MAX: usize = 256;

/// Feeds all clients, those too that are yet to come, until one cannot be fed.
pub(super) async fn all(hub: Hub, connection: &Connection, prefix: &Prefix) -> anyhow::Result<()> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut feeds = JoinSet::new();
    loop {
        let fed = feeds.len();
        tokio::select! {
            there = hub.more_clients(fed) => {
                for index in fed..there {
                    let inbox = hub.inbox(ClientId(u32::try_from(index + 1)?))?;
                    feeds.spawn(one(hub.clone(), inbox, channel.clone(), prefix.clone()));
                }
            }
            Some(ended) = feeds.join_next() => ended??,
        }
    }
}

/// A kill between the confirmation and its line in the log makes some come twice: the client knows them by their positions.
async fn one(
    hub: Hub,
    mut inbox: Inbox,
    channel: lapin::Channel,
    prefix: Prefix,
) -> anyhow::Result<()> {
    let (client, mut after) = (inbox.client(), inbox.delivered());
    let queue = prefix.inbox(Registered {
        log: hub.log(),
        client,
    });
    declare(&channel, queue.clone()).await?;
    loop {
        let deliveries = inbox.next(after, ON_THEIR_WAY_MAX).await?;
        let mut confirms = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            after = delivery.position;
            let properties = BasicProperties::default()
                .with_delivery_mode(PERSISTENT)
                .with_message_id(delivery.message.id.to_string().into());
            confirms.push(
                publish(
                    &channel,
                    queue.clone(),
                    &proto::Delivery::from(delivery),
                    properties,
                )
                .await?,
            );
        }
        try_join_all(confirms.into_iter().map(confirmed)).await?;
        hub.delivered(client, after).await?;
    }
}

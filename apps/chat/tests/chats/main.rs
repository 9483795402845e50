//! What both chats promise, each by the same test: server and clients are processes, and over RabbitMQ there is a real broker
//! between them: `scripts/services run --only rabbitmq -- cargo test -p chat`.

// Tests may panic; the lint is for what runs for others.
#![allow(clippy::unwrap_used)]

mod broker;
mod delivery;
mod kills;
mod lists;
mod logs;
mod pipe;
mod terminal;
mod world;

/// Each test once over gRPC and once over RabbitMQ.
macro_rules! over_both {
    ($($module:ident::$test:ident),* $(,)?) => {
        mod over_grpc {
            $(#[test] fn $test() { super::$module::$test(chat::transport::Over::Grpc) })*
        }
        mod over_rabbitmq {
            $(#[test] fn $test() { super::$module::$test(chat::transport::Over::Rabbitmq) })*
        }
    };
}

over_both! {
    delivery::what_is_sent_arrives_at_once_and_waits_for_who_is_away,
    delivery::what_is_sent_again_is_delivered_once,
    delivery::what_is_answered_is_in_the_log,
    delivery::a_slow_reader_holds_nobody_up_and_loses_nothing,
    lists::everybody_is_listed_and_what_each_has_sent,
    lists::a_name_is_one_clients,
    lists::a_folder_of_another_server_is_told,
    lists::a_name_that_is_refused_leaves_no_folder,
    lists::registrations_are_bounded_and_who_is_registered_still_comes,
    logs::a_server_that_comes_back_with_another_log_gets_and_gives_nothing,
    logs::a_server_that_comes_back_with_an_older_copy_is_told_to_who_has_more,
    pipe::what_is_refused_is_told_and_the_exit_status_says_so,
    pipe::what_cannot_be_kept_is_told_and_the_rest_is_sent_later,
    pipe::a_server_that_is_away_is_waited_for_and_nothing_typed_is_lost,
    pipe::that_the_server_is_away_is_said_once_and_that_it_is_back,
    kills::each_message_is_delivered_once_and_in_order_whatever_is_killed,
}

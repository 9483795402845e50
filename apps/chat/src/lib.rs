//! A chat: one server, any number of clients, over gRPC or over RabbitMQ.
//!
//! # Where to begin
//! A message is made in [`client`], which keeps it until there is a receipt. A [`transport`] carries it: [`grpc`] or
//! [`rabbitmq`], each with its part of the client and of the server. [`hub`] judges it, writes it to the [`log`] together
//! with all that wait at the same time, and then lays it into the inbox of its addressee, from where the transport takes it.
//! `docs/chat.md` tells what is promised, and what each transport makes of it.

pub mod message;
pub mod text;
pub mod wire;

pub mod hub;
pub mod log;

pub mod grpc;
pub mod rabbitmq;
pub mod transport;

pub mod client;
pub mod server;

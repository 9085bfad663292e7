//! Consumer and producer as offramp needs them: delivery-confirmed, commits in order.
//!
//! - [`Producer::send`] returns after the broker's delivery report, never before.
//! - [`Consumer::recv_many`] hands out records in any number at once; [`Consumer::done`] takes them back in
//!   any order. What is committed is the lowest offset below which every record is done, so a record that is
//!   still being handled is delivered again after a crash, whatever finished after it.
//! - [`Reader`] reads from any place without a group, and says when there is no more.
//! - [`admin`] creates, describes and deletes topics, deletes records, tells how far groups have read and whether
//!   a broker answers, with errors a person can act on.
//!
//! The only crate that speaks to brokers. It works in tasks of the caller's runtime and has no threads of its own:
//! what arrives for a record wakes the thread that handles it, and no other. It knows records, not tensors, tiers
//! or functions. Left out: transactions, TLS and SASL.

pub mod admin;
mod assignor;
mod batches;
mod cluster;
mod connection;
mod consumer;
mod error;
mod fetcher;
mod group;
mod ledger;
mod member;
mod outbox;
mod peers;
mod producer;
mod reader;
mod sender;

pub use consumer::{Consumer, Delivery, Ticket};
pub use error::{KafkaError, SendError};
pub use producer::{Compression, Confirmation, Producer};
pub use reader::{Event, Reader, Start, record_at};

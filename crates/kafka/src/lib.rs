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
//! The only crate that links librdkafka. It knows records, not tensors, tiers or functions.

pub mod admin;
mod client;
mod consumer;
mod error;
mod gate;
mod ledger;
mod message;
mod producer;
mod reader;

pub use consumer::{Consumer, Delivery, Ticket};
pub use error::{KafkaError, SendError};
pub use producer::{Compression, Confirmation, Producer};
pub use reader::{Event, Reader, Start, record_at};

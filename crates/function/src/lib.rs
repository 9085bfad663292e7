//! The three functions: connector (Kafka → function), inference (sub-model → exit or forward), funnel
//! (function → Kafka). The names and the division are the paper's.
//!
//! One implementation, several homes. In one process ([`tier`]) a call is a function call; as processes of
//! their own ([`http::server`]) it is a POST with the paper's body. [`connector::Target`] and
//! [`inference::Destination`] are the two places where the difference is chosen.
//!
//! Every record meets exactly one [`Fate`]; what went wrong before that is a [`Failure`], which says whether
//! the record, the function or the moment is to blame.

pub mod backoff;
pub mod connector;
pub mod counters;
mod dead_letter;
mod failure;
pub mod funnel;
pub mod http;
pub mod inference;
mod lanes;
pub mod latency;
pub mod platform;
pub mod pool;
pub mod steps;
pub mod stop;
pub mod tier;
pub mod uplink;

pub use connector::Connector;
pub use failure::{Failure, Fate};
pub use funnel::Funnel;
pub use inference::Inference;
pub use steps::Step;
pub use stop::Stop;
pub use uplink::Uplink;

//! Policies against loads, in virtual time.
//!
//! A [`Scenario`] is a load and a cluster: when records arrive ([`Shape`]), what a call takes, how long an instance
//! takes to start. [`run`] lets a [`Scaler`] loose on it and says what came of it ([`Outcome`]): latencies,
//! replica-seconds, actions, and how all went on over time. The same scenario, seed and scaler give the same outcome to
//! the last bit.
//!
//! Simulated is one function behind a connector. Records wait in one queue, in their order; a ready instance that is
//! free takes the first, one at a time. What an instance costs begins when it is asked for and ends when it has stopped;
//! one that is busy finishes its call first. Left out, in favour of rivals: scheduling, networks, the pause of a consumer
//! group whenever its members change, and instances that fail.

mod cluster;
mod ours;
mod outcome;
mod random;
pub mod rivals;
mod shape;

pub use cluster::{Scaler, View, run};
pub use ours::Ours;
pub use outcome::{Action, Outcome, Sample};
pub use random::Random;
pub use shape::{Scenario, Shape};

#[cfg(test)]
mod tests;

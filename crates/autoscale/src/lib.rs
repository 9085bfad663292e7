//! How many instances a function needs.
//!
//! An [`Autoscaler`] decides for one function from what is counted there ([`Load`]): arrivals, not completions, so that
//! a function that is too slow is seen to be; how long calls take; and what waits. A [`Chain`] decides for tiers of
//! which each forwards to the next, and gives a tier the load that is on its way before it is there. Each [`Decision`]
//! says why, with the figures that decided it, and a [`History`] keeps them.
//!
//! # The policy
//!
//! - **Arrivals** are averaged slowly, and quickly where the quick average is above the slow one by more than chance
//!   explains ([`arrivals`]). Chance is measured: devices that send on a schedule vary less than Poisson arrivals.
//! - **What is needed** is the fewest instances with which utilisation is within its target and waits are within theirs
//!   ([`queue`]), or that also work off what waits within the catch-up time.
//! - **Up** is late, because an instance that starts in milliseconds need not be there ahead: when instances are nearly
//!   all busy, when waits will be too long far more often than allowed, or when they are too long.
//! - **Down** is later: when fewer have been enough for a whole window; to zero when nothing came for long, and only
//!   where starting again takes less than half of the wait that is allowed.
//!
//! Starting instances count as instances, and what arrives while they start counts as waiting: the same policy holds
//! for threads (milliseconds), processes (tens of them) and pods (seconds). How long they take is measured and passed
//! in. Nothing here does I/O or reads a clock: time is passed in as what has passed since some start.
//!
//! [`simulate`] runs policies, this one and others, against loads in virtual time.

mod arrivals;
mod chain;
mod decision;
mod history;
mod load;
mod policy;
pub mod queue;
mod scaler;
mod service;
pub mod simulate;
mod window;

pub use chain::Chain;
pub use decision::{Basis, Decision, Demand, Reason};
pub use history::History;
pub use load::{Load, ServiceTimes};
pub use policy::{Policy, PolicyError, PolicyProblem};
pub use scaler::Autoscaler;

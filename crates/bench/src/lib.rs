//! The parts of a measurement: simulated devices that send on an open-loop schedule, a collector that joins
//! answers to what was sent, and what processes take of the machine.
//!
//! Whatever reads a topic and writes topics can be measured: [`devices`] send records with ids, [`collector`]
//! reads the topics on which a record can end and says what became of each. [`figure`] draws what was measured, as SVG
//! and PNG. [`run`] keeps what was measured, record by record, reads the published runs beside ours and says what is
//! wrong with them; [`stats`] and [`report`] say and show what came out. Nothing here knows sub-models.

pub mod answer;
pub mod arrivals;
pub mod collector;
pub mod devices;
pub mod figure;
pub mod joiner;
pub mod payload;
pub mod process;
pub mod report;
pub mod run;
pub mod schedule;
pub mod stats;
pub mod usage;

pub use arrivals::{Arrivals, Arrived, Place};
pub use collector::{Collected, Collector, End, Outlet};
pub use devices::{Headers, Join, Load, Sent};
pub use joiner::Joiner;
pub use schedule::Schedule;

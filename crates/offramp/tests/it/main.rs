//! The program as its users run it: processes, a broker, Kafka clients, HTTP.

#![cfg(test)]

mod autoscale;
mod bad_input;
mod bench;
mod broker_faults;
mod broker_service;
mod command_line;
mod dead_letters;
mod deploy;
mod deployed;
mod faults;
mod images;
mod kafka_ml;
mod model;
mod node;
mod paper;
mod peers;
mod place;
mod platforms;
mod process;
mod tail;
mod topics;
mod train;
mod whole;

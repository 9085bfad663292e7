//! The functions through real HTTP and a real log.

#![cfg(test)]

mod connector;
mod http;
mod inference;
mod link;
mod lists;
mod scripted;
mod steps;
mod uplink;

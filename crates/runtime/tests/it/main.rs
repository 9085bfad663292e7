//! The edge runtime with real processes.

#![cfg(test)]

mod programs;

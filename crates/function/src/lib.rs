//! The three functions: connector, inference, funnel.

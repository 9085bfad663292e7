//! One module per subcommand, each with its `Args` and `run`.

pub(crate) mod bench;
pub(crate) mod broker;
pub(crate) mod buffer;
pub(crate) mod check;
pub(crate) mod dead_letter;
pub(crate) mod demo;
pub(crate) mod exit_options;
pub(crate) mod function;
pub(crate) mod init;
pub(crate) mod lag;
pub(crate) mod model;
pub(crate) mod pipeline_file;
pub(crate) mod tail;
pub(crate) mod topic;
pub(crate) mod train;
pub(crate) mod up;

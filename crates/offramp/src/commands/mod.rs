//! One module per subcommand, each with its `Args` and `run`.

pub(crate) mod autoscale;
pub(crate) mod bench;
pub(crate) mod broker;
pub(crate) mod buffer;
pub(crate) mod check;
pub(crate) mod dead_letter;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod down;
pub(crate) mod exit_options;
pub(crate) mod function;
pub(crate) mod gateway;
pub(crate) mod init;
pub(crate) mod lag;
pub(crate) mod logs;
pub(crate) mod model;
pub(crate) mod pipeline_file;
pub(crate) mod ps;
pub(crate) mod reload;
pub(crate) mod scale;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod train;
pub(crate) mod up;

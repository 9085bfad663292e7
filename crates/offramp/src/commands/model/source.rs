//! The options and the words that making sub-models of other people's networks shares.

use std::io::Write;
use std::path::Path;

use model::{Exit, ExitCriterion, ImportOptions, SubModel};

use crate::commands::exit_options;

/// What a network that was made elsewhere does not say.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// Least confidence that answers at a tier; `offramp model calibrate` finds better ones.
    #[arg(long, default_value_t = 0.8, value_parser = exit_options::threshold)]
    threshold: f64,
    /// How the confidence is computed: max-softmax, margin or entropy.
    #[arg(long, default_value_t = ExitCriterion::MaxSoftmax)]
    criterion: ExitCriterion,
    /// The network is fed `x * SCALE + OFFSET`; 0.00392157 for one that was trained on pixels from 0 to 1.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    scale: f32,
    /// See --scale.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    offset: f32,
    /// Names of the classes, separated by commas; default: their numbers.
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
}

impl SourceArgs {
    /// For the tier that is fed what devices send.
    pub(super) fn options(&self, tier: impl Into<String>) -> ImportOptions {
        ImportOptions {
            tier: tier.into(),
            labels: self.labels.clone(),
            exit: Some(Exit::new(self.criterion, self.threshold)),
            input_scale: self.scale,
            input_offset: self.offset,
            ..ImportOptions::default()
        }
    }
}

/// Says that a sub-model was written.
pub(super) fn wrote(
    out: &mut impl Write,
    path: &Path,
    sub_model: &SubModel,
) -> std::io::Result<()> {
    writeln!(
        out,
        "wrote {}  version {}  {} parameters  {} bytes",
        path.display(),
        sub_model.version(),
        sub_model.parameters(),
        sub_model.bytes()
    )
}

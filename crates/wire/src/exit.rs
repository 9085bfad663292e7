//! Exit criteria by name: what turns the output of an exit into a confidence in [0, 1].
//!
//! The computation lives with the engine; here is only the name, because a pipeline file, a model artefact
//! and an answer's headers must agree on it.

use std::fmt;
use std::str::FromStr;

/// How the confidence of an exit is computed from its softmax output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExitCriterion {
    /// The largest softmax probability p₁ (Bueno et al., 2024; Kafka-ML).
    #[default]
    MaxSoftmax,
    /// The largest softmax probability less the second largest, p₁ − p₂.
    Margin,
    /// 1 − H / ln C, where H = −Σ p ln p over the C classes: the entropy of `BranchyNet` (Teerapittayanon et
    /// al., 2016), normalised as in DDNN (2017) and turned around, so that here too larger is surer. 1 is
    /// certain of one class, 0 says all are equally likely.
    Entropy,
}

impl ExitCriterion {
    /// Every criterion, in the order in which help texts and errors list them.
    pub const ALL: [Self; 3] = [Self::MaxSoftmax, Self::Margin, Self::Entropy];
    /// Their names, as errors list them.
    pub const EXPECTED: &'static str = "`max-softmax`, `margin` or `entropy`";

    /// The name in configuration, metadata and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxSoftmax => "max-softmax",
            Self::Margin => "margin",
            Self::Entropy => "entropy",
        }
    }
}

impl fmt::Display for ExitCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A criterion that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an exit criterion; expected {expected}", expected = ExitCriterion::EXPECTED)]
pub struct UnknownCriterion(String);

impl FromStr for ExitCriterion {
    type Err = UnknownCriterion;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|criterion| criterion.name() == name)
            .ok_or_else(|| UnknownCriterion(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_criterion_is_found_by_its_name() {
        for criterion in ExitCriterion::ALL {
            assert_eq!(criterion.to_string().parse::<ExitCriterion>().unwrap(), criterion);
        }
        let error = "entropie".parse::<ExitCriterion>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`entropie` is not an exit criterion; expected `max-softmax`, `margin` or `entropy`"
        );
    }
}

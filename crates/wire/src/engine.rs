//! Engines by name: what computes a sub-model.
//!
//! The engines are `model`'s; here is only the name, because a pipeline file and the command line must agree on it.

use std::fmt;
use std::str::FromStr;

/// What computes a sub-model. Results are the same but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EngineKind {
    /// tract, which is part of every program.
    #[default]
    Tract,
    /// Microsoft's ONNX Runtime, whose shared library a program that was built for it loads when it runs.
    OnnxRuntime,
}

impl EngineKind {
    /// Every engine, in the order in which help texts and errors list them.
    pub const ALL: [Self; 2] = [Self::Tract, Self::OnnxRuntime];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An engine that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an engine; expected `tract` or `onnxruntime`")]
pub struct UnknownEngine(String);

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_found_by_its_name() {
        for engine in EngineKind::ALL {
            assert_eq!(engine.to_string().parse::<EngineKind>().unwrap(), engine);
        }
        let error = "torch".parse::<EngineKind>().unwrap_err().to_string();
        assert_eq!(error, "`torch` is not an engine; expected `tract` or `onnxruntime`");
    }
}

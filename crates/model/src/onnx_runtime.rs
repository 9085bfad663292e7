//! ONNX Runtime as a second engine, in programs that are built with the feature `onnxruntime`.
//!
//! Its shared library is loaded with the first sub-model that asks for it: the file that `ORT_DYLIB_PATH` names, else
//! the one that the system's loader finds. Each engine has a session of its own, and with it its own copy of the
//! weights, on one thread, and gives it any number of samples as one batch.
//!
//! A sub-model is checked and described as for tract, so that what tract does not load is not run here either. In other
//! programs no [`Session`] can be made, and the error says how to build one of these.

use crate::engine::Output;
use crate::{ModelError, SubModel};

#[cfg(feature = "onnxruntime")]
pub(crate) use loaded::Session;

#[cfg(not(feature = "onnxruntime"))]
pub(crate) enum Session {}

#[cfg(not(feature = "onnxruntime"))]
impl Session {
    pub(crate) fn new(sub_model: &SubModel, _file: &[u8]) -> Result<Session, ModelError> {
        Err(ModelError::NoOnnxRuntime { name: sub_model.name().to_owned() })
    }

    pub(crate) fn run(
        &mut self,
        _sub_model: &SubModel,
        _fed: &[f32],
        _output: &mut Output,
    ) -> Result<(), ModelError> {
        match *self {}
    }
}

#[cfg(feature = "onnxruntime")]
mod loaded {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    use std::error::Error as _;
    use std::fmt::Display;
    use std::path::PathBuf;

    use ort::LoadDynamicError;
    use ort::logging::LogLevel;
    use ort::value::TensorRef;
    use tract_onnx::prelude::{TractError, TractResult};
    use tract_onnx::tract_hir::internal::{TractErrorContext, format_err};

    use super::{ModelError, Output, SubModel};
    use crate::sub_model::guarded;

    /// Names the shared library; `ort` itself goes by it too.
    const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

    pub(crate) struct Session {
        session: ort::session::Session,
    }

    impl Session {
        pub(crate) fn new(sub_model: &SubModel, file: &[u8]) -> Result<Session, ModelError> {
            load_library(sub_model.name())?;
            let session = guarded(sub_model.name(), "load it into ONNX Runtime", || {
                let builder = ort::session::Session::builder().map_err(to_tract)?;
                let builder = builder.with_intra_threads(1).map_err(to_tract)?;
                let mut builder = builder.with_log_level(LogLevel::Error).map_err(to_tract)?;
                builder.commit_from_memory(file).map_err(to_tract)
            })?;
            Ok(Session { session })
        }

        /// Runs what the network is fed, and adds what it gives to the output.
        pub(crate) fn run(
            &mut self,
            sub_model: &SubModel,
            fed: &[f32],
            output: &mut Output,
        ) -> Result<(), ModelError> {
            let (input, features, exit) = sub_model.names();
            let shape: Vec<usize> =
                [output.samples].iter().chain(sub_model.input_shape()).copied().collect();
            guarded(sub_model.name(), "run it in ONNX Runtime", || {
                let fed = TensorRef::from_array_view((shape, fed)).map_err(to_tract)?;
                let results = self.session.run(ort::inputs![input => fed]).map_err(to_tract)?;
                let take = |name: &str, expected: usize, to: &mut Vec<f32>| -> TractResult<()> {
                    let result =
                        results.get(name).with_context(|| format!("no output `{name}`"))?;
                    let (shape, values) = result.try_extract_tensor::<f32>().map_err(to_tract)?;
                    if values.len() != expected {
                        return Err(format_err!(
                            "output `{name}` has shape {shape:?}, expected {expected} values"
                        ));
                    }
                    to.extend_from_slice(values);
                    Ok(())
                };
                take(exit, output.samples * output.classes, &mut output.exit)?;
                if let (Some(name), Some(to)) = (features, &mut output.features) {
                    let row: usize = sub_model.features_shape().into_iter().flatten().product();
                    take(name, output.samples * row, to)?;
                }
                Ok(())
            })
        }
    }

    /// Loads the shared library unless that has happened. A failure is not remembered.
    fn load_library(name: &str) -> Result<(), ModelError> {
        let default = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
        let given = std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty());
        let path = given.map_or_else(|| PathBuf::from(&default), PathBuf::from);
        let builder = ort::init_from(&path).map_err(|error| ModelError::OnnxRuntimeLibrary {
            name: name.to_owned(),
            path,
            reason: reason(&error),
            default,
        })?;
        // `false` says that an environment is there already.
        builder.with_telemetry(false).commit();
        Ok(())
    }

    /// Without the path, which the system's own words have.
    fn reason(error: &LoadDynamicError) -> String {
        match error {
            LoadDynamicError::Dlopen { error, .. } => {
                error.source().map_or_else(|| error.to_string(), ToString::to_string)
            }
            other => other.to_string(),
        }
    }

    fn to_tract(error: impl Display) -> TractError {
        format_err!("{error}")
    }
}

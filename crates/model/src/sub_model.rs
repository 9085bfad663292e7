//! A loaded sub-model: checked, described, and ready to be given engines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModelExt;
use tract_onnx::tract_hir::internal::{DimLike, TractErrorContext};

use crate::engine::{Engine, Plans};
use crate::onnx::check::{self, MAX_ELEMENTS, Signature};
use crate::{EngineKind, Metadata, ModelError};

/// The most bytes that a sub-model's file may have. Tiers are small by intent; this only keeps a
/// wrong path from filling the memory.
pub(crate) const MAX_BYTES: u64 = 512 << 20;

/// A validated sub-model. Cheap to clone, and shared between threads; each thread runs its own
/// [`Engine`].
#[derive(Clone)]
pub struct SubModel {
    inner: Arc<Inner>,
    /// The file's, unless it was replaced.
    temperature: f32,
    /// The file, of which ONNX Runtime makes its sessions; `None` where tract computes.
    onnx_runtime: Option<Arc<[u8]>>,
}

struct Inner {
    name: String,
    version: String,
    bytes: usize,
    metadata: Metadata,
    signature: Signature,
    features_shape: Option<Vec<usize>>,
    classes: usize,
    operators: BTreeMap<String, usize>,
    plans: Plans,
}

/// One input or output of a sub-model, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSummary {
    /// The name in the file.
    pub name: String,
    /// The shape of one sample.
    pub shape: Vec<usize>,
    /// The type of the values.
    pub data_type: &'static str,
}

impl SubModel {
    /// Loads the ONNX file at `path`.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the file, by name: see [`ModelError`]. No content makes it panic.
    pub fn load(path: &Path) -> Result<SubModel, ModelError> {
        SubModel::from_bytes(&path.display().to_string(), &read_bounded(path, MAX_BYTES)?)
    }

    /// Loads the ONNX file at `path`, to be computed by `engine`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), [`ModelError::NoOnnxRuntime`] from a program that was built without it, and
    /// [`ModelError::OnnxRuntimeLibrary`] where its library is not found.
    pub fn load_for(path: &Path, engine: EngineKind) -> Result<SubModel, ModelError> {
        let bytes = read_bounded(path, MAX_BYTES)?;
        let sub_model = SubModel::from_bytes(&path.display().to_string(), &bytes)?;
        if engine == EngineKind::Tract {
            return Ok(sub_model);
        }
        let sub_model = SubModel { onnx_runtime: Some(bytes.into()), ..sub_model };
        // Two samples: it holds a file to the number that it declares, where tract takes any.
        sub_model.try_out(2)?;
        Ok(sub_model)
    }

    /// Loads the ONNX file with this content; `name` is for errors.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<SubModel, ModelError> {
        let model = pb::ModelProto::decode(bytes).map_err(|error| ModelError::NotOnnx {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        let signature = check::check(name, &model)?;
        let defaults =
            Metadata { input_shape: signature.input_shape.clone(), ..Metadata::default() };
        let metadata = defaults.with_properties(
            name,
            model.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())),
        )?;
        let mut operators = BTreeMap::new();
        for node in model.graph.iter().flat_map(|graph| &graph.node) {
            *operators.entry(node.op_type.clone()).or_default() += 1;
        }
        let graph = guarded(name, "load it", || load_graph(&model, &signature))?;
        drop(model);
        let shapes = output_shapes(name, &graph, &signature)?;
        let metadata = complete(name, metadata, &signature, shapes.classes)?;
        let plans = Plans::new(name, graph, &signature, &metadata, &shapes);
        let sub_model = SubModel {
            temperature: metadata.temperature,
            onnx_runtime: None,
            inner: Arc::new(Inner {
                name: name.to_owned(),
                version: version(bytes),
                bytes: bytes.len(),
                metadata,
                signature,
                features_shape: shapes.features,
                classes: shapes.classes,
                operators,
                plans,
            }),
        };
        sub_model.try_out(1)?;
        Ok(sub_model)
    }

    /// What the file says about itself, with defaults where it says nothing.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// What the engines of this sub-model divide the logits by before the softmax.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// The same sub-model, weights shared, with another temperature than its file says.
    ///
    /// # Panics
    ///
    /// When `temperature` is not a positive number.
    #[must_use]
    pub fn with_temperature(&self, temperature: f32) -> SubModel {
        assert!(temperature > 0.0 && temperature.is_finite(), "{temperature} is not a temperature");
        SubModel { temperature, ..self.clone() }
    }

    /// What computes it.
    pub fn engine_kind(&self) -> EngineKind {
        match self.onnx_runtime {
            Some(_) => EngineKind::OnnxRuntime,
            None => EngineKind::Tract,
        }
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the file: two sub-models with the same
    /// version are the same file.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The shape of one sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.inner.signature.input_shape
    }

    /// Whether samples of `shape` fit: the same sizes in the same order, where dimensions of one do
    /// not count. A 28×28 image fits a network that takes 28×28×1.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        let sizes = |shape: &[usize]| -> Vec<usize> {
            shape.iter().copied().filter(|&size| size != 1).collect()
        };
        sizes(shape) == sizes(self.input_shape())
    }

    /// The shape of one sample's features, or `None` for a last tier, which has none.
    pub fn features_shape(&self) -> Option<&[usize]> {
        self.inner.features_shape.as_deref()
    }

    /// The number of classes that the exit tells apart.
    pub fn classes(&self) -> usize {
        self.inner.classes
    }

    /// The number of weights.
    pub fn parameters(&self) -> usize {
        self.inner.signature.parameters
    }

    /// The size of the file.
    pub fn bytes(&self) -> usize {
        self.inner.bytes
    }

    /// How often each operator occurs in the file.
    pub fn operators(&self) -> &BTreeMap<String, usize> {
        &self.inner.operators
    }

    /// The input.
    pub fn input(&self) -> TensorSummary {
        summary(&self.inner.signature.input, self.input_shape())
    }

    /// The outputs, features before exit.
    pub fn outputs(&self) -> Vec<TensorSummary> {
        let features = self.inner.signature.features.as_deref().zip(self.features_shape());
        let exit = (self.inner.signature.exit.as_str(), &[self.classes()][..]);
        features.into_iter().chain([exit]).map(|(name, shape)| summary(name, shape)).collect()
    }

    /// An engine for one thread. The engines of a sub-model share its weights.
    ///
    /// # Errors
    ///
    /// [`ModelError::Engine`] where the engine cannot prepare this network.
    pub fn engine(&self) -> Result<Engine, ModelError> {
        Engine::new(self.clone())
    }

    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    /// The names in the file of the input, the features and the exit.
    #[cfg(feature = "onnxruntime")]
    pub(crate) fn names(&self) -> (&str, Option<&str>, &str) {
        let signature = &self.inner.signature;
        (&signature.input, signature.features.as_deref(), &signature.exit)
    }

    /// The file, if ONNX Runtime computes it.
    pub(crate) fn for_onnx_runtime(&self) -> Option<&[u8]> {
        self.onnx_runtime.as_deref()
    }

    pub(crate) fn plans(&self) -> &Plans {
        &self.inner.plans
    }

    /// Runs samples of zeros: what the engine only finds out when it computes is found here, and
    /// not at the first record.
    fn try_out(&self, samples: usize) -> Result<(), ModelError> {
        let zeros = vec![0.0; samples * self.input_shape().iter().product::<usize>()];
        self.engine()?.run(&zeros).map(|_| ())
    }
}

impl std::fmt::Debug for SubModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SubModel")
            .field("name", &self.inner.name)
            .field("version", &self.inner.version)
            .field("signature", &self.inner.signature)
            .finish_non_exhaustive()
    }
}

/// What the outputs hold per sample.
pub(crate) struct OutputShapes {
    pub(crate) features: Option<Vec<usize>>,
    pub(crate) classes: usize,
    /// The number of values in the largest activation.
    pub(crate) largest: usize,
}

/// The network with a symbolic batch dimension, outputs in the order features, exit.
pub(crate) struct BatchGraph {
    pub(crate) graph: TypedModel,
    pub(crate) batch: Symbol,
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, ModelError> {
    let fail = |source| ModelError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(fail)?.len();
    if bytes > max {
        return Err(ModelError::TooLarge { name: path.display().to_string(), bytes, max });
    }
    std::fs::read(path).map_err(fail)
}

/// Calls into the engine. It reports most of what it does not like as errors, but it also indexes,
/// unwraps and asserts on what a malformed file holds; such a panic is that file's error, and must
/// not take down a process that serves other sub-models.
pub(crate) fn guarded<T>(
    name: &str,
    action: &'static str,
    call: impl FnOnce() -> TractResult<T>,
) -> Result<T, ModelError> {
    let fail = |reason| ModelError::Engine { name: name.to_owned(), action, reason };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fail(format!("{error:#}"))),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(fail(format!("it panicked: {}", text.unwrap_or("no reason given"))))
        }
    }
}

fn load_graph(model: &pb::ModelProto, signature: &Signature) -> TractResult<BatchGraph> {
    // Shapes that the exporter noted name the batch dimension in their own way.
    let engine = tract_onnx::onnx().with_ignore_value_info(true);
    let mut graph = engine.model_for_proto_model(model)?;
    let batch = graph.symbols.sym("offramp_batch");
    let shape: TVec<TDim> = std::iter::once(batch.to_dim())
        .chain(signature.input_shape.iter().map(ToDim::to_dim))
        .collect();
    graph.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
    let outlets = signature
        .features
        .iter()
        .chain([&signature.exit])
        .map(|output| {
            let position = model
                .graph
                .iter()
                .flat_map(|graph| &graph.output)
                .position(|declared| declared.name == *output);
            position
                .and_then(|position| graph.outputs.get(position).copied())
                .with_context(|| format!("finding output `{output}`"))
        })
        .collect::<TractResult<Vec<_>>>()?;
    graph.select_output_outlets(&outlets)?;
    // Declared output shapes may fix the batch dimension, which this engine chooses itself.
    for outlet in outlets {
        graph.set_outlet_fact(outlet, InferenceFact::default())?;
    }
    Ok(BatchGraph { graph: graph.into_typed()?.into_decluttered()?, batch })
}

/// The number of values in the largest activation of one sample.
fn largest_activation(name: &str, graph: &BatchGraph) -> Result<usize, ModelError> {
    let one = SymbolValues::default().with(&graph.batch, 1);
    let mut largest = 1;
    for node in graph.graph.nodes() {
        for output in &node.outputs {
            let len = output.fact.shape.iter().try_fold(1usize, |len, size| {
                len.checked_mul(size.eval(&one).to_usize().ok()?).filter(|&len| len <= MAX_ELEMENTS)
            });
            let Some(len) = len else {
                return Err(ModelError::Tensor {
                    name: name.to_owned(),
                    tensor: node.name.clone(),
                    problem: format!(
                        "gives values of shape {:?}, expected at most {MAX_ELEMENTS} per sample",
                        output.fact.shape
                    ),
                });
            };
            // Weights do not grow with the batch.
            if output.fact.konst.is_none() {
                largest = largest.max(len);
            }
        }
    }
    Ok(largest)
}

fn output_shapes(
    name: &str,
    graph: &BatchGraph,
    signature: &Signature,
) -> Result<OutputShapes, ModelError> {
    let largest = largest_activation(name, graph)?;
    let fail = |what, found: String, expected: &str| ModelError::Signature {
        name: name.to_owned(),
        what,
        found,
        expected: expected.to_owned(),
    };
    let mut shapes = Vec::new();
    for outlet in graph.graph.outputs.clone() {
        let fact =
            guarded(name, "find its outputs", || Ok(graph.graph.outlet_fact(outlet)?.clone()))?;
        if fact.datum_type != f32::datum_type() {
            return Err(fail("an output's type", format!("{:?}", fact.datum_type), "F32"));
        }
        let shape: Option<Vec<usize>> =
            fact.shape.iter().skip(1).map(|size| size.to_usize().ok()).collect();
        let by_sample = fact.shape.iter().next().is_some_and(|size| *size == graph.batch.to_dim());
        match shape.filter(|shape| by_sample && !shape.is_empty()) {
            Some(shape) if shape.iter().product::<usize>() <= MAX_ELEMENTS => shapes.push(shape),
            _ => {
                let found = format!("{:?}", fact.shape);
                return Err(fail("an output's shape", found, "the batch, then fixed sizes"));
            }
        }
    }
    let exit = shapes.pop().unwrap_or_default();
    let [classes] = exit[..] else {
        return Err(fail("the exit's shape", format!("{exit:?}"), "one dimension: the classes"));
    };
    debug_assert_eq!(shapes.len(), usize::from(signature.features.is_some()));
    Ok(OutputShapes { features: shapes.pop(), classes, largest })
}

/// Fills in what the file leaves open, and checks what it says against the network.
fn complete(
    name: &str,
    mut metadata: Metadata,
    signature: &Signature,
    classes: usize,
) -> Result<Metadata, ModelError> {
    let fail = |what, found: String, expected: String| ModelError::Signature {
        name: name.to_owned(),
        what,
        found,
        expected,
    };
    if metadata.labels.is_empty() {
        metadata.labels = (0..classes).map(|class| class.to_string()).collect();
    }
    if metadata.labels.len() != classes {
        let found = metadata.labels.len().to_string();
        return Err(fail("the number of labels", found, format!("{classes}, one per class")));
    }
    if metadata.input_shape != signature.input_shape {
        let found = format!("{:?}", metadata.input_shape);
        return Err(fail("`offramp.input_shape`", found, format!("{:?}", signature.input_shape)));
    }
    if let Some(exit) = &metadata.exit
        && !exit.class_thresholds.is_empty()
        && exit.class_thresholds.len() != classes
    {
        let found = exit.class_thresholds.len().to_string();
        return Err(fail(
            "the number of class thresholds",
            found,
            format!("{classes}, one per class"),
        ));
    }
    if metadata.exit.is_some() && signature.features.is_none() {
        metadata.exit = None;
    }
    Ok(metadata)
}

fn summary(name: &str, shape: &[usize]) -> TensorSummary {
    TensorSummary { name: name.to_owned(), shape: shape.to_owned(), data_type: "f32" }
}

fn version(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

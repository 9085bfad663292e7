//! Reading a pipeline file and the sub-models that it names.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use model::SubModel;
use pipeline::{Pipeline, Tier};

use crate::outcome::OrConfig as _;

/// The file that commands read unless told otherwise.
pub(crate) const DEFAULT_FILE: &str = "offramp.toml";

/// Reads and validates a pipeline file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Pipeline> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("pipeline file `{}` (`offramp init` writes one)", path.display()))
        .or_config()?;
    let base = path.parent().unwrap_or(Path::new(""));
    Pipeline::parse(&text, base)
        .map_err(|invalid| anyhow!("{}: {invalid}", path.display()))
        .or_config()
}

/// Loads the sub-models of all tiers and checks that they fit together; reports every problem.
pub(crate) fn load_sub_models(pipeline: &Pipeline) -> anyhow::Result<Vec<SubModel>> {
    let load = |tier: &Tier| SubModel::load_for(&tier.model, tier.engine);
    let loaded: Vec<_> = pipeline.tiers.iter().map(load).collect();
    let mut problems: Vec<String> = loaded
        .iter()
        .zip(&pipeline.tiers)
        .filter_map(|(sub_model, tier)| {
            let error = sub_model.as_ref().err()?;
            Some(format!("tier `{}`: {:#}", tier.name, anyhow!(error.to_string())))
        })
        .collect();
    for (tier, sub_model) in pipeline.tiers.iter().zip(&loaded) {
        if let (Some(shape), Ok(sub_model)) = (&tier.shape, sub_model)
            && !sub_model.accepts(shape)
        {
            problems.push(format!(
                "tier `{}`: `shape` is {shape:?}, expected {:?} as its sub-model takes",
                tier.name,
                sub_model.input_shape()
            ));
        }
    }
    for (tier, sub_model) in pipeline.tiers.iter().zip(&loaded) {
        if let Ok(sub_model) = sub_model
            && let Err(misfit) = function::tier::exit_of(sub_model, &tier.exit)
        {
            problems.push(format!("tier `{}`, exit: {misfit}", tier.name));
        }
    }
    for at in 1..loaded.len() {
        if let (Ok(lower), Ok(upper)) = (&loaded[at - 1], &loaded[at]) {
            problems
                .extend(mismatch((&pipeline.tiers[at - 1], lower), (&pipeline.tiers[at], upper)));
        }
    }
    if problems.is_empty() {
        return Ok(loaded.into_iter().filter_map(Result::ok).collect());
    }
    Err(anyhow!("{}", problems.join("\n  "))).or_config()
}

fn mismatch(lower: (&Tier, &SubModel), upper: (&Tier, &SubModel)) -> Option<String> {
    let (upper_name, upper) = (&upper.0.name, upper.1);
    let (lower_name, lower) = (&lower.0.name, lower.1);
    let Some(features) = lower.features_shape() else {
        return Some(format!(
            "tier `{lower_name}`: its sub-model has no `features` output, expected one for tier `{upper_name}`"
        ));
    };
    if !upper.accepts(features) {
        return Some(format!(
            "tier `{upper_name}`: its sub-model takes {:?}, expected {features:?}, the features of tier \
             `{lower_name}`",
            upper.input_shape(),
        ));
    }
    if lower.classes() != upper.classes() {
        return Some(format!(
            "tier `{upper_name}`: its sub-model has {} classes, expected {} as tier `{lower_name}`",
            upper.classes(),
            lower.classes()
        ));
    }
    None
}

/// The positions of the tiers with these names, or of all where none is named.
pub(crate) fn select(pipeline: &Pipeline, names: &[String]) -> anyhow::Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..pipeline.tiers.len()).collect());
    }
    let known: Vec<&str> = pipeline.tiers.iter().map(|tier| tier.name.as_str()).collect();
    let find = |name: &String| {
        let Some(at) = known.iter().position(|known| known == name) else {
            bail!("`{name}` is not a tier of this pipeline, expected one of: {}", known.join(", "));
        };
        Ok(at)
    };
    names.iter().map(find).collect::<anyhow::Result<_>>().or_config()
}

//! From the text of a recipe to a [`Recipe`].

use tables::{Invalid, Table};

use super::layer::{Layer, Pooling, Shape, Window};
use super::{Augmentation, Distillation, Input, Recipe, TierRecipe};

/// As many as a pipeline may have.
const MAX_TIERS: usize = 16;
/// Bounds that no sensible recipe meets; they keep a slip of the pen from filling the memory.
const MAX_LAYERS: usize = 64;
const MAX_WIDTH: u64 = 1 << 16;
const MAX_WINDOW: u64 = 64;
/// A label is one byte.
const MAX_CLASSES: usize = 256;

const NAME: &str = "a name of letters, digits, `-` and `_`, at most 100 long";
const KINDS: &str =
    "\"dense\", \"conv\", \"max-pool\", \"average-pool\", \"bottleneck\", \"dropout\" or \"exit\"";

pub(super) fn recipe(text: &str) -> Result<Recipe, Invalid> {
    tables::read(text, root)
}

fn root(root: Table<'_, '_>) -> Recipe {
    let labels = labels(&root);
    let input = input(&root);
    let is_image = input.as_ref().is_some_and(|(_, shape)| matches!(shape, Shape::Image { .. }));
    let epochs = root.whole("epochs", 1..=100_000);
    if !root.has("epochs") {
        root.missing("epochs", "how often each sample is seen");
    }
    let epochs = epochs.unwrap_or(1) as usize;
    let recipe = Recipe {
        name: required_name(&root),
        epochs,
        batch_size: root.whole("batch_size", 1..=65_536).unwrap_or(128) as usize,
        learning_rate: root.number("learning_rate", 0.0..=1e6).unwrap_or(2e-3),
        warm_up_epochs: warm_up(&root, epochs),
        weight_decay: root.number("weight_decay", 0.0..=1e6).unwrap_or(1e-4),
        seed: root.whole("seed", 0..=i64::MAX as u64).unwrap_or(1),
        validation: root.number("validation", 0.0..=0.9).unwrap_or(0.1),
        patience: root.whole("patience", 1..=100_000).map(|epochs| epochs as usize),
        augmentation: augmentation(&root, is_image),
        distillation: distillation(&root),
        tiers: tiers(&root, input.as_ref().map(|(_, shape)| *shape)),
        input: input
            .map_or(Input { shape: Vec::new(), scale: 1.0, offset: 0.0 }, |(input, _)| input),
        labels,
    };
    if recipe.patience.is_some() && recipe.validation == 0.0 {
        root.problem("patience", "is set, but `validation` is 0: nothing says when to stop");
    }
    root.finish();
    recipe
}

fn required_name(table: &Table<'_, '_>) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match table.text("name", NAME) {
        Some(name) if name.len() > 100 || !name.chars().all(legal) => {
            table.problem("name", format!("is \"{name}\", expected {NAME}"));
            String::new()
        }
        Some(name) => name.to_owned(),
        None => {
            if !table.has("name") {
                table.missing("name", NAME);
            }
            String::new()
        }
    }
}

fn labels(root: &Table<'_, '_>) -> Vec<String> {
    const LABELS: &str = "a list of names, one per class, as [\"cat\", \"dog\"]";
    if !root.has("labels") {
        root.missing("labels", LABELS);
    }
    let Some(labels) = root.texts("labels", LABELS) else { return Vec::new() };
    if !(2..=MAX_CLASSES).contains(&labels.len()) {
        let text = format!("has {} names, expected 2 to {MAX_CLASSES}", labels.len());
        root.problem("labels", text);
    }
    for (at, label) in labels.iter().enumerate() {
        if labels[..at].contains(label) {
            root.problem("labels", format!("has \"{label}\" twice, expected each name once"));
        }
    }
    labels.into_iter().map(str::to_owned).collect()
}

fn input(root: &Table<'_, '_>) -> Option<(Input, Shape)> {
    const INPUT: &str = "a table as { shape = [28, 28] }";
    const SHAPE: &str = "[rows, columns], [rows, columns, channels] or [length]";
    if !root.has("input") {
        root.missing("input", INPUT);
    }
    let table = root.table("input", INPUT)?;
    if !table.has("shape") {
        table.missing("shape", SHAPE);
    }
    let sizes = table.lengths("shape");
    let scale = table.number("scale", -1e9..=1e9).unwrap_or(1.0) as f32;
    let offset = table.number("offset", -1e9..=1e9).unwrap_or(0.0) as f32;
    let sizes = sizes.and_then(|sizes| {
        let shape = Shape::of(&sizes);
        if shape.is_none() {
            table.problem("shape", format!("is {sizes:?}, expected {SHAPE}"));
        }
        Some((Input { shape: sizes, scale, offset }, shape?))
    });
    table.finish();
    sizes
}

fn warm_up(root: &Table<'_, '_>, epochs: usize) -> usize {
    let warm_up = root.whole("warm_up_epochs", 0..=100_000).unwrap_or(0) as usize;
    if warm_up >= epochs && warm_up > 0 {
        root.problem(
            "warm_up_epochs",
            format!("is {warm_up}, expected less than `epochs`, {epochs}"),
        );
    }
    warm_up
}

fn augmentation(root: &Table<'_, '_>, is_image: bool) -> Augmentation {
    let Some(table) = root.table("augment", "a table as { shift_pixels = 1 }") else {
        return Augmentation::default();
    };
    if !is_image {
        root.problem("augment", "is set, but samples are no images: remove it");
    }
    let augmentation = Augmentation {
        shift_pixels: table.whole("shift_pixels", 0..=1024).unwrap_or(0) as usize,
        rotate_degrees: table.number("rotate_degrees", 0.0..=180.0).unwrap_or(0.0) as f32,
        scale: table.number("scale", 0.0..=0.9).unwrap_or(0.0) as f32,
    };
    table.finish();
    augmentation
}

fn distillation(root: &Table<'_, '_>) -> Option<Distillation> {
    let table = root.table("distill", "a table as { weight = 0.5, temperature = 2.0 }")?;
    if !table.has("weight") {
        table.missing("weight", "a number from 0 to 1");
    }
    let distillation = Distillation {
        weight: table.share("weight").unwrap_or(0.0) as f32,
        temperature: table.number("temperature", 0.1..=100.0).unwrap_or(2.0) as f32,
    };
    table.finish();
    Some(distillation)
}

fn tiers(root: &Table<'_, '_>, mut shape: Option<Shape>) -> Vec<TierRecipe> {
    if !root.has("tier") {
        root.missing("tier", "at least one [[tier]] table");
    }
    let tables = root.tables("tier", "[[tier]] tables");
    let count = tables.len();
    if root.has("tier") && !(1..=MAX_TIERS).contains(&count) {
        root.problem("tier", format!("occurs {count} times, expected 1 to {MAX_TIERS}"));
    }
    let mut tiers: Vec<TierRecipe> = Vec::with_capacity(count);
    for (at, mut table) in tables.into_iter().enumerate() {
        let name = required_name(&table);
        if tiers.iter().any(|tier| tier.name == name && !name.is_empty()) {
            table.problem("name", "is the name of another tier too, expected one of its own");
        }
        if !name.is_empty() {
            table.rename(format!("tier `{name}`"));
        }
        let last = at + 1 == count;
        if last && table.has("threshold") {
            table.problem("threshold", "is set, but the last tier always answers: remove it");
        }
        tiers.push(TierRecipe {
            layers: layers(&table, &mut shape, last),
            exit_weight: table.number("exit_weight", 0.0..=1e6).unwrap_or(1.0) as f32,
            threshold: (!last).then(|| table.share("threshold").unwrap_or(0.9)),
            name,
        });
        table.finish();
    }
    tiers
}

fn layers(tier: &Table<'_, '_>, shape: &mut Option<Shape>, last: bool) -> Vec<Layer> {
    const LAYERS: &str =
        "a list of layers, as [{ kind = \"dense\", width = 32 }, { kind = \"exit\" }]";
    if !tier.has("layers") {
        tier.missing("layers", LAYERS);
        return Vec::new();
    }
    let tables = tier.tables("layers", LAYERS);
    if tables.len() > MAX_LAYERS {
        tier.problem(
            "layers",
            format!("has {} layers, expected at most {MAX_LAYERS}", tables.len()),
        );
    }
    let mut layers: Vec<Layer> = Vec::with_capacity(tables.len());
    let mut unknown = false;
    for table in tables {
        let exited = layers.contains(&Layer::Exit);
        let layer = layer(&table);
        unknown |= layer.is_none();
        if let Some(layer) = &layer {
            match layer {
                Layer::Exit if exited => {
                    table.problem("kind", "is \"exit\" once more, expected one a tier");
                }
                _ if exited && last => {
                    table.problem("kind", "is after the exit, which ends the last tier: remove it");
                }
                _ => {}
            }
            // Behind a layer that does not fit nothing can be said to fit or not.
            *shape = shape.and_then(|input| match layer.output(input) {
                Ok(output) => Some(output),
                Err((key, text)) => {
                    table.problem(key, text);
                    None
                }
            });
        } else {
            *shape = None;
        }
        layers.extend(layer);
        table.finish();
    }
    if !unknown && !layers.contains(&Layer::Exit) {
        tier.problem("layers", "has no exit, expected { kind = \"exit\" }");
    }
    layers
}

fn layer(table: &Table<'_, '_>) -> Option<Layer> {
    let kind = table.text("kind", KINDS);
    if !table.has("kind") {
        table.missing("kind", KINDS);
    }
    let width = |key| {
        if !table.has(key) {
            table.missing(key, &format!("a whole number from 1 to {MAX_WIDTH}"));
        }
        table.whole(key, 1..=MAX_WIDTH).map(|width| width as usize)
    };
    match kind? {
        "dense" => Some(Layer::Dense { width: width("width")? }),
        "bottleneck" => Some(Layer::Bottleneck { width: width("width")? }),
        "conv" => {
            let (channels, window) = (width("channels"), window(table, |_| 1));
            Some(Layer::Conv { channels: channels?, window: window? })
        }
        "max-pool" => {
            Some(Layer::Pool { pooling: Pooling::Max, window: window(table, |size| size)? })
        }
        "average-pool" => {
            Some(Layer::Pool { pooling: Pooling::Average, window: window(table, |size| size)? })
        }
        "dropout" => {
            if !table.has("rate") {
                table.missing("rate", "a number from 0 to 0.95");
            }
            Some(Layer::Dropout { rate: table.number("rate", 0.0..=0.95)? as f32 })
        }
        "exit" => Some(Layer::Exit),
        kind => {
            table.problem("kind", format!("is \"{kind}\", expected {KINDS}"));
            None
        }
    }
}

/// A window whose stride, unless it is set, depends on its size.
fn window(table: &Table<'_, '_>, default_stride: impl Fn(usize) -> usize) -> Option<Window> {
    if !table.has("kernel") {
        table.missing("kernel", &format!("a whole number from 1 to {MAX_WINDOW}"));
    }
    let size = table.whole("kernel", 1..=MAX_WINDOW).map(|size| size as usize);
    let stride = table.whole("stride", 1..=MAX_WINDOW).map(|stride| stride as usize);
    let padding = table.whole("padding", 0..=MAX_WINDOW - 1).unwrap_or(0) as usize;
    let size = size?;
    if size <= padding {
        // A window of nothing but padding would have no largest value.
        table.problem("padding", format!("is {padding}, expected less than `kernel`, {size}"));
        return None;
    }
    Some(Window { size, stride: stride.unwrap_or_else(|| default_stride(size)), padding })
}

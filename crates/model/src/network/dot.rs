//! Draws a network in Graphviz's language (`offramp model show --dot`).
//!
//! ```text
//! digraph "net" {
//!   t0 [label="input\n28×28×1", shape=ellipse];
//!   n0 [label="Conv\nconv1\n28×28×8\n56.4 k MACs"];
//!   t0 -> n0;
//! }
//! ```

use std::collections::HashMap;
use std::fmt::Write as _;

use super::{Network, Operation};

impl Network {
    /// The network as a directed graph in Graphviz's language: a box for each node, but for those that only hold
    /// constants, and an ellipse for the input and for each output.
    pub fn dot(&self) -> String {
        let mut text = format!(
            "digraph {} {{\n  node [shape=box, fontname=\"sans-serif\"];\n",
            quoted(&self.name)
        );
        let mut places: HashMap<&str, String> = HashMap::new();
        let input = format!("{}\n{}", self.input, sizes(&self.input_shape));
        line(&mut text, format_args!("input [label={}, shape=ellipse];", quoted(&input)));
        places.insert(&self.input, "input".to_owned());
        for (at, (node, layer)) in self.graph().node.iter().zip(&self.layers).enumerate() {
            if layer.operator == "Constant" {
                continue;
            }
            line(&mut text, format_args!("n{at} [label={}];", quoted(&label(layer))));
            let mut sources: Vec<&String> =
                node.input.iter().filter_map(|input| places.get(input.as_str())).collect();
            sources.sort();
            sources.dedup();
            for source in sources {
                line(&mut text, format_args!("{source} -> n{at};"));
            }
            places.extend(node.output.iter().map(|output| (output.as_str(), format!("n{at}"))));
        }
        for (at, output) in self.outputs().iter().enumerate() {
            let label = format!("{}\n{}", output.name, sizes(&output.shape));
            line(&mut text, format_args!("o{at} [label={}, shape=ellipse];", quoted(&label)));
            if let Some(source) = places.get(output.name.as_str()) {
                line(&mut text, format_args!("{source} -> o{at};"));
            }
        }
        text.push_str("}\n");
        text
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "  {content}").expect("writing to a string does not fail");
}

fn label(layer: &Operation) -> String {
    let mut label = format!("{}\n{}", layer.operator, layer.name);
    if let Some(shape) = &layer.shape {
        label = format!("{label}\n{}", sizes(shape));
    }
    if layer.macs > 0 {
        label = format!("{label}\n{} MACs", layer.macs);
    }
    label
}

/// `28×28×1`.
fn sizes(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// A string of Graphviz's: quotes and backslashes are escaped, ends of lines written as `\n`.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            character if character.is_control() => quoted.push(' '),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

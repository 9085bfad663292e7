//! The recipes that travel in the program, and those of other people.

use anyhow::{Context as _, anyhow};
use train::Recipe;

const SHIPPED: [(&str, &str); 2] = [
    ("mnist-dense", include_str!("../../../../../models/recipes/mnist-dense.toml")),
    ("mnist-conv", include_str!("../../../../../models/recipes/mnist-conv.toml")),
];
/// A recipe is a page of text; this only keeps a wrong path from filling the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Loads the recipe that is shipped as `name`, or the file of that name.
pub(super) fn load(name: &str) -> anyhow::Result<Recipe> {
    if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
        return Ok(Recipe::parse(text).expect("a shipped recipe is valid"));
    }
    let text = read(name).with_context(|| {
        let shipped = SHIPPED.map(|(name, _)| name).join(", ");
        format!("recipe `{name}`, expected a TOML file or one of {shipped}")
    })?;
    Recipe::parse(&text).map_err(|invalid| anyhow!("recipe `{name}`: {invalid}"))
}

fn read(path: &str) -> anyhow::Result<String> {
    let bytes = std::fs::metadata(path)?.len();
    anyhow::ensure!(bytes <= MAX_BYTES, "it has {bytes} bytes, expected at most {MAX_BYTES}");
    Ok(std::fs::read_to_string(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_recipes_are_valid_and_called_what_they_are() {
        for (name, _) in SHIPPED {
            assert_eq!(load(name).unwrap().name(), name);
        }
    }

    #[test]
    fn a_recipe_that_is_not_there_is_named_with_those_that_are() {
        let error = format!("{:#}", load("mnist-deep").unwrap_err());
        assert!(
            error.starts_with(
                "recipe `mnist-deep`, expected a TOML file or one of mnist-dense, mnist-conv: "
            ),
            "{error}"
        );
    }
}

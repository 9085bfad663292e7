//! TOML files read as typed values, every problem of a file reported together.
//!
//! [`read`] parses a text and hands its root [`Table`] to the caller, who asks it for values. What does not fit is
//! noted with its line, key, value and what was expected, and reading goes on; keys that nobody asked for are noted
//! too. The result is the caller's value, or everything that is wrong ([`Invalid`]).
//!
//! What the keys mean is the caller's business: `pipeline` reads pipelines with it, `train` recipes.

mod problem;
mod table;

use std::cell::RefCell;

use toml::de::DeTable;

pub use problem::{Invalid, Problem};
pub use table::Table;

use problem::Problems;

/// Reads `text` with `read`, which takes the root table.
///
/// # Errors
///
/// All problems of the text, in the order of its lines.
pub fn read<T>(text: &str, read: impl FnOnce(Table<'_, '_>) -> T) -> Result<T, Invalid> {
    let problems = RefCell::new(Problems::new(text));
    let (document, errors) = DeTable::parse_recoverable(text);
    let is_toml = errors.is_empty();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        problems.borrow_mut().add(at, format!("not TOML: {}", error.message()));
    }
    // What is read out of half a document would be reported as wrong or missing without being so.
    let value =
        is_toml.then(|| read(Table::new("", document.span(), document.get_ref(), &problems)));
    let value = problems.into_inner().finish(value)?;
    Ok(value.expect("a text that is not TOML has a problem"))
}

//! How an exit's settings, and those of what leaves it, stand in options of the command line.

use wire::Encoding;

/// A threshold: a number from 0 to 1.
pub(crate) fn threshold(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// A temperature: a number more than 0.
pub(crate) fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(temperature) if temperature > 0.0 && temperature.is_finite() => Ok(temperature),
        _ => Err("expected a number more than 0".to_owned()),
    }
}

/// The threshold of one predicted class: `LABEL=THRESHOLD`. The label may hold `=` itself.
pub(crate) fn class_threshold(text: &str) -> Result<(String, f64), String> {
    let expected = || "expected LABEL=THRESHOLD, as 7=0.9".to_owned();
    let (label, number) = text.rsplit_once('=').ok_or_else(expected)?;
    if label.is_empty() {
        return Err(expected());
    }
    Ok((label.to_owned(), threshold(number)?))
}

/// How features are written.
pub(crate) fn features(text: &str) -> Result<Encoding, String> {
    let found = Encoding::OF_FEATURES.into_iter().find(|encoding| encoding.name() == text);
    found.ok_or_else(|| "expected json, f32, f16 or int8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_says_what_it_expects() {
        assert_eq!(class_threshold("a=b=0.5"), Ok(("a=b".to_owned(), 0.5)));
        for text in ["7", "=0.5", "7=2", "7=NaN"] {
            assert!(class_threshold(text).unwrap_err().starts_with("expected"), "{text}");
        }
        assert!(
            temperature("0").is_err() && temperature("inf").is_err() && threshold("1.1").is_err()
        );
        assert_eq!(features("u8"), Err("expected json, f32, f16 or int8".to_owned()));
    }
}

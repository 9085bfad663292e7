//! Samples from a labelled topic: the value is the sample, the key its label.
//!
//! This is how Kafka-ML is fed. A key is a label as text (a class's name, or its number) or as one byte, its number.
//! A value is a JSON list or raw little-endian elements. The topic is read from its beginning to where it ended when
//! reading began; records without a value, which say that a key was deleted, are passed over.

use anyhow::{Context as _, bail};
use kafka::{Event, Reader, Start};
use model::dataset::Dataset;
use train::{Recipe, Samples};
use wire::{Encoding, Record};

use crate::outcome::OrConfig as _;

/// The most values that samples may have in all: 1 GiB of bytes, or 4 GiB of numbers.
const MAX_VALUES: usize = 1 << 30;
/// The most of a key that a message shows.
const SHOWN: usize = 40;

/// Reads all samples of a topic.
pub(super) async fn read(
    servers: &str,
    topic: &str,
    encoding: Encoding,
    recipe: &Recipe,
) -> anyhow::Result<Samples> {
    let reader = Reader::open(servers, &[topic], None, Start::Beginning).await?;
    let mut samples = Reading::new(encoding, recipe);
    // Partitions arrive as they come; what is learnt must not depend on that.
    let mut places: Vec<(i32, i64)> = Vec::new();
    while let Event::Record(source, record) = reader.next().await? {
        let place =
            || format!("topic `{topic}`, partition {}, offset {}", source.partition, source.offset);
        if samples.add(&record).with_context(place).or_config()? {
            places.push((source.partition, source.offset));
        }
    }
    samples.finish(&places).with_context(|| format!("topic `{topic}`")).or_config()
}

/// The samples that were read so far.
struct Reading<'a> {
    recipe: &'a Recipe,
    encoding: Encoding,
    len: usize,
    bytes: Vec<u8>,
    numbers: Vec<f32>,
    labels: Vec<u8>,
}

impl<'a> Reading<'a> {
    fn new(encoding: Encoding, recipe: &'a Recipe) -> Self {
        let len = recipe.input_shape().iter().product();
        Self { recipe, encoding, len, bytes: Vec::new(), numbers: Vec::new(), labels: Vec::new() }
    }

    /// Adds a record's sample; false where it has none.
    fn add(&mut self, record: &Record) -> anyhow::Result<bool> {
        let Some(value) = &record.value else { return Ok(false) };
        let key = record.key.as_deref().context("the record has no key, expected its label")?;
        let label = label(key, self.recipe.labels())?;
        if self.len * (self.labels.len() + 1) > MAX_VALUES {
            bail!("the samples before have {MAX_VALUES} values, expected no more than that");
        }
        if self.encoding == Encoding::U8 {
            // The bytes themselves: a quarter of the memory.
            if value.len() != self.len {
                bail!(
                    "the value has {} bytes, expected {} as a sample of {:?}",
                    value.len(),
                    self.len,
                    self.recipe.input_shape()
                );
            }
            self.bytes.extend_from_slice(value);
        } else {
            let read = self.encoding.decode(value, self.recipe.input_shape());
            let (values, samples) = read.map_err(|reject| anyhow::anyhow!("{}", reject.reason))?;
            if samples != 1 {
                bail!("the value holds {samples} samples, expected one: it has one label");
            }
            self.numbers.extend(values);
        }
        self.labels.push(label);
        Ok(true)
    }

    /// The samples in the order of their places.
    fn finish(self, places: &[(i32, i64)]) -> anyhow::Result<Samples> {
        if self.labels.is_empty() {
            bail!("there is no sample, expected records with a value");
        }
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&at| places[at]);
        let labels = order.iter().map(|&at| self.labels[at]).collect();
        let shape = self.recipe.input_shape().to_vec();
        Ok(if self.encoding == Encoding::U8 {
            Samples::Bytes(Dataset {
                shape,
                samples: sorted(&self.bytes, self.len, &order),
                labels,
            })
        } else {
            Samples::Numbers(Dataset {
                shape,
                samples: sorted(&self.numbers, self.len, &order),
                labels,
            })
        })
    }
}

fn sorted<T: Copy>(values: &[T], len: usize, order: &[usize]) -> Vec<T> {
    order.iter().flat_map(|&at| &values[at * len..(at + 1) * len]).copied().collect()
}

/// The class that a key names.
fn label(key: &[u8], labels: &[String]) -> anyhow::Result<u8> {
    let number = |number: usize| (number < labels.len()).then_some(number as u8);
    let text = std::str::from_utf8(key).ok();
    // A class called `7` is that one, wherever it stands in the list.
    let by_name = text.and_then(|text| number(labels.iter().position(|label| label == text)?));
    let by_number = || text.and_then(|text| number(text.parse().ok()?));
    let by_byte = || if let [byte] = key { number(usize::from(*byte)) } else { None };
    by_name.or_else(by_number).or_else(by_byte).with_context(|| {
        let shown =
            String::from_utf8_lossy(&key[..key.len().min(SHOWN)]).escape_debug().to_string();
        let named: Vec<&str> = labels.iter().take(20).map(String::as_str).collect();
        format!(
            "the key is \"{shown}\", expected a label: one of {}, or its number below {}",
            named.join(", "),
            labels.len()
        )
    })
}

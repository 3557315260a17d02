//! An array in a command: counted to its end, kept up to its limit.

use std::fmt;

use serde::{
    Deserializer as _,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The raw items of an array.
pub(super) struct List<'de> {
    /// The first items, as many as the limit allows.
    pub(super) kept: Vec<&'de str>,
    /// How many there are, those beyond the limit included.
    pub(super) count: usize,
}

impl<'de> List<'de> {
    /// Reads a raw value whose syntax is known to be right; `None` when it is no array.
    pub(super) fn read(raw: &'de str, limit: usize) -> Option<Self> {
        serde_json::Deserializer::from_str(raw).deserialize_seq(ListVisitor { limit }).ok()
    }
}

struct ListVisitor {
    limit: usize,
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = List { kept: Vec::new(), count: 0 };
        while list.count < self.limit
            && let Some(item) = seq.next_element::<&RawValue>()?
        {
            list.kept.push(item.get());
            list.count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.count += 1;
        }
        Ok(list)
    }
}

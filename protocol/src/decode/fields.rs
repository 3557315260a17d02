//! Reads a method's object: the raw values of the fields that the method knows.

use std::fmt;

use fanfare_core::session::CommandError;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{field::Field, method::MAX_FIELDS};
use crate::error::bad_field;

/// The values of an object's known fields, in the order of their names.
pub(super) struct Fields<'de> {
    values: [Option<&'de str>; MAX_FIELDS],
    /// The first field that is there twice.
    twice: Option<usize>,
}

impl<'de> Fields<'de> {
    /// Reads a raw value whose syntax is known to be right; `None` when it is no object.
    pub(super) fn read(raw: &'de str, names: &'static [&'static str]) -> Option<Self> {
        let seed = FieldsSeed { names, reading: &mut None };
        seed.deserialize(&mut serde_json::Deserializer::from_str(raw)).ok().flatten()
    }

    /// The first `N` fields, under the names that errors give them.
    pub(super) fn named<const N: usize>(
        &self,
        names: &[&'static str],
    ) -> Result<[Field<'de>; N], CommandError> {
        let name = |index: usize| names.get(index).copied().unwrap_or_default();
        if let Some(index) = self.twice {
            return Err(bad_field(name(index), "the field is there twice"));
        }
        Ok(std::array::from_fn(|i| Field { name: name(i), raw: self.values.get(i).copied().flatten() }))
    }
}

/// Reads [`Fields`]; `None` when the value is no object.
pub(super) struct FieldsSeed<'a> {
    pub(super) names: &'static [&'static str],
    /// Where to note what is being read, for the error.
    pub(super) reading: &'a mut Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = Option<Fields<'de>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Option<Fields<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields { values: [None; MAX_FIELDS], twice: None };
        let method = *self.reading;
        while let Some(known) = map.next_key_seed(NameSeed(self.names))? {
            let Some(index) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            *self.reading = self.names.get(index).copied();
            let raw: &RawValue = map.next_value()?;
            *self.reading = method;
            if let Some(value) = fields.values.get_mut(index)
                && value.replace(raw.get()).is_some()
            {
                fields.twice = fields.twice.or(Some(index));
            }
        }
        Ok(Some(fields))
    }

    // Every other type is read to its end and is no object.

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads a key to its place in a list of names; `None` for one that is not in it.
struct NameSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

//! Topics whose payloads have a type.

use super::{InvalidTopic, TopicName};
use crate::message::{InvalidPayload, Payload};

/// A topic and the type of what is published to it, so that the compiler checks both ends.
///
/// ```
/// use fanfare_core::topic::{InvalidTopic, Raw, Topic, TopicName};
///
/// /// The lines of one room, as plain text.
/// struct Room<'a>(&'a str);
///
/// impl Topic for Room<'_> {
///     type Payload = String;
///     type Codec = Raw;
///     fn name(&self) -> Result<TopicName, InvalidTopic> {
///         TopicName::join(["chat", self.0])
///     }
/// }
///
/// assert_eq!(Room("tea time").name()?.as_str(), "chat.tea%20time");
/// # Ok::<(), InvalidTopic>(())
/// ```
///
/// A [`TopicName`] or a `&str` is itself a topic, with a raw [`Payload`].
pub trait Topic {
    /// What is published.
    type Payload;
    /// How it becomes bytes.
    type Codec: Codec<Self::Payload>;

    /// The topic's name.
    ///
    /// # Errors
    ///
    /// When the parts make no legal name.
    fn name(&self) -> Result<TopicName, InvalidTopic>;
}

/// Makes bytes of values, and values of bytes.
pub trait Codec<T> {
    /// Makes a payload of a value.
    ///
    /// # Errors
    ///
    /// When the value cannot be written.
    fn encode(value: &T) -> Result<Payload, InvalidPayload>;

    /// Makes a value of a payload.
    ///
    /// # Errors
    ///
    /// When the payload holds no such value.
    fn decode(payload: &Payload) -> Result<T, InvalidPayload>;
}

/// The payload as it is: [`Payload`], text or bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Payload> for Raw {
    fn encode(value: &Payload) -> Result<Payload, InvalidPayload> {
        Ok(value.clone())
    }

    fn decode(payload: &Payload) -> Result<Payload, InvalidPayload> {
        Ok(payload.clone())
    }
}

impl Codec<String> for Raw {
    fn encode(value: &String) -> Result<Payload, InvalidPayload> {
        Ok(Payload::text(value.as_str()))
    }

    fn decode(payload: &Payload) -> Result<String, InvalidPayload> {
        match std::str::from_utf8(payload.bytes()) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(InvalidPayload::NotUtf8 { at: error.valid_up_to() }),
        }
    }
}

impl Codec<Vec<u8>> for Raw {
    fn encode(value: &Vec<u8>) -> Result<Payload, InvalidPayload> {
        Ok(Payload::binary(value.clone()))
    }

    fn decode(payload: &Payload) -> Result<Vec<u8>, InvalidPayload> {
        Ok(payload.bytes().to_vec())
    }
}

/// The payload as JSON of any serde type.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec<T> for Json {
    fn encode(value: &T) -> Result<Payload, InvalidPayload> {
        Payload::json(value)
    }

    fn decode(payload: &Payload) -> Result<T, InvalidPayload> {
        payload.parse_json()
    }
}

impl Topic for TopicName {
    type Payload = Payload;
    type Codec = Raw;

    fn name(&self) -> Result<TopicName, InvalidTopic> {
        Ok(self.clone())
    }
}

impl Topic for str {
    type Payload = Payload;
    type Codec = Raw;

    fn name(&self) -> Result<TopicName, InvalidTopic> {
        TopicName::new(self)
    }
}

impl<T: Topic + ?Sized> Topic for &T {
    type Payload = T::Payload;
    type Codec = T::Codec;

    fn name(&self) -> Result<TopicName, InvalidTopic> {
        (**self).name()
    }
}

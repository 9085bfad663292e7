//! What all types of artefacts have in common.

/// Declares structs of a platform's artefact: keys in the platform's spelling, `camelCase` unless told otherwise, unknown
/// ones refused, and those with their type's default left out when written. A key whose default has to be written is an
/// `Option`.
macro_rules! artefact {
    ($($(#[$of_struct:meta])* struct $name:ident { $($fields:tt)* })*) => {
        $crate::yaml::artefact! { "camelCase": $($(#[$of_struct])* struct $name { $($fields)* })* }
    };
    ($case:tt: $($(#[$of_struct:meta])* struct $name:ident {
        $($(#[$of_field:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$of_struct])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = $case, deny_unknown_fields, default)]
        pub(crate) struct $name {
            $(
                $(#[$of_field])*
                #[serde(skip_serializing_if = "crate::yaml::is_default")]
                pub(crate) $field: $type,
            )*
        }
    )*};
}
pub(crate) use artefact;

/// What nothing here writes and nothing here looks into.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Anything;

impl serde::Serialize for Anything {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for Anything {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// The form that is written here, or another one that the platform reads as well.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum Or<T> {
    Ours(T),
    Another(Anything),
}

impl<T: Default> Default for Or<T> {
    fn default() -> Self {
        Self::Ours(T::default())
    }
}

impl<T> From<T> for Or<T> {
    fn from(ours: T) -> Self {
        Self::Ours(ours)
    }
}

/// Whether a value is its type's default.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

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

/// Whether a value is its type's default.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

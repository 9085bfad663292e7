//! Declares messages: each field once, with the versions it exists in.
//!
//! ```text
//! messages! {
//!     struct JoinGroupResponse {
//!         throttle_time_ms: i32 [2..],              // from version 2
//!         generation_id: i32 [0..] = -1,            // every version; -1 unless set or read
//!         protocol_name: Option<String> [0..; null 7..],  // null only from version 7, empty before
//!         member_id: String [0..=2],                // until version 2
//!     }
//! }
//! ```
//!
//! Both directions follow from the one declaration. A field that a version lacks is skipped when writing and
//! keeps its default when reading. Whether lengths are compact comes from the message's [`Shape`], not from
//! the declaration, because it is the same for all structs of a message.
//!
//! [`Shape`]: super::Shape

macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty [ $present:expr $(; null $nullable:expr)? ]
                $(= $default:expr)?
            ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::struct_field_names, missing_docs, reason = "these are the protocol's names")]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::schema::default_of!($type $(, $default)?),)* }
            }
        }

        impl $crate::Wire for $name {
            #[allow(unused_mut, reason = "a message may have no fields")]
            fn read(
                reader: &mut $crate::Reader,
                shape: $crate::Shape,
            ) -> Result<Self, $crate::DecodeError> {
                let mut message = Self::default();
                $(
                    if ($present).contains(&shape.version) {
                        message.$field = $crate::schema::read_field!(
                            reader, shape $(, $nullable)?
                        )?;
                    }
                )*
                reader.skip_tags(shape)?;
                Ok(message)
            }

            fn write(
                &self,
                frame: &mut $crate::Frame,
                shape: $crate::Shape,
            ) {
                $(
                    if ($present).contains(&shape.version) {
                        $crate::schema::write_field!(
                            self.$field, frame, shape $(, $nullable)?
                        );
                    }
                )*
                frame.put_no_tags(shape);
            }
        }

        impl $crate::sample::Sample for $name {
            #[allow(unused_mut, unused_variables, reason = "a message may have no fields")]
            fn sample(
                sampler: &mut $crate::sample::Sampler,
                shape: $crate::Shape,
            ) -> Self {
                let mut message = Self::default();
                $(
                    if ($present).contains(&shape.version) {
                        message.$field = $crate::sample::Sample::sample(sampler, shape);
                        $(
                            if !($nullable).contains(&shape.version) {
                                message.$field.get_or_insert_default();
                            }
                        )?
                    }
                )*
                message
            }
        }
    )*};
}

macro_rules! default_of {
    ($type:ty) => {
        <$type as Default>::default()
    };
    ($type:ty, $default:expr) => {
        $default
    };
}

macro_rules! read_field {
    ($reader:ident, $shape:ident) => {
        $crate::Wire::read($reader, $shape)
    };
    ($reader:ident, $shape:ident, $nullable:expr) => {
        $crate::primitives::read_null_from(($nullable).contains(&$shape.version), $reader, $shape)
    };
}

macro_rules! write_field {
    ($field:expr, $frame:ident, $shape:ident) => {
        $crate::Wire::write(&$field, $frame, $shape)
    };
    ($field:expr, $frame:ident, $shape:ident, $nullable:expr) => {
        $crate::primitives::write_null_from(
            $field.as_ref(),
            ($nullable).contains(&$shape.version),
            $frame,
            $shape,
        )
    };
}

pub(crate) use {default_of, messages, read_field, write_field};

//! Enumerations whose values have names in settings and files.

use core::fmt;

/// The error for a text that is none of an enumeration's names, which it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchName(pub &'static [&'static str]);

impl fmt::Display for NoSuchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {}", self.0.join(", "))
    }
}

/// Implements `FromStr` and `Display` for an enumeration from one list of names.
#[macro_export]
macro_rules! named {
    ($type:ident: $($name:literal => $value:ident),*) => {
        impl $type {
            /// The names of all values, in the order of the list.
            pub const NAMES: &'static [&'static str] = &[$($name),*];
        }

        impl ::core::str::FromStr for $type {
            type Err = $crate::text::names::NoSuchName;

            fn from_str(text: &str) -> Result<Self, $crate::text::names::NoSuchName> {
                match text {
                    $($name => Ok(Self::$value),)*
                    _ => Err($crate::text::names::NoSuchName(Self::NAMES)),
                }
            }
        }

        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(match self {
                    $(Self::$value => $name,)*
                })
            }
        }
    };
}

//! Settings whose values have names.

use core::fmt;

/// A text that is none of the names that a setting has; holds those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchName(pub &'static [&'static str]);

impl fmt::Display for NoSuchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {}", self.0.join(", "))
    }
}

/// Implements `FromStr` and `Display` for a type whose values have names.
#[macro_export]
macro_rules! named {
    ($type:ident: $($name:literal => $value:ident),*) => {
        impl $type {
            /// The names of the values, as flags and words have them.
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

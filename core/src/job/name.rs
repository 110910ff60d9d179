//! Names, parsed once at construction.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::limits::NAME_BYTES;

fn check(what: &'static str, text: &str) -> Result<(), Error> {
    let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-'));
    if text.is_empty() {
        return Err(Error::invalid(what, "it is empty"));
    }
    if let Some(c) = text.chars().find(odd) {
        return Err(Error::invalid(
            what,
            format!("{c:?} is not allowed in it: use A-Z a-z 0-9 _ . : -"),
        ));
    }
    if text.len() > NAME_BYTES {
        return Err(Error::invalid(
            what,
            format!("it has {} bytes, at most {NAME_BYTES} are allowed", text.len()),
        ));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 128 characters of `A-Z a-z 0-9 _ . : -`.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`Error::Invalid`] when it is empty, too long or has other characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, Error> {
                check($what, text.as_ref())?;
                Ok(Self(Arc::from(text.as_ref())))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// What a job does: the name under which a worker registers its handler.
    Kind, "kind"
);
name!(
    /// A queue, from which workers claim.
    QueueName, "queue name"
);
name!(
    /// A label of a job, to list and change jobs by.
    Tag, "tag"
);
name!(
    /// The name of an event that the host application adds to a job's history.
    EventName, "event name"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_at_construction() {
        for good in ["a", "A-b_c.d:9", &"x".repeat(NAME_BYTES)] {
            assert_eq!(QueueName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "é", "a/b", "a\n", &"x".repeat(NAME_BYTES + 1)] {
            let error = QueueName::new(bad).unwrap_err().to_string();
            assert!(error.starts_with("invalid queue name: "), "{error}");
        }
    }

    #[test]
    fn a_name_that_would_not_parse_does_not_deserialize() {
        assert!(serde_json::from_str::<Kind>("\"ok\"").is_ok());
        assert!(serde_json::from_str::<Kind>("\"not ok\"").is_err());
    }
}

//! What the URL of a bucket says.

use super::BlobKey;
use crate::{Error, Result};

/// What a URL says.
#[derive(Debug, PartialEq)]
pub(crate) struct Place<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) prefix: Option<BlobKey>,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(crate) fn parse(url: &'a str) -> Result<Self> {
        let rest = url.strip_prefix("s3://").ok_or_else(|| {
            config("the URL must start with `s3://`, as in `s3://bucket` or `s3://bucket/prefix`")
        })?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if bucket.is_empty() || !bucket.chars().all(fits) {
            return Err(config(
                "the URL names no bucket: write `s3://bucket`; credentials belong into the environment and an address into `?endpoint=`",
            ));
        }
        let prefix = match prefix.trim_end_matches('/') {
            "" => None,
            prefix => Some(BlobKey::new(prefix)?),
        };
        let mut place = Self { bucket, prefix, endpoint: None, region: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("endpoint", at))
                    if at.starts_with("http://") || at.starts_with("https://") =>
                {
                    place.endpoint = Some(at.trim_end_matches('/'));
                }
                Some(("endpoint", _)) => {
                    return Err(config("`endpoint` must start with `https://` or `http://`"));
                }
                Some(("region", region)) if !region.is_empty() => place.region = Some(region),
                _ => {
                    return Err(config(
                        "the URL has an unknown parameter: known are `endpoint=https://host:port` and `region=name`",
                    ));
                }
            }
        }
        Ok(place)
    }
}

pub(super) fn config(why: &'static str) -> Error {
    Error::Config(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket() {
        let place =
            Place::parse("s3://b-1/some/prefix/?endpoint=http://h:9000/&region=eu").unwrap();
        assert_eq!((place.bucket, place.endpoint), ("b-1", Some("http://h:9000")));
        assert_eq!((place.prefix.unwrap().as_str(), place.region), ("some/prefix", Some("eu")));
        assert_eq!(Place::parse("s3://b/").unwrap().prefix, None);
    }
}

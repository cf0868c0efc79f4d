//! The settings of `canary`.

use shared::env::Reader;

/// Where the definitions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A parameter of Parameter Store.
    Parameter(String),
    /// An object.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
}

/// The settings, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the definitions are.
    pub definitions: Place,
}

impl Settings {
    /// Reads the settings; mistakes go into the reader.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let text = reader.required("CANARY_DEFINITIONS");
        let definitions = match text.strip_prefix("s3://").map(|rest| rest.split_once('/')) {
            None => Place::Parameter(text),
            Some(Some((bucket, key))) if !bucket.is_empty() && !key.is_empty() => Place::Object { bucket: bucket.to_owned(), key: key.to_owned() },
            Some(_) => {
                reader.mistake(format!("CANARY_DEFINITIONS is `{text}`: it must be like s3://BUCKET/KEY, or the name of a parameter"));
                Place::Parameter(text)
            }
        };
        Self { definitions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Place, String> {
        let lookup = |_: &str| Some(value.to_owned());
        let mut reader = Reader::new(&lookup);
        let settings = Settings::read(&mut reader);
        reader.finish().map(|()| settings.definitions).map_err(|failure| failure.to_string())
    }

    #[test]
    fn definitions_are_in_a_parameter_or_in_an_object() {
        assert_eq!(read("/lifeboat/dev/canary"), Ok(Place::Parameter("/lifeboat/dev/canary".to_owned())));
        let object = Place::Object { bucket: "settings".to_owned(), key: "shop/canary.toml".to_owned() };
        assert_eq!(read("s3://settings/shop/canary.toml"), Ok(object));
        for wrong in ["", "s3://settings", "s3:///key", "s3://settings/"] {
            assert!(read(wrong).expect_err(wrong).contains("CANARY_DEFINITIONS"), "{wrong}");
        }
    }
}

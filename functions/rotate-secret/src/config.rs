//! The settings of `rotate-secret`.

use std::path::PathBuf;

use shared::env::Reader;

/// The settings, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Parameter with the definitions.
    pub definitions_parameter: String,
    /// Parameter with the rotator's own URL; one without a password logs in with IAM.
    pub rotator_url_parameter: String,
    /// Key for the journals; without it, the account's default key.
    pub key_id: Option<String>,
    /// Certificates that the server's must descend from.
    pub database_ca_file: PathBuf,
}

impl Settings {
    /// Reads the settings; mistakes go into the reader.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            definitions_parameter: reader.required("ROTATION_DEFINITIONS_PARAMETER"),
            rotator_url_parameter: reader.required("ROTATOR_URL_PARAMETER"),
            key_id: reader.optional("ROTATION_KEY_ID"),
            database_ca_file: reader.optional("DATABASE_CA_FILE").unwrap_or_else(|| "/opt/rds/global-bundle.pem".to_owned()).into(),
        }
    }
}

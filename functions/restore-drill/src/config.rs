//! The settings of `restore-drill`. One binary is deployed twice: what calls AWS, and, inside the VPC, what connects. Each is given its own half; what is
//! missing is said when it is needed.

use std::path::PathBuf;
use std::time::Duration;

use shared::env::{Databases, Reader};
use shared::failure::{Failure, FailureKind};

/// The settings, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ARN of the state machine that is the clock.
    pub machine_arn: Option<String>,
    /// What a scratch instance in the stack's region is made of.
    pub home: Place,
    /// The other region, and what a scratch instance there is made of.
    pub copy_region: Option<String>,
    /// See [`Settings::copy_region`].
    pub copy: Place,
    /// Databases that are looked at where a request names none.
    pub databases: Databases,
    /// Class of scratch instances; without it, that of the guarded instance.
    pub instance_class: Option<String>,
    /// Parameter with the URL of an existing server that takes scratch databases.
    pub server_url_parameter: Option<String>,
    /// Where the URLs of scratch instances are kept while they exist: `/lifeboat/STAGE/drills/`.
    pub secrets_prefix: String,
    /// Certificates that the server's must descend from.
    pub database_ca_file: PathBuf,
    /// Folder of pg_restore and pg_dump.
    pub client_folder: PathBuf,
    /// Connections that read and write at the same time.
    pub connections: usize,
    /// How long a restore may take, from the request to the proof.
    pub recovery_time_max: Duration,
    /// How much may be lost.
    pub recovery_point_max: Duration,
    /// When a drill gives up and takes everything down.
    pub give_up_after: Duration,
}

/// What a scratch instance of a region is made of. RDS's defaults are a public default network and the default parameter group, so each is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The group of subnets.
    pub subnet_group: Option<String>,
    /// The one security group, which lets nothing out.
    pub security_group: Option<String>,
    /// The parameter group, without logical replication and pg_cron.
    pub parameter_group: Option<String>,
}

impl Settings {
    /// Reads the settings; mistakes go into the reader.
    pub fn read(reader: &mut Reader<'_>, stage: &str) -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let place = |subnet_group, security_group, parameter_group| Place { subnet_group, security_group, parameter_group };
        Self {
            machine_arn: reader.optional("DRILL_MACHINE_ARN"),
            home: place(reader.optional("DRILL_SUBNET_GROUP"), reader.optional("DRILL_SECURITY_GROUP"), reader.optional("DRILL_PARAMETER_GROUP")),
            copy_region: reader.optional("COPY_REGION"),
            copy: place(
                reader.optional("DRILL_COPY_SUBNET_GROUP"),
                reader.optional("DRILL_COPY_SECURITY_GROUP"),
                reader.optional("DRILL_COPY_PARAMETER_GROUP"),
            ),
            databases: reader.parsed("DATABASES", Databases::Every),
            instance_class: reader.optional("DRILL_INSTANCE_CLASS"),
            server_url_parameter: reader.optional("DRILL_SERVER_URL_PARAMETER"),
            secrets_prefix: format!("/lifeboat/{stage}/drills/"),
            database_ca_file: reader.optional("DATABASE_CA_FILE").unwrap_or_else(|| "/opt/rds/global-bundle.pem".to_owned()).into(),
            client_folder: reader.optional("POSTGRES_CLIENT_FOLDER").unwrap_or_else(|| "/opt/bin".to_owned()).into(),
            connections: reader.number("CONNECTIONS", 2, 1..=32),
            recovery_time_max: minutes(reader.number("RECOVERY_TIME_MAX_MINUTES", 240, 1..=100_000)),
            recovery_point_max: minutes(reader.number("DRILL_RECOVERY_POINT_MAX_MINUTES", 1560, 1..=100_000)),
            give_up_after: minutes(reader.number("DRILL_GIVE_UP_MINUTES", 720, 1..=1_440)),
        }
    }
}

impl Place {
    /// The three names; all must be given.
    ///
    /// # Errors
    /// When one is missing: a scratch instance is never made with RDS's defaults.
    pub fn complete(&self, prefix: &str) -> Result<(&str, &str, &str), Failure> {
        match (&self.subnet_group, &self.security_group, &self.parameter_group) {
            (Some(subnet_group), Some(security_group), Some(parameter_group)) => Ok((subnet_group, security_group, parameter_group)),
            _ => Err(Failure::new(FailureKind::BadSettings, format!("{prefix}SUBNET_GROUP, {prefix}SECURITY_GROUP or {prefix}PARAMETER_GROUP is missing"))
                .hint("a scratch instance needs a network of its own: set the stack's parameters VpcId and VpcSubnetIds (for a copy in another region: the drill's parameters there)")),
        }
    }
}

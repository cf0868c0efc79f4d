//! A drill as it was decided when it was asked for: exactly what is restored to where, and until when. Written once, before anything is made.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::identity::DrillId;
use crate::request::{Freshness, Migrations};

/// Version of this model; a reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// Name of the object that holds it.
pub const PLAN: &str = "plan.json";

/// A drill as it was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Version of this model.
    pub format: u32,
    /// The drill.
    pub drill: DrillId,
    /// When it was asked for: the clock of RTO and RPO begins here.
    pub requested_at: DateTime<Utc>,
    /// What is restored.
    pub source: Planned,
    /// Where to.
    pub target: Aim,
    /// Databases to look at; `None` for all.
    pub databases: Option<Vec<String>>,
    /// Migrations to rehearse.
    pub migrations: Option<Migrations>,
    /// A query for the age of the data.
    pub freshness: Option<Freshness>,
    /// Whether the instance stays.
    pub keep: bool,
    /// How long it may take, in seconds.
    pub recovery_time_max_seconds: u64,
    /// How much may be lost, in seconds.
    pub recovery_point_max_seconds: u64,
    /// When it gives up and takes everything down.
    pub give_up_at: DateTime<Utc>,
    /// When the sweeper may remove what is left.
    pub expires_at: DateTime<Utc>,
}

/// What is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sort", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Planned {
    /// A snapshot, or a copy of one.
    Snapshot {
        /// Its ARN.
        arn: String,
        /// Its id.
        id: String,
        /// The moment that its data belongs to.
        data_at: DateTime<Utc>,
    },
    /// The instance at a time.
    PointInTime {
        /// The instance.
        instance: String,
        /// The moment.
        data_at: DateTime<Utc>,
        /// Whether it is the latest that can be restored, whichever that is when RDS begins.
        latest: bool,
    },
    /// Archives, one for each database.
    Archives {
        /// Prefixes of the archives in the bucket.
        archives: Vec<PlannedArchive>,
    },
}

/// An archive that is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedArchive {
    /// Key of its manifest.
    pub manifest: String,
    /// Checksum of the manifest.
    pub checksum: String,
    /// The database.
    pub database: String,
    /// The moment that its data belongs to.
    pub data_at: DateTime<Utc>,
}

impl Planned {
    /// The moment that the data belongs to; of several archives, the oldest.
    pub fn data_at(&self) -> DateTime<Utc> {
        match self {
            Self::Snapshot { data_at, .. } | Self::PointInTime { data_at, .. } => *data_at,
            Self::Archives { archives } => archives.iter().map(|archive| archive.data_at).min().unwrap_or_default(),
        }
    }

    /// In words, for a person.
    pub fn in_words(&self) -> String {
        match self {
            Self::Snapshot { id, .. } => format!("snapshot {id}"),
            Self::PointInTime { instance, data_at, .. } => format!("{instance} as of {}", data_at.format("%Y-%m-%d %H:%M:%S UTC")),
            Self::Archives { archives } => match archives.as_slice() {
                [one] => format!("archive of {} of {}", one.database, one.data_at.format("%Y-%m-%d %H:%M UTC")),
                several => format!("archives of {} databases", several.len()),
            },
        }
    }
}

/// Where it is restored to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sort", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Aim {
    /// An RDS instance made for the drill.
    Instance(Box<AimInstance>),
    /// New databases on an existing server.
    Server {
        /// Parameter with its URL.
        url_parameter: String,
    },
}

/// An RDS instance made for the drill: nothing is left to RDS's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AimInstance {
    /// Region.
    pub region: String,
    /// Its id.
    pub id: String,
    /// Its class.
    pub class: String,
    /// Version of PostgreSQL that it must have.
    pub engine_version: String,
    /// Group of subnets.
    pub subnet_group: String,
    /// The one security group.
    pub security_group: String,
    /// The parameter group.
    pub parameter_group: String,
    /// Gibibytes, for one that begins empty.
    pub storage_gib: i32,
    /// Name of the master user, for one that begins empty: production's, for it owns most of what is restored.
    pub master_user: String,
    /// How the guarded instance is; what a real restore is made into.
    pub production: Option<Production>,
}

/// How the guarded instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Production {
    /// Its parameter group.
    pub parameter_group: String,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// Days of automated backups.
    pub backup_days: i32,
    /// Whether it has a standby.
    pub multi_az: bool,
    /// Whether it cannot be deleted by one call.
    pub deletion_protection: bool,
}

impl Plan {
    /// Reads a stored plan.
    ///
    /// # Errors
    /// When it is not one, or of a newer version.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| format!("not a plan: {error}"))?;
        if plan.format > FORMAT {
            return Err(format!("a plan of format {}; this version reads up to {FORMAT}: update Lifeboat", plan.format));
        }
        Ok(plan)
    }
}

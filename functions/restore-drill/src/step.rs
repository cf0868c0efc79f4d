//! What is to be done next: from what is there, and the time. Pure; nothing is remembered from one step to the next.
//!
//! The order is the safety: nothing connects to an instance before it was seen to be cut off and its password changed, and whatever goes wrong ends in the
//! same way down.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::identity::Scratch;
use crate::plan::{Aim, AimInstance, Plan, Planned};
use shared::snapshot::Owner;

/// How long a deletion may take before it is left to the sweeper.
const TEAR_DOWN: TimeDelta = TimeDelta::hours(1);

/// What has been reached; each is an object, written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Milestone {
    /// RDS took the request for the instance.
    Created,
    /// RDS first called it available.
    Available,
    /// RDS took the new password and the end of its backups.
    Hardened,
    /// It was seen to be cut off.
    Isolated,
    /// The database's part is done; holds what was found.
    Worked,
    /// It cannot go on; holds why.
    Failed,
    /// What is written for people: the result and its page.
    Judged,
    /// The scratch databases on the existing server are gone.
    Dropped,
    /// A real restore was made as production is.
    Promoted,
    /// The report is out.
    Closed,
}

impl Milestone {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Available,
        Self::Hardened,
        Self::Isolated,
        Self::Worked,
        Self::Failed,
        Self::Judged,
        Self::Dropped,
        Self::Promoted,
        Self::Closed,
    ];

    /// Name of its object.
    pub fn object(self) -> &'static str {
        match self {
            Self::Created => "created.json",
            Self::Available => "available.json",
            Self::Hardened => "hardened.json",
            Self::Isolated => "isolated.json",
            Self::Worked => "worked.json",
            Self::Failed => "failed.json",
            Self::Judged => "result.json",
            Self::Dropped => "dropped.json",
            Self::Promoted => "promoted.json",
            Self::Closed => "closed.json",
        }
    }
}

/// The scratch instance as RDS shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// RDS's word for how it is.
    pub status: String,
    /// What its name and tags say; `None` when it is not ours.
    pub scratch: Option<Scratch>,
    /// Host and port, once it has them.
    pub endpoint: Option<(String, i32)>,
    /// Its master user.
    pub master_user: String,
    /// Whether a new password is not in effect yet.
    pub password_pending: bool,
    /// Security groups.
    pub security_groups: BTreeSet<String>,
    /// Group of subnets.
    pub subnet_group: String,
    /// Parameter groups, with how they are applied.
    pub parameter_groups: Vec<(String, String)>,
    /// Whether it has an address on the internet.
    pub public: bool,
    /// Days of automated backups.
    pub backup_days: i32,
    /// Whether it cannot be deleted by one call.
    pub deletion_protection: bool,
    /// Version of PostgreSQL.
    pub engine_version: String,
    /// Its class.
    pub class: String,
    /// Roles with which it may call other services.
    pub roles: BTreeSet<String>,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The decision.
    pub plan: Plan,
    /// Whose stack.
    pub owner: Owner,
    /// What has been reached.
    pub reached: BTreeSet<Milestone>,
    /// The instance of this name, if there is one.
    pub instance: Option<Instance>,
    /// Whether the parameter with its URL is there.
    pub secret: bool,
    /// Whether the clock says that the report is out.
    pub reported: bool,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask RDS for the instance.
    Create,
    /// Come back later.
    Wait,
    /// Write down that it is available.
    NoteAvailable,
    /// Make a password and keep the URL.
    KeepSecret,
    /// Change the password, switch backups off.
    Harden,
    /// Restart it, for parameters that are read at the start.
    Reboot,
    /// See that it is cut off.
    CheckIsolation,
    /// The database's part.
    Work,
    /// It cannot go on.
    Fail,
    /// Say how it came out: result and page.
    Judge,
    /// Remove the scratch databases on the existing server.
    WorkDown,
    /// Delete the instance.
    Delete,
    /// Make it as production is.
    Promote,
    /// Remove the parameter with the URL.
    ForgetSecret,
    /// Tell everybody; `true` when everything that was made is gone, or stays on purpose.
    Report {
        /// Whether nothing is left behind.
        clean: bool,
    },
    /// Write down that it is over.
    Close,
    /// Nothing more.
    Finished,
}

/// A step and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The step.
    pub step: Step,
    /// Why.
    pub why: String,
}

fn because(step: Step, why: impl Into<String>) -> Decision {
    Decision { step, why: why.into() }
}

/// States that pass by themselves. Source: RDS User Guide, "Viewing Amazon RDS DB instance status".
const PASSING: [&str; 15] = [
    "creating",
    "backing-up",
    "modifying",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "configuring-associated-roles",
    "converting-to-vpc",
    "maintenance",
    "moving-to-vpc",
    "rebooting",
    "renaming",
    "resetting-master-credentials",
    "starting",
    "upgrading",
];

/// The next step.
pub fn next_step(observed: &Observed, now: DateTime<Utc>) -> Decision {
    let reached = |milestone| observed.reached.contains(&milestone);
    if reached(Milestone::Closed) {
        return because(Step::Finished, "the report is out");
    }
    if observed.reported {
        return because(Step::Close, "the report is out");
    }
    if !reached(Milestone::Worked) && !reached(Milestone::Failed) {
        return match &observed.plan.target {
            _ if now >= observed.plan.give_up_at => because(Step::Fail, format!("it was not done by {}", observed.plan.give_up_at)),
            Aim::Server { .. } => because(Step::Work, "the server is there"),
            Aim::Instance(aim) => upwards(observed, aim),
        };
    }
    if !reached(Milestone::Judged) {
        return because(Step::Judge, "the work is over");
    }
    downwards(observed, now)
}

/// Towards an instance that may be worked with.
fn upwards(observed: &Observed, aim: &AimInstance) -> Decision {
    let reached = |milestone| observed.reached.contains(&milestone);
    let Some(instance) = &observed.instance else {
        return if reached(Milestone::Created) && reached(Milestone::Available) {
            because(Step::Fail, format!("the instance {} is gone: somebody deleted it", aim.id))
        } else {
            because(Step::Create, "there is no instance yet")
        };
    };
    if instance.scratch.as_ref().is_none_or(|scratch| scratch.drill != observed.plan.drill) {
        return because(Step::Fail, format!("an instance {} exists that is not this drill's; it was not touched", aim.id));
    }
    let status = instance.status.as_str();
    if PASSING.contains(&status) {
        return because(Step::Wait, format!("the instance is {status}"));
    }
    // Two words for a healthy instance: the second while its storage is being rearranged.
    if !matches!(status, "available" | "storage-optimization") {
        return because(Step::Fail, format!("the instance is {status}, which does not pass by itself"));
    }
    if !reached(Milestone::Available) {
        return because(Step::NoteAvailable, "RDS calls it available");
    }
    if !observed.secret {
        return because(Step::KeepSecret, "it has production's passwords: it gets one of its own");
    }
    if !reached(Milestone::Hardened) {
        return because(Step::Harden, "it has production's master password and backups");
    }
    if instance.password_pending || instance.backup_days != 0 {
        return because(Step::Wait, "the new password and the end of backups are not in effect yet");
    }
    if instance.parameter_groups.iter().any(|(name, how)| *name == aim.parameter_group && how == "pending-reboot") {
        return because(Step::Reboot, "its parameter group is read at the start");
    }
    if instance.parameter_groups.iter().any(|(_, how)| how == "applying") {
        return because(Step::Wait, "its parameter group is being applied");
    }
    if !reached(Milestone::Isolated) {
        return because(Step::CheckIsolation, "nothing connects before it was seen to be cut off");
    }
    because(Step::Work, "it is available and cut off")
}

/// Whatever was made goes, and then everybody is told.
fn downwards(observed: &Observed, now: DateTime<Utc>) -> Decision {
    let reached = |milestone| observed.reached.contains(&milestone);
    let give_up = now >= observed.plan.give_up_at + TEAR_DOWN;
    let mine = observed.instance.as_ref().filter(|seen| seen.scratch.as_ref().is_some_and(|scratch| scratch.drill == observed.plan.drill));
    match (&observed.plan.target, mine) {
        (Aim::Server { .. }, _) if reached(Milestone::Dropped) => because(Step::Report { clean: true }, "the scratch databases are gone"),
        (Aim::Server { .. }, _) if !give_up => because(Step::WorkDown, "scratch databases are removed when their work is over"),
        (Aim::Server { .. }, _) => because(Step::Report { clean: false }, "the scratch databases could not be removed in time: the sweeper goes on"),
        (Aim::Instance(_), Some(instance)) if observed.plan.keep && !reached(Milestone::Failed) => {
            if reached(Milestone::Promoted) {
                return if observed.secret {
                    because(Step::ForgetSecret, "the drill's password is for nobody else")
                } else {
                    because(Step::Report { clean: true }, "the instance stays, as was asked")
                };
            }
            if PASSING.contains(&instance.status.as_str()) {
                return because(Step::Wait, format!("the instance is {}", instance.status));
            }
            because(Step::Promote, "a real restore is made as production is")
        }
        (Aim::Instance(_), Some(instance)) if !give_up => match instance.status.as_str() {
            "deleting" => because(Step::Wait, "RDS deletes the instance"),
            // RDS refuses to delete what it is still making.
            "creating" | "backing-up" | "modifying" | "rebooting" | "resetting-master-credentials" => {
                because(Step::Wait, format!("the instance is {}, and can be deleted after", instance.status))
            }
            _ => because(Step::Delete, "a scratch instance is removed when its work is over"),
        },
        (Aim::Instance(_), Some(_)) => because(Step::Report { clean: false }, "the instance could not be removed in time: the sweeper goes on"),
        _ if observed.secret && !give_up => because(Step::ForgetSecret, "the instance is gone"),
        _ => because(Step::Report { clean: !observed.secret }, "everything that was made is gone"),
    }
}

/// What is not as it must be before anything connects. Empty: it is cut off.
pub fn exposures(instance: &Instance, plan: &Plan, aim: &AimInstance) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut see = |holds: bool, text: String| {
        if !holds {
            wrong.push(text);
        }
    };
    see(!instance.public, "it has an address on the internet".to_owned());
    see(
        instance.security_groups == BTreeSet::from([aim.security_group.clone()]),
        format!("its security groups are {:?}, and must be {} alone", instance.security_groups, aim.security_group),
    );
    see(instance.subnet_group == aim.subnet_group, format!("its group of subnets is {:?}, and must be {}", instance.subnet_group, aim.subnet_group));
    see(
        instance.parameter_groups == [(aim.parameter_group.clone(), "in-sync".to_owned())],
        format!("its parameter groups are {:?}, and must be {}, in sync", instance.parameter_groups, aim.parameter_group),
    );
    see(
        instance.backup_days == 0,
        format!("it keeps automated backups for {} days: copies of production that nobody would count", instance.backup_days),
    );
    see(!instance.deletion_protection, "it is protected against deletion".to_owned());
    see(instance.roles.is_empty(), format!("it may act with the roles {:?}", instance.roles));
    let same_major = major(&instance.engine_version) == major(&aim.engine_version);
    see(same_major, format!("it runs PostgreSQL {}, and the source {}", instance.engine_version, aim.engine_version));
    let expires = instance.scratch.as_ref().and_then(|scratch| scratch.expires_at);
    see(expires == Some(plan.expires_at), format!("its tags do not say that it expires at {}", plan.expires_at));
    wrong
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

/// Whether a plan restores rows by itself, rather than RDS.
pub fn restores_archives(plan: &Plan) -> bool {
    matches!(plan.source, Planned::Archives { .. })
}

/// The instance of a plan, if it makes one.
pub fn aim(plan: &Plan) -> Option<&AimInstance> {
    match &plan.target {
        Aim::Instance(aim) => Some(aim),
        Aim::Server { .. } => None,
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;

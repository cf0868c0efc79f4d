//! `integrity-check`: every night, is the data still what it should be? Counts and nulls against their history, what the server says about itself, pages and
//! indexes by amcheck, and what the team asks.
//!
//! It never writes to the database, never waits long for a lock, never reads faster than configured, and keeps no row's value. What it could not check, it says.

pub mod anomaly;
pub mod catalog;
pub mod checks;
pub mod config;
pub mod corruption;
pub mod dashboard;
pub mod ending;
pub mod flags;
pub mod history;
pub mod model;
pub mod night;
pub mod nights;
pub mod orphans;
pub mod pace;
pub mod packed;
pub mod queries;
pub mod request;
pub mod scan;
pub mod session;
mod shown;
pub mod sql_text;
pub mod standing;
pub mod work;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use shared::env::{Databases, Reader};
use shared::failure::{Context, Failure, FailureKind};
use shared::finding::{Finding, FindingKind};
use shared::lambda::{Answer, Deployment, Function, Run};
use shared::report::Report;
use shared::secrets;
use shared::store::Store;
use shared_postgres::Access;
use shared_postgres::databases::{self, Database};
use shared_postgres::proof::quote;
use sqlx::Connection as _;

use crate::config::Settings;
use crate::night::Invocation;
use crate::request::{Check, Request};

/// The function.
pub struct IntegrityCheck {
    settings: Settings,
    instance: String,
    stage: String,
    bucket: Store,
    config: SdkConfig,
}

impl Function for IntegrityCheck {
    const NAME: &'static str = "integrity-check";
    type Request = Request;

    fn new(reader: &mut Reader<'_>, deployment: &Deployment, config: &SdkConfig) -> Self {
        Self {
            settings: Settings::read(reader),
            instance: deployment.instance.clone(),
            stage: deployment.stage.clone(),
            bucket: Store::new(aws_sdk_s3::Client::new(config), &deployment.bucket),
            config: config.clone(),
        }
    }

    fn slot(request: &Request, run: &Run) -> DateTime<Utc> {
        let Request::Check(check) = request;
        check.scheduled_at.unwrap_or(run.started_at)
    }

    async fn handle(&self, request: Request, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let Request::Check(check) = request;
        self.check(&check, run, report).await
    }
}

impl IntegrityCheck {
    async fn check(&self, check: &Check, run: &Run, report: &mut Report) -> Result<Answer, Failure> {
        let url = secrets::parameter(&aws_sdk_ssm::Client::new(&self.config), &self.settings.url_parameter).await?;
        let access = Access::parse(&url, &self.settings.database_ca_file).context(format!("read the parameter {}", self.settings.url_parameter))?;
        let chosen = self.choose(check, &access, report).await?;
        let invocation = Invocation {
            settings: &self.settings,
            store: &self.bucket,
            config: &self.config,
            instance: &self.instance,
            stage: &self.stage,
            access: &access,
            run,
        };
        let mut came = Vec::new();
        for database in &chosen {
            match invocation.advance(database, check).await {
                Ok(one) => came.push(one),
                // One that fails does not keep the others.
                Err(failure) => report.fail(database.as_str(), &failure),
            }
        }
        night::summarise(&came, &self.bucket, report);
        if came.is_empty() {
            return Err(Failure::new(FailureKind::Other, "no database could be checked"));
        }
        // While a night is under way, there is nothing to tell yet; what keeps a database from being checked at all is told when a night ends.
        let failed = report.findings.iter().any(|finding| finding.kind == FindingKind::RunFailed);
        let is_news = failed || came.iter().any(|one| one.has_ended);
        Ok(Answer { reply: None, only_answered: check.dry_run || !is_news })
    }

    /// The databases that are looked at. One that cannot be connected to is said, and keeps no other from being checked.
    async fn choose(&self, check: &Check, access: &Access, report: &mut Report) -> Result<Vec<String>, Failure> {
        let mut connection = access.connect(&access.database, "lifeboat integrity").await?;
        let seen = databases::list(&mut connection).await?;
        let _ = connection.close().await;
        let wanted = check.databases.clone().map_or_else(|| self.settings.databases.clone(), Databases::Listed);
        let (chosen, findings) = choose(&seen, &wanted, &access.user);
        report.findings.extend(findings);
        if chosen.is_empty() {
            let there: Vec<&str> = seen.iter().map(|database| database.name.as_str()).collect();
            return Err(
                Failure::new(FailureKind::BadRequest, "there is no database to check").hint(format!("the instance has: {}", there.join(", ")))
            );
        }
        Ok(chosen)
    }
}

fn choose(seen: &[Database], wanted: &Databases, user: &str) -> (Vec<String>, Vec<Finding>) {
    let (mut chosen, mut findings) = (Vec::new(), Vec::new());
    let not_checked = |name: &str, seen: &str| Finding::new(FindingKind::NotChecked, name, seen);
    if let Databases::Listed(names) = wanted {
        for name in names.iter().filter(|name| !seen.iter().any(|database| database.name == **name)) {
            findings
                .push(not_checked(name, "there is no database of this name").hint("correct the parameter Databases of the stack, or the request"));
        }
    }
    for database in seen {
        let named = matches!(wanted, Databases::Listed(names) if names.contains(&database.name));
        if !named && matches!(wanted, Databases::Listed(_)) {
            continue;
        }
        if !database.accepts_connections {
            // Nobody can have changed anything in it.
            if named {
                findings.push(
                    not_checked(&database.name, "it accepts no connections")
                        .hint("drop it, or let it accept connections: ALTER DATABASE … ALLOW_CONNECTIONS true"),
                );
            }
        } else if database.may_connect {
            chosen.push(database.name.clone());
        } else {
            let grant = format!("GRANT CONNECT ON DATABASE {} TO {};", quote(&database.name), quote(user));
            findings.push(not_checked(&database.name, "the role may not connect to it").hint(grant));
        }
    }
    (chosen, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_at_is_said_and_the_rest_is_looked_at() {
        let database = |name: &str, accepts_connections, may_connect| Database { name: name.into(), accepts_connections, may_connect };
        let seen = [database("app", true, true), database("closed", false, true), database("secret", true, false)];
        let (chosen, findings) = choose(&seen, &Databases::Every, "reader");
        assert_eq!((chosen, findings.len()), (vec!["app".to_owned()], 1));
        assert_eq!(findings[0].hint.as_deref(), Some("GRANT CONNECT ON DATABASE \"secret\" TO \"reader\";"));
        let listed = Databases::Listed(vec!["app".into(), "closed".into(), "gone".into()]);
        let (chosen, findings) = choose(&seen, &listed, "reader");
        assert_eq!((chosen.len(), findings.len()), (1, 2));
    }
}

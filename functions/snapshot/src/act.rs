//! Takes the steps, one after the other. A refused one is a finding, and the others go on. Nothing is decided here but whether a snapshot that is
//! there already is the one that was to be made: then another run, or an answer that got lost, made it, and it is adopted.

use aws_sdk_rds::error::ProvideErrorMetadata;
use aws_sdk_rds::types::Tag;
use shared::aws;
use shared::failure::{Failure, FailureKind};
use shared::finding::Finding;
use shared::lambda::Run;
use shared::snapshot::{COPIED_TO, CREATED_BY, CREATED_BY_VALUE, INSTANCE, STAGE};
use tokio::time::Instant;

use crate::config::Promise;
use crate::creation::{is_the_same, taken};
use crate::describe::{self, RESTORE};
use crate::observed::Snapshot;
use crate::places::Places;
use crate::plan::{Step, What};
use crate::presign;
use crate::refusal::{Refusal, refusal};

/// What came of the steps.
#[derive(Debug, Default)]
pub struct Acted {
    /// Steps that were taken.
    pub taken: u64,
    /// Steps that were refused, or not taken because of that.
    pub refused: u64,
    /// What should be known.
    pub findings: Vec<Finding>,
    /// The snapshot that was made or adopted.
    pub created: Option<Snapshot>,
    /// Why none was, and whether that may pass.
    pub create_refused: Option<Refusal>,
    /// Snapshots and copies that were begun, for links: place and id.
    pub begun: Vec<(usize, String)>,
}

/// A call that was refused: with the code, where the service gave one.
struct Refused {
    code: Option<String>,
    failure: Failure,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { code: None, failure }
    }
}

enum Done {
    Snapshot(Box<Snapshot>),
    Other,
    /// The id is another's.
    Taken(Finding),
}

/// Takes the steps until time runs out.
pub async fn act(steps: &[Step], places: &Places, promise: &Promise, run: &Run) -> Acted {
    let mut acted = Acted::default();
    // Sharing, or its end, that was refused: what builds on it waits for another run.
    let mut not_shared: Vec<(usize, &str)> = Vec::new();
    let mut still_shared: Vec<&str> = Vec::new();
    for step in steps {
        acted.findings.extend(step.finding.clone());
        let (action, what) = (step.what.action(), step.what.to_string());
        tracing::info!(action, what, why = step.why, "step");
        if !step.changes() {
            continue;
        }
        let builds_on_refused = match &step.what {
            What::Copy { place, id, .. } => not_shared.contains(&(place - 1, id.as_str())),
            // What is written down is looked at no more: a sharing that goes on would be forgotten.
            What::NoteCopies { id, .. } => still_shared.contains(&id.as_str()),
            _ => false,
        };
        if builds_on_refused {
            acted.refused += 1;
            continue;
        }
        let done = tokio::time::timeout_at(run.work_until, take(&step.what, places, promise, run)).await.unwrap_or_else(|_| Err(no_time(run).into()));
        match done {
            Ok(Done::Snapshot(snapshot)) => {
                acted.taken += 1;
                if let What::Copy { place, id, .. } = &step.what {
                    acted.begun.push((*place, id.clone()));
                } else {
                    acted.begun.push((0, snapshot.id.clone()));
                    acted.created = Some(*snapshot);
                }
            }
            Ok(Done::Other) => acted.taken += 1,
            Ok(Done::Taken(finding)) => {
                acted.refused += 1;
                if matches!(step.what, What::Create { .. }) {
                    acted.create_refused = Some(Refusal { finding: finding.clone(), passes: false });
                }
                acted.findings.push(finding);
            }
            Err(refused) => {
                acted.refused += 1;
                tracing::warn!(action, what, code = refused.code, failure = %refused.failure, "a step was refused");
                let refusal = refusal(&step.what, &subject(&step.what, promise), refused.code.as_deref(), &refused.failure);
                acted.findings.push(refusal.finding.clone());
                match &step.what {
                    What::Share { place, id, .. } => not_shared.push((*place, id)),
                    What::Unshare { id, .. } => still_shared.push(id),
                    What::Create { .. } => acted.create_refused = Some(refusal),
                    _ => {}
                }
            }
        }
    }
    acted
}

fn no_time(run: &Run) -> Failure {
    let seconds = (Instant::now() - run.started).as_secs();
    Failure::new(FailureKind::Deadline, format!("the function's time was over after {seconds} s"))
}

/// What a finding about a step is about.
fn subject(what: &What, promise: &Promise) -> String {
    match what {
        What::Create { id, .. } | What::Share { id, .. } | What::Unshare { id, .. } | What::NoteCopies { id, .. } => id.clone(),
        What::Copy { place, id, .. } => format!("{id} in {}", promise.destinations.hops[place - 1].name()),
        What::Wait { subject } => subject.clone(),
    }
}

async fn take(what: &What, places: &Places, promise: &Promise, run: &Run) -> Result<Done, Refused> {
    match what {
        What::Create { id, tags } => {
            let rds = places.rds(0)?;
            let call = rds.create_db_snapshot().db_instance_identifier(&promise.owner.instance).db_snapshot_identifier(id);
            let answer = call.set_tags(Some(list(tags))).send().await.map(|answer| answer.db_snapshot);
            made_or_found(&rds, id, tags, answer).await
        }
        What::Copy { place, id, source_arn, source_encrypted, tags } => {
            let rds = places.rds(*place)?;
            let mut call = rds.copy_db_snapshot().source_db_snapshot_identifier(source_arn).target_db_snapshot_identifier(id);
            let hop = &promise.destinations.hops[place - 1];
            let source_region = source_arn.split(':').nth(3).unwrap_or(&promise.home);
            if let Some(key_arn) = hop.key_arn.as_ref().filter(|_| *source_encrypted && source_region != hop.region) {
                let copy = presign::Copy { source_region, destination_region: &hop.region, source_arn, target_id: id, key_arn };
                call = call.pre_signed_url(presign::url(copy, places.own_credentials().await?, run.now().into())?);
            }
            let answer = call.set_kms_key_id(hop.key_arn.clone()).set_tags(Some(list(tags))).send().await.map(|answer| answer.db_snapshot);
            made_or_found(&rds, id, tags, answer).await
        }
        What::Share { place, id, account } => {
            let call = places.rds(*place)?.modify_db_snapshot_attribute().db_snapshot_identifier(id).attribute_name(RESTORE);
            done(call.values_to_add(account).send().await)
        }
        What::Unshare { place, id, account } => {
            let call = places.rds(*place)?.modify_db_snapshot_attribute().db_snapshot_identifier(id).attribute_name(RESTORE);
            done(call.values_to_remove(account).send().await)
        }
        What::NoteCopies { arn, names, .. } => {
            // With the tags that make it ours: the role may set none without them.
            let tags = [
                (CREATED_BY, CREATED_BY_VALUE.to_owned()),
                (STAGE, promise.owner.stage.clone()),
                (INSTANCE, promise.owner.instance.clone()),
                (COPIED_TO, names.join(" ")),
            ];
            let tags = tags.into_iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect();
            done(places.rds(0)?.add_tags_to_resource().resource_name(arn).set_tags(Some(tags)).send().await)
        }
        What::Wait { .. } => Ok(Done::Other),
    }
}

type CallError<E> = aws_sdk_rds::error::SdkError<E, aws_sdk_rds::config::http::HttpResponse>;

fn refused<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(error: CallError<E>) -> Refused {
    let code = error.as_service_error().and_then(|error| error.code()).map(str::to_owned);
    Refused { code, failure: aws::failure(error) }
}

fn done<T, E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(answer: Result<T, CallError<E>>) -> Result<Done, Refused> {
    answer.map(|_| Done::Other).map_err(refused)
}

/// The snapshot that a call made. If its id is taken: by the very snapshot that was meant, or by another?
async fn made_or_found<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(
    rds: &aws_sdk_rds::Client,
    id: &str,
    tags: &std::collections::BTreeMap<String, String>,
    answer: Result<Option<aws_sdk_rds::types::DbSnapshot>, CallError<E>>,
) -> Result<Done, Refused> {
    let seen = match answer {
        Ok(made) => made.as_ref().map(describe::read_snapshot),
        Err(error) => {
            let refused = refused(error);
            if refused.code.as_deref().map(|code| code.trim_end_matches("Fault")) != Some("DBSnapshotAlreadyExists") {
                return Err(refused);
            }
            let found = describe::snapshot(rds, id).await?;
            if let Some(found) = &found {
                if !is_the_same(tags, &found.tags) {
                    return Ok(Done::Taken(taken(id)));
                }
                tracing::info!(what = id, status = found.status_word, "adopted: it was there already");
            }
            found
        }
    };
    let gone = || Failure::new(FailureKind::Other, "RDS does not show the snapshot that it has just made").into();
    seen.map(|seen| Done::Snapshot(Box::new(seen))).ok_or_else(gone)
}

fn list(tags: &std::collections::BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect()
}

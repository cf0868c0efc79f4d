//! How old is the newest thing that matters? By the user's own query: what was committed last before the disaster.

use chrono::{DateTime, Utc};
use shared::failure::Failure;
use shared_postgres::{Access, ContextSql};
use sqlx::AssertSqlSafe;

use crate::identity::DrillId;
use crate::work::close;

/// The time that the query gives; `None` for NULL, as of an empty table. Read-only, within a minute.
///
/// # Errors
/// When it gives something else, or fails.
pub(super) async fn newest(access: &Access, database: &str, sql: &str, drill: &DrillId) -> Result<Option<DateTime<Utc>>, Failure> {
    let mut connection = access.connect(database, &drill.application_name()).await?;
    let prepare = "SET statement_timeout = '60s'; SET lock_timeout = '5s'; SET TimeZone = 'UTC'; BEGIN READ ONLY";
    sqlx::raw_sql(prepare).execute(&mut connection).await.context_sql("prepare the session")?;
    // As text of one form, whichever type of time it is.
    let wrapped = format!("SELECT extract(epoch FROM newest.at)::float8 FROM ({}) AS newest (at)", sql.trim().trim_end_matches(';'));
    let seconds: Option<Option<f64>> =
        sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_optional(&mut connection).await.context_sql("ask for the newest time")?;
    close(connection).await;
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970")]
    Ok(seconds.flatten().and_then(|seconds| DateTime::from_timestamp_millis((seconds * 1000.0) as i64)))
}

//! Whether the readers keep up: what is on the writer must be on each of them soon, for a new password comes the same way. Asked in bytes of log; a reader that
//! has nothing to replay is not late, however old its last change is.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use shared::failure::Failure;
use sqlx::Row;
use tokio::time::Instant;

use super::{APPLICATION, Found, Obstacle, Request};
use crate::database::access::elsewhere;
use crate::database::login::Place;
use crate::database::server::Server;

/// How long a reader may take to have what the writer has now.
const LAG_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// Readers that are looked at at the same time.
const PARALLEL_MAX: usize = 8;

/// What is on the writer now must be on each reader soon: a new password comes the same way.
pub(super) async fn look(request: &Request<'_>, writer: &mut Server, found: &mut Found) -> Result<(), Failure> {
    let row = writer.row("ask for the position of the log", sqlx::query("SELECT pg_current_wal_lsn()::text")).await?;
    let position: String = row.get(0);
    let position = &position;
    // Owned: a future over borrowed places is not `Send` for every lifetime, in the compiler's eyes.
    let looks = request.servers.readers.clone().into_iter().map(|place| async move { behind(request, &place, position).await });
    let seen: Vec<_> = stream::iter(looks).buffered(PARALLEL_MAX).collect().await;
    for (place, seen) in request.servers.readers.iter().zip(seen) {
        match seen {
            Ok(None) => {}
            Ok(Some(behind)) => {
                let fix = "wait until it has caught up; a new password works there only then, and nothing is given out before";
                found.add(Obstacle::ReaderLagging, &place.to_string(), behind, fix);
            }
            Err(failure) => found.cannot_tell(place, &failure),
        }
    }
    Ok(())
}

async fn behind(request: &Request<'_>, place: &Place, position: &str) -> Result<Option<String>, Failure> {
    let access = elsewhere(request.rotator, place, request.tokens).await?;
    let mut reader = Server::connect(&access, &access.database, APPLICATION).await?;
    let behind = until_replayed(&mut reader, position).await;
    reader.close().await;
    behind
}

/// How far a reader is behind a position when the time is over; `None` when it is not.
async fn until_replayed(reader: &mut Server, position: &str) -> Result<Option<String>, Failure> {
    let begun = Instant::now();
    loop {
        // A writer under a reader's name has everything.
        let sql = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff($1::pg_lsn, pg_last_wal_replay_lsn())::int8 ELSE 0 END,
                          extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::int8";
        let row = reader.row("ask how far it is", sqlx::query(sql).bind(position)).await?;
        let (bytes, seconds): (Option<i64>, Option<i64>) = (row.get(0), row.get(1));
        match bytes {
            Some(..=0) => return Ok(None),
            _ if begun.elapsed() < LAG_MAX => tokio::time::sleep(POLL).await,
            _ => {
                let bytes = bytes.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string());
                let last = seconds.map_or(String::new(), |seconds| format!("; its last change is {seconds} s old"));
                return Ok(Some(format!("it is {bytes} bytes of log behind, for more than {} s{last}", LAG_MAX.as_secs())));
            }
        }
    }
}

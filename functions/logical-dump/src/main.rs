//! The Lambda function `logical-dump`.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve::<logical_dump::LogicalDump>().await
}

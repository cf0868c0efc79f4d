//! Binary of the function; see the library.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve::<integrity_check::IntegrityCheck>().await
}

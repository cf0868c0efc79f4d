//! Binary of the function; see the library.

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::lambda::serve::<canary::Canary>().await
}

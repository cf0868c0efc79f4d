//! Lifeboat's own template, deployed to the local cloud for an instance of it.

use serde_json::{Value, json};
use shared::failure::Failure;

use crate::cloud::{Cloud, Deployed};
use crate::host::checkout;
use crate::instance::Instance;

impl Cloud {
    /// Deploys `template.yaml` of the checkout for an instance. `parameters` are added to `Stage`, `Instance`; what the layers would bring to
    /// `/opt` (layers are not unpacked here) is named to the functions instead.
    ///
    /// # Errors
    /// When CloudFormation refuses; the message names the resource.
    pub async fn deploy_lifeboat(
        &self,
        account: &str,
        stack_name: &str,
        stage: &str,
        instance: &Instance,
        parameters: &[(&str, String)],
    ) -> Result<Deployed, Failure> {
        let mut all = json!({"Stage": stage, "Instance": instance.id});
        for (name, value) in parameters {
            all[name] = Value::from(value.as_str());
        }
        let client = json!({"POSTGRES_CLIENT_FOLDER": instance.bin_folder, "DATABASE_CA_FILE": instance.ca_file});
        let environment = json!({"LogicalDumpFunction": client, "RestoreDrillDatabaseFunction": client});
        self.deploy_with(account, stack_name, &checkout().join("template.yaml"), &all, &environment).await
    }

    /// Stores a SecureString.
    ///
    /// # Errors
    /// When SSM refuses.
    pub async fn put_secret(&self, account: &str, name: &str, value: &str) -> Result<(), Failure> {
        let ssm = aws_sdk_ssm::Client::new(&self.sdk_config(account));
        let put = ssm.put_parameter().name(name).value(value).r#type(aws_sdk_ssm::types::ParameterType::SecureString).overwrite(true);
        put.send().await.map(|_| ()).map_err(|error| shared::aws::failure(error).context(format!("store the parameter {name}")))
    }
}

//! Which servers a credential must work on: the writer, the read replicas that RDS knows, and those that the definition lists.
//!
//! A server that is not asked is named, and never passed over in silence.

use std::collections::{BTreeSet, VecDeque};

use shared::aws;
use shared::failure::{Context, Failure, FailureKind};

use crate::database::login::Place;

/// Instances that are looked at: a replica may have replicas.
const INSTANCES_MAX: usize = 32;

/// The servers of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Where passwords are changed.
    pub writer: Place,
    /// Where they must work, too.
    pub readers: Vec<Place>,
    /// What is not asked, and why.
    pub unchecked: Vec<Unchecked>,
}

/// A server that is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Its name.
    pub name: String,
    /// Why, and what to do.
    pub why: String,
}

impl Servers {
    /// The writer, then the readers.
    pub fn all(&self) -> Vec<Place> {
        std::iter::once(&self.writer).chain(&self.readers).cloned().collect()
    }
}

/// The servers of a credential whose writer is known.
///
/// # Errors
/// When RDS cannot be asked, or a listed reader is not `host:port`.
pub async fn servers(rds: &aws_sdk_rds::Client, instance: &str, writer: Place, listed: &[String]) -> Result<Servers, Failure> {
    let mut servers = Servers { writer, readers: Vec::new(), unchecked: Vec::new() };
    for text in listed {
        let (host, port) = host_and_port(text)?;
        servers.add(&host, port);
    }
    let mut queue = VecDeque::from([instance.to_owned()]);
    let mut seen: BTreeSet<String> = queue.iter().cloned().collect();
    while let Some(id) = queue.pop_front() {
        let answer = rds.describe_db_instances().db_instance_identifier(&id).send().await.map_err(aws::failure);
        let answer = answer.context(format!("describe the instance {id} (rds:DescribeDBInstances)"))?;
        let Some(described) = answer.db_instances().first() else { continue };
        if id != instance {
            let status = described.db_instance_status().unwrap_or("(no status)");
            let endpoint = described.endpoint().and_then(|endpoint| Some((endpoint.address()?, u16::try_from(endpoint.port()?).ok()?)));
            match endpoint {
                Some((host, port)) if status == "available" => servers.add(host, port),
                _ => servers.leave_out(&id, format!("the replica is {status}; it gets the new password by replication")),
            }
        }
        for cluster in described.read_replica_db_cluster_identifiers() {
            servers.leave_out(cluster, "a cluster that replicates: list its readers in the definition".to_owned());
        }
        for replica in described.read_replica_db_instance_identifiers() {
            // Of another region RDS gives the ARN, and another region's RDS would have to be asked.
            if replica.starts_with("arn:") {
                servers.leave_out(replica, "a replica in another region: list it in the definition to have it checked".to_owned());
            } else if seen.len() >= INSTANCES_MAX {
                servers.leave_out(replica, format!("more than {INSTANCES_MAX} instances"));
            } else if seen.insert(replica.clone()) {
                queue.push_back(replica.clone());
            }
        }
    }
    Ok(servers)
}

impl Servers {
    fn add(&mut self, host: &str, port: u16) {
        let place = self.writer.at(host, port);
        if place != self.writer && !self.readers.contains(&place) {
            self.readers.push(place);
        }
    }

    fn leave_out(&mut self, name: &str, why: String) {
        self.unchecked.push(Unchecked { name: name.to_owned(), why });
    }
}

/// `host:port`, `host`, `[::1]:5432`.
fn host_and_port(text: &str) -> Result<(String, u16), Failure> {
    let bad = || Failure::new(FailureKind::BadSettings, format!("the reader {text:?} is not HOST:PORT"));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port.parse().map_err(|_| bad())?),
        _ => (text, 5432),
    };
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() || host.contains(['/', '@', ' ', '?']) { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_reader_is_a_host_and_a_port() {
        let read = |text| host_and_port(text).ok();
        assert_eq!(read("db.example:6000"), Some(("db.example".to_owned(), 6000)));
        assert_eq!(read("db.example"), Some(("db.example".to_owned(), 5432)));
        assert_eq!(read("[::1]:6000"), Some(("::1".to_owned(), 6000)));
        assert_eq!(read("::1"), Some(("::1".to_owned(), 5432)));
        for wrong in ["", ":5432", "db:port", "db:70000", "postgres://db/x", "u@db:1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nobody_is_asked_twice() {
        let writer = Place { host: "w".to_owned(), port: 5432, database: "app".to_owned(), ca_file: None };
        let mut servers = Servers { writer: writer.clone(), readers: Vec::new(), unchecked: Vec::new() };
        for (host, port) in [("w", 5432), ("r", 5432), ("r", 5432), ("r", 5433)] {
            servers.add(host, port);
        }
        assert_eq!(servers.all(), [writer.clone(), writer.at("r", 5432), writer.at("r", 5433)]);
    }
}

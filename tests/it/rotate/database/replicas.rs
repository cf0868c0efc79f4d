//! Read replicas as RDS tells of them. The local cloud has none, so that the answers are RDS's own form, put by hand.

use std::collections::BTreeMap;

use rotate_secret::database::Place;
use rotate_secret::database::readers::servers;
use tests::world::{run, world};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What RDS says of an instance.
#[derive(Clone, Default)]
struct Told {
    status: &'static str,
    endpoint: Option<&'static str>,
    replicas: Vec<&'static str>,
    clusters: Vec<&'static str>,
}

fn answer(id: &str, told: &Told) -> String {
    let list = |outer: &str, inner: &str, items: &[&str]| {
        let items: Vec<String> = items.iter().map(|item| format!("<{inner}>{item}</{inner}>")).collect();
        format!("<{outer}>{}</{outer}>", items.concat())
    };
    let endpoint = told.endpoint.map_or(String::new(), |host| format!("<Endpoint><Address>{host}</Address><Port>5432</Port></Endpoint>"));
    format!(
        "<DescribeDBInstancesResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><DescribeDBInstancesResult><DBInstances><DBInstance>\
         <DBInstanceIdentifier>{id}</DBInstanceIdentifier><DBInstanceStatus>{}</DBInstanceStatus>{endpoint}{}{}\
         </DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>",
        told.status,
        list("ReadReplicaDBInstanceIdentifiers", "ReadReplicaDBInstanceIdentifier", &told.replicas),
        list("ReadReplicaDBClusterIdentifiers", "ReadReplicaDBClusterIdentifier", &told.clusters),
    )
}

/// Answers questions about instances until the test ends.
async fn rds(instances: BTreeMap<&'static str, Told>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = one(stream, &instances).await;
        }
    });
    format!("http://{address}")
}

async fn one(mut stream: TcpStream, instances: &BTreeMap<&'static str, Told>) -> std::io::Result<()> {
    let (mut request, mut buffer) = (String::new(), [0; 4096]);
    // The identifier is the body's last word, and the body the last of the request.
    let id = loop {
        let length = stream.read(&mut buffer).await?;
        request.push_str(&String::from_utf8_lossy(&buffer[..length]));
        match request.split_once("DBInstanceIdentifier=") {
            Some((_, id)) if instances.contains_key(id) => break id.to_owned(),
            _ if length == 0 => return Ok(()),
            _ => {}
        }
    };
    let body = answer(&id, &instances[id.as_str()]);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

#[test]
fn replicas_of_replicas_are_readers_and_what_cannot_be_asked_is_named() {
    run(async {
        let available = |endpoint, replicas: &[&'static str]| Told {
            status: "available",
            endpoint: Some(endpoint),
            replicas: replicas.to_vec(),
            clusters: Vec::new(),
        };
        let instances = BTreeMap::from([
            ("app-db", Told { clusters: vec!["app-cluster"], ..available("writer.example", &["one", "two", "arn:aws:rds:eu-west-1:1:db:far"]) }),
            // It names the writer again: nobody is asked twice.
            ("one", available("one.example", &["three", "app-db"])),
            ("two", Told { status: "creating", ..Told::default() }),
            ("three", available("three.example", &[])),
        ]);
        let endpoint = rds(instances).await;
        let client = aws_sdk_rds::Client::new(&world().await.cloud.sdk_config_through(&endpoint, "700000000002"));
        let writer = Place { host: "writer.example".to_owned(), port: 5432, database: "app".to_owned(), ca_file: None };
        let listed = ["three.example:5432".to_owned(), "listed.example:6000".to_owned()];
        let found = servers(&client, "app-db", writer.clone(), &listed).await.expect("ask");
        let expected = [writer.at("three.example", 5432), writer.at("listed.example", 6000), writer.at("one.example", 5432)];
        assert_eq!(found.readers, expected);
        let mut names: Vec<&str> = found.unchecked.iter().map(|unchecked| unchecked.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["app-cluster", "arn:aws:rds:eu-west-1:1:db:far", "two"]);
        assert!(found.unchecked.iter().all(|unchecked| !unchecked.why.is_empty()), "{:?}", found.unchecked);
    });
}

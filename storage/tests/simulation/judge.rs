//! Whether all is well in the end: every node healthy, every key read alike through all, every disk the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use quiz_storage::audit::{Audit, audit};
use quiz_storage::sys::simulated::Machine;
use serde_json::Value as Json;
use tokio::time::{sleep, timeout};
use turmoil::Sim;
use turmoil::net::TcpStream;

use crate::client::{Client, Records, body};
use crate::cluster::{ADMIN, name};

/// Waits until all is well, reads everything through every node, and returns what is wrong. What is never well is read
/// all the same, for what it shows.
pub(crate) async fn look(records: &Rc<Records>, deadline: Duration) -> Vec<String> {
    let mut wrong = Vec::new();
    loop {
        let mut said = Vec::new();
        for node in 1..=3 {
            said.push(status(node).await);
        }
        if said.iter().all(is_quiet) {
            break;
        }
        if turmoil::sim_elapsed().unwrap() > deadline {
            wrong.push(format!("the nodes are not well again: {said:#?}"));
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let clients: Vec<_> = (1..=3)
        .map(|node| Client::new(node, false, Rc::clone(records)))
        .collect();
    let keys: Vec<_> = records.history.borrow().keys.keys().cloned().collect();
    for key in keys {
        for client in &clients {
            if client.read(&key).await.is_none() {
                wrong.push(format!("{key} cannot be read in the end"));
            }
        }
    }
    wrong
}

fn is_quiet(said: &Json) -> bool {
    let nodes = said["nodes"].as_array();
    let mut tombstones = nodes
        .into_iter()
        .flatten()
        .map(|node| &node["about"]["tombstones"]);
    said["state"] == "healthy" && tombstones.all(|left| *left == 0)
}

/// What a node says of all.
async fn status(node: usize) -> Json {
    let asked = async {
        let stream = TcpStream::connect((name(node), ADMIN)).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = tokio::spawn(connection);
        let request = http::Request::get("/status").header("host", "node");
        let reply = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
        let body = reply
            .await
            .ok()?
            .into_body()
            .collect()
            .await
            .ok()?
            .to_bytes();
        connection.abort();
        serde_json::from_slice(&body).ok()
    };
    let asked = timeout(Duration::from_secs(2), asked).await;
    asked.ok().flatten().unwrap_or_default()
}

/// Looks at the disks of machines that are off.
pub(crate) fn compare(
    sim: &mut Sim<'_>,
    machines: &[Machine],
    records: &Rc<Records>,
) -> Vec<String> {
    let audits: Rc<std::cell::RefCell<Vec<anyhow::Result<Audit>>>> = Rc::default();
    for (machine, node) in machines.iter().cloned().zip(1..) {
        let audits = Rc::clone(&audits);
        sim.client(format!("auditor{node}"), async move {
            machine.boot();
            let found = audit(Path::new("/data"), node);
            audits.borrow_mut().push(found);
            machine.kill();
            Ok(())
        });
    }
    if let Err(error) = sim.run() {
        return vec![format!("the audit failed: {error}")];
    }
    let mut wrong = Vec::new();
    let mut found = Vec::new();
    for audit in audits.take() {
        match audit {
            Ok(audit) => found.push(audit),
            Err(error) => wrong.push(format!("a folder cannot be read: {error:#}")),
        }
    }
    wrong.extend(
        found
            .iter()
            .flat_map(|audit| &audit.broken)
            .map(|key| format!("{key} is broken on a disk")),
    );
    if found.windows(2).any(|two| two[0] != two[1]) {
        wrong.push(format!("the folders are not the same: {found:#?}"));
    }
    let history = records.history.borrow();
    let read: BTreeMap<_, _> = history
        .keys
        .iter()
        .filter_map(|(key, operations)| {
            let last = operations.iter().max_by_key(|o| (o.called, o.returned))?;
            match last.outcome {
                crate::history::Outcome::Saw(Some(value)) => {
                    Some((key.clone(), *blake3::hash(&body(value)).as_bytes()))
                }
                _ => None,
            }
        })
        .collect();
    if found.first().is_some_and(|audit| audit.objects != read) {
        wrong.push("what is on the disks is not what was read in the end".to_owned());
    }
    wrong
}

//! The scenario on four networks: the rows of the assignment, each by its name.

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::load::Load;
use common::scenario::{SITE, Scenario, block_on};
use common::{Connection, Visitor, eventually, png_part, select};
use futures::future::join_all;
use quiz_lab::network::topology::Topology;
use rustix::process::{Pid, Signal};

/// Where the balancer serves, for those who count connections.
const BALANCER: &str = "198.18.2.2:80";
/// The longest stall that the assignment allows when a node is cut off.
const LONGEST_STALL: Duration = Duration::from_secs(5);

#[test]
fn m1_a_visitor_plays_a_quiz_at_port_80_over_ipv4_and_ipv6() {
    let name = "m1_a_visitor_plays_a_quiz_at_port_80_over_ipv4_and_ipv6";
    let Some(scenario) = Scenario::create(name, 1) else {
        return;
    };
    for (host, site) in [("c1", SITE), ("c2", "http://[fd00:18:2::2]")] {
        scenario.on(host, async || {
            let visitor = Visitor::new(site.to_owned());
            assert!(
                visitor
                    .page("/quizzes/1/play")
                    .await
                    .contains("capital of Italy")
            );
            assert!(
                visitor
                    .page("/quizzes/1/check?answer=Milan")
                    .await
                    .contains("Wrong")
            );
            assert!(
                visitor
                    .page("/quizzes/1/check?answer=rome")
                    .await
                    .contains("Right")
            );
        });
    }
}

#[test]
fn m2_the_balancer_gives_each_front_end_the_same_share_of_requests() {
    let name = "m2_the_balancer_gives_each_front_end_the_same_share_of_requests";
    let Some(scenario) = Scenario::create(name, 3) else {
        return;
    };
    for connections in [1, 20] {
        let shares = scenario.on("c1", async || {
            let one = async |requests: usize| {
                let address: SocketAddr = BALANCER.parse().unwrap();
                let mut connection = Connection::open(address).await;
                let mut served = Vec::new();
                for _ in 0..requests {
                    served.push(connection.get("/quizzes").await);
                }
                served
            };
            let served = join_all((0..connections).map(|_| one(300 / connections))).await;
            let mut shares = BTreeMap::<String, usize>::new();
            for backend in served.into_iter().flatten() {
                *shares.entry(backend).or_default() += 1;
            }
            shares
        });
        assert_eq!(shares.len(), 3, "{shares:?}");
        assert!(
            shares.values().all(|count| count.abs_diff(100) <= 1),
            "over {connections} connections: {shares:?}"
        );
    }
}

/// Names and versions of what the three nodes hold are the same.
fn alike(scenario: &Scenario) -> bool {
    scenario.storage("nas1", &["verify"]).status.success()
}

#[test]
fn m3_a_node_that_is_cut_off_costs_little_and_learns_all_that_it_has_missed() {
    let name = "m3_a_node_that_is_cut_off_costs_little_and_learns_all_that_it_has_missed";
    // So that a picture which nothing refers to any more goes while the node is away.
    let soon = [
        ("QUIZ_SWEEP_SECS", "1"),
        ("QUIZ_SWEEP_GRACE_SECS", "6"),
        ("QUIZ_REQUEST_TIMEOUT_SECS", "5"),
    ];
    let Some(scenario) = Scenario::create_with(name, 3, &soon) else {
        return;
    };
    let (kept, deleted) = scenario.on("c1", async || {
        let author = scenario.author().await;
        let (gone, old) = author.create_quiz("Here for now?", 1).await;
        let (_, stays) = author.create_quiz("Here to stay?", 2).await;
        let load = Load::new(&author, &["/quizzes", &stays]).asking_anew();
        let (mut kept, mut slowest) = (vec![stays.clone()], Duration::ZERO);
        let failures = load
            .during(async {
                load.more(50).await;
                scenario.lab().plug("nas2", None, false).unwrap();
                for seed in 10..14 {
                    let begun = Instant::now();
                    kept.push(author.create_quiz("While it is away?", seed).await.1);
                    slowest = slowest.max(begun.elapsed());
                }
                delete(&author, &gone).await;
                // The balancer knows no such URL, so it asks a front-end each time.
                let tries = std::cell::Cell::new(0);
                eventually("the picture is gone", async || {
                    tries.set(tries.get() + 1);
                    let url = format!("{old}?try={}", tries.get());
                    author.get(&url).await.status() == 404
                })
                .await;
                scenario.lab().plug("nas2", None, true).unwrap();
                load.more(50).await;
            })
            .await;
        assert_eq!(failures, Vec::<String>::new());
        println!(
            "longest read {:?}, longest upload {slowest:?}",
            load.slowest()
        );
        assert!(load.slowest() <= LONGEST_STALL, "{:?}", load.slowest());
        assert!(slowest <= LONGEST_STALL, "{slowest:?}");
        (kept, old)
    });
    block_on(eventually("the three nodes hold the same", async || {
        alike(&scenario)
    }));
    scenario.on("c1", async || {
        let visitor = Visitor::new(SITE.to_owned());
        for picture in &kept {
            assert_eq!(visitor.get(picture).await.status(), 200, "{picture}");
        }
        assert_eq!(visitor.get(&deleted).await.status(), 404, "{deleted}");
    });
}

/// Deletes a quiz as a person does.
async fn delete(author: &Visitor, quiz: &str) {
    let form = author.hidden_fields(&format!("{quiz}/delete"), quiz).await;
    let url = format!("{}{quiz}", author.base);
    let response = author.http.post(url).form(&form).send().await.unwrap();
    assert_eq!(response.status(), 303);
    assert_eq!(author.get(quiz).await.status(), 404);
}

/// Blob files of a node, by path.
fn blobs(scenario: &Scenario, node: &str) -> Vec<std::path::PathBuf> {
    fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(&scenario.data(node).join("blobs"), &mut found);
    found
}

#[test]
fn m3_and_m8_a_picture_is_on_three_nodes_served_by_all_and_mended_where_a_disk_spoils_it() {
    let name =
        "m3_and_m8_a_picture_is_on_three_nodes_served_by_all_and_mended_where_a_disk_spoils_it";
    let Some(scenario) = Scenario::create(name, 3) else {
        return;
    };
    let (picture, bytes) = scenario.on("c1", async || {
        let author = scenario.author().await;
        let (_, picture) = author.create_quiz("Which colours?", 7).await;
        let bytes = author.get(&picture).await.bytes().await.unwrap();
        (picture, bytes)
    });
    // As the balancer sees them, one after the other.
    let from_each = || {
        scenario.on("lb", async || {
            for server in 11..=13 {
                let visitor = Visitor::new(format!("http://198.18.3.{server}:3000"));
                let response = visitor.get(&picture).await;
                assert_eq!(response.status(), 200, "s{}", server - 10);
                assert!(response.bytes().await.unwrap() == bytes, "s{}", server - 10);
            }
        });
    };
    from_each();
    let nodes = ["nas1", "nas2", "nas3"];
    block_on(eventually("all three nodes have the picture", async || {
        nodes.iter().all(|node| {
            let blobs = blobs(&scenario, node).into_iter();
            blobs
                .filter_map(|blob| std::fs::read(blob).ok())
                .any(|blob| blob.starts_with(&bytes))
        })
    }));
    block_on(eventually("nothing is left to heal", async || {
        let status = scenario.storage("nas1", &["status"]);
        String::from_utf8_lossy(&status.stdout).starts_with("healthy, 3 replicas")
    }));

    let spoilt = blobs(&scenario, "nas3").into_iter();
    let spoilt =
        spoilt.filter(|blob| std::fs::read(blob).is_ok_and(|blob| blob.starts_with(&bytes)));
    let spoilt: Vec<_> = spoilt.collect();
    for blob in &spoilt {
        let mut wrong = std::fs::read(blob).unwrap();
        wrong[100] ^= 1;
        std::fs::write(blob, wrong).unwrap();
    }
    assert!(!spoilt.is_empty());
    from_each();
    let scrub = scenario.storage("nas3", &["scrub"]);
    assert!(scrub.status.success(), "{scrub:?}");
    block_on(eventually(
        "the disk has the right bytes again",
        async || {
            let mut blobs = spoilt
                .iter()
                .map(|blob| std::fs::read(blob).unwrap_or_default());
            blobs.all(|blob| blob.starts_with(&bytes))
        },
    ));
}

#[test]
fn m4_the_database_is_reached_from_its_lan_alone_and_with_a_password() {
    let name = "m4_the_database_is_reached_from_its_lan_alone_and_with_a_password";
    let Some(scenario) = Scenario::create(name, 1) else {
        return;
    };
    let listening = scenario.exec("db", &["ss", "-ltnH"]);
    let addresses: Vec<&str> = (listening.lines())
        .filter_map(|line| line.split_whitespace().nth(3))
        .collect();
    assert_eq!(addresses, ["198.18.4.31:5432"]);
    let connects = |host: &str| {
        scenario.on(host, async || {
            let address: SocketAddr = "198.18.4.31:5432".parse().unwrap();
            let connect = tokio::net::TcpStream::connect(address);
            let connected = tokio::time::timeout(Duration::from_secs(2), connect).await;
            matches!(connected, Ok(Ok(_)))
        })
    };
    assert!(connects("s1"));
    assert!(!connects("nas1"), "in the same LAN, and no front-end");
    assert!(!connects("c1"));
    scenario.exec(
        "lb",
        &["ip", "route", "add", "198.18.4.0/24", "via", "198.18.3.11"],
    );
    assert!(
        !connects("lb"),
        "through a front-end, which passes nothing on"
    );
    let refused = |host: &str, user: &str, password: &str, why: &str| {
        let database = format!("host=198.18.4.31 user={user} dbname=quiz password={password}");
        let psql = [
            "env",
            "-u",
            "PGPASSWORD",
            "LC_ALL=C",
            "psql",
            "--no-password",
        ];
        let psql = [&psql[..], &["-c", "SELECT 1", &database]].concat();
        let output = scenario.output(host, &psql);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains(why), "{words}");
    };
    refused("s1", "quiz", "", "no password supplied");
    refused("s1", "quiz", "guessed", "password authentication failed");
    refused("s1", "postgres", "guessed", "no pg_hba.conf entry");
}

#[test]
fn m7_front_ends_that_start_together_make_one_schema_and_one_set_of_seeds() {
    let name = "m7_front_ends_that_start_together_make_one_schema_and_one_set_of_seeds";
    let Some(scenario) = Scenario::create(name, 3) else {
        return;
    };
    scenario.on("c1", async || {
        let page = Visitor::new(SITE.to_owned())
            .page("/quizzes?sort=oldest")
            .await;
        let italy = page.matches("What is the capital of Italy?").count();
        let quizzes = select(&page, ".quiz-card");
        let italy_cards = select(&page, ".quiz-card a[href='/quizzes/1/play']");
        assert!(!quizzes.is_empty() && italy > 0);
        assert_eq!(italy_cards.len(), 1, "{page}");
        let twice = Visitor::new(SITE.to_owned())
            .page("/quizzes?search=capital+of+italy")
            .await;
        assert_eq!(select(&twice, ".quiz-card").len(), 1);
    });
}

#[test]
fn m9_a_killed_front_end_is_back_soon_and_no_visitor_notices() {
    let name = "m9_a_killed_front_end_is_back_soon_and_no_visitor_notices";
    let Some(scenario) = Scenario::create(name, 3) else {
        return;
    };
    let process = || {
        let standing = scenario.lab().standing().unwrap();
        let s2 = standing
            .into_iter()
            .find(|one| one.host.name == "s2")
            .unwrap();
        s2.report.and_then(|report| report.process).unwrap()
    };
    let before = process();
    scenario.on("c1", async || {
        let visitor = Visitor::new(SITE.to_owned());
        let load = Load::new(&visitor, &["/quizzes", "/quizzes/1/play"]);
        let failures = load
            .during(async {
                load.more(100).await;
                let pid = Pid::from_raw(before.pid.unwrap() as i32).unwrap();
                rustix::process::kill_process(pid, Signal::KILL).unwrap();
                let killed = Instant::now();
                eventually("it runs again", async || {
                    let now = process();
                    now.starts > before.starts && now.pid.is_some()
                })
                .await;
                println!("started again after {:?}", killed.elapsed());
                load.served();
                eventually("it serves again", async || {
                    load.served()
                        .keys()
                        .any(|backend| backend.contains("198.18.3.12:"))
                })
                .await;
                println!("serves again after {:?}", killed.elapsed());
            })
            .await;
        assert_eq!(failures, Vec::<String>::new());
    });
}

#[test]
fn m10_shutdown_keeps_the_data_one_host_goes_down_alone_and_destroy_leaves_nothing() {
    let name = "m10_shutdown_keeps_the_data_one_host_goes_down_alone_and_destroy_leaves_nothing";
    let Some(scenario) = Scenario::create(name, 2) else {
        return;
    };
    let quiz = scenario.on("c1", async || {
        let author = scenario.author().await;
        author.create_quiz("Is this still here?", 3).await.0
    });
    let (lab, console) = (scenario.lab(), &scenario.console);
    block_on(lab.shutdown(Some("fw"), console)).unwrap();
    let up = |name: &str| {
        let standing = lab.standing().unwrap();
        let host = standing
            .into_iter()
            .find(|one| one.host.name == name)
            .unwrap();
        host.supervisor.is_some()
    };
    assert!(!up("fw") && up("lb") && up("s1"));
    scenario.on("c1", async || {
        let visitor = Visitor::new(SITE.to_owned());
        let asked = visitor.http.get(format!("{SITE}/")).send();
        let answered = tokio::time::timeout(Duration::from_secs(2), asked).await;
        assert!(!matches!(answered, Ok(Ok(_))), "nobody passes it on");
    });
    block_on(lab.shutdown(None, console)).unwrap();
    assert!(!up("lb") && !up("db"));
    block_on(lab.start(None, console)).unwrap();
    // Twice changes nothing.
    let before: Vec<_> = lab
        .standing()
        .unwrap()
        .iter()
        .map(|one| one.supervisor)
        .collect();
    block_on(lab.create(&Topology::new(9), console)).unwrap();
    let after: Vec<_> = lab
        .standing()
        .unwrap()
        .iter()
        .map(|one| one.supervisor)
        .collect();
    assert_eq!(before, after);
    scenario.on("c1", async || {
        let page = Visitor::new(SITE.to_owned())
            .page(&format!("{quiz}/play"))
            .await;
        assert!(page.contains("Is this still here?"));
    });
    // Supervisors are killed: `start` waits for what they leave behind, and `destroy` needs none of them.
    let kill = |name: &str| {
        let standing = lab.standing().unwrap();
        let host = standing
            .into_iter()
            .find(|one| one.host.name == name)
            .unwrap();
        rustix::process::kill_process(host.supervisor.unwrap(), Signal::KILL).unwrap();
    };
    for name in ["s1", "db", "nas1"] {
        kill(name);
    }
    block_on(lab.start(None, console)).unwrap();
    scenario.on("c1", async || {
        let visitor = Visitor::new(SITE.to_owned());
        let path = format!("{quiz}/play");
        // Those who were connected to a host that lost its power learn of it when an answer does not come in time.
        eventually("the site is as before", async || {
            for _ in 0..20 {
                if visitor.get(&path).await.status() != 200 {
                    return false;
                }
            }
            true
        })
        .await;
        assert!(visitor.page(&path).await.contains("Is this still here?"));
    });
    kill("s1");
    scenario.exec("s2", &["ip", "link", "delete", "eth1"]);
    let folder = lab.folder().path().to_owned();
    let namespaces = lab.namespace("c1").with_file_name("");
    let prefix = lab.namespace("").file_name().unwrap().to_owned();
    scenario.destroy();
    assert!(!folder.exists());
    let left = std::fs::read_dir(namespaces).unwrap().flatten();
    let left: Vec<_> = left
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes())
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn o3_a_front_end_is_added_and_removed_under_load_and_no_request_fails() {
    let name = "o3_a_front_end_is_added_and_removed_under_load_and_no_request_fails";
    let Some(scenario) = Scenario::create(name, 3) else {
        return;
    };
    scenario.on("c1", async || {
        let visitor = Visitor::new(SITE.to_owned());
        let load = Load::new(&visitor, &["/quizzes", "/quizzes/1/play"]).at_most(200);
        let (lab, console) = (scenario.lab(), &scenario.console);
        let s4 = "198.18.3.14:3000";
        let failures = load
            .during(async {
                load.more(200).await;
                lab.add("s4", console).await.unwrap();
                let added = Instant::now();
                load.served();
                eventually("s4 has its quarter", async || {
                    load.more(100).await;
                    let served = load.served();
                    let all: usize = served.values().sum();
                    served.get(s4).is_some_and(|own| own * 5 >= all)
                })
                .await;
                println!("s4 has its share after {:?}", added.elapsed());
                lab.remove("s4", console).await.unwrap();
                load.served();
                load.more(200).await;
                let served = load.served();
                assert!(!served.contains_key(s4), "{served:?}");
            })
            .await;
        assert_eq!(failures, Vec::<String>::new());
    });
}

#[test]
fn two_labs_do_not_meet_and_nothing_of_them_is_on_the_machine_itself() {
    let name = "two_labs_do_not_meet_and_nothing_of_them_is_on_the_machine_itself";
    let interfaces = || {
        let all = std::fs::read_dir("/sys/class/net").unwrap().flatten();
        let mut all: Vec<_> = all.map(|entry| entry.file_name()).collect();
        all.sort();
        all
    };
    let before = interfaces();
    let Some(one) = Scenario::create(name, 1) else {
        return;
    };
    assert_eq!(interfaces(), before);
    let other = Scenario::beside(&one, name);
    let question = "Only in the first?";
    one.on("c1", async || {
        let author = one.author().await;
        author.post_quiz(question, "42", Some(png_part(1))).await;
    });
    other.on("c1", async || {
        let page = Visitor::new(SITE.to_owned()).page("/quizzes").await;
        assert!(!page.contains(question));
    });
    for host in ["c1", "s1", "nas1", "db"] {
        let routes = ["-4", "-6"].map(|family| one.exec(host, &["ip", family, "route"]));
        let routes = routes.concat();
        assert!(!routes.contains("default"), "{host}: {routes}");
    }
}

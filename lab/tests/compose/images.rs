//! What is in the images.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::compose::{PROGRAMS, TAG, docker, image, inspect, repository};

/// The largest that an image may be, in bytes.
const MAX_BYTES: i64 = 40_000_000;

/// Made by compose/build, and by the engine as places to mount things at.
const OURS: [&str; 11] = [
    "usr/bin/quiz-",
    "usr/share/sbom/",
    "var/lib/dpkg/status.d/",
    "etc/passwd",
    "etc/group",
    "etc/ssl/certs/ca-certificates.crt",
    ".dockerenv",
    "dev/console",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn each_image_holds_its_program_and_listed_packages() {
    for program in PROGRAMS {
        let image = image(program, TAG);
        let seen = inspect(&image).await;
        let size = seen["Size"].as_i64().unwrap();
        println!("{image}: {:.1} MB", size as f64 / 1e6);
        assert!(size < MAX_BYTES, "{image}: {size} bytes");
        let user = if program == "firewall" {
            ""
        } else {
            "65532:65532"
        };
        assert_eq!(seen["Config"]["User"], user, "{image}");
        // No secret can be in a variable of the image: there is none but these.
        for variable in seen["Config"]["Env"].as_array().into_iter().flatten() {
            let name = variable.as_str().unwrap().split('=').next().unwrap();
            assert!(
                ["PATH", "STORAGE_DIR"].contains(&name),
                "{image}: {variable}"
            );
        }
        let check = seen["Config"]["Healthcheck"]["Test"].to_string();
        assert!(check.starts_with(r#"["CMD","/usr/bin/quiz-"#), "{check}");
        let labels = &seen["Config"]["Labels"];
        for label in ["title", "licenses", "revision", "version"] {
            let label = &labels[format!("org.opencontainers.image.{label}")];
            assert!(label.is_string(), "{image}: {labels}");
        }

        let folder = tempfile::tempdir().unwrap();
        unpack(&image, folder.path()).await;
        let packages = installed(folder.path());
        let list = repository().join(format!("compose/packages/{program}.txt"));
        let listed = std::fs::read_to_string(list).unwrap();
        assert_eq!(
            packages,
            listed.lines().map(str::to_owned).collect(),
            "{image}"
        );
        let known = owned(folder.path());
        for file in files(folder.path()) {
            let ours = OURS.iter().any(|path| match path.ends_with(['-', '/']) {
                true => file.starts_with(path),
                false => file == *path,
            });
            assert!(ours || known.contains(&file), "{image}: whose is {file}?");
            let name = Path::new(&file).file_name().unwrap().to_str().unwrap();
            let shell = [
                "sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "perl", "cc", "cargo",
            ];
            assert!(!shell.contains(&name), "{image}: {file}");
        }
        has_a_bill_of_materials(folder.path(), program);
    }
}

/// Copies the files of an image to `folder`.
async fn unpack(image: &str, folder: &Path) {
    let container = docker(&["create", image]).await;
    let container = container.trim();
    let tar = folder.with_extension("tar");
    docker(&["export", "--output", tar.to_str().unwrap(), container]).await;
    docker(&["rm", container]).await;
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(&tar)
        .arg("-C")
        .arg(folder)
        .status();
    assert!(unpacked.unwrap().success());
    std::fs::remove_file(tar).unwrap();
}

fn installed(root: &Path) -> BTreeSet<String> {
    let folder = std::fs::read_dir(root.join("var/lib/dpkg/status.d")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".list")).collect()
}

/// The files of its packages, as their lists name them.
fn owned(root: &Path) -> HashSet<String> {
    let folder = std::fs::read_dir(root.join("var/lib/dpkg/status.d")).unwrap();
    let lists = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "list"));
    lists
        .flat_map(|list| {
            let list = std::fs::read_to_string(list).unwrap();
            list.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Regular files, as paths from the root.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                found.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    found
}

fn has_a_bill_of_materials(root: &Path, program: &str) {
    let file = root.join(format!("usr/share/sbom/{program}.cdx.json"));
    let bill: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let components = bill["components"].as_array().unwrap();
    let names: Vec<_> = components
        .iter()
        .filter_map(|part| part["name"].as_str())
        .collect();
    for name in ["tokio", "libc6"] {
        assert!(
            names.contains(&name),
            "{program}: no {name} among {}",
            names.len()
        );
    }
}

//! Where the engine runs. Its processes, its mounts, its networks and all it writes end with one process, also when that
//! is killed; what it leaves in the tree of control groups, which has no such end, is removed by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use quiz_firewall::nft::search_path;

use super::common::{nft_or_skip, skip};
use super::{PATIENCE, POLICY, ROLE};

pub(crate) const SOCKET: &str = "unix:///run/engine/docker.sock";
pub(crate) const POLICY_FILE: &str = "/run/engine/policy.toml";
const LOG: &str = "/run/engine/log";
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// A control group for the containers of each run; the process id of the run follows.
const CONTROL_GROUP: &str = "quiz-firewall-test-";
const CONTROL_GROUP_VARIABLE: &str = "QUIZ_FIREWALL_TEST_CONTROL_GROUP";

/// The namespaces of the stage. A first process that is killed takes all others along.
const NAMESPACES: &[&str] = &[
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];
/// More than all the patience in between.
const ENDED_AFTER: &[&str] = &["timeout", "--signal=KILL", "240"];

const NEEDS: &str = r#"
    for tool in ip iptables dockerd docker busybox; do
        command -v $tool >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
    done
    if ldd "$(command -v busybox)" >/dev/null 2>&1; then
        echo "busybox needs libraries, which a container does not have" >&2; exit 1
    fi"#;

/// An engine also writes below `/run`, `/etc` and `/opt`. Here that goes to memory, which nobody else sees.
const OWN_FILES: &str = "
    mount -t tmpfs stage /run
    mkdir /run/engine /run/control-groups
    mount --rbind /sys/fs/cgroup /run/control-groups
    for folder in /etc /opt; do
        mkdir -p /run/new$folder /run/work$folder
        mount -t overlay -o lowerdir=$folder,upperdir=/run/new$folder,workdir=/run/work$folder stage $folder
    done";

/// No default route anywhere, so nothing leaves the stage. The neighbour knows the way to a network of containers.
const CABLES: &str = "
    ip netns add machine
    ip netns add neighbour
    ip -n machine link set lo up
    ip -n machine link add outside type veth peer name uplink netns neighbour
    ip -n machine address add 198.18.2.2/24 dev outside
    ip -n machine address add fd00:18:2::2/64 dev outside nodad
    ip -n machine link set outside up
    ip netns exec machine sh -ec 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    ip -n neighbour address add 198.18.2.1/24 dev uplink
    ip -n neighbour address add fd00:18:2::1/64 dev uplink nodad
    ip -n neighbour link set uplink up
    ip -n neighbour route add 198.18.8.0/24 via 198.18.2.2
    ip -n neighbour route add fd00:18:8::/64 via fd00:18:2::2
    ip netns exec neighbour busybox httpd -p 80";

/// `ip netns exec` mounts a `/sys` of the namespace, without control groups.
const ENGINE: &str = "
    mount --rbind /run/control-groups /sys/fs/cgroup
    # Modules would be those of the machine itself, and stay.
    mkdir -p /run/bin && ln -sf /bin/false /run/bin/modprobe && export PATH=/run/bin:$PATH
    exec dockerd --host $SOCKET --pidfile /run/engine/pid --data-root /run/engine/data --exec-root /run/engine/exec --log-level warn \
        --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /$CONTROL_GROUP \
        --bip 198.18.7.1/24 --ipv6 --fixed-cidr-v6 fd00:18:7::/64 --experimental --ip6tables";

/// As on a machine that also routes for others. Else an engine may close for us, over IPv6, what nobody published.
const ROUTED: &str = "
    for tables in iptables ip6tables; do
        ip netns exec machine $tables --wait --policy FORWARD ACCEPT
    done";

/// Whether the stage can be built on this machine. When it cannot, the skip is recorded under the name of the test.
pub(crate) fn can_be_built_or_skip(test: &str) -> bool {
    if !nft_or_skip(test) {
        return false;
    }
    let output = Command::new(NAMESPACES[0])
        .args(&NAMESPACES[1..])
        .args(["sh", "-ec", NEEDS])
        .env("PATH", search_path())
        .output()
        .expect("unshare runs, nft was asked through it");
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        skip(test, &format!("as root, with a container engine: {words}"));
    }
    output.status.success()
}

/// Starts the machine on a new stage and waits until it has played its part.
pub(crate) fn play(test: &str) {
    remove_control_groups();
    let prefix = [ENDED_AFTER, NAMESPACES].concat();
    let mut machine = again(test, "machine", &prefix)
        .env(CONTROL_GROUP_VARIABLE, control_group(std::process::id()))
        // The client would look for settings of whoever runs the test.
        .env("DOCKER_CONFIG", "/run/engine")
        .env_remove("SSH_CONNECTION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout runs");
    // Held until the end: the machine goes when nobody holds it any more.
    let stdin = machine.stdin.take();
    let output = machine.wait_with_output().expect("it ends");
    drop(stdin);
    remove_control_groups();
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    assert!(
        words.contains("1 passed"),
        "the inner test did not run: {words}"
    );
}

/// This test again, behind `prefix`, in another role.
pub(crate) fn again(test: &str, role: &str, prefix: &[&str]) -> Command {
    let mut command = Command::new(prefix[0]);
    command
        .args(&prefix[1..])
        .arg(std::env::current_exe().expect("a test knows its binary"))
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .env("PATH", search_path());
    command
}

/// Makes files, cables and the policy, as the first process in the new namespaces.
pub(crate) fn build() {
    std::thread::spawn(|| {
        // Ends when who started us does, however that ends.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(1);
    });
    sh(OWN_FILES);
    sh(CABLES);
    fs::write(POLICY_FILE, POLICY).expect("the policy is written");
}

/// An image with one static program, and a network of containers beside the one that an engine always has.
pub(crate) fn make_image_and_network() {
    sh(&format!(
        "mkdir -p /run/image/bin; cp \"$(command -v busybox)\" /run/image/bin/
         tar -c -C /run/image bin | docker --host {SOCKET} import - box >/dev/null"
    ));
    // The last two: from version 28 on, an engine closes by itself what a container does not publish.
    docker(
        "network create --ipv6 --subnet 198.18.8.0/24 --subnet fd00:18:8::/64 \
         --opt com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected \
         --opt com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected ours",
    );
}

/// A container engine in the namespace of the machine.
pub(crate) struct Engine(Child);

impl Engine {
    /// Returns when it answers; by then it has written its rules.
    pub(crate) fn start() -> Self {
        let group = std::env::var_os(CONTROL_GROUP_VARIABLE).expect("the machine is told");
        let log = fs::File::options().create(true).append(true).open(LOG);
        let log = log.expect("the log can be written");
        let engine = Command::new("ip")
            .args(["netns", "exec", "machine", "sh", "-ec", ENGINE])
            .env("SOCKET", SOCKET)
            .env("CONTROL_GROUP", group)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("ip runs");
        let answers = || {
            let version = Command::new("docker")
                .args(["--host", SOCKET, "version"])
                .output();
            version.expect("docker runs").status.success()
        };
        let deadline = Instant::now() + PATIENCE;
        while !answers() {
            assert!(Instant::now() < deadline, "no engine:\n{}", self::log());
        }
        sh(ROUTED);
        Self(engine)
    }

    /// Its containers stop as well.
    pub(crate) fn stop(mut self) {
        sh(&format!("kill -TERM {}", self.0.id()));
        self.0.wait().expect("it ends");
    }
}

/// What the engine said.
pub(crate) fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

pub(crate) fn docker(words: &str) {
    sh(&format!("docker --host {SOCKET} {words} >/dev/null"));
}

pub(crate) fn sh(script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .status()
        .expect("sh runs");
    assert!(status.success(), "{script}\n{}", log());
}

fn control_group(process: u32) -> String {
    format!("{CONTROL_GROUP}{process}")
}

/// Removes the control groups of this run, which must be over, and of runs that were killed.
fn remove_control_groups() {
    let root = PathBuf::from(CONTROL_GROUPS);
    // One tree, or one for each controller.
    let trees = folders(&root).into_iter().chain([root]);
    for group in trees.flat_map(|tree| folders(&tree)) {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        let Some(process) = name.strip_prefix(CONTROL_GROUP) else {
            continue;
        };
        let ours = process == std::process::id().to_string();
        if ours || !Path::new("/proc").join(process).exists() {
            for folder in folders(&group).iter().chain([&group]) {
                // The kernel refuses while there are processes in it, and somebody else may have been faster.
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

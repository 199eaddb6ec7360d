//! What a running balancer can adopt of a new configuration, and what needs a restart.

use super::Config;

/// The configuration that holds from now on, and the settings whose change waits for a restart: ports are bound and
/// threads started once, and connections are counted against what was allowed when they came.
pub fn adopt(running: &Config, mut wanted: Config) -> (Config, Vec<String>) {
    let mut waiting = Vec::new();
    let mut keep = |name: &str, changed: bool| {
        if changed {
            waiting.push(name.to_owned());
        }
    };
    keep("listeners", wanted.listeners != running.listeners);
    keep(
        "admin.address",
        wanted.admin.address != running.admin.address,
    );
    keep("admin.token", wanted.admin.token != running.admin.token);
    keep(
        "clients.max_connections",
        wanted.clients.max_connections != running.clients.max_connections,
    );
    keep(
        "access_log.max_waiting",
        wanted.access_log.max_waiting != running.access_log.max_waiting,
    );
    let (new, old) = (&wanted.process, &running.process);
    keep("process.threads", new.threads != old.threads);
    keep("process.log_format", new.log_format != old.log_format);
    keep(
        "process.upgrade_socket",
        new.upgrade_socket != old.upgrade_socket,
    );
    keep(
        "process.namespace_file",
        new.namespace_file != old.namespace_file,
    );
    keep(
        "process.upstream_pool_size",
        new.upstream_pool_size != old.upstream_pool_size,
    );
    let names = |config: &Config| config.pools.keys().cloned().collect::<Vec<_>>();
    let (old_names, new_names) = (names(running), names(&wanted));
    for name in &new_names {
        keep(&format!("pools.{name}"), !old_names.contains(name));
    }
    wanted
        .pools
        .retain(|name, _| running.pools.contains_key(name));
    for (name, pool) in &running.pools {
        keep(&format!("pools.{name}"), !new_names.contains(name));
        wanted
            .pools
            .entry(name.clone())
            .or_insert_with(|| pool.clone());
    }
    wanted.listeners.clone_from(&running.listeners);
    wanted.admin.clone_from(&running.admin);
    wanted.clients.max_connections = running.clients.max_connections;
    wanted.access_log.max_waiting = running.access_log.max_waiting;
    let grace = wanted.process.grace;
    wanted.process.clone_from(&running.process);
    wanted.process.grace = grace;
    (wanted, waiting)
}

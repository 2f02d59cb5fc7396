//! The machine that the server runs on, as Linux tells it below `/proc`. What cannot be read is left out.

use std::{collections::BTreeMap, path::Path};

use clock::Timestamp;
use serde_json::{Map, Value, json};

/// The name of the machine.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Processor, memory, disk and system. `folder` lies on the disk that matters.
pub(crate) fn info(folder: Option<&Path>, now: Timestamp) -> Value {
    json!({
        "timestamp": now.to_string(),
        "cpu": cpu(&read("/proc/cpuinfo")),
        "cpu_times": cpu_times(&read("/proc/stat")),
        "disk": disk(folder),
        "host": host(now),
        "memory": memory(&read("/proc/meminfo")),
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn cpu(text: &str) -> Vec<Value> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let blocks = text.split("\n\n").filter(|block| block.contains("processor"));
    let shown = blocks.map(|block| {
        let text = |name| field(block, name).unwrap_or_default();
        let number = |name| field(block, name).and_then(|value| value.parse::<f64>().ok()).unwrap_or_default();
        json!({
            "cpu": number("processor"),
            "vendorId": text("vendor_id"),
            "family": text("cpu family"),
            "model": text("model"),
            "modelName": text("model name"),
            "stepping": number("stepping"),
            "coreId": text("core id"),
            "cores": number("cpu cores"),
            "mhz": number("cpu MHz"),
            "flags": text("flags").split_whitespace().collect::<Vec<_>>(),
        })
    });
    shown.collect()
}

/// Seconds that each processor spent on what.
fn cpu_times(text: &str) -> Vec<Value> {
    const NAMES: [&str; 10] =
        ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guestNice"];
    let lines = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let shown = lines.map(|line| {
        let mut words = line.split_whitespace();
        let mut times = Map::from_iter([("cpu".to_owned(), json!(words.next()))]);
        for (name, ticks) in NAMES.iter().zip(words) {
            // A tick is a hundredth of a second on every Linux that we run on.
            let seconds = ticks.parse::<f64>().unwrap_or_default() / 100.0;
            times.insert((*name).to_owned(), json!(seconds));
        }
        Value::Object(times)
    });
    shown.collect()
}

fn disk(folder: Option<&Path>) -> Vec<Value> {
    let folder = folder.and_then(Path::parent).filter(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Vec::new() };
    let (total, free) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    let used = total.saturating_sub(stat.f_bfree * stat.f_frsize);
    vec![json!({
        "path": folder.display().to_string(),
        "total": total,
        "free": free,
        "used": used,
        "usedPercent": percent(used, used + free),
        "inodesTotal": stat.f_files,
        "inodesUsed": stat.f_files.saturating_sub(stat.f_ffree),
        "inodesFree": stat.f_ffree,
        "inodesUsedPercent": percent(stat.f_files.saturating_sub(stat.f_ffree), stat.f_files),
    })]
}

fn percent(part: u64, whole: u64) -> f64 {
    // For people: the loss of precision beyond 2^53 does not show.
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn host(now: Timestamp) -> Value {
    let uname = rustix::system::uname();
    let uptime = read("/proc/uptime").split('.').next().and_then(|seconds| seconds.parse::<i64>().ok());
    let release: BTreeMap<String, String> = read("/etc/os-release")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    let numbered = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit());
    let processes = std::fs::read_dir("/proc").map(|all| all.flatten().filter(numbered).count()).unwrap_or_default();
    json!({
        "hostname": uname.nodename().to_string_lossy(),
        "uptime": uptime.unwrap_or_default(),
        "bootTime": uptime.map_or(0, |uptime| now.as_second() - uptime),
        "procs": processes,
        "os": "linux",
        "platform": release.get("ID"),
        "platformFamily": release.get("ID_LIKE").or(release.get("ID")),
        "platformVersion": release.get("VERSION_ID"),
        "kernelVersion": uname.release().to_string_lossy(),
        "kernelArch": uname.machine().to_string_lossy(),
        "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostId": read("/etc/machine-id").trim(),
    })
}

/// In bytes.
fn memory(text: &str) -> Value {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    let get = |name| field(name).unwrap_or_default();
    let (total, available) = (get("MemTotal"), get("MemAvailable"));
    let used = total.saturating_sub(available);
    json!({
        "total": total,
        "available": available,
        "used": used,
        "usedPercent": percent(used, total),
        "free": get("MemFree"),
        "buffers": get("Buffers"),
        "cached": get("Cached"),
        "active": get("Active"),
        "inactive": get("Inactive"),
        "shared": get("Shmem"),
        "slab": get("Slab"),
        "swapTotal": get("SwapTotal"),
        "swapFree": get("SwapFree"),
        "swapCached": get("SwapCached"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_understood() {
        let text = "MemTotal:        8000 kB\nMemFree:  1000 kB\nMemAvailable:    6000 kB\nActive(anon):  7 kB\nActive: 9 kB\n";
        let memory = memory(text);
        assert_eq!((&memory["total"], &memory["used"]), (&json!(8_192_000), &json!(2_048_000)));
        assert_eq!((&memory["usedPercent"], &memory["active"]), (&json!(25.0), &json!(9216)));
        let cpus = cpu("processor\t: 0\nmodel\t\t: 7\nmodel name\t: Some CPU\nflags\t: a b\n\nprocessor\t: 1\n\n");
        assert_eq!(cpus.len(), 2);
        assert_eq!((&cpus[0]["modelName"], &cpus[0]["model"]), (&json!("Some CPU"), &json!("7")));
        assert_eq!(cpus[0]["flags"], json!(["a", "b"]));
        let times = cpu_times("cpu  9 9 9\ncpu0 100 0 50 200 0\ncpu1 1 2 3\nintr 5\n");
        assert_eq!(times.len(), 2);
        assert_eq!(
            (&times[0]["cpu"], &times[0]["user"], &times[0]["idle"]),
            (&json!("cpu0"), &json!(1.0), &json!(2.0))
        );
    }

    #[test]
    fn this_machine_can_be_asked() {
        let info = info(None, Timestamp::UNIX_EPOCH);
        assert!(info["memory"]["total"].as_u64().is_some_and(|total| total > 0), "{info}");
        assert!(info["cpu_times"].as_array().is_some_and(|cpus| !cpus.is_empty()));
        assert!(info["disk"][0]["total"].as_u64().is_some_and(|total| total > 0));
        assert_eq!(info["host"]["hostname"], json!(name()));
    }
}

//! What a user sees and does, file by file.

use std::fs;

use memcg::{Abi, Hierarchy};

use crate::host::{FakeHost, Mount};

fn classic() -> (std::sync::Arc<FakeHost>, Mount) {
    let host = FakeHost::new(Abi::Classic, Hierarchy::Share);
    let mount = host.mount();
    (host, mount)
}

#[test]
fn a_new_group_has_no_usage_and_no_limit() {
    let (_host, mount) = classic();
    mount.mkdir("a").unwrap();
    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "0\n");
    assert_eq!(mount.read("a/memory.limit_in_bytes").unwrap(), "9223372036854771712\n");
    assert_eq!(mount.read("a/memory.move_charge_at_immigrate").unwrap(), "1\n");
    assert_eq!(mount.read("a/tasks").unwrap(), "");
}

#[test]
fn moving_a_task_takes_its_pages_along() {
    let (host, mount) = classic();
    mount.mkdir("a").unwrap();
    mount.mkdir("b").unwrap();
    host.start("a", 100, 1000);
    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "4096000\n");

    mount.write("b/tasks", "100\n").unwrap();

    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "0\n");
    assert_eq!(mount.read("b/memory.usage_in_bytes").unwrap(), "4096000\n");
    assert_eq!(mount.read("b/tasks").unwrap(), "100\n");
    assert_eq!(mount.read("b/cgroup.procs").unwrap(), "100\n");
    assert!(mount.read("b/memory.stat").unwrap().contains("\nrss 4096000\n"));
}

#[test]
fn a_move_that_does_not_fit_is_refused_and_changes_nothing() {
    let (host, mount) = classic();
    mount.mkdir("a").unwrap();
    mount.mkdir("b").unwrap();
    mount.write("b/memory.limit_in_bytes", "1M").unwrap();
    host.start("a", 100, 1000);

    let refused = mount.write("b/tasks", "100").unwrap_err();

    assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "4096000\n");
    assert_eq!(mount.read("b/memory.usage_in_bytes").unwrap(), "0\n");
    assert_eq!(mount.read("a/tasks").unwrap(), "100\n");
}

#[test]
fn bad_task_ids_are_refused() {
    let (_host, mount) = classic();
    for (text, errno) in [
        ("", None),
        ("0", Some(libc::EINVAL)),
        ("-1", Some(libc::EINVAL)),
        ("1 2", Some(libc::EINVAL)),
        ("4194303", Some(libc::ESRCH)),
    ] {
        let result = mount.write("tasks", text);
        assert_eq!(result.err().and_then(|e| e.raw_os_error()), errno, "{text:?}");
    }
}

#[test]
fn the_recharge_policy_shows_all_names_with_the_chosen_one_in_brackets() {
    let (_host, mount) = classic();
    mount.mkdir("a").unwrap();
    let all = mount.read("a/memory.recharge_policy").unwrap();
    assert!(all.contains("[rollback]"), "{all}");

    mount.write("a/memory.recharge_policy", "lazy\n").unwrap();

    assert!(mount.read("a/memory.recharge_policy").unwrap().contains("[lazy]"));
    let refused = mount.write("a/memory.recharge_policy", "hasty").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    assert!(mount.read("a/memory.recharge_policy").unwrap().contains("[lazy]"));
}

#[test]
fn a_group_with_tasks_or_children_cannot_be_removed() {
    let (host, mount) = classic();
    fs::create_dir_all(mount.at("a/b")).unwrap();
    host.start("a/b", 100, 1);
    for name in ["a", "a/b"] {
        assert_eq!(mount.rmdir(name).unwrap_err().raw_os_error(), Some(libc::EBUSY), "{name}");
    }
    host.exit(100);
    mount.rmdir("a/b").unwrap();
    mount.rmdir("a").unwrap();
    assert!(!mount.at("a").exists());
}

#[test]
fn a_limit_below_the_usage_is_refused() {
    let (host, mount) = classic();
    mount.mkdir("a").unwrap();
    host.start("a", 100, 10);
    let refused = mount.write("a/memory.limit_in_bytes", "36K").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    mount.write("a/memory.limit_in_bytes", "40K").unwrap();
    assert_eq!(mount.read("a/memory.limit_in_bytes").unwrap(), "40960\n");
}

#[test]
fn counters_show_what_happened_and_can_be_reset() {
    let (host, mount) = classic();
    mount.mkdir("a").unwrap();
    host.start("a", 100, 10);
    host.exit(100);
    assert_eq!(mount.read("a/memory.max_usage_in_bytes").unwrap(), "40960\n");
    mount.write("a/memory.max_usage_in_bytes", "anything").unwrap();
    assert_eq!(mount.read("a/memory.max_usage_in_bytes").unwrap(), "0\n");
    assert_eq!(mount.read("a/memory.failcnt").unwrap(), "0\n");
}

/// Files that take any text.
const UNDEMANDING: [&str; 4] = ["failcnt", "max_usage_in_bytes", "force_empty", "release_agent"];

#[test]
fn every_file_ends_its_text_with_a_newline_and_refuses_junk_unchanged() {
    for hierarchy in [Hierarchy::Share, Hierarchy::Wall] {
        let mount = FakeHost::new(Abi::Classic, hierarchy).mount();
        mount.mkdir("a").unwrap();
        for directory in ["", "a/"] {
            for entry in fs::read_dir(mount.at(directory)).unwrap().map(Result::unwrap) {
                let name = format!("{directory}{}", entry.file_name().to_str().unwrap());
                if name == "a" {
                    continue;
                }
                let before = mount.read(&name).ok();
                let text = before.as_deref().unwrap_or_default();
                assert!(text.is_empty() || text.ends_with('\n'), "{name}: {text:?}");
                if !UNDEMANDING.iter().any(|end| name.ends_with(end)) {
                    let refused = mount.write(&name, "junk\u{1}").unwrap_err();
                    assert_eq!(refused.raw_os_error(), Some(libc::EINVAL), "{name}");
                }
                assert_eq!(mount.read(&name).ok(), before, "{name}");
            }
        }
    }
}

#[test]
fn only_the_root_directory_has_a_release_agent() {
    let (_host, mount) = classic();
    mount.mkdir("a").unwrap();
    for name in ["release_agent", "cgroup.sane_behavior"] {
        assert!(mount.at(name).exists(), "{name}");
        assert!(!mount.at(&format!("a/{name}")).exists(), "{name}");
    }
    assert_eq!(mount.read("cgroup.sane_behavior").unwrap(), "0\n");
}

#[test]
fn classic_knobs_are_alive() {
    let (_host, mount) = classic();
    mount.mkdir("a").unwrap();
    for (name, good, shown, bad) in [
        ("memory.move_charge_at_immigrate", "3", "3\n", "4"),
        ("memory.swappiness", "100", "100\n", "101"),
        ("memory.kmem.limit_in_bytes", "8M", "8388608\n", "8X"),
        ("memory.kmem.tcp.limit_in_bytes", "8M", "8388608\n", "8X"),
        ("memory.soft_limit_in_bytes", "8M", "8388608\n", "8X"),
        ("memory.hugetlb.2MB.limit_in_bytes", "3M", "2097152\n", "8X"),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "3M", "2097152\n", "8X"),
        ("notify_on_release", "7", "1\n", "-1"),
    ] {
        let name = format!("a/{name}");
        mount.write(&name, good).unwrap();
        assert_eq!(mount.read(&name).unwrap(), shown, "{name}");
        let refused = mount.write(&name, bad).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL), "{name}");
        assert_eq!(mount.read(&name).unwrap(), shown, "{name}");
    }
}

#[test]
fn with_walls_a_child_borrows_its_limit_from_its_parent() {
    let mount = FakeHost::new(Abi::Classic, Hierarchy::Wall).mount();
    mount.mkdir("a").unwrap();
    mount.mkdir("a/b").unwrap();
    assert_eq!(mount.read("a/memory.limit_in_bytes").unwrap(), "0\n");
    mount.write("a/memory.limit_in_bytes", "8M").unwrap();
    mount.write("a/b/memory.limit_in_bytes", "2M").unwrap();
    assert_eq!(mount.read("a/b/memory.borrow_in_bytes").unwrap(), "2097152\n");
    assert_eq!(mount.read("a/memory.security_in_bytes").unwrap(), "2097152\n");
    assert_eq!(mount.read("a/memory.usage_in_bytes").unwrap(), "2097152\n");
    let refused = mount.write("a/b/memory.limit_in_bytes", "16M").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENOMEM));
    assert_eq!(mount.read("a/b/memory.limit_in_bytes").unwrap(), "2097152\n");
}

#[test]
fn the_root_group_has_no_limits_to_set() {
    let (_host, mount) = classic();
    for name in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.force_empty"] {
        let refused = mount.write(name, "1M").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL), "{name}");
    }
    assert_eq!(mount.rmdir("").unwrap_err().raw_os_error(), Some(libc::EBUSY));
}

import Foundation
import Glibc

/// A control group with a limit of memory, for processes that a test starts; gone with this value.
final class ControlGroup {
    let path: String

    /// Where groups with a memory controller are made, by the version of control groups that this system has it in.
    private static let place: (directory: String, limit: String, isSecond: Bool)? = {
        let second = "/sys/fs/cgroup"
        let controllers = (try? String(contentsOfFile: second + "/cgroup.controllers", encoding: .utf8)) ?? ""
        if controllers.split(whereSeparator: { $0.isWhitespace }).contains("memory") { return (second, "memory.max", true) }
        let first = "/sys/fs/cgroup/memory"
        guard FileManager.default.fileExists(atPath: first + "/memory.limit_in_bytes") else { return nil }
        return (first, "memory.limit_in_bytes", false)
    }()

    /// Why there can be none here, nil if there can.
    static let obstacle: String? = {
        guard place != nil else { return "this system has no control groups with a memory controller" }
        guard (try? ControlGroup(mebibytes: 64)) != nil else { return "control groups cannot be made here: that takes root" }
        return nil
    }()

    init(mebibytes: Int) throws {
        guard let place = ControlGroup.place else { throw GuestFailure("no control groups") }
        path = place.directory + "/stratovirt-test-\(UUID().uuidString.prefix(8))"
        if place.isSecond {
            // It is there already for whoever has systemd.
            try? ControlGroup.write("+memory", to: place.directory + "/cgroup.subtree_control")
        }
        guard mkdir(path, 0o755) == 0 else { throw GuestFailure("\(path): \(String(cString: strerror(errno)))") }
        try ControlGroup.write("\(mebibytes << 20)", to: "\(path)/\(place.limit)")
        // Swap would take what is meant to be refused.
        for name in ["memory.swap.max", "memory.memsw.limit_in_bytes"] where access("\(path)/\(name)", W_OK) == 0 {
            try? ControlGroup.write(name == "memory.swap.max" ? "0" : "\(mebibytes << 20)", to: "\(path)/\(name)")
        }
    }

    deinit {
        // The kernel may have to let go of the last process first.
        var patience = 200
        while rmdir(path) != 0, errno == EBUSY, patience > 0 {
            usleep(10_000)
            patience -= 1
        }
    }

    /// What a shell does to go into the group.
    var enter: String { "echo $$ >\(path)/cgroup.procs" }

    private static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw GuestFailure("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        let count = text.utf8.count
        guard Glibc.write(descriptor, text, count) == count else {
            throw GuestFailure("\(path): \(String(cString: strerror(errno)))")
        }
    }
}

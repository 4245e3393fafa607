import Foundation
import StratoKVM
import Testing

/// How many guests a run starts: one of each kind, or every one.
enum GuestTestMode: String, Sendable {
    case short, full
}

/// What the process was started with: everything that differs between a run on this machine and one in the lab.
enum GuestEnvironment {
    /// Nil where guest tests were not asked for.
    static let mode = variable("STRATOVIRT_GUEST_MODE").flatMap(GuestTestMode.init(rawValue:))
    static let kvm = KVMEnvironment.detect()
    /// Unattended runs fail where others skip: a test that never runs proves nothing.
    static let isUnattended = variable("CI") == "true"
    /// The executable under test.
    static let binary = variable("STRATOVIRT_BINARY")
    /// A Python that has QEMU's own QMP client.
    static let pythonWithQMP = variable("STRATOVIRT_QMP_PYTHON")
    /// The root of the source tree.
    static let sourceRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path(percentEncoded: false)

    /// Where guest kernels and disks are kept.
    static let cache: String = {
        if let given = variable("STRATOVIRT_GUEST_CACHE") { return given }
        let root = variable("XDG_CACHE_HOME") ?? (variable("HOME") ?? "/root") + "/.cache"
        return root + "/swift-stratovirt/guest"
    }()

    /// A directory for files that guests write: on a real file system, where O_DIRECT works.
    static let scratch = variable("LAB_SCRATCH") ?? FileManager.default.temporaryDirectory.path(percentEncoded: false)

    /// An environment variable that is set and not empty.
    static func variable(_ name: String) -> String? {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else { return nil }
        return value
    }

    /// Why a test of a mode is left out of this run, nil if it is not.
    static func reasonToSkip(_ wanted: GuestTestMode) -> String? {
        guard let mode else { return "STRATOVIRT_GUEST_MODE is not set to short or full: run `make test` or `make test-full`" }
        guard mode == .full || wanted == .short else { return "part of `make test-full` alone" }
        guard !isUnattended, kvm != .complete else { return nil }
        return "KVM cannot run Linux here (\(kvm)): run by `Lab/lab run`"
    }

    /// The executable's path.
    ///
    /// - Throws: `GuestFailure` if it is not there, or if there is no KVM to run it on.
    static func requireExecutable() throws -> String {
        guard kvm == .complete else { throw GuestFailure("KVM cannot run Linux here: \(kvm)") }
        guard let binary else { throw GuestFailure("STRATOVIRT_BINARY is not set: it names the executable under test") }
        guard FileManager.default.isExecutableFile(atPath: binary) else {
            throw GuestFailure("\(binary) is not there: run `make build`")
        }
        return binary
    }
}

extension Trait where Self == ConditionTrait {
    /// The test is part of every run: one boot of each kind.
    static var short: Self { mode(.short) }

    /// The test is part of complete runs.
    static var full: Self { mode(.full) }

    private static func mode(_ mode: GuestTestMode) -> Self {
        let reason = GuestEnvironment.reasonToSkip(mode)
        return .enabled(if: reason == nil, Comment(rawValue: reason ?? "runs"))
    }
}

import Foundation
import Glibc

/// A directory that is gone with this object, in memory where the host has such a place: guests' memory is put there.
final class Scratch: Sendable {
    let path: String

    /// What the memory of two guests and their disks fits into.
    private static let neededRoom: UInt64 = 512 << 20

    private static var hasRoomInMemory: Bool {
        var status = statvfs()
        return statvfs("/dev/shm", &status) == 0 && UInt64(status.f_bavail) * UInt64(status.f_frsize) >= neededRoom
    }

    init() throws {
        // A container's may be very small.
        let parent = Scratch.hasRoomInMemory ? "/dev/shm" : NSTemporaryDirectory()
        path = "\(parent)/stratovirt-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a file of some bytes.
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }
}

import Foundation
import Glibc

/// A raw image on the host.
struct DiskImage: Sendable {
    let path: String

    // MARK: Making

    /// A private copy of the busybox root file system.
    ///
    /// - Throws: `GuestFailure`.
    static func rootFileSystem(in directory: ScratchDirectory, name: String = "root.ext4") throws -> DiskImage {
        let source = GuestEnvironment.cache + "/\(GuestArchitecture.rootFileSystem)/rootfs.ext4"
        guard FileManager.default.fileExists(atPath: source) else {
            throw GuestFailure("\(source) is not there: run `Guest/build-all`")
        }
        let image = DiskImage(path: directory.file(name))
        try HostTool.check("cp", ["--sparse=always", source, image.path])
        return image
    }

    /// A private copy of the disk that boots by itself: Debian with systemd.
    ///
    /// - Parameters:
    ///   - kernel: which of the disk's kernels is started.
    ///   - words: more words of its command line.
    /// - Throws: `GuestFailure`.
    static func installed(
        in directory: ScratchDirectory, kernel: String = GuestArchitecture.installedKernel, words: [String] = []
    ) throws -> DiskImage {
        let source = GuestEnvironment.cache + "/\(GuestArchitecture.installedDisk)/disk.raw"
        guard FileManager.default.fileExists(atPath: source) else {
            throw GuestFailure("\(source) is not there: run `Guest/build-all`")
        }
        let image = DiskImage(path: directory.file("disk.raw"))
        try HostTool.check("cp", ["--sparse=always", source, image.path])
        try image.start(kernel: kernel, words: words)
        return image
    }

    /// Says what a disk that boots by itself starts.
    ///
    /// The disk's EFI system partition has a file of one sector for that. It is written over where it is, as not every
    /// machine that runs tests has tools for FAT.
    ///
    /// - Throws: `GuestFailure`.
    func start(kernel: String, words: [String]) throws {
        let heading = "# What is started"
        let text = "\(heading).\nset kernel=\(kernel)\nset words=\"\(words.joined(separator: " "))\"\n"
        let sector = 512
        let partition = (start: UInt64(1 << 20), size: 40 << 20)
        guard text.utf8.count <= sector else { throw GuestFailure("more than \(sector) bytes: \(text)") }
        let system = try read(at: partition.start, count: partition.size)
        let wanted = Data(heading.utf8)
        guard
            let place = stride(from: 0, to: system.count, by: sector).first(where: { place in
                system[place] == wanted[0] && system[place...].starts(with: wanted)
            })
        else { throw GuestFailure("\(path) has no guest.cfg: run `Guest/build-all`") }
        let file = try FileHandle(forUpdating: URL(filePath: path))
        defer { try? file.close() }
        try file.seek(toOffset: partition.start + UInt64(place))
        try file.write(contentsOf: Data(text.utf8) + Data(repeating: UInt8(ascii: "\n"), count: sector - text.utf8.count))
    }

    /// An image of zeros that takes no room.
    static func empty(in directory: ScratchDirectory, name: String, mebibytes: Int) throws -> DiskImage {
        let image = DiskImage(path: directory.file(name))
        try HostTool.check("truncate", ["-s", "\(mebibytes)M", image.path])
        return image
    }

    /// An image whose every sector differs from every other, and from those of an image with another seed.
    static func patterned(in directory: ScratchDirectory, name: String, mebibytes: Int, seed: UInt64) throws -> DiskImage {
        let image = DiskImage(path: directory.file(name))
        var state = seed
        var words = [UInt64](repeating: 0, count: mebibytes << 17)
        words.withUnsafeMutableBufferPointer { words in
            for index in words.indices {
                // One step of SplitMix64: cheap also without optimisation.
                state &+= 0x9E37_79B9_7F4A_7C15
                var word = state
                word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
                words[index] = word ^ (word >> 27)
            }
        }
        try words.withUnsafeBytes { try Data($0).write(to: URL(filePath: image.path)) }
        return image
    }

    // MARK: Looking

    /// The SHA-256 of the first bytes, or of all, in hexadecimal.
    func checksum(first bytes: Int? = nil) throws -> String {
        guard let bytes else { return String(try HostTool.check("sha256sum", ["-b", path]).prefix(64)) }
        return String(try HostTool.check("sh", ["-c", "head -c \(bytes) \(ChildProcess.quoted(path)) | sha256sum"]).prefix(64))
    }

    /// Bytes of the image, fewer at its end.
    func read(at offset: UInt64, count: Int) throws -> Data {
        let file = try FileHandle(forReadingFrom: URL(filePath: path))
        defer { try? file.close() }
        try file.seek(toOffset: offset)
        return try file.read(upToCount: count) ?? Data()
    }

    /// A file of the ext4 file system in the image, copied out without mounting it.
    func extract(_ file: String, to directory: ScratchDirectory) throws -> DiskImage {
        let target = DiskImage(path: directory.file("extracted-\(file.split(separator: "/").last ?? "file")"))
        // It ends with 0 also when there is no such file.
        let result = try HostTool.run("debugfs", ["-R", "dump \(file) \(target.path)", path])
        guard FileManager.default.fileExists(atPath: target.path) else {
            throw GuestFailure("debugfs found no \(file) in \(path): \(result.errors)")
        }
        return target
    }

    /// Checks the ext4 file system in the image, without any repair but what its journal says.
    ///
    /// - Parameter replaysJournal: false after a clean end, where nothing is left to replay.
    /// - Returns: what is wrong, nil if all is well.
    /// - Throws: `GuestFailure` if it could not be checked.
    func fileSystemErrors(replaysJournal: Bool) throws -> String? {
        if replaysJournal {
            // `-p` stops with 4 at whatever the journal alone does not put right.
            let replay = try HostTool.run("e2fsck", ["-p", path])
            guard replay.status <= 1 else { return replay.output + replay.errors }
        }
        let result = try HostTool.run("e2fsck", ["-f", "-n", path])
        return result.status == 0 ? nil : result.output + result.errors
    }
}

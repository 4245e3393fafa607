import Foundation
import StratoHost
import Testing

@testable import StratoDisk

/// Another process that holds locks on a file until it is told to end.
private final class Holder {
    private let process = Process()
    private let input = Pipe()

    // `script` is Python that locks the file `f`.
    init(_ path: String, mode: String, _ script: String) throws {
        let program = """
            import fcntl, os, struct, sys
            f = open(sys.argv[1], sys.argv[2])
            def ofd(kind, start, length):
                fcntl.fcntl(f, 37, struct.pack('hhqqi4x', kind, 0, start, length, 0))
            def posix(kind, start, length):
                fcntl.lockf(f, kind, length, start)
            \(script)
            print('locked', flush=True)
            sys.stdin.read()
            """
        process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        process.arguments = ["-c", program, path, mode]
        process.standardInput = input
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let answer = output.fileHandleForReading.availableData
        try #require(String(decoding: answer, as: UTF8.self).hasPrefix("locked"))
    }

    var processID: Int32 { process.processIdentifier }

    func end() {
        input.fileHandleForWriting.closeFile()
        process.waitUntilExit()
    }
}

@Suite("Image locks")
struct ImageLockTests {
    static let qemuReader = "ofd(fcntl.F_RDLCK, 100, 1); ofd(fcntl.F_RDLCK, 201, 1); ofd(fcntl.F_RDLCK, 203, 1)"
    static let qemuWriter =
        "[ofd(fcntl.F_RDLCK, b, 1) for b in (100, 101, 103, 201, 203)]"
    static let stratoVirtReader = "[posix(fcntl.LOCK_SH, b, 1) for b in (101, 102, 202)]"
    static let stratoVirtWriter = "[posix(fcntl.LOCK_EX, b, 1) for b in (101, 102, 202)]"

    private func open(_ path: String, isReadOnly: Bool) -> String? {
        do {
            _ = try DiskImage(DiskImageOptions(path: path, isReadOnly: isReadOnly), logger: .silent)
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test("a QEMU or StratoVirt that writes keeps everybody here out; one that reads, only who writes")
    func others() throws {
        let file = try ScratchFile(pattern(4096))
        for (mode, script, isWriter) in [
            ("rb", ImageLockTests.qemuReader, false), ("r+b", ImageLockTests.qemuWriter, true),
            ("rb", ImageLockTests.stratoVirtReader, false), ("r+b", ImageLockTests.stratoVirtWriter, true),
        ] {
            let holder = try Holder(file.path, mode: mode, script)
            defer { holder.end() }
            #expect(open(file.path, isReadOnly: false)?.contains("is in use by") == true, "\(script)")
            if isWriter {
                #expect(open(file.path, isReadOnly: true)?.contains("is in use by") == true, "\(script)")
            } else {
                #expect(throws: Never.self, "\(script)") {
                    try afterForks { try DiskImage(DiskImageOptions(path: file.path, isReadOnly: true), logger: .silent) }
                }
            }
        }
        #expect(throws: Never.self) { try afterForks { try DiskImage(DiskImageOptions(path: file.path), logger: .silent) } }
    }

    @Test("the message names the process where the kernel knows it, and says what to do")
    func message() throws {
        let file = try ScratchFile(pattern(4096))
        let holder = try Holder(file.path, mode: "r+b", ImageLockTests.stratoVirtWriter)
        defer { holder.end() }
        #expect(
            open(file.path, isReadOnly: false)
                == "image \(file.path) is in use by process \(holder.processID): end that one, or let both open it with readonly=on"
        )
        #expect(
            open(file.path, isReadOnly: true)
                == "image \(file.path) is in use by process \(holder.processID), which writes to it")
    }

    @Test("what is open here keeps a QEMU and a StratoVirt from writing, and from reading what is written")
    func ours() throws {
        let file = try ScratchFile(pattern(4096))
        // As those programs go about it: QEMU locks its bytes, then looks for locks against them.
        let attempt = """
            import fcntl, struct, sys
            kind, path = sys.argv[1:]
            f = open(path, 'rb' if kind.endswith('reader') else 'r+b')
            def probe(start):
                answer = fcntl.fcntl(f, 36, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, start, 1, 0))
                if struct.unpack('hhqqi4x', answer)[0] != fcntl.F_UNLCK: sys.exit(1)
            try:
                if kind.startswith('qemu'):
                    held = (100, 201, 203) if kind == 'qemu-reader' else (100, 101, 201, 203)
                    for b in held: fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, b, 1, 0))
                    for b in ((200,) if kind == 'qemu-reader' else (200, 201)): probe(b)
                    for b in (101, 103): 
                        if b not in held: probe(b)
                    if 101 in held:
                        probe(101)
                else:
                    for b in (101, 102, 202): fcntl.lockf(f, (fcntl.LOCK_SH if kind.endswith('reader') else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, b)
            except OSError:
                sys.exit(1)
            """
        func isLetIn(_ kind: String) throws -> Bool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
            process.arguments = ["-c", attempt, kind, file.path]
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
        struct KeptOut: Error {}
        func expectLetIn(_ kind: String) throws {
            #expect(throws: Never.self, "\(kind)") {
                try afterForks { if try !isLetIn(kind) { throw KeptOut() } }
            }
        }
        for kind in ["qemu-reader", "qemu-writer", "stratovirt-reader", "stratovirt-writer"] {
            try expectLetIn(kind)
        }
        do {
            let image = try DiskImage(DiskImageOptions(path: file.path), logger: .silent)
            for kind in ["qemu-reader", "qemu-writer", "stratovirt-reader", "stratovirt-writer"] {
                #expect(try !isLetIn(kind), "\(kind) beside one that writes \(image.capacity)")
            }
        }
        let reader = try afterForks { try DiskImage(DiskImageOptions(path: file.path, isReadOnly: true), logger: .silent) }
        try expectLetIn("qemu-reader")
        try expectLetIn("stratovirt-reader")
        #expect(try !isLetIn("qemu-writer"))
        #expect(try !isLetIn("stratovirt-writer"))
        #expect(reader.capacity == 4096)
    }

    @Test("within one process: readers share, a writer is alone, and a lock ends with its image")
    func sameProcess() throws {
        let file = try ScratchFile(pattern(4096))
        var images: [DiskImage] = []
        for _ in 0..<3 {
            images.append(try DiskImage(DiskImageOptions(path: file.path, isReadOnly: true), logger: .silent))
        }
        #expect(open(file.path, isReadOnly: false) != nil)
        images.removeAll()
        do {
            let writer = try DiskImage(DiskImageOptions(path: file.path), logger: .silent)
            #expect(open(file.path, isReadOnly: true) != nil)
            #expect(open(file.path, isReadOnly: false) != nil)
            #expect(writer.capacity == 4096)
        }
        #expect(throws: Never.self) { try afterForks { try DiskImage(DiskImageOptions(path: file.path), logger: .silent) } }
    }

    @Test("an image that is refused stays as it was")
    func untouched() throws {
        let file = try ScratchFile(pattern(4000))
        let holder = try Holder(file.path, mode: "r+b", ImageLockTests.qemuWriter)
        defer { holder.end() }
        #expect(open(file.path, isReadOnly: false) != nil)
        #expect(try file.contents == pattern(4000))
    }
}

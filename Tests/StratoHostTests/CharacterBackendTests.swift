import CStratoLinux
import Foundation
import Synchronization
import Testing

@testable import StratoHost

/// F_GETPIPE_SZ, which the C library shows to GNU programs alone.
private let getPipeSize: Int32 = 1032

extension CharacterBackend {
    /// Writes from a thread as a virtual CPU's is.
    fileprivate func writeFromHostThread(_ bytes: [UInt8]) throws {
        try onHostThread { self.write(bytes.span) }
    }
}

/// A loop that ends with the test.
private final class LoopFixture {
    let thread: EventLoopThread
    var loop: EventLoop { thread.loop }

    init() throws { thread = try EventLoopThread(name: "loop") }
    deinit { thread.stop() }

    /// Waits until everything that was handed to the loop so far, and what that handed in, is done.
    func settle() { for _ in 0..<3 { loop.runBlocking {} } }
}

@Suite struct StandardIOTests {
    @Test("Bytes go both ways through pipes, whose flags stay as they were")
    func pipes() throws {
        let fixture = try LoopFixture()
        let input = TestPipe()
        let output = TestPipe()
        let flags = [input.reader, output.writer].map { fcntl($0, F_GETFL) }
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: input.reader, output: output.writer)
        #expect(backend.filename == "stdio")
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(input.writer, Array("to the guest".utf8))
        eventually { receiver.text == "to the guest" }
        eventually { receiver.connections == [true] }
        try backend.writeFromHostThread(Array("from the guest".utf8))
        #expect(readAvailable(output.reader) == Array("from the guest".utf8))
        #expect([input.reader, output.writer].map { fcntl($0, F_GETFL) } == flags)
        backend.close()
        #expect([input.reader, output.writer].map { fcntl($0, F_GETFL) } == flags)
        #expect(backend.droppedCount == 0)
    }

    @Test("A reader that does not read costs no more than the limit, never stops the writer, and gets the rest when it reads")
    func slowReader() throws {
        let fixture = try LoopFixture()
        let sink = CollectingSink()
        let output = TestPipe()
        let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { close(null) }
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: Logger(sink: sink, level: .debug), input: null, output: output.writer)
        let total = 1 << 20
        let start = ContinuousClock.now
        // A byte at a time, as a serial port does; it ends though nobody reads.
        try onHostThread {
            for index in 0..<total {
                let byte: InlineArray<1, UInt8> = [UInt8(truncatingIfNeeded: index)]
                backend.write(byte.span)
            }
        }
        let dropped = Int(backend.droppedCount)
        #expect(dropped > 0)
        var received: [UInt8] = []
        eventually {
            received += readAvailable(output.reader)
            return received.count == total - dropped
        }
        #expect(received == (0..<total - dropped).map { UInt8(truncatingIfNeeded: $0) })
        #expect(received.count >= CharacterOutputContext.capacity)
        // One line, not one for each byte; one more only where ten seconds went by meanwhile.
        let intervals = (ContinuousClock.now - start) / .seconds(9)
        let lines = sink.lines.elements.filter { $0.contains("dropped") }.count
        #expect(lines >= 1 && lines <= 1 + Int(intervals))
        // Once read, it goes on where it is.
        try backend.writeFromHostThread([1, 2, 3])
        eventually { readAvailable(output.reader) == [1, 2, 3] }
        #expect(Int(backend.droppedCount) == dropped)
        backend.close()
    }

    @Test("A reader that goes away ends the output with one line in the log")
    func readerGoes() throws {
        let fixture = try LoopFixture()
        let sink = CollectingSink()
        let input = TestPipe()
        let output = TestPipe()
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: Logger(sink: sink, level: .debug), input: input.reader, output: output.writer)
        output.closeReader()
        for _ in 0..<100 { try backend.writeFromHostThread([1]) }
        #expect(sink.lines.elements.count == 1)
        #expect(sink.lines.elements.first?.contains("no more output") == true)
        // Input goes on.
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(input.writer, [9])
        eventually { receiver.bytes == [9] }
        backend.close()
    }

    @Test("Flooding input is read only as fast as the receiver takes it")
    func floodedInput() throws {
        let fixture = try LoopFixture()
        let input = TestPipe()
        let output = TestPipe()
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: input.reader, output: output.writer)
        let receiver = TestReceiver(room: 10)
        backend.attach(receiver)
        let total = 300_000
        let flood = (0..<total).map { UInt8(truncatingIfNeeded: $0) }
        let writer = input.writer
        let flooder = try HostThread.start(name: "flooder") { writeAll(writer, flood) }
        eventually { receiver.bytes.count == 10 }
        fixture.settle()
        #expect(receiver.bytes.count == 10)
        var given = 10
        while given < total {
            let room = min(Int.random(in: 1...9000), total - given)
            receiver.give(room)
            backend.resumeInput()
            given += room
            eventually { receiver.bytes.count == given }
        }
        flooder.join()
        #expect(receiver.bytes == flood)
        #expect(receiver.overruns == 0)
        backend.close()
    }

    @Test("Room that comes up at any moment is never missed")
    func resumeRaces() throws {
        let fixture = try LoopFixture()
        let input = TestPipe()
        let output = TestPipe()
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: input.reader, output: output.writer)
        let receiver = TestReceiver(room: 0)
        backend.attach(receiver)
        writeAll(input.writer, [UInt8](repeating: 1, count: 20_000))
        for index in 1...20_000 {
            receiver.give(1)
            backend.resumeInput()
            while receiver.bytes.count < index {}
        }
        #expect(receiver.bytes.count == 20_000)
        backend.close()
    }

    @Test("The end of the input is not the end of the output, and is not asked about again")
    func endOfInput() throws {
        let fixture = try LoopFixture()
        let input = TestPipe()
        let output = TestPipe()
        writeAll(input.writer, Array("last words".utf8))
        input.closeWriter()
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: input.reader, output: output.writer)
        let receiver = TestReceiver(room: 4)
        backend.attach(receiver)
        eventually { receiver.text == "last" }
        fixture.settle()
        receiver.give(.max)
        backend.resumeInput()
        eventually { receiver.text == "last words" }
        fixture.settle()
        try backend.writeFromHostThread([1])
        eventually { readAvailable(output.reader) == [1] }
        #expect(receiver.connections == [true])
        backend.close()
    }

    @Test("A file as input is read to its end, as there is room; a file as output is appended to where it stands")
    func regularFiles() throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let script = (0..<50_000).map { UInt8(truncatingIfNeeded: $0) }
        try Data(script).write(to: URL(fileURLWithPath: directory.file("in")))
        try Data("before ".utf8).write(to: URL(fileURLWithPath: directory.file("out")))
        let input = open(directory.file("in"), O_RDONLY | O_CLOEXEC)
        let output = open(directory.file("out"), O_WRONLY | O_APPEND | O_CLOEXEC)
        defer {
            close(input)
            close(output)
        }
        let backend = try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: input, output: output)
        let receiver = TestReceiver(room: 1000)
        backend.attach(receiver)
        eventually { receiver.bytes.count == 1000 }
        fixture.settle()
        #expect(receiver.bytes.count == 1000)
        receiver.give(.max)
        backend.resumeInput()
        eventually { receiver.bytes == script }
        try backend.writeFromHostThread(Array("after".utf8))
        #expect(FileManager.default.contents(atPath: directory.file("out")) == Data("before after".utf8))
        backend.close()
    }

    @Test("/dev/null and closed descriptors are no reason not to start")
    func nothingThere() throws {
        let fixture = try LoopFixture()
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        for (input, output) in [(null, null), (-1, -1), (null, -1), (-1, null)] {
            let backend = try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: input, output: output)
            let receiver = TestReceiver()
            backend.attach(receiver)
            try backend.writeFromHostThread([1, 2, 3])
            fixture.settle()
            #expect(receiver.bytes.isEmpty)
            backend.close()
        }
        close(null)
    }

    @Test("Sockets as standard input and output work without O_NONBLOCK, and are not waited for")
    func sockets() throws {
        let fixture = try LoopFixture()
        var ends: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let backend = try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: ends[1], output: ends[1])
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(ends[0], [5])
        eventually { receiver.bytes == [5] }
        let total = 2 << 20
        try onHostThread {
            let chunk = [UInt8](repeating: 3, count: 64 << 10)
            for _ in 0..<total / chunk.count { backend.write(chunk.span) }
        }
        #expect(fcntl(ends[1], F_GETFL) & O_NONBLOCK == 0)
        var received = 0
        let dropped = Int(backend.droppedCount)
        #expect(dropped > 0)
        eventually {
            received += readAvailable(ends[0]).count
            return received == total - dropped
        }
        backend.close()
        for end in ends { close(end) }
    }

    @Test("A terminal is raw while the backend lives, passes keys on, and is given back as it was")
    func terminal() throws {
        let fixture = try LoopFixture()
        let pair = try TestTerminal()
        let before = pair.settings
        let flags = fcntl(pair.slave, F_GETFL)
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: pair.slave, output: pair.slave, onQuit: {})
        #expect(pair.settings.c_lflag & tcflag_t(ICANON | ECHO | ISIG) == 0)
        #expect(fcntl(pair.slave, F_GETFL) == flags)
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(pair.master, [3, 26, 13, 200])
        eventually { receiver.bytes == [3, 26, 13, 200] }
        try backend.writeFromHostThread(Array("a\n".utf8))
        var shown: [UInt8] = []
        eventually {
            shown += readAvailable(pair.master)
            return shown == Array("a\r\n".utf8)
        }
        backend.close()
        #expect(pair.settings.c_lflag == before.c_lflag)
        #expect(pair.settings.c_iflag == before.c_iflag)
        #expect(fcntl(pair.slave, F_GETFL) == flags)
    }

    @Test("Ctrl-a x quits, Ctrl-a h helps, Ctrl-a a sends Ctrl-a")
    func escapeKeys() throws {
        let fixture = try LoopFixture()
        let pair = try TestTerminal()
        let quits = Atomic(0)
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: pair.slave, output: pair.slave,
            onQuit: { quits.add(1, ordering: .relaxed) })
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(pair.master, [1, UInt8(ascii: "a"), 1, 1, 1, UInt8(ascii: "q"), UInt8(ascii: "z")])
        eventually { receiver.bytes == [1, 1, UInt8(ascii: "z")] }
        writeAll(pair.master, [1, UInt8(ascii: "h")])
        var help: [UInt8] = []
        eventually {
            help += readAvailable(pair.master)
            return String(decoding: help, as: UTF8.self).contains("Ctrl-a x")
        }
        writeAll(pair.master, [1])
        fixture.settle()
        writeAll(pair.master, [UInt8(ascii: "x")])
        eventually { quits.load(ordering: .relaxed) == 1 }
        #expect(receiver.bytes == [1, 1, UInt8(ascii: "z")])
        backend.close()
    }

    @Test("A guest that takes no input, and one that has no device for it, can still be quit from the keyboard")
    func quitFromHungGuest() throws {
        for isAttached in [true, false] {
            let fixture = try LoopFixture()
            let pair = try TestTerminal()
            let quits = Atomic(0)
            let backend = try StandardIOCharacterBackend(
                loop: fixture.loop, logger: .silent, input: pair.slave, output: pair.slave,
                onQuit: { quits.add(1, ordering: .relaxed) })
            let receiver = TestReceiver(room: 0)
            if isAttached { backend.attach(receiver) }
            for _ in 0..<50 {
                writeAll(pair.master, [UInt8](repeating: UInt8(ascii: "k"), count: 100))
                fixture.settle()
            }
            writeAll(pair.master, [1, UInt8(ascii: "x")])
            eventually { quits.load(ordering: .relaxed) == 1 }
            #expect(receiver.bytes.isEmpty)
            // What was typed ahead is still there for a guest that wakes up, up to the limit.
            if !isAttached { backend.attach(receiver) }
            fixture.settle()
            receiver.give(.max)
            backend.resumeInput()
            eventually { receiver.bytes.count == 1024 }
            backend.close()
        }
    }

    @Test("Without a quit handler, and for a pipe, Ctrl-a is the guest's")
    func noEscapes() throws {
        let fixture = try LoopFixture()
        let pair = try TestTerminal()
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: pair.slave, output: pair.slave)
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(pair.master, [1, UInt8(ascii: "x")])
        eventually { receiver.bytes == [1, UInt8(ascii: "x")] }
        backend.close()

        let pipe = TestPipe()
        let quits = Atomic(0)
        let piped = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: pipe.reader, output: pair.slave,
            onQuit: { quits.add(1, ordering: .relaxed) })
        let second = TestReceiver()
        piped.attach(second)
        writeAll(pipe.writer, [1, UInt8(ascii: "x")])
        eventually { second.bytes == [1, UInt8(ascii: "x")] }
        #expect(quits.load(ordering: .relaxed) == 0)
        piped.close()
    }

    @Test("A terminal that is flow-stopped does not stop the writer, and shows everything when it goes on")
    func flowStopped() throws {
        let fixture = try LoopFixture()
        let pair = try TestTerminal()
        let backend = try StandardIOCharacterBackend(
            loop: fixture.loop, logger: .silent, input: pair.slave, output: pair.slave)
        tcflow(pair.slave, TCOOFF)
        try backend.writeFromHostThread([UInt8](repeating: UInt8(ascii: "o"), count: 40_000))
        #expect(backend.droppedCount == 0)
        tcflow(pair.slave, TCOON)
        var shown = 0
        eventually {
            shown += readAvailable(pair.master).count
            return shown == 40_000
        }
        backend.close()
    }

    @Test("A terminal that goes away is no reason to stop, nor to turn in circles")
    func terminalGoes() throws {
        let fixture = try LoopFixture()
        var master: Int32 = -1
        var slave: Int32 = -1
        try #require(openpty(&master, &slave, nil, nil, nil) == 0)
        let backend = try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: slave, output: slave)
        let receiver = TestReceiver()
        backend.attach(receiver)
        fixture.settle()
        close(master)
        fixture.settle()
        try backend.writeFromHostThread([1, 2, 3])
        fixture.settle()
        backend.close()
        close(slave)
    }

    @Test("A description that can't be opened anew is served by a thread: nothing lost, nothing waited for, nothing left")
    func threadedOutput() throws {
        let fixture = try LoopFixture()
        let pipe = TestPipe()
        let failures = Atomic(0)
        let context = CharacterOutputContext(
            source: "test", loop: fixture.loop, logger: .silent, onFailure: { _ in failures.add(1, ordering: .relaxed) })
        func makeShared() -> any CharacterOutput {
            context.makeOutput(HostStream(OwnedDescriptor(owning: dup(pipe.writer)), kind: .shared))
        }
        let output = makeShared()
        #expect(output is ThreadedOutput)
        let text = (0..<30_000).map { UInt8(truncatingIfNeeded: $0) }
        output.write(text.span)
        var received: [UInt8] = []
        eventually {
            received += readAvailable(pipe.reader)
            return received.count == text.count
        }
        #expect(received == text)
        // Nobody reads: bounded, and closing does not wait for a reader either.
        let flood = [UInt8](repeating: 1, count: 500_000)
        output.write(flood.span)
        #expect(output.droppedCount >= UInt64(flood.count - CharacterOutputContext.capacity) - 70_000)
        output.close(isWaiting: true)
        output.close(isWaiting: true)
        output.write(text.span)
        _ = readAvailable(pipe.reader)
        // What was written just before closing arrives.
        let last = makeShared()
        last.write([7, 8, 9].span)
        last.close(isWaiting: true)
        #expect(readAvailable(pipe.reader).suffix(3) == [7, 8, 9])
        let broken = makeShared()
        pipe.closeReader()
        broken.write([1].span)
        eventually { failures.load(ordering: .relaxed) == 1 }
        broken.write([1].span)
        broken.close(isWaiting: true)
        #expect(failures.load(ordering: .relaxed) == 1)
    }

    @Test("What was queued is flushed by close as far as it goes")
    func flushOnClose() throws {
        let fixture = try LoopFixture()
        let output = TestPipe()
        let backend = try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: -1, output: output.writer)
        // The loop is held up, so that nobody else flushes.
        let isHeld = Atomic(true)
        fixture.loop.execute { while isHeld.load(ordering: .acquiring) { usleep(100) } }
        let capacity = Int(fcntl(output.writer, getPipeSize))
        let total = capacity + 30_000
        try backend.writeFromHostThread((0..<total).map { UInt8(truncatingIfNeeded: $0) })
        var received = readAvailable(output.reader)
        #expect(received.count == capacity)
        let closer = try HostThread.start(name: "closer") { backend.close() }
        isHeld.store(false, ordering: .releasing)
        closer.join()
        received += readAvailable(output.reader)
        #expect(received == (0..<total).map { UInt8(truncatingIfNeeded: $0) })
        try backend.writeFromHostThread([1])
        #expect(readAvailable(output.reader).isEmpty)
    }

    @Test("What a pipe has no room for at the end is written as it is read, and a reader that never reads holds nobody up")
    func slowReaderAtTheEnd() throws {
        let fixture = try LoopFixture()
        for isShared in [false, true] {
            let output = TestPipe()
            let context = CharacterOutputContext(
                source: "test", loop: fixture.loop, logger: .silent, onFailure: { _ in })
            func makeOutput() throws -> any CharacterOutput {
                guard !isShared else {
                    return context.makeOutput(HostStream(OwnedDescriptor(owning: dup(output.writer)), kind: .shared))
                }
                return context.makeOutput(try HostStream(of: output.writer, access: O_WRONLY))
            }
            let capacity = Int(fcntl(output.writer, getPipeSize))
            // More than the pipe takes and less than what is kept.
            let text = (0..<capacity + 60_000).map { UInt8(truncatingIfNeeded: $0 / 256 ^ $0) }
            let last = try makeOutput()
            // In pieces, as a thread that writes them needs time to take them.
            for start in stride(from: 0, to: text.count, by: 1000) {
                last.write(text.span.extracting(start..<min(start + 1000, text.count)))
                if isShared, start < capacity { usleep(1000) }
            }
            #expect(last.droppedCount == 0)
            let hasEnded = Atomic(false)
            let closer = try HostThread.start(name: "closer") {
                last.close(isWaiting: true)
                hasEnded.store(true, ordering: .releasing)
            }
            var received: [UInt8] = []
            while true {
                let isOver = hasEnded.load(ordering: .acquiring)
                let more = readAvailable(output.reader, limit: 5000)
                received += more
                if isOver, more.isEmpty { break }
                usleep(10_000)
            }
            closer.join()
            #expect(received == text, "shared: \(isShared)")
            #expect(last.droppedCount == 0)
            // Nobody reads: what is left is dropped and counted, and whoever closes goes on.
            let unread = try makeOutput()
            for start in stride(from: 0, to: text.count, by: 1000) {
                unread.write(text.span.extracting(start..<min(start + 1000, text.count)))
                if isShared, start < capacity { usleep(1000) }
            }
            unread.close(isWaiting: true)
            #expect(unread.droppedCount > 0)
            // Nor does one that has gone.
            let gone = try makeOutput()
            gone.write(text.span.extracting(0..<1000))
            output.closeReader()
            gone.close(isWaiting: true)
        }
    }

    @Test("A descriptor of somebody else is duplicated, works both ways and stays open")
    func descriptor() throws {
        let fixture = try LoopFixture()
        var ends: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let backend = try StandardIOCharacterBackend(descriptor: ends[1], loop: fixture.loop, logger: .silent)
        #expect(backend.filename == "fd:\(ends[1])")
        let receiver = TestReceiver()
        backend.attach(receiver)
        writeAll(ends[0], [1, 2])
        eventually { receiver.bytes == [1, 2] }
        try backend.writeFromHostThread([3])
        eventually { readAvailable(ends[0]) == [3] }
        backend.close()
        writeAll(ends[1], [4])
        #expect(readAvailable(ends[0]) == [4])
        for end in ends { close(end) }
        #expect(throws: LinuxError.self) {
            _ = try StandardIOCharacterBackend(descriptor: -1, loop: fixture.loop, logger: .silent)
        }
    }

    @Test("Detached, the receiver gets nothing more; attached again, what waited")
    func detach() throws {
        let fixture = try LoopFixture()
        let input = TestPipe()
        let backend = try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: input.reader, output: -1)
        let first = TestReceiver()
        backend.attach(first)
        fixture.settle()
        backend.detach()
        writeAll(input.writer, [1])
        fixture.settle()
        #expect(first.bytes.isEmpty)
        let second = TestReceiver()
        backend.attach(second)
        eventually { second.bytes == [1] }
        #expect(first.bytes.isEmpty)
        // A receiver is not kept alive.
        var third: TestReceiver? = TestReceiver()
        weak var gone: TestReceiver?
        gone = third
        if let third { backend.attach(third) }
        fixture.settle()
        third = nil
        #expect(gone == nil)
        writeAll(input.writer, [2])
        fixture.settle()
        backend.close()
    }

    @Test("Backends give every descriptor and thread back")
    func nothingIsLeft() throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let pipe = TestPipe()
        func round() throws {
            let backends: [any CharacterBackend] = [
                try StandardIOCharacterBackend(loop: fixture.loop, logger: .silent, input: pipe.reader, output: pipe.writer),
                try PseudoTerminalCharacterBackend(loop: fixture.loop, logger: .silent),
                try FileCharacterBackend(path: directory.file("f"), loop: fixture.loop, logger: .silent),
                try SocketCharacterBackend(
                    listeningAt: .unix(path: directory.file("s")), loop: fixture.loop, logger: .silent),
                LogCharacterBackend(source: "guest", loop: fixture.loop, logger: .silent),
                NullCharacterBackend(),
            ]
            let receiver = TestReceiver(room: 0)
            for backend in backends { backend.attach(receiver) }
            for backend in backends { try backend.writeFromHostThread([1]) }
            if Bool.random() { for backend in backends { backend.close() } }
        }
        try round()
        let rounds = 100
        let before = try OpenResources.descriptors()
        for _ in 0..<rounds { try round() }
        fixture.settle()
        // Other tests of this process open and close descriptors too: what is lost by us would add up.
        #expect(try OpenResources.descriptors() - before < rounds)
    }
}

@Suite struct FileBackendTests {
    @Test("A file is made for its owner, appended to and never cut")
    func file() throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let path = directory.file("console.log")
        for text in ["first", "second"] {
            let backend = try FileCharacterBackend(path: path, loop: fixture.loop, logger: .silent)
            #expect(backend.filename == "file:\(path)")
            let receiver = TestReceiver()
            backend.attach(receiver)
            eventually { receiver.connections == [true] }
            try backend.writeFromHostThread(Array(text.utf8))
            backend.resumeInput()
            backend.close()
            try backend.writeFromHostThread([1])
        }
        #expect(FileManager.default.contents(atPath: path) == Data("firstsecond".utf8))
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test("A path that can't be opened is named in the error", arguments: ["", "/", "/nowhere/at/all"])
    func badPaths(_ path: String) throws {
        let fixture = try LoopFixture()
        do {
            _ = try FileCharacterBackend(path: path, loop: fixture.loop, logger: .silent)
            Issue.record("\(path) was opened")
        } catch {
            #expect(error.operation == "open \(path)")
        }
    }

    @Test("A full disk loses bytes, says so once, and is tried again")
    func fullDisk() throws {
        let fixture = try LoopFixture()
        let sink = CollectingSink()
        let backend = try FileCharacterBackend(
            path: "/dev/full", loop: fixture.loop, logger: Logger(sink: sink, level: .debug))
        for _ in 0..<10 { try backend.writeFromHostThread([1, 2]) }
        #expect(backend.droppedCount == 20)
        #expect(sink.lines.count == 1)
        #expect(sink.lines.elements.first?.contains("No space left") == true)
        backend.close()
    }
}

@Suite struct LogBackendTests {
    @Test("Lines become lines of the log; what could steer a terminal is shown, not sent; endless lines are cut")
    func lines() throws {
        let fixture = try LoopFixture()
        let sink = CollectingSink()
        let backend = LogCharacterBackend(
            source: "guest", loop: fixture.loop, logger: Logger(sink: sink, level: .info))
        #expect(backend.filename == "log")
        try backend.writeFromHostThread(Array("one\r\ntwo\u{1B}[31m\ttab \u{85}\u{2028}é\n\n".utf8))
        try backend.writeFromHostThread([0xFF, 0x0A])
        try backend.writeFromHostThread([UInt8](repeating: UInt8(ascii: "x"), count: 1200))
        try backend.writeFromHostThread(Array("end".utf8))
        backend.close()
        #expect(
            sink.lines.elements == [
                "INFO guest: one",
                "INFO guest: two\\u{1b}[31m\ttab \\u{85}\\u{2028}é",
                "INFO guest: ",
                "INFO guest: \u{FFFD}",
                "INFO guest: " + String(repeating: "x", count: 512),
                "INFO guest: " + String(repeating: "x", count: 512),
                "INFO guest: " + String(repeating: "x", count: 1200 - 1024) + "end",
            ])
    }

    @Test("A guest that floods the log is held to a number of lines, and what is left out is counted")
    func flood() throws {
        let fixture = try LoopFixture()
        let sink = CollectingSink()
        let backend = LogCharacterBackend(
            source: "guest", loop: fixture.loop, logger: Logger(sink: sink, level: .info))
        try onHostThread { for _ in 0..<20_000 { backend.write([UInt8(ascii: "\n")].span) } }
        #expect(sink.lines.count < 20_000)
        #expect(backend.droppedCount > 0)
        backend.close()
    }
}

@Suite struct SocketBackendTests {
    @Test("One client at a time, the next waits, what is said to nobody is dropped", arguments: [true, false])
    func clients(_ isUnix: Bool) throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let path = directory.file("s")
        let backend = try SocketCharacterBackend(
            listeningAt: isUnix ? .unix(path: path) : .tcp(host: "127.0.0.1", port: 0), loop: fixture.loop, logger: .silent)
        #expect(backend.filename == (isUnix ? "unix:\(path),server" : "tcp:\(backend.address),server"))
        let receiver = TestReceiver()
        backend.attach(receiver)
        eventually { receiver.connections == [false] }
        try backend.writeFromHostThread(Array("to nobody".utf8))

        let first = connectClient(backend.address)
        eventually { receiver.connections == [false, true] }
        try backend.writeFromHostThread(Array("hello".utf8))
        eventually { readAvailable(first) == Array("hello".utf8) }
        writeAll(first, Array("one".utf8))
        eventually { receiver.text == "one" }

        let second = connectClient(backend.address)
        writeAll(second, Array("two".utf8))
        fixture.settle()
        #expect(receiver.text == "one")
        close(first)
        eventually { receiver.text == "onetwo" }
        #expect(receiver.connections == [false, true, false, true])
        try backend.writeFromHostThread(Array("again".utf8))
        eventually { readAvailable(second) == Array("again".utf8) }
        close(second)
        eventually { receiver.connections.last == false }
        #expect(backend.droppedCount == 0)
        backend.close()
        if isUnix { #expect(!FileManager.default.fileExists(atPath: path)) }
        // A process that another test starts has the socket until it runs its program, and the port may be another test's.
        eventually {
            let late = connectClient(backend.address)
            if late >= 0 { close(late) }
            return late == -1
        }
        fixture.settle()
        #expect(receiver.connections == [false, true, false, true, false])
    }

    @Test("A client that vanishes while the guest takes no input makes room for the next")
    func vanishingClient() throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let backend = try SocketCharacterBackend(
            listeningAt: .unix(path: directory.file("s")), loop: fixture.loop, logger: .silent)
        let receiver = TestReceiver(room: 0)
        backend.attach(receiver)
        eventually { receiver.connections == [false] }
        for round in 1...20 {
            let client = connectClient(backend.address)
            eventually { receiver.connections.filter { $0 }.count == round }
            writeAll(client, [1, 2, 3])
            fixture.settle()
            close(client)
            eventually { receiver.connections.filter { !$0 }.count == round + 1 }
        }
        let client = connectClient(backend.address)
        eventually { receiver.connections.last == true }
        try backend.writeFromHostThread([9])
        eventually { readAvailable(client) == [9] }
        close(client)
        backend.close()
    }

    @Test("A client that resets its connection while being written to makes room for the next")
    func resettingClient() throws {
        let fixture = try LoopFixture()
        let backend = try SocketCharacterBackend(
            listeningAt: .tcp(host: "127.0.0.1", port: 0), loop: fixture.loop, logger: .silent)
        let receiver = TestReceiver()
        backend.attach(receiver)
        eventually { receiver.connections == [false] }
        let isOver = Atomic(false)
        let writer = try HostThread.start(name: "writer") {
            let chunk = [UInt8](repeating: 7, count: 1000)
            while !isOver.load(ordering: .acquiring) {
                backend.write(chunk.span)
                usleep(50)
            }
        }
        for round in 1...20 {
            let client = connectClient(backend.address)
            #expect(client >= 0)
            eventually { receiver.connections.filter { $0 }.count == round }
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
            close(client)
            eventually { receiver.connections.last == false }
        }
        isOver.store(true, ordering: .releasing)
        writer.join()
        backend.close()
    }

    @Test("A client that floods is read only as fast as the guest takes it")
    func floodingClient() throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let backend = try SocketCharacterBackend(
            listeningAt: .unix(path: directory.file("s")), loop: fixture.loop, logger: .silent)
        let receiver = TestReceiver(room: 100)
        backend.attach(receiver)
        let client = connectClient(backend.address)
        let flooder = try HostThread.start(name: "flooder") {
            writeAll(client, [UInt8](repeating: 1, count: 1 << 20))
        }
        eventually { receiver.bytes.count == 100 }
        fixture.settle()
        #expect(receiver.bytes.count == 100)
        receiver.give(.max)
        backend.resumeInput()
        eventually { receiver.bytes.count == 1 << 20 }
        #expect(receiver.overruns == 0)
        flooder.join()
        close(client)
        backend.close()
    }

    @Test("Closing with a client connected ends its connection")
    func closeWithClient() throws {
        let fixture = try LoopFixture()
        let directory = try TemporaryDirectory()
        let backend = try SocketCharacterBackend(
            listeningAt: .unix(path: directory.file("s")), loop: fixture.loop, logger: .silent)
        let receiver = TestReceiver()
        backend.attach(receiver)
        let client = connectClient(backend.address)
        eventually { receiver.connections.last == true }
        try backend.writeFromHostThread(Array("bye".utf8))
        backend.close()
        backend.close()
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(read(client, &buffer, 16) == 3)
        #expect(read(client, &buffer, 16) == 0)
        close(client)
    }
}

@Suite struct PseudoTerminalBackendTests {
    @Test("Who opens the slave talks to the guest; without one output is dropped, and nothing is echoed back to the guest")
    func openAndClose() throws {
        let fixture = try LoopFixture()
        let backend = try PseudoTerminalCharacterBackend(loop: fixture.loop, logger: .silent)
        #expect(backend.filename == "pty:\(backend.path)")
        let receiver = TestReceiver()
        backend.attach(receiver)
        eventually { receiver.connections == [false] }
        try backend.writeFromHostThread(Array("to nobody".utf8))
        fixture.settle()
        for round in 0..<10 {
            let slave = open(backend.path, O_RDWR | O_NOCTTY | O_CLOEXEC)
            #expect(slave >= 0)
            eventually { receiver.connections.last == true }
            try backend.writeFromHostThread(Array("hello\n".utf8))
            var shown: [UInt8] = []
            eventually {
                shown += readAvailable(slave)
                return shown == Array("hello\n".utf8)
            }
            writeAll(slave, [UInt8(round)])
            eventually { receiver.bytes == (0...UInt8(round)).map { $0 } }
            // A client that leaves the terminal in its usual mode would have the guest hear itself.
            var settings = termios()
            tcgetattr(slave, &settings)
            settings.c_lflag |= tcflag_t(ECHO | ICANON)
            tcsetattr(slave, TCSANOW, &settings)
            close(slave)
            eventually { receiver.connections.last == false }
            try backend.writeFromHostThread(Array("to nobody\n".utf8))
        }
        fixture.settle()
        #expect(receiver.bytes == Array(0..<10))
        #expect(backend.droppedCount == 0)
        backend.close()
    }

    @Test("A client that vanishes while the guest takes no input is seen to go")
    func vanishingClient() throws {
        let fixture = try LoopFixture()
        let backend = try PseudoTerminalCharacterBackend(loop: fixture.loop, logger: .silent)
        let receiver = TestReceiver(room: 0)
        backend.attach(receiver)
        let slave = open(backend.path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        eventually { receiver.connections.last == true }
        writeAll(slave, [1, 2, 3])
        fixture.settle()
        close(slave)
        eventually { receiver.connections.last == false }
        backend.close()
    }

    @Test("A client that does not read does not stop the guest")
    func slowClient() throws {
        let fixture = try LoopFixture()
        let backend = try PseudoTerminalCharacterBackend(loop: fixture.loop, logger: .silent)
        let receiver = TestReceiver()
        backend.attach(receiver)
        let slave = open(backend.path, O_RDWR | O_NOCTTY | O_CLOEXEC)
        eventually { receiver.connections.last == true }
        let total = 300_000
        try onHostThread {
            let chunk = (0..<100).map { UInt8($0) }
            for _ in 0..<total / chunk.count { backend.write(chunk.span) }
        }
        let dropped = Int(backend.droppedCount)
        #expect(dropped > 0)
        var received = 0
        eventually {
            received += readAvailable(slave).count
            return received == total - dropped
        }
        close(slave)
        backend.close()
    }
}

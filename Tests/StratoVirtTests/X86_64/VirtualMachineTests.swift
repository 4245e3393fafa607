#if arch(x86_64)
import Foundation
import StratoVirt
import Testing

/// There is a KVM that runs guests of a few instructions.
private let hasKVM =
    FileManager.default.isReadableFile(atPath: "/dev/kvm") && FileManager.default.isWritableFile(atPath: "/dev/kvm")

/// Only what a program that embeds the library has: no `@testable`, no package access, no other module.
@Suite(
    "A virtual machine in a Swift program", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized,
    .timeLimit(.minutes(10)))
struct VirtualMachineTests {
    /// A machine's files, and what it logs.
    private final class Guest: Sendable {
        let scratch: Scratch
        let machine: VirtualMachine

        init(_ adjust: (inout VirtualMachineConfiguration) -> Void = { _ in }, _ program: (inout GuestProgram) -> Void) throws {
            scratch = try Scratch()
            try TinyKernel(program).write(to: scratch.file("kernel"))
            var configuration = VirtualMachineConfiguration()
            configuration.bootLoader = LinuxBootLoader(kernel: scratch.file("kernel"))
            configuration.memory.size = .mebibytes(128)
            adjust(&configuration)
            machine = try VirtualMachine(configuration)
        }

        /// A guest that goes on until it is ended, and leaves the host's processors to others.
        static func endless(_ adjust: (inout VirtualMachineConfiguration) -> Void = { _ in }) throws -> Guest {
            try Guest(adjust) { $0.halt() }
        }
    }

    private static func code(_ body: () async throws -> Void) async -> VirtualMachineError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? VirtualMachineError)?.code
        }
    }

    @Test(
        "A machine is stopped, runs, and has ended as its guest did; its events are told in order",
        arguments: TinyKernel.Format.allCases)
    func powerOff(_ format: TinyKernel.Format) async throws {
        let guest = try Guest { $0.powerOff() }
        try TinyKernel { $0.powerOff() }.write(to: guest.scratch.file("kernel"), as: format)
        let machine = guest.machine
        #expect(machine.state == .stopped)
        let events = machine.events
        // The guest is over within microseconds: that is no failure to start.
        try await machine.start()
        #expect(await machine.ending == .guestShutdown)
        #expect(machine.state == .ended)
        var told: [VirtualMachine.Event] = []
        for await event in events { told.append(event) }
        #expect(told == [.resumed, .ended(.guestShutdown)])
        #expect(await machine.ending == .guestShutdown, "it can be asked again")
        var late: [VirtualMachine.Event] = []
        for await event in machine.events { late.append(event) }
        #expect(late == [.ended(.guestShutdown)])
    }

    @Test("A guest that asks for a reset ends its machine with that reason")
    func reset() async throws {
        let guest = try Guest { $0.resetByKeyboardController() }
        try await guest.machine.start()
        #expect(await guest.machine.ending == .guestReset)
    }

    /// Threads of this process by their names, and whether a filter of system calls confines each (proc(5): Seccomp).
    private static func confinement() throws -> [String: Bool] {
        var threads: [String: Bool] = [:]
        for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task") {
            // One that ends meanwhile is not there any more.
            guard let status = try? String(contentsOfFile: "/proc/self/task/\(thread)/status", encoding: .utf8) else { continue }
            let fields = status.split(separator: "\n").map { $0.split(separator: "\t") }
            guard let name = fields.first(where: { $0.first == "Name:" })?.last else { continue }
            threads[String(name)] = fields.contains { $0.first == "Seccomp:" && $0.last == "2" }
        }
        return threads
    }

    @Test(
        "Threads are confined where that is asked for, and never the program's or the one that calls back",
        .disabled(if: Sanitizer.isActive, "a sanitizer makes calls of its own"))
    func confinement() async throws {
        let program = try Self.confinement().filter { $0.value }
        let guest = try Guest.endless {
            $0.confinesThreads = true
            $0.ioThreads = [IOThreadConfiguration(id: "disks")]
        }
        try await guest.machine.start()
        var threads = try Self.confinement()
        // A thread confines itself as it begins.
        for _ in 0..<100 where threads["io-disks"] != true || threads["vcpu0"] != true {
            try await Task.sleep(for: .milliseconds(20))
            threads = try Self.confinement()
        }
        #expect(threads["vcpu0"] == true)
        #expect(threads["io-disks"] == true)
        #expect(threads["machine"] == false)
        let others = Set(threads.filter { $0.value }.keys).subtracting(program.keys)
        // Beside the machine's threads, one that KVM makes for a virtual CPU's and that never leaves the kernel.
        #expect(others.isSubset(of: ["vcpu0", "io-disks", "devices", "kvm-nx-lpage-re"]))
        try await guest.machine.pause()
        try await guest.machine.resume()
        try await guest.machine.reset()
        await guest.machine.stop()
        #expect(await guest.machine.ending == .stopped)
        #expect(try Self.confinement().filter { $0.value } == program)
    }

    @Test("A guest that KVM cannot run ends its machine as failed, and the log says why")
    func failure() async throws {
        let scratch = try Scratch()
        try TinyKernel { $0.execute(at: 0xF080_0000) }.write(to: scratch.file("kernel"))
        var configuration = VirtualMachineConfiguration()
        configuration.bootLoader = LinuxBootLoader(kernel: scratch.file("kernel"))
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        let machine = try VirtualMachine(configuration) { continuation.yield($0) }
        try await machine.start()
        #expect(await machine.ending == .failed)
        continuation.finish()
        var log: [String] = []
        for await line in lines { log.append(line) }
        #expect(log.count { $0.hasPrefix("ERROR: ") } == 1, "\(log)")
        #expect(log.contains { $0.hasPrefix("INFO: vcpu0: ") && $0.contains("rip=f0800000") }, "\(log)")
    }

    @Test("Pausing, resuming, a reset and the end are told as they come")
    func control() async throws {
        let guest = try Guest.endless { $0.processors.count = 2 }
        let machine = guest.machine
        let events = machine.events
        try await machine.start()
        #expect(machine.state == .running)
        try await machine.pause()
        try await machine.pause()
        #expect(machine.state == .paused)
        try await machine.reset()
        #expect(machine.state == .paused)
        try await machine.resume()
        try await machine.resume()
        #expect(machine.state == .running)
        await machine.stop()
        #expect(machine.state == .ended)
        #expect(await machine.ending == .stopped)
        await machine.stop()
        var told: [VirtualMachine.Event] = []
        for await event in events { told.append(event) }
        #expect(told == [.resumed, .paused, .reset, .resumed, .ended(.stopped)])
    }

    @Test("A machine that starts paused runs when it is resumed")
    func startsPaused() async throws {
        let guest = try Guest({ $0.startsPaused = true }) { $0.powerOff() }
        let events = guest.machine.events
        try await guest.machine.start()
        #expect(guest.machine.state == .paused)
        try await guest.machine.resume()
        var told: [VirtualMachine.Event] = []
        for await event in events { told.append(event) }
        #expect(told == [.resumed, .ended(.guestShutdown)])
    }

    @Test("A guest that is asked to stop decides itself; without ACPI it cannot be asked")
    func requestStop() async throws {
        let guest = try Guest { program in
            program.wait(for: 1, at: 0xF000_0000, mask: 1)
            program.powerOff()
        }
        let events = guest.machine.events
        try await guest.machine.start()
        try await guest.machine.requestStop()
        #expect(await guest.machine.ending == .guestShutdown)
        var told: [VirtualMachine.Event] = []
        for await event in events { told.append(event) }
        #expect(told == [.resumed, .powerDownRequested, .ended(.guestShutdown)])

        let other = try Guest.endless { $0.machine.hasACPI = false }
        try await other.machine.start()
        #expect(await VirtualMachineTests.code { try await other.machine.requestStop() } == .invalidState)
        await other.machine.stop()
    }

    @Test("A descriptor of the program is the guest's serial port, both ways, and stays the program's")
    func descriptor() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let (near, far) = (ends[0], ends[1])
        defer { for end in [near, far] { close(end) } }
        let guest = try Guest({ $0.serialPort = SerialPortConfiguration(backend: .descriptor(far)) }) { program in
            program.print("ready\n")
            program.wait(for: 1, at: 0xF000_0000, mask: 1)
            program.print("bye\n")
            program.powerOff()
        }
        func read(_ count: Int) -> String {
            var bytes = [UInt8](repeating: 0, count: count)
            var filled = 0
            while filled < count {
                var request = pollfd(fd: near, events: Int16(POLLIN), revents: 0)
                guard poll(&request, 1, 20_000) == 1 else { break }
                let amount = bytes.withUnsafeMutableBytes { buffer in
                    Foundation.read(near, buffer.baseAddress.map { $0 + filled }, count - filled)
                }
                guard amount > 0 else { break }
                filled += amount
            }
            return String(decoding: bytes.prefix(filled), as: UTF8.self)
        }
        try await guest.machine.start()
        #expect(read(6) == "ready\n")
        try await guest.machine.requestStop()
        #expect(read(4) == "bye\n")
        #expect(await guest.machine.ending == .guestShutdown)
        #expect(fcntl(far, F_GETFD) >= 0)
    }

    // MARK: Errors

    @Test("A configuration that contradicts itself is refused with all of its problems")
    func invalidConfiguration() async {
        var configuration = VirtualMachineConfiguration()
        configuration.processors.count = 300
        configuration.memory.size = .mebibytes(1)
        let error = #expect(throws: VirtualMachineError.self) { try VirtualMachine(configuration) }
        #expect(error?.code == .invalidConfiguration)
        for part in ["processors.count", "memory.size", "bootLoader"] { #expect(error?.message.contains(part) == true) }
    }

    @Test("What the host lacks is told when the machine is started, which has ended then")
    func hostFailure() async throws {
        var configuration = VirtualMachineConfiguration()
        configuration.bootLoader = LinuxBootLoader(kernel: "/no/such/kernel")
        let machine = try VirtualMachine(configuration)
        do {
            try await machine.start()
            Issue.record("it was started")
        } catch let error as VirtualMachineError {
            #expect(error.code == .hostFailure)
            #expect(error.description.contains("/no/such/kernel"))
        }
        #expect(await machine.ending == .failed)
        #expect(machine.state == .ended)
    }

    @Test("Out of its time each call is refused with a reason that fits")
    func invalidStates() async throws {
        let guest = try Guest.endless()
        let machine = guest.machine
        let calls: [@Sendable (VirtualMachine) async throws -> Void] = [
            { try await $0.pause() }, { try await $0.resume() }, { try await $0.reset() }, { try await $0.requestStop() },
        ]
        func expectRefusals(_ message: String) async {
            for call in calls {
                do {
                    try await call(machine)
                    Issue.record("not refused")
                } catch {
                    #expect((error as? VirtualMachineError)?.code == .invalidState)
                    #expect("\(error)" == message)
                }
            }
        }
        await expectRefusals("the machine has not been started")
        try await machine.start()
        #expect(await VirtualMachineTests.code { try await machine.start() } == .invalidState)
        #expect(machine.state == .running, "a second start does no harm")
        await machine.stop()
        await expectRefusals("the machine has ended")
        #expect(await VirtualMachineTests.code { try await machine.start() } == .invalidState)
    }

    @Test("A machine that is stopped before its start is over, and cannot be started")
    func stopBeforeStart() async throws {
        let guest = try Guest.endless()
        await guest.machine.stop()
        #expect(await guest.machine.ending == .stopped)
        #expect(await VirtualMachineTests.code { try await guest.machine.start() } == .invalidState)
    }

    // MARK: Tasks

    @Test("A task that is cancelled while it starts a machine is told so, and the machine ends", arguments: 0..<10)
    func cancellation(_ round: Int) async throws {
        let guest = try Guest.endless()
        let machine = guest.machine
        let task = Task { try await machine.start() }
        try await Task.sleep(for: .microseconds(round * 500))
        task.cancel()
        switch await task.result {
        case .failure(let error):
            #expect(error is CancellationError)
            #expect(await machine.ending == .stopped)
        case .success:
            // It was there before the task was cancelled.
            #expect(machine.state == .running)
            await machine.stop()
        }
    }

    @Test("A cancelled task starts nothing")
    func cancelledBefore() async throws {
        let guest = try Guest.endless()
        let machine = guest.machine
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            try await machine.start()
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        #expect(await machine.ending == .stopped)
    }

    @Test("Many tasks wait for one end, and each is told; readers of events may go before")
    func manyWaiters() async throws {
        let guest = try Guest.endless()
        let machine = guest.machine
        try await machine.start()
        let endings = try await withThrowingTaskGroup(of: VirtualMachine.Ending?.self) { group in
            for _ in 0..<20 { group.addTask { await machine.ending } }
            for _ in 0..<20 {
                group.addTask {
                    // The first event of each is a pause or a resumption; the sequence is given up then.
                    for await event in machine.events {
                        if case .ended(let ending) = event { return ending }
                        break
                    }
                    return nil
                }
            }
            for _ in 0..<5 {
                try await machine.pause()
                try await machine.resume()
            }
            await machine.stop()
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(endings.compactMap { $0 }.allSatisfy { $0 == .stopped })
        #expect(endings.compactMap { $0 }.count >= 20)
    }

    @Test("Calls from many tasks at once leave the machine in a state that one of them asked for")
    func manyCalls() async throws {
        let guest = try Guest.endless { $0.processors.count = 2 }
        let machine = guest.machine
        try await machine.start()
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<40 {
                group.addTask {
                    switch index % 4 {
                    case 0: try? await machine.pause()
                    case 1: try? await machine.resume()
                    case 2: try? await machine.reset()
                    default: _ = machine.state
                    }
                }
            }
        }
        #expect([.running, .paused].contains(machine.state))
        try await machine.resume()
        #expect(machine.state == .running)
        await machine.stop()
    }

    @Test("Several machines live in one process, and the end of one is no other's")
    func severalMachines() async throws {
        let guests = try (0..<4).map { _ in try Guest.endless() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for guest in guests { group.addTask { try await guest.machine.start() } }
            try await group.waitForAll()
        }
        for (index, guest) in guests.enumerated() {
            for other in guests[index...] { #expect(other.machine.state == .running) }
            await guest.machine.stop()
        }
    }

    // MARK: Resources

    /// In a process of its own, whose descriptors and threads nobody else changes.
    @Test("A machine that nobody refers to any more ends, and gives everything back, however far it was")
    func released() async {
        await #expect(processExitsWith: .success) {
            func cycle() async throws {
                _ = try Guest.endless()
                let running = try Guest.endless { $0.processors.count = 2 }
                try await running.machine.start()
                let paused = try Guest.endless()
                try await paused.machine.start()
                try await paused.machine.pause()
                let ended = try Guest { $0.powerOff() }
                try await ended.machine.start()
                _ = await ended.machine.ending
                let failed = try Guest.endless { $0.bootLoader?.kernel = "/no/such/kernel" }
                try? await failed.machine.start()
                _ = failed.machine.events
            }
            for _ in 0..<3 { try await cycle() }
            // Nobody waits for the end of a machine that is released: its threads, and then its descriptors, go soon after.
            let threads = 1 + Sanitizer.threadCount
            #expect(try OpenResources.wait(forThreads: threads))
            let descriptors = try OpenResources.descriptors()
            for _ in 0..<20 {
                try await cycle()
                #expect(try OpenResources.wait(forThreads: threads))
                #expect(try OpenResources.descriptors() <= descriptors)
            }
        }
    }
}
#endif

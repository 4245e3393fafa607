#if arch(x86_64)
import Foundation
import StratoHost
import StratoKVM
import StratoMemory
import Testing

@testable import StratoVMM

@Suite("A machine's life", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct MachineControllerTests {
    /// Counts the guest's starts, in memory that a reset leaves alone, and then counts on for ever.
    private struct CountingGuest {
        var kernel = TinyKernel()
        let starts: GuestProgram.Result
        let counter: GuestProgram.Result

        init() {
            starts = kernel.program.newResult()
            counter = kernel.program.newResult()
            let (starts, counter) = (starts, counter)
            kernel.program.add(1, to: starts.address)
            kernel.program.loopForever { $0.add(1, to: counter.address) }
        }

        /// Waits until the counter has moved on from a value.
        func waitForProgress(of machine: ControlledMachine, from value: UInt64) throws -> Bool {
            var patience = 20_000
            while try machine.value(of: counter) == value, patience > 0 {
                usleep(1000)
                patience -= 1
            }
            return patience > 0
        }

        func isStill(_ machine: ControlledMachine) throws -> Bool {
            let before = try machine.value(of: counter)
            usleep(5000)
            return try machine.value(of: counter) == before
        }
    }

    // MARK: Start

    @Test(
        "Every form of a kernel starts the machine, and its registers are where they belong",
        arguments: TinyKernel.Format.allCases)
    func formats(_ format: TinyKernel.Format) throws {
        var kernel = TinyKernel()
        let magic = kernel.program.read(GuestDisk.register(GuestDisk.Register.magic))
        let nobody = kernel.program.read(GuestDisk.base + GuestDisk.Register.end)
        kernel.program.powerOff()
        let machine = try ControlledMachine(kernel, as: format) { try HostileGuest.addDisk(&$0, $1) }
        #expect(try machine.run() == .guestShutdown)
        #expect(try machine.value(of: magic) == 0x7472_6976)
        #expect(try machine.value(of: nobody) == 0xFFFF_FFFF)
        #expect(machine.events == [.built, .shutdown(.guestShutdown)])
        #expect(machine.controller.status == .ended)
    }

    @Test("A machine that starts paused runs nothing before it is resumed")
    func startsPaused() throws {
        let guest = CountingGuest()
        let machine = try ControlledMachine(guest.kernel) { configuration, _ in configuration.startsPaused = true }
        #expect(machine.controller.status == .preparing)
        try machine.controller.start()
        #expect(machine.controller.status == .prelaunch)
        try machine.controller.pause()
        #expect(machine.controller.status == .prelaunch)
        #expect(try guest.isStill(machine))
        #expect(try machine.value(of: guest.starts) == 0)
        try machine.controller.resume()
        #expect(machine.controller.status == .running)
        #expect(try guest.waitForProgress(of: machine, from: 0))
        machine.end()
        #expect(machine.events == [.built, .resumed, .shutdown(.hostSignal)])
    }

    @Test("Pausing and resuming twice is pausing and resuming once; a paused guest stands still, and goes on where it was")
    func pauseAndResume() throws {
        let guest = CountingGuest()
        let machine = try ControlledMachine(guest.kernel) { configuration, _ in
            configuration.processors = ProcessorConfiguration(count: 2)
        }
        try machine.controller.start()
        try machine.controller.resume()
        #expect(try guest.waitForProgress(of: machine, from: 0))
        for _ in 0..<2 { try machine.controller.pause() }
        #expect(machine.controller.status == .paused)
        #expect(try guest.isStill(machine))
        let count = try machine.value(of: guest.counter)
        for _ in 0..<2 { try machine.controller.resume() }
        #expect(machine.controller.status == .running)
        #expect(try guest.waitForProgress(of: machine, from: count))
        #expect(try machine.value(of: guest.starts) == 1)
        machine.end()
        #expect(machine.events == [.built, .stopped, .resumed, .shutdown(.hostSignal)])
    }

    // MARK: Reset

    @Test("A reset starts the guest anew, and leaves a paused machine paused", arguments: [false, true])
    func reset(isPaused: Bool) throws {
        let guest = CountingGuest()
        let machine = try ControlledMachine(guest.kernel) { configuration, scratch in
            configuration.processors = ProcessorConfiguration(count: 3)
            try HostileGuest.addDisk(&configuration, scratch)
        }
        try machine.controller.start()
        #expect(try guest.waitForProgress(of: machine, from: 0))
        if isPaused { try machine.controller.pause() }
        for _ in 0..<3 { try machine.controller.reset() }
        #expect(machine.controller.status == (isPaused ? .paused : .running))
        if isPaused {
            #expect(try guest.isStill(machine))
            try machine.controller.resume()
        }
        #expect(try guest.waitForProgress(of: machine, from: try machine.value(of: guest.counter)))
        let starts = try machine.value(of: guest.starts)
        // Paused it was reset three times before its first instruction; running it may have come to it in between.
        #expect(isPaused ? starts == 2 : (2...4).contains(starts))
        machine.end()
        let resets = [MachineEvent](repeating: .reset(guest: false), count: 3)
        #expect(
            machine.events == [.built] + (isPaused ? [.stopped] + resets + [.resumed] : resets) + [.shutdown(.hostSignal)])
    }

    @Test("A reset before the first instruction leaves the machine as it was")
    func resetBeforeLaunch() throws {
        let guest = CountingGuest()
        let machine = try ControlledMachine(guest.kernel) { configuration, _ in configuration.startsPaused = true }
        try machine.controller.start()
        try machine.controller.reset()
        #expect(machine.controller.status == .prelaunch)
        #expect(try machine.value(of: guest.starts) == 0)
        try machine.controller.resume()
        #expect(try guest.waitForProgress(of: machine, from: 0))
    }

    @Test("A reset while requests are in flight gives the guest a disk as at its start")
    func resetUnderLoad() throws {
        var kernel = TinyKernel()
        var area = RingArea(at: TinyKernel.data)
        area.request(GuestDisk.Request.read)
        area.makeAvailable([0], index: 0)
        kernel.contents.append((area.base, area.bytes))
        let status = kernel.program.read(GuestDisk.register(GuestDisk.Register.status))
        kernel.program.startDisk(area)
        let count = kernel.program.newResult()
        kernel.program.loopForever { program in
            program.add(16, to: area.availableIndex, width: 2)
            program.notifyDisk()
            program.waitEqual(area.usedIndex, to: area.availableIndex)
            program.add(1, to: count.address)
        }
        let machine = try ControlledMachine(kernel) { try HostileGuest.addDisk(&$0, $1) }
        try machine.controller.start()
        for _ in 0..<20 {
            let before = try machine.value(of: count)
            var patience = 20_000
            while try machine.value(of: count) == before, patience > 0 {
                usleep(1000)
                patience -= 1
            }
            try #require(patience > 0, "the guest got no answer: \(machine.log.messages)")
            try machine.controller.reset()
        }
        #expect(try machine.value(of: status) == 0)
        #expect(machine.log.messages.isEmpty)
    }

    @Test("A kernel that is gone at the reset ends the machine with an error")
    func resetWithoutKernel() throws {
        let guest = CountingGuest()
        let machine = try ControlledMachine(guest.kernel)
        try machine.controller.start()
        // The file stays the one that was opened: it is cut off rather than replaced.
        #expect(truncate(machine.scratch.file("kernel"), 100) == 0)
        #expect(throws: MachineControlError.self) { try machine.controller.reset() }
        #expect(machine.waitForEnd() == .hostError)
        #expect(machine.log.messages(at: .error).contains { $0.contains("could not be reset") && $0.contains("kernel") })
    }

    // MARK: Ends

    struct End: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let reason: ShutdownReason
        let program: @Sendable (inout GuestProgram) -> Void

        init(_ name: String, _ reason: ShutdownReason, _ program: @escaping @Sendable (inout GuestProgram) -> Void) {
            testDescription = name
            self.reason = reason
            self.program = program
        }
    }

    static let ends = [
        End("S5 by the sleep control register", .guestShutdown) { $0.powerOff() },
        End("the reset line of the keyboard controller", .guestReset) { $0.resetByKeyboardController() },
        End("S5 in an access of two bytes", .guestShutdown) { program in
            program.portWrite(0x34, to: GuestProgram.Port.sleepControl, width: 2)
            program.halt()
        },
        End("an instruction where there is no memory", .hostError) { $0.execute(at: 0xF080_0000) },
    ]

    @Test("Every way in which a guest ends its machine has its reason, once", arguments: ends)
    func guestEnds(_ end: End) throws {
        let machine = try ControlledMachine(TinyKernel(end.program)) { configuration, _ in
            configuration.processors = ProcessorConfiguration(count: 2)
        }
        #expect(try machine.run() == end.reason)
        #expect(machine.controller.status == .ended)
        for reason in ShutdownReason.allCases { machine.controller.shutDown(reason) }
        machine.end()
        #expect(machine.events == [.built, .shutdown(end.reason)])
    }

    @Test(
        "A triple fault resets the processor, and so ends the machine",
        .enabled(if: runsAnyGuest, "this KVM emulates exceptions in software"))
    func tripleFault() throws {
        // There is nothing mapped between 1 GiB and 3 GiB, and no gate for a page fault.
        let machine = try ControlledMachine(TinyKernel { $0.write(0, to: 0x4000_0000) })
        #expect(try machine.run() == .guestReset)
    }

    @Test("A failure of KVM is told in one line, and the log has the virtual CPU's registers")
    func failureOfKVM() throws {
        let machine = try ControlledMachine(TinyKernel { $0.execute(at: 0xF080_0000) })
        #expect(try machine.run() == .hostError)
        #expect(ShutdownReason.hostError.exitStatus == 1)
        let errors = machine.log.messages(at: .error)
        #expect(errors.count == 1 && errors[0].hasPrefix("virtual CPU 0: "), "\(errors)")
        let registers = machine.log.messages(at: .info)
        #expect(
            registers.contains { $0.hasPrefix("vcpu0: ") && $0.contains("rip=f0800000") && $0.contains("cr3=9000") },
            "\(registers)")
    }

    /// In a process of its own, as any virtual CPU of the process could be taken.
    @Test("Virtual CPUs that KVM refuses to run, all at once, end the machine with one line that says why")
    func refusalByKVM() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let machine = try ControlledMachine(TinyKernel { $0.halt() }) { configuration, _ in
                configuration.processors = ProcessorConfiguration(count: 4)
                configuration.startsPaused = true
            }
            try machine.controller.start()
            // Threads that are parked have their virtual CPUs prepared.
            _ = try machine.controller.registerSummaries()
            // KVM_RUN of anything else is refused with ENOTTY.
            let null = open("/dev/null", O_RDWR | O_CLOEXEC)
            var count = 0
            for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
                let link = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)")
                guard link?.hasPrefix("anon_inode:kvm-vcpu") == true, let number = Int32(name) else { continue }
                report(dup2(null, number) == number, "dup2")
                count += 1
            }
            report(count == 4, "\(count) virtual CPUs")
            try machine.controller.resume()
            report(machine.waitForEnd() == .hostError, "the machine goes on")
            machine.end()
            let errors = machine.log.messages(at: .error)
            report(errors.count == 1, "\(errors)")
            report(errors.first?.contains("Inappropriate ioctl for device") == true, "\(errors)")
            report(machine.events.last == .shutdown(.hostError), "\(machine.events)")
        }
        printReport(of: child)
    }

    @Test(
        "The host's reasons are told as they were given, and only the first counts",
        arguments: [
            ShutdownReason.hostQMPQuit, .hostQMPReset, .hostSignal, .hostError,
        ])
    func hostEnds(_ reason: ShutdownReason) throws {
        let machine = try ControlledMachine(CountingGuest().kernel)
        try machine.controller.start()
        for next in [reason] + ShutdownReason.allCases { machine.controller.shutDown(next) }
        #expect(machine.waitForEnd() == reason)
        machine.end()
        #expect(machine.events == [.built, .shutdown(reason)])
    }

    @Test("A paused machine ends without having run again")
    func endWhilePaused() throws {
        let guest = CountingGuest()
        let machine = try ControlledMachine(guest.kernel)
        try machine.controller.start()
        #expect(try guest.waitForProgress(of: machine, from: 0))
        try machine.controller.pause()
        let count = try machine.value(of: guest.counter)
        machine.controller.shutDown(.hostQMPQuit)
        #expect(machine.waitForEnd() == .hostQMPQuit)
        #expect(try machine.value(of: guest.counter) == count)
        #expect(machine.events == [.built, .stopped, .shutdown(.hostQMPQuit)])
    }

    @Test("A machine that was ended before its start is not built")
    func endBeforeStart() throws {
        let machine = try ControlledMachine(CountingGuest().kernel)
        machine.controller.shutDown(.hostSignal)
        #expect(machine.waitForEnd() == .hostSignal)
        try machine.controller.start()
        #expect(machine.events == [.shutdown(.hostSignal)])
        #expect(machine.controller.status == .ended)
    }

    @Test("A machine that is ended at any moment of its making ends once, and nothing comes after")
    func endWhileBuilt() throws {
        for round in 0..<30 {
            let machine = try ControlledMachine(CountingGuest().kernel) { try HostileGuest.addDisk(&$0, $1) }
            let controller = machine.controller
            let builder = try HostThread.start(name: "build") { try? controller.start() }
            usleep(UInt32(round * 300))
            controller.shutDown(.hostQMPQuit)
            builder.join()
            #expect(machine.waitForEnd() == .hostQMPQuit)
            machine.end()
            #expect([[.built, .shutdown(.hostQMPQuit)], [.shutdown(.hostQMPQuit)]].contains(machine.events))
            #expect(controller.status == .ended)
        }
    }

    @Test("What a machine is told before it is there and after its end is refused in one line")
    func commandsOutOfTime() throws {
        let machine = try ControlledMachine(CountingGuest().kernel)
        let commands: [(MachineController) throws -> Void] = [
            { try $0.pause() }, { try $0.resume() }, { try $0.reset() }, { try $0.requestPowerDown() },
        ]
        func expectRefusals(_ message: String) {
            for command in commands {
                let error = #expect(throws: MachineControlError.self) { try command(machine.controller) }
                #expect(error?.description == message)
            }
        }
        expectRefusals("the machine is still being built")
        #expect(machine.controller.processors.map(\.threadID) == [0])
        try machine.controller.start()
        machine.controller.shutDown(.hostSignal)
        #expect(machine.waitForEnd() == .hostSignal)
        expectRefusals("the machine has ended")
        #expect(machine.events == [.built, .shutdown(.hostSignal)])
    }

    // MARK: Devices

    @Test("The power button reaches a guest with ACPI, and is refused without")
    func powerButton() throws {
        var kernel = TinyKernel()
        // The event device's register is read until it tells of the button.
        kernel.program.wait(for: 1, at: 0xF000_0000, mask: 1)
        kernel.program.powerOff()
        let machine = try ControlledMachine(kernel)
        try machine.controller.start()
        try machine.controller.requestPowerDown()
        #expect(machine.waitForEnd() == .guestShutdown)
        #expect(machine.events == [.built, .powerDownRequested, .shutdown(.guestShutdown)])

        let other = try ControlledMachine(kernel) { configuration, _ in configuration.machine.hasACPI = false }
        try other.controller.start()
        let error = #expect(throws: MachineControlError.self) { try other.controller.requestPowerDown() }
        #expect(error?.description.contains("no power button") == true)
    }

    @Test("What the guest writes to its serial port is in the file when the machine has ended")
    func serialPort() throws {
        let text = String(repeating: "Hello from the guest.\n", count: 40)
        let machine = try ControlledMachine(
            TinyKernel {
                $0.print(text)
                $0.powerOff()
            }
        ) { configuration, scratch in
            configuration.serialPort = SerialPortConfiguration(backend: .file(path: scratch.file("serial")))
        }
        #expect(try machine.run() == .guestShutdown)
        #expect(try String(contentsOfFile: machine.scratch.file("serial"), encoding: .utf8) == text)
    }

    @Test("Bytes from the host and used buffers interrupt a guest that waits in a halt")
    func interrupts() throws {
        let neighbour = try Neighbour()
        for _ in 0..<50 { try #require(neighbour.answers()) }
        #expect(neighbour.machine.log.messages.isEmpty)
    }

    @Test("Pausing and resetting do not lose the answer to a guest")
    func interruptsAndPauses() throws {
        let neighbour = try Neighbour()
        for round in 0..<20 {
            try neighbour.machine.controller.pause()
            if round % 5 == 0 { try neighbour.machine.controller.reset() }
            try neighbour.machine.controller.resume()
            try #require(neighbour.answers(), "round \(round)")
        }
    }

    @Test(
        "Boot markers are logged with wall and CPU time where they are on, and mean nothing where not", arguments: [true, false])
    func bootMarkers(isOn: Bool) throws {
        let machine = try ControlledMachine(
            TinyKernel { program in
                for marker in [1, 2, 77] { program.portWrite(UInt64(marker), to: GuestProgram.Port.serialScratch) }
                program.powerOff()
            }
        ) { configuration, _ in
            configuration.machine.hasBootMarkers = isOn
            configuration.serialPort = SerialPortConfiguration(backend: .null)
        }
        #expect(try machine.run() == .guestShutdown)
        let lines = machine.log.messages(at: .info).filter { $0.contains("since exec") && $0.contains("of CPU time") }
        #expect(lines.map { $0.contains("guest kernel started") } == (isOn ? [true, false] : []))
    }

    @Test("Virtual CPUs, I/O threads and character devices are shown as they are")
    func inventory() throws {
        let machine = try ControlledMachine(CountingGuest().kernel) { configuration, scratch in
            configuration.processors = ProcessorConfiguration(count: 4)
            configuration.processors.topology = ProcessorTopology(sockets: 2, cores: 1, threads: 2)
            configuration.ioThreads = [IOThreadConfiguration(id: "one")]
            try HostileGuest.addDisk(&configuration, scratch)
            configuration.storageDevices[0].ioThread = "one"
            configuration.serialPort = SerialPortConfiguration(backend: .null, id: "line")
        }
        try machine.controller.start()
        let processors = machine.controller.processors
        #expect(processors.map(\.index) == [0, 1, 2, 3])
        #expect(processors.map(\.socket) == [0, 0, 1, 1])
        #expect(processors.map(\.thread) == [0, 1, 0, 1])
        let threads = processors.map(\.threadID) + machine.controller.ioThreads.map(\.threadID)
        #expect(Set(threads).count == 5)
        for (thread, name) in zip(threads, ["vcpu0", "vcpu1", "vcpu2", "vcpu3", "io-one"]) {
            let found = try String(contentsOfFile: "/proc/self/task/\(thread)/comm", encoding: .utf8)
            #expect(found == "\(name)\n")
        }
        #expect(machine.controller.characterDevices.map(\.label) == ["line"])
    }
}
#endif

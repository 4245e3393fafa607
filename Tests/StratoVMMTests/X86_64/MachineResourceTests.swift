#if arch(x86_64)
import Foundation
import StratoKVM
import StratoMemory
import Testing

@testable import StratoVMM

private let mostProcessors = 254
private let hasRoomForAll = ((try? KVMSystem().maximumProcessorCount) ?? 0) >= mostProcessors

/// Each in a process of its own, whose descriptors, threads and memory nobody else changes.
@Suite("What machines leave behind", .enabled(if: hasKVM, "there is no usable /dev/kvm"))
struct MachineResourceTests {
    /// A guest on several virtual CPUs that uses its disk, its serial port and its interrupts, then tells that it is there
    /// and waits.
    static func busyMachine() throws -> ControlledMachine {
        var kernel = TinyKernel()
        var area = RingArea(at: TinyKernel.data)
        area.request(GuestDisk.Request.read)
        kernel.contents.append((area.base, area.bytes))
        kernel.program.enableInterruptController()
        kernel.program.startDisk(area)
        kernel.program.notifyDisk()
        kernel.program.wait(for: 0, at: area.status, mask: 0xFF, width: 1, isHalted: true)
        kernel.program.print("ready")
        kernel.program.add(1, to: kernel.program.newResult().address)
        kernel.program.halt()
        return try ControlledMachine(kernel) { configuration, scratch in
            configuration.processors = ProcessorConfiguration(count: 2)
            configuration.ioThreads = [IOThreadConfiguration(id: "io")]
            try HostileGuest.addDisk(&configuration, scratch)
            configuration.storageDevices[0].ioThread = "io"
            configuration.serialPort = SerialPortConfiguration(backend: .file(path: scratch.file("serial")))
        }
    }

    /// Waits until the guest has been there `count` times.
    static func wait(for machine: ControlledMachine, starts count: UInt64) throws -> Bool {
        let memory = try machine.memory()
        var patience = 200_000
        while try memory.load(UInt64.self, at: GuestAddress(TinyKernel.results)) < count, patience > 0 {
            usleep(100)
            patience -= 1
        }
        return patience > 0
    }

    /// Starts a machine and resets it a thousand times, and reports what is left behind by that.
    static func resetAThousandTimes(_ machine: ControlledMachine) throws {
        try machine.controller.start()
        var starts: UInt64 = 1
        report(try MachineResourceTests.wait(for: machine, starts: starts), "the guest does not start")
        /// Every tenth guest is let come to its end, the others are reset wherever they are.
        func reset(_ count: Int) throws {
            for number in 0..<count {
                let isAwaited = number % 10 == 0
                if isAwaited { starts = try machine.memory().load(UInt64.self, at: GuestAddress(TinyKernel.results)) + 1 }
                try machine.controller.reset()
                guard isAwaited else { continue }
                report(
                    try MachineResourceTests.wait(for: machine, starts: starts), "reset \(number) does not start the guest")
            }
        }
        try reset(50)
        let before = try ProcessUsage.measure()
        try reset(1000)
        let after = try ProcessUsage.measure(expecting: before.threads)
        after.reportGrowth(since: before)
        report(machine.log.messages.isEmpty, "\(machine.log.messages)")
    }

    @Test("A thousand resets of one machine leave descriptors, threads, mappings and memory as they were")
    func resets() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let machine = try MachineResourceTests.busyMachine()
            try MachineResourceTests.resetAThousandTimes(machine)
        }
        printReport(of: child)
    }

    @Test("A hundred machines that were made and ended leave descriptors, threads, mappings and memory as they were")
    func machines() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            func run(_ count: Int) throws {
                for number in 0..<count {
                    let machine = try MachineResourceTests.busyMachine()
                    try machine.controller.start()
                    report(try MachineResourceTests.wait(for: machine, starts: 1), "machine \(number) does not start")
                }
            }
            try run(10)
            let before = try ProcessUsage.measure()
            try run(100)
            let after = try ProcessUsage.measure(expecting: before.threads)
            after.reportGrowth(since: before)
        }
        printReport(of: child)
    }

    @Test("A hundred machines that cannot be built leave nothing")
    func failures() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            func run(_ count: Int) throws {
                for number in 0..<count {
                    let machine = try ControlledMachine { configuration, scratch in
                        configuration.ioThreads = [IOThreadConfiguration(id: "io")]
                        try HostileGuest.addDisk(&configuration, scratch)
                        configuration.storageDevices[0].ioThread = "io"
                        configuration.serialPort = SerialPortConfiguration(backend: .pseudoTerminal)
                        // The last thing that is read of all.
                        configuration.bootLoader?.initialRamdisk = "/no/such/ramdisk"
                    }
                    report((try? machine.controller.start()) == nil, "machine \(number) was built")
                }
            }
            try run(10)
            let before = try ProcessUsage.measure()
            try run(100)
            let after = try ProcessUsage.measure(expecting: before.threads)
            after.reportGrowth(since: before)
        }
        printReport(of: child)
    }

    /// Where each processor leaves a mark: a byte per APIC id, and the number of marks behind.
    private static let marks: UInt64 = 0x1_1000
    private static let markCount = marks + 0x200

    /// What the other processors run, at a page below 1 MiB: real mode, entered by a start-up interrupt.
    private static let startup: [UInt8] = [
        0xFA,  // cli
        0x66, 0xB8, 0x01, 0x00, 0x00, 0x00, 0x0F, 0xA2,  // mov eax, 1; cpuid
        0x66, 0xC1, 0xEB, 0x18,  // shr ebx, 24: the initial APIC id
        0xB8, 0x00, 0x11, 0x8E, 0xD8,  // mov ax, 0x1100; mov ds, ax
        0xFE, 0x07,  // inc byte [bx]
        0xF0, 0xFF, 0x06, 0x00, 0x02,  // lock inc word [0x200]
        0xF4, 0xEB, 0xFD,  // hlt; jmp to the halt
    ]

    private static func fileSize(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    @Test(
        "All of 254 virtual CPUs start, each with an APIC id of its own, and are held, reset and ended",
        .enabled(if: hasRoomForAll, "this host's KVM has no room for 254 virtual CPUs in a machine"))
    func allProcessors() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let count = mostProcessors
            let page: UInt64 = 0x1_0000
            var kernel = TinyKernel()
            let code = MachineResourceTests.startup
            kernel.contents.append((TinyKernel.data, code))
            kernel.program.copy(from: TinyKernel.data, to: page, count: code.count)
            // INIT and start-up to all but this one (Intel SDM, volume 3A, 11.6.1 and 9.4.4.1).
            let interruptCommand: UInt64 = 0xFEE0_0300
            kernel.program.write(0xC_4500, to: interruptCommand)
            kernel.program.write(0xC_4600 | page >> 12, to: interruptCommand)
            kernel.program.wait(
                for: UInt64(count - 1), at: MachineResourceTests.markCount, mask: 0xFFFF, width: 2)
            kernel.program.portWrite(UInt64(UInt8(ascii: "!")), to: GuestProgram.Port.serial)
            kernel.program.halt()
            let machine = try ControlledMachine(kernel) { configuration, scratch in
                configuration.processors = ProcessorConfiguration(count: count)
                configuration.serialPort = SerialPortConfiguration(backend: .file(path: scratch.file("serial")))
            }
            let before = try ProcessUsage.measure()
            try machine.controller.start()
            for round in 1...2 {
                var patience = 60_000
                // Foundation loses memory where it reads an empty file, which is what this test looks for.
                while MachineResourceTests.fileSize(of: machine.scratch.file("serial")) < round, patience > 0 {
                    usleep(1000)
                    patience -= 1
                }
                report(patience > 0, "not all virtual CPUs start in round \(round)")
                let memory = try machine.memory()
                let marks = try memory.read(256, at: GuestAddress(MachineResourceTests.marks))
                // The first processor starts the others and leaves no mark.
                report(marks == [0] + [UInt8](repeating: 1, count: count - 1) + [0, 0], "marks in round \(round): \(marks)")
                try memory.write([UInt8](repeating: 0, count: 1024), at: GuestAddress(MachineResourceTests.marks))
                if round == 1 { try machine.controller.reset() }
            }
            try machine.controller.pause()
            try machine.controller.resume()
            report(Set(machine.controller.processors.map(\.threadID)).count == count, "threads are missing")
            machine.end()
            try ProcessUsage.measure(expecting: before.threads).reportGrowth(since: before, mappings: 600)
            report(machine.log.messages.isEmpty, "\(machine.log.messages)")
        }
        printReport(of: child)
    }
}
#endif

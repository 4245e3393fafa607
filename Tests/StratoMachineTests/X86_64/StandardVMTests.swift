#if arch(x86_64)
import Foundation
import StratoHost
import StratoKVM
import StratoMemory
import StratoPCI
import StratoVirtio
import Testing

@testable import StratoMachine

@Suite("A standard machine's board")
struct StandardBoardTests {
    @Test("RAM leaves the upper half of the first 4 GiB to devices, to the byte")
    func memoryRanges() throws {
        func range(_ base: UInt64, _ size: UInt64) throws -> GuestRange {
            try #require(GuestRange(base: GuestAddress(base), size: size))
        }
        let low: UInt64 = 2 << 30
        let high: UInt64 = 4 << 30
        #expect(try StandardBoard.memoryRanges(128 << 20) == [range(0, 128 << 20)])
        #expect(try StandardBoard.memoryRanges(low) == [range(0, low)])
        #expect(try StandardBoard.memoryRanges(low + 4096) == [range(0, low), range(high, 4096)])
        #expect(try StandardBoard.memoryRanges(512 << 30) == [range(0, low), range(high, 510 << 30)])
        #expect(throws: MachineError.self) { try StandardBoard.memoryRanges(0) }
    }

    @Test(
        "PCI's window above RAM begins at a whole GiB and ends where KVM's addresses do",
        arguments: [
            (128 << 20, 36, 0x1_0000_0000, 0x10_0000_0000), (3 << 30, 40, 0x1_4000_0000, 0x100_0000_0000),
            ((6 << 30) + 4096, 46, 0x2_4000_0000, 0x4000_0000_0000),
        ] as [(UInt64, Int, UInt64, UInt64)])
    func windows(_ size: UInt64, _ bits: Int, _ base: UInt64, _ end: UInt64) throws {
        let windows = try MemoryWindows(try GuestMemory(try StandardBoard.memoryRanges(size)), addressBits: bits)
        #expect(windows.low.base.value == 0x8000_0000)
        #expect(windows.high?.base.value == base)
        #expect(windows.high.map { $0.last.value + 1 } == end)
    }

    @Test("RAM that fills all addresses leaves no window above it")
    func noHighWindow() throws {
        let size: UInt64 = (64 << 30) - (2 << 30)
        let memory = try GuestMemory(try StandardBoard.memoryRanges(size))
        #expect(try MemoryWindows(memory, addressBits: 36).high == nil)
    }

    @Test("Firmware finds a disk by the place of each bridge and its own")
    func bootOrder() {
        #expect(FirmwareDevicePath.virtioBlock([(3, 0)]) == "/pci@i0cf8/scsi@3/disk@0,0")
        #expect(FirmwareDevicePath.virtioBlock([(0x1E, 7), (0, 1)]) == "/pci@i0cf8/pci-bridge@1e,7/scsi@0,1/disk@0,0")
        #expect(FirmwareDevicePath.file(["a", "b"]) == [0x61, 0x0A, 0x62, 0])
    }
}

@Suite("A standard machine", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct StandardVMTests {
    /// A standard machine that runs a tiny kernel or tiny firmware.
    private final class Guest: Sendable {
        let scratch: Scratch
        let memory: GuestMemory
        let machine: StandardVM
        private let loop: EventLoopThread
        private let requests = Monitor<[GuestRequest]>([])

        init(
            kernel: TinyKernel? = nil, firmware: TinyFirmware? = nil, variables: [UInt8]? = nil,
            adjust: (inout StandardVM.Description) throws -> Void = { _ in }
        ) throws {
            let scratch = try Scratch()
            var description = StandardVM.Description(topology: ProcessorLayout(sockets: 1))
            if let kernel {
                try kernel.write(to: scratch.file("kernel"), as: firmware == nil ? .raw : .bzImage)
                description.boot = BootSource(kernelPath: scratch.file("kernel"), commandLine: "")
            }
            if let firmware {
                try Data(firmware.image()).write(to: URL(fileURLWithPath: scratch.file("code")))
                var flash = StandardVM.Firmware(
                    code: try FlashImage(path: scratch.file("code"), isReadOnly: true, logger: .silent))
                if let variables {
                    try Data(variables).write(to: URL(fileURLWithPath: scratch.file("variables")))
                    flash.variables = try FlashImage(path: scratch.file("variables"), isReadOnly: false, logger: .silent)
                }
                description.firmware = flash
            }
            try adjust(&description)
            let memory = try GuestMemory(try StandardBoard.memoryRanges(128 << 20))
            let loop = try EventLoopThread(name: "test")
            let requests = requests
            machine = try StandardVM(
                description, memory: memory, system: try KVMSystem(), loop: loop.loop, logger: .silent
            ) { request in
                requests.update { $0.append(request) }
            }
            self.scratch = scratch
            self.memory = memory
            self.loop = loop
        }

        deinit {
            machine.shutDown()
            loop.stop()
        }

        func value(of result: GuestProgram.Result) throws -> UInt64 {
            try memory.load(UInt64.self, at: GuestAddress(result.address))
        }

        func byte(at address: UInt64) throws -> UInt8 { try memory.load(UInt8.self, at: GuestAddress(address)) }

        func run() throws -> GuestRequest? {
            try machine.start()
            machine.release()
            return waitForRequest()
        }

        /// Waits until there have been that many requests, and answers the last.
        func waitForRequest(_ count: Int = 1) -> GuestRequest? {
            requests.wait(milliseconds: 20_000) { $0.count >= count ? $0.last : nil }
        }
    }

    private static let variablesSize = 8192
    /// Below the firmware, which ends at 4 GiB.
    private static let variablesBase = UInt32(0x1_0000_0000 - TinyFirmware.size - variablesSize)

    /// A device at a place that does nothing.
    private static func stub(
        _ id: String, bus: String = PCIDeviceDescription.rootBus, device: UInt8? = nil, function: UInt8 = 0,
        isMultifunction: Bool = false
    ) throws -> PCIDeviceDescription {
        var description = PCIDeviceDescription(id: id, contents: .virtio(try StubDevice()))
        description.bus = bus
        description.device = device
        description.function = function
        description.isMultifunction = isMultifunction
        return description
    }

    @Test("Configuration space shows the chip set and each device at its place, in their order")
    func configuration() throws {
        var kernel = TinyKernel()
        func identity(_ device: UInt64, bus: UInt64 = 0) -> GuestProgram.Result {
            kernel.program.portWrite(0x8000_0000 | bus << 16 | device << 11, to: 0xCF8, width: 4)
            return kernel.program.portRead(0xCFC, width: 4)
        }
        let identities = [0, 1, 2, 3, 4, 5, 31].map { identity($0) }
        let behindPort = identity(0, bus: 1)
        kernel.program.powerOff()
        let guest = try Guest(kernel: kernel) { description in
            var port = PCIDeviceDescription(id: "port", contents: .rootPort(port: 1))
            port.device = 4
            description.devices = [
                try StandardVMTests.stub("a"), try StandardVMTests.stub("b", device: 2), port, try StandardVMTests.stub("c"),
                try StandardVMTests.stub("d", bus: "port"),
            ]
        }
        #expect(try guest.run() == .powerOff)
        let stub: UInt64 = 0x1044_1AF4
        #expect(
            try identities.map { try guest.value(of: $0) } == [
                0x29C0_8086, stub, stub, stub, 0x000C_1B36, 0xFFFF_FFFF, 0x2918_8086,
            ])
        #expect(try guest.value(of: behindPort) == stub)
        let functions = guest.machine.rootBus.functions.map { "\($0.device).\($0.function) \($0.object.name)" }
        #expect(functions.contains("1.0 stub") && functions.contains("4.0 port"), "\(functions)")
    }

    @Test("Without firmware the functions' ranges are placed and answer, at every width and misalignment")
    func assignedRanges() throws {
        var kernel = TinyKernel()
        kernel.program.portWrite(0x8000_0000 | 1 << 11 | 0x14, to: 0xCF8, width: 4)
        let tableBase = kernel.program.portRead(0xCFC, width: 4)
        // The pool for memory begins at 0xC0000000: the registers, the larger range, come first.
        let registers: UInt64 = 0xC000_0000
        let queueCount = kernel.program.read(registers + 0x12, width: 2)
        for width in [1, 2, 4, 8] {
            kernel.program.sweepRead(registers, count: 0x40, width: width)
            kernel.program.sweepRead(registers + 0xFF8, count: 0x10, width: width)
            kernel.program.sweepWrite(0xFFFF_FFFF_FFFF_FFFF, to: registers, count: 0x40, width: width)
            kernel.program.sweepWrite(0, to: registers + 0x4000, count: 0x100, width: width)
        }
        kernel.program.powerOff()
        let guest = try Guest(kernel: kernel) { $0.devices = [try StandardVMTests.stub("a")] }
        #expect(try guest.run() == .powerOff)
        #expect(try guest.value(of: queueCount) == 1)
        #expect(try guest.value(of: tableBase) & 0xFFFF_F000 == 0xC000_4000)
    }

    @Test(
        "Each way of a PC to reset or to power off is understood",
        arguments: [
            (0x64, 0xFE, 1, GuestRequest.reset), (0xCF9, 0x06, 1, .reset), (0xCE9, 5 << 2 | 1 << 5, 1, .powerOff),
            (0x604, 5 << 10 | 1 << 13, 2, .powerOff),
        ] as [(UInt16, UInt64, Int, GuestRequest)])
    func ends(_ port: UInt16, _ value: UInt64, _ width: Int, _ expected: GuestRequest) throws {
        var kernel = TinyKernel()
        kernel.program.portWrite(value, to: port, width: width)
        kernel.program.halt()
        #expect(try Guest(kernel: kernel).run() == expected)
    }

    @Test("A reset brings devices, processor and memory back to the first instruction, again and again")
    func resets() throws {
        var kernel = TinyKernel()
        kernel.program.portWrite(0x8000_0000 | 1 << 11 | 4, to: 0xCF8, width: 4)
        let command = kernel.program.portRead(0xCFC, width: 2)
        kernel.program.portWrite(0x0407, to: 0xCFC, width: 2)
        let runs = kernel.program.newResult()
        kernel.program.add(1, to: runs.address)
        kernel.program.portWrite(0xFE, to: 0x64)
        kernel.program.halt()
        let guest = try Guest(kernel: kernel) { $0.devices = [try StandardVMTests.stub("a")] }
        #expect(try guest.run() == .reset)
        for count in 1...50 {
            #expect(guest.machine.hold())
            #expect(try guest.value(of: runs) == UInt64(count))
            #expect(try guest.value(of: command) == 2, "memory is decoded, bus mastering is off")
            try guest.machine.reset()
            guest.machine.release()
            #expect(guest.waitForRequest(count + 1) == .reset)
        }
    }

    @Test("Firmware starts at a PC's reset vector, and its end is below 1 MiB as well")
    func firmware() throws {
        var firmware = TinyFirmware()
        firmware.copy(from: 0xF_FFF0, to: 0x5000)
        firmware.copy(from: 0xFFFF_FFF0, to: 0x5001)
        // Flash is no memory: a byte that is written to its array stays as it is.
        firmware.write(0, to: 0xFFFF_FFF0)
        firmware.copy(from: 0xFFFF_FFF0, to: 0x5002)
        firmware.out(5 << 2 | 1 << 5, to: 0xCE9)
        firmware.halt()
        let guest = try Guest(firmware: firmware)
        #expect(try guest.run() == .powerOff)
        #expect(guest.machine.hold())
        #expect(try (0..<3).map { try guest.byte(at: 0x5000 + $0) } == [0xE9, 0xE9, 0xE9])
    }

    @Test("What firmware programs into its variables is in the file when it goes on, and is read back")
    func variables() throws {
        var variables = [UInt8](repeating: 0xFF, count: StandardVMTests.variablesSize)
        variables[0x1000] = 0xF0
        let base = StandardVMTests.variablesBase
        var firmware = TinyFirmware()
        firmware.write(0x40, to: base + 0x1000)
        firmware.write(0x3C, to: base + 0x1000)
        firmware.copy(from: base + 0x1000, to: 0x5000)
        firmware.write(0xFF, to: base + 0x1000)
        firmware.copy(from: base + 0x1000, to: 0x5001)
        firmware.out(5 << 2 | 1 << 5, to: 0xCE9)
        firmware.halt()
        let guest = try Guest(firmware: firmware, variables: variables)
        #expect(try guest.run() == .powerOff)
        // Programming clears bits alone.
        let stored = try Data(contentsOf: URL(fileURLWithPath: guest.scratch.file("variables")))
        #expect(stored[0x1000] == 0x30)
        #expect(guest.machine.hold())
        #expect(try guest.byte(at: 0x5000) == 0x80, "the status after a command: ready")
        #expect(try guest.byte(at: 0x5001) == 0x30)
    }

    @Test("Firmware is told of the machine through fw_cfg, and of the tables as they are when it asks")
    func firmwareConfiguration() throws {
        var firmware = TinyFirmware()
        for index in 0..<4 {
            if index == 0 { firmware.out16(0, to: 0x510) }
            firmware.input(0x511, to: 0x5000 + UInt32(index))
        }
        firmware.out16(5, to: 0x510)
        firmware.input(0x511, to: 0x5004)
        // Memory-mapped configuration space at 0xB0000000, 256 buses (PCIEXBAR).
        firmware.out32(0x8000_0060, to: 0xCF8)
        firmware.out32(0xB000_0001, to: 0xCFC)
        firmware.copy(from: 0xB000_0000, to: 0x5005)
        firmware.out(5 << 2 | 1 << 5, to: 0xCE9)
        firmware.halt()
        let guest = try Guest(firmware: firmware)
        #expect(try guest.run() == .powerOff)
        #expect(guest.machine.hold())
        #expect(try (0..<6).map { try guest.byte(at: 0x5000 + $0) } == Array("QEMU".utf8) + [1, 0x86])
    }

    @Test("Firmware that needs system management mode is refused by a line that says so")
    func managementMode() throws {
        var firmware = TinyFirmware()
        firmware.out32(0x8000_0050, to: 0xCF8)
        firmware.out32(0x0000_FFFF, to: 0xCFC)
        firmware.halt()
        guard case .refused(let reason) = try Guest(firmware: firmware).run() else {
            Issue.record("the firmware was not refused")
            return
        }
        #expect(reason.contains("system management mode") && reason.contains("OVMF_CODE_4M.fd"))
    }

    @Test("A reset starts the firmware anew, with its flash in place")
    func firmwareResets() throws {
        var firmware = TinyFirmware()
        firmware.increment(0x5000)
        // The variables are left showing their status, which the reset ends.
        firmware.copy(from: StandardVMTests.variablesBase, to: 0x5001)
        firmware.write(0x70, to: StandardVMTests.variablesBase)
        firmware.out(0x06, to: 0xCF9)
        firmware.halt()
        let variables = [UInt8](repeating: 0xA5, count: StandardVMTests.variablesSize)
        let guest = try Guest(firmware: firmware, variables: variables)
        #expect(try guest.run() == .reset)
        for count in 1...20 {
            #expect(guest.machine.hold())
            #expect(try guest.byte(at: 0x5000) == UInt8(count))
            #expect(try guest.byte(at: 0x5001) == 0xA5, "the array, not its status")
            try guest.machine.reset()
            guest.machine.release()
            #expect(guest.waitForRequest(count + 1) == .reset)
        }
    }

    @Test("What is no firmware, has no kernel, or does not fit, is refused by one line")
    func refusals() throws {
        func refusal(_ body: () throws -> Void) -> String {
            do {
                try body()
                return "nothing was refused"
            } catch {
                return "\(error)"
            }
        }
        #expect(refusal { _ = try Guest() }.hasPrefix("-kernel: without firmware"))
        let scratch = try Scratch()
        func firmware(_ bytes: [UInt8]) -> String {
            refusal {
                try Data(bytes).write(to: URL(fileURLWithPath: scratch.file("image")))
                _ = try Guest { description in
                    description.firmware = StandardVM.Firmware(
                        code: try FlashImage(path: scratch.file("image"), isReadOnly: true, logger: .silent))
                }
            }
        }
        #expect(firmware([UInt8](repeating: 0xFF, count: 1 << 20)).contains("nothing where the processor starts"))
        #expect(firmware([UInt8](repeating: 0x90, count: (1 << 20) + 1)).contains("not a multiple of 4 KiB"))
        #expect(firmware([UInt8](repeating: 0x90, count: 64 << 10)).contains("Is it the variables file?"))
        #expect(firmware([UInt8](repeating: 0x90, count: 17 << 20)).contains("of the 16 MiB below 4 GiB"))
        #expect(
            refusal {
                _ = try Guest(kernel: TinyKernel()) { description in
                    description.devices = [try StandardVMTests.stub("a", device: 3, function: 1)]
                }
            }.contains("device 3 of bus pcie.0 has no function 0"))
        #expect(
            refusal {
                _ = try Guest(kernel: TinyKernel()) { description in
                    description.devices = try (0..<31).map { try StandardVMTests.stub("d\($0)") }
                }
            }.contains("-device d30: bus 'pcie.0' is full"))
    }
}
#endif

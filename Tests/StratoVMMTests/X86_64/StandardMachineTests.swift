#if arch(x86_64)
import Foundation
import StratoHost
import StratoMemory
import Testing

@testable import StratoVMM

@Suite("The standard machine's life", .enabled(if: hasKVM, "there is no usable /dev/kvm"))
struct StandardMachineTests {
    private static func machine(
        _ kernel: TinyKernel, adjust: (inout VirtualMachineConfiguration, Scratch) throws -> Void = { _, _ in }
    ) throws -> ControlledMachine {
        try ControlledMachine(kernel) { configuration, scratch in
            configuration.machine.kind = .standard
            try adjust(&configuration, scratch)
        }
    }

    @Test("A request reaches the disk behind PCI by its doorbell, and its data the guest")
    func disk() throws {
        var kernel = TinyKernel()
        var area = RingArea(at: TinyKernel.data)
        area.request(GuestDisk.Request.read)
        kernel.contents.append((area.base, area.bytes))
        kernel.program.startPCIDisk(area)
        kernel.program.notifyPCIDisk()
        kernel.program.waitUntilUsed(1, area)
        kernel.program.powerOff()
        let machine = try StandardMachineTests.machine(kernel) { configuration, scratch in
            try HostileGuest.addDisk(&configuration, scratch)
        }
        #expect(try machine.run() == .guestShutdown)
        let memory = try machine.memory()
        #expect(try memory.load(UInt8.self, at: GuestAddress(area.status)) == GuestDisk.Answer.ok)
        let disk = try Data(contentsOf: URL(fileURLWithPath: machine.controller.configuration.storageDevices[0].image.path))
        #expect(try memory.read(512, at: GuestAddress(area.data)) == Array(disk.prefix(512)))
        #expect(machine.log.messages.isEmpty, "\(machine.log.messages)")
    }

    @Test(
        "Cloud Hypervisor #8405: registers at every width, and configuration space under a running queue, never end the machine")
    func hostileRegisters() throws {
        var kernel = TinyKernel()
        var area = RingArea(at: TinyKernel.data)
        area.request(GuestDisk.Request.read)
        kernel.contents.append((area.base, area.bytes))
        kernel.program.startPCIDisk(area)
        for width in [1, 2, 4, 8] {
            for value in [0, 0xFFFF_FFFF_FFFF_FFFF, 0x8000_0001] as [UInt64] {
                kernel.program.sweepWrite(value, to: PCIGuestDisk.registers, count: 0x48, width: width)
                kernel.program.sweepRead(PCIGuestDisk.registers, count: 0x48, width: width)
                kernel.program.sweepWrite(value, to: PCIGuestDisk.registers + 0xFF8, count: 0x10, width: width)
                kernel.program.sweepWrite(value, to: PCIGuestDisk.registers + 0x1FF8, count: 0x50, width: width)
                kernel.program.sweepWrite(value, to: PCIGuestDisk.notification, count: 0x20, width: width)
                kernel.program.sweepWrite(value, to: PCIGuestDisk.vectors, count: 0x30, width: width)
                kernel.program.startPCIDisk(area)
                kernel.program.notifyPCIDisk()
            }
        }
        // Ranges are moved over everything there is, and decoding is switched in each place.
        for address in [0, 0xFEE0_0000, 0xFEC0_0000, 0xFC00_0000, 0xB000_0000, 0xFFFF_F000, 0xC000_0000] as [UInt64] {
            for offset in stride(from: UInt64(0x10), to: 0x28, by: 4) {
                kernel.program.writePCIConfiguration(address, at: offset, width: 4)
            }
            kernel.program.writePCIConfiguration(0, at: 4, width: 2)
            kernel.program.writePCIConfiguration(7, at: 4, width: 2)
        }
        for offset in stride(from: UInt64(0x40), to: 0x100, by: 4) {
            kernel.program.writePCIConfiguration(0xFFFF_FFFF, at: offset, width: 4)
        }
        kernel.program.powerOff()
        let machine = try StandardMachineTests.machine(kernel) { configuration, scratch in
            try HostileGuest.addDisk(&configuration, scratch)
        }
        #expect(try machine.run() == .guestShutdown)
        #expect(machine.log.messages.count < 100, "the log is flooded: \(machine.log.messages.count) lines")
    }

    @Test("A guest's reset is a reset: the machine goes on, and its clients are told who asked")
    func guestReset() throws {
        var kernel = TinyKernel()
        let runs = kernel.program.newResult()
        kernel.program.add(1, to: runs.address)
        kernel.program.portWrite(0x06, to: 0xCF9)
        kernel.program.halt()
        let machine = try StandardMachineTests.machine(kernel)
        try machine.controller.start()
        #expect(machine.wait(for: .reset(guest: true)))
        var patience = 20_000
        while try machine.value(of: runs) < 20, patience > 0 {
            usleep(1000)
            patience -= 1
        }
        #expect(patience > 0)
        #expect(machine.controller.status == .running)
        try machine.controller.pause()
        #expect(machine.controller.status == .paused)
    }

    @Test(
        "A triple fault is a reset too, as on a PC",
        .enabled(if: runsAnyGuest, "this KVM emulates exceptions in software"))
    func tripleFault() throws {
        // There is nothing mapped between 1 GiB and 3 GiB, and no gate for a page fault.
        let machine = try StandardMachineTests.machine(TinyKernel { $0.write(0, to: 0x4000_0000) })
        try machine.controller.start()
        #expect(machine.wait(for: .reset(guest: true)))
    }

    @Test("The power button is an event, and never an end by itself")
    func powerButton() throws {
        var kernel = TinyKernel()
        kernel.program.halt()
        let machine = try StandardMachineTests.machine(kernel)
        try machine.controller.start()
        try machine.controller.requestPowerDown()
        #expect(machine.wait(for: .powerDownRequested))
        #expect(machine.controller.status == .running)
    }

    @Test("Clients see the functions of PCI, what they have and where it is")
    func functions() throws {
        var kernel = TinyKernel()
        kernel.program.halt()
        let machine = try StandardMachineTests.machine(kernel) { configuration, scratch in
            try HostileGuest.addDisk(&configuration, scratch)
            configuration.storageDevices[0].placement = PCIPlacement(bus: "port")
            configuration.rootPorts = [PCIRootPortConfiguration(id: "port")]
        }
        try machine.controller.start()
        let functions = machine.controller.pciFunctions
        #expect(functions.map(\.id) == [nil, "port", nil])
        #expect(functions.map(\.device) == [0, 1, 31])
        let bridge = try #require(functions[1].bridge)
        #expect(bridge.secondaryBus == 1 && bridge.subordinateBus == 1)
        let disk = try #require(bridge.functions.first)
        #expect(disk.id == machine.controller.configuration.storageDevices[0].id)
        #expect(disk.vendorID == 0x1AF4 && disk.deviceID == 0x1042)
        #expect(disk.regions.map(\.index) == [1, 2])
        for region in disk.regions {
            let address = try #require(region.address)
            #expect(bridge.memory?.contains(address) == true)
        }
    }

    @Test("Firmware without anything to boot is told in one line, before it looks everywhere")
    func nothingToBoot() throws {
        let scratch = try Scratch()
        try Data([UInt8](repeating: 0x90, count: (256 << 10) - 16) + [0xF4, 0xEB, 0xFD] + [UInt8](repeating: 0x90, count: 13))
            .write(to: URL(fileURLWithPath: scratch.file("code")))
        var configuration = VirtualMachineConfiguration()
        configuration.machine.kind = .standard
        configuration.memory.size = .mebibytes(128)
        configuration.firmware = FirmwareImages(code: scratch.file("code"))
        try HostileGuest.addDisk(&configuration, scratch)
        let machine = try ControlledMachine(unchecked: configuration, scratch)
        try machine.controller.start()
        #expect(
            machine.log.messages(at: .warn) == [
                "no disk has an EFI system partition, and there is no -kernel: the firmware will find nothing to boot"
            ])
    }

    @Test("A thousand resets leave descriptors, threads, mappings and memory as they were")
    func thousandResets() async {
        let child = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            var kernel = TinyKernel()
            var area = RingArea(at: TinyKernel.data)
            area.request(GuestDisk.Request.read)
            kernel.contents.append((area.base, area.bytes))
            kernel.program.startPCIDisk(area)
            kernel.program.notifyPCIDisk()
            kernel.program.waitUntilUsed(1, area)
            kernel.program.add(1, to: kernel.program.newResult().address)
            kernel.program.halt()
            let machine = try StandardMachineTests.machine(kernel) { configuration, scratch in
                configuration.processors = ProcessorConfiguration(count: 2)
                try HostileGuest.addDisk(&configuration, scratch)
                configuration.serialPort = SerialPortConfiguration(backend: .file(path: scratch.file("serial")))
            }
            try MachineResourceTests.resetAThousandTimes(machine)
        }
        printReport(of: child)
    }
}
#endif

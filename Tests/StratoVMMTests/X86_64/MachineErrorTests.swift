#if arch(x86_64)
import Foundation
import StratoKVM
import Testing

@testable import StratoVMM

@Suite("What keeps a machine from being built", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct MachineErrorTests {
    /// A configuration that goes wrong, and what the one line about it must contain.
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let words: [String]
        let adjust: @Sendable (inout VirtualMachineConfiguration, Scratch) throws -> Void

        init(
            _ name: String, _ words: String...,
            adjust: @escaping @Sendable (inout VirtualMachineConfiguration, Scratch) throws -> Void
        ) {
            testDescription = name
            self.words = words
            self.adjust = adjust
        }
    }

    private static func disk(_ path: String) -> [StorageDeviceConfiguration] {
        [StorageDeviceConfiguration(id: "disk", image: DiskImageConfiguration(id: "image", path: path))]
    }

    static let cases = [
        Case("no kernel", "-kernel", "/no/such/kernel", "No such file") { configuration, _ in
            configuration.bootLoader?.kernel = "/no/such/kernel"
        },
        Case("a directory for a kernel", "-kernel", "/proc") { configuration, _ in
            configuration.bootLoader?.kernel = "/proc"
        },
        Case("a text for a kernel", "-kernel", "not a kernel") { configuration, scratch in
            configuration.bootLoader?.kernel = try scratch.file("text", Array("Hello".utf8))
        },
        Case("a compressed kernel", "-kernel", "gzip", "gunzip") { configuration, scratch in
            configuration.bootLoader?.kernel = try scratch.file("gzip", [0x1F, 0x8B, 8, 0])
        },
        Case("no RAM disk", "-initrd", "/no/such/ramdisk", "No such file") { configuration, _ in
            configuration.bootLoader?.initialRamdisk = "/no/such/ramdisk"
        },
        Case("a RAM disk that is larger than the memory", "-initrd", "-m") { configuration, scratch in
            let path = try scratch.file("ramdisk", [])
            try #require(truncate(path, 1 << 30) == 0)
            configuration.bootLoader?.initialRamdisk = path
        },
        Case("a command line that is longer than the kernel takes", "-append", "2047") { configuration, _ in
            configuration.bootLoader?.commandLine = String(repeating: "x", count: 4096)
        },
        Case("no disk", "/no/such/disk", "No such file") { configuration, _ in
            configuration.storageDevices = disk("/no/such/disk")
        },
        Case("a directory for a disk", "/proc") { configuration, _ in configuration.storageDevices = disk("/proc") },
        Case("a terminal for a disk", "/dev/null", "neither a regular file nor a block device") { configuration, _ in
            configuration.storageDevices = disk("/dev/null")
        },
        Case("one image for two disks", "disk.img", "in use", "readonly=on") { configuration, scratch in
            let path = try scratch.file("disk.img", [UInt8](repeating: 0, count: 4096))
            configuration.storageDevices = [0, 1].map { number in
                StorageDeviceConfiguration(
                    id: "disk\(number)", image: DiskImageConfiguration(id: "image\(number)", path: path))
            }
        },
        Case("a memory file that is a device", "-mem-path /dev/null", "neither a directory nor a file") { configuration, _ in
            configuration.memory.path = "/dev/null"
        },
        Case("no directory for the memory", "-mem-path", "/no/such/directory/memory") { configuration, _ in
            configuration.memory.path = "/no/such/directory/memory"
        },
        Case("a memory file that is too short", "-mem-path", "4 KiB", "128 MiB of -m") { configuration, scratch in
            configuration.memory.path = try scratch.file("short", [UInt8](repeating: 0, count: 4096))
        },
        Case("a serial port to nowhere", "/no/such/directory/log") { configuration, _ in
            configuration.serialPort = SerialPortConfiguration(backend: .file(path: "/no/such/directory/log"))
        },
        Case("a serial port on a closed descriptor", "1000000") { configuration, _ in
            configuration.serialPort = SerialPortConfiguration(backend: .descriptor(1_000_000))
        },
        Case("processors whose identifiers are too large", "-smp", "334", "powers of two") { configuration, _ in
            // Three threads take the identifiers of four: there are fewer processors than 254, but not fewer identifiers.
            configuration.processors = ProcessorConfiguration(count: 252)
            configuration.processors.topology = ProcessorTopology(sockets: 84, threads: 3)
        },
    ]

    @Test("One line says what it is, and the machine has ended with an error", arguments: cases)
    func refused(_ wrong: Case) throws {
        let machine = try ControlledMachine(TinyKernel { $0.powerOff() }, adjust: wrong.adjust)
        let error = #expect(throws: MachineControlError.self) { try machine.controller.start() }
        let message = try #require(error).description
        for word in wrong.words { #expect(message.contains(word), "\(message)") }
        #expect(!message.contains("\n"))
        #expect(machine.controller.status == .ended)
        machine.end()
        #expect(machine.events == [.shutdown(.hostError)])
    }

    @Test("An image that another machine has is refused with its path, and free again when that machine has ended")
    func lockedDisk() throws {
        let first = try ControlledMachine(TinyKernel { $0.halt() }) { try HostileGuest.addDisk(&$0, $1) }
        try first.controller.start()
        func second() throws -> ControlledMachine {
            try ControlledMachine(TinyKernel { $0.powerOff() }) { configuration, _ in
                configuration.storageDevices = MachineErrorTests.disk(first.scratch.file("disk"))
            }
        }
        let refused = try second()
        let error = #expect(throws: MachineControlError.self) { try refused.controller.start() }
        #expect(error?.description.contains("\(first.scratch.file("disk")) is in use") == true)
        first.end()
        #expect(try second().run() == .guestShutdown)
    }

    @Test("More virtual CPUs than KVM has room for are refused with its limit")
    func tooManyProcessors() throws {
        let limit = try KVMSystem().maximumProcessorCount
        let scratch = try Scratch()
        try TinyKernel { $0.powerOff() }.write(to: scratch.file("kernel"))
        var configuration = VirtualMachineConfiguration()
        configuration.bootLoader = LinuxBootLoader(kernel: scratch.file("kernel"))
        // No configuration that is checked has so many; the limit of another host may be lower than that.
        configuration.processors = ProcessorConfiguration(count: limit + 1)
        let machine = try ControlledMachine(unchecked: configuration, scratch)
        let error = #expect(throws: MachineControlError.self) { try machine.controller.start() }
        #expect(error?.description == "-smp: KVM on this host runs at most \(limit) virtual CPUs in a machine, not \(limit + 1)")
    }

    @Test("A standard machine and a microVM without a kernel are refused by the builder, too")
    func unchecked() throws {
        for kind in [MachineConfiguration.Kind.standard, .microVM] {
            var configuration = VirtualMachineConfiguration()
            configuration.machine.kind = kind
            let machine = try ControlledMachine(unchecked: configuration, try Scratch())
            let error = #expect(throws: MachineControlError.self) { try machine.controller.start() }
            #expect(error?.description.hasPrefix("-kernel: ") == true)
        }
    }
}
#endif

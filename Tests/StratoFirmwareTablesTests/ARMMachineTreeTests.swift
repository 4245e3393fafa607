import Foundation
import StratoFirmwareTables
import Testing

extension ARMMachineTree {
    /// As KVM numbers processors: sixteen to a cluster.
    static func affinity(of index: Int) -> UInt64 {
        let cluster = UInt64(index / 16)
        return cluster << 8 | UInt64(index % 16)
    }

    /// A microVM with two processors, a disk and everything else that a tree can have.
    static var sample: ARMMachineTree {
        var tree = ARMMachineTree(
            processors: (0..<2).map {
                Processor(affinity: UInt64($0), position: Position(socket: 0, core: $0))
            },
            memory: [PhysicalRange(base: 0x4000_0000, size: 0x1000_0000)],
            interruptController: InterruptController(
                distributor: PhysicalRange(base: 0x800_0000, size: 0x1_0000),
                redistributors: [PhysicalRange(base: 0x80A_0000, size: 0x4_0000)],
                translationService: PhysicalRange(base: 0x808_0000, size: 0x2_0000)))
        tree.serialPort = Device(registers: PhysicalRange(base: 0x900_0000, size: 0x1000), interrupt: 1)
        tree.clock = Device(registers: PhysicalRange(base: 0x901_0000, size: 0x1000), interrupt: 2)
        tree.virtioDevices = [Device(registers: PhysicalRange(base: 0xA00_0000, size: 0x200), interrupt: 32)]
        tree.commandLine = "console=ttyAMA0 root=/dev/vda"
        tree.ramdisk = PhysicalRange(base: 0x4F00_0000, size: 0x12_3456)
        tree.randomSeed = [1, 2, 3, 4]
        return tree
    }
}

@Suite("Device tree of a machine on aarch64")
struct ARMMachineTreeTests {
    enum Sample: String, CaseIterable, CustomTestStringConvertible {
        case microvm, virt

        var testDescription: String { rawValue }

        var tree: ARMMachineTree { self == .microvm ? .sample : .standardSample() }

        /// The tree that is kept.
        var file: URL { GoldenFiles.directory.appending(path: "\(rawValue)-aarch64.dts") }
    }

    /// What dtc makes of a tree, without a word of its own.
    private func source(of blob: [UInt8]) throws -> String {
        let dtc = try #require(Tool("dtc"))
        let (result, _) = try dtc.run(["-I", "dtb", "-O", "dts", "tree.dtb"], files: ["tree.dtb": blob])
        #expect(result.status == 0)
        #expect(result.errors.isEmpty, "\(result.errors)")
        return result.output
    }

    /// Versions of dtc write strings differently: the file that is kept goes the same way as the tree.
    @Test(
        "dtc reads each machine's tree without a warning, and it is the one that is kept in Tests/Golden",
        .enabled(if: Tool("dtc") != nil, "dtc is not installed"), arguments: Sample.allCases)
    func golden(_ sample: Sample) throws {
        let text = try source(of: try sample.tree.tree().encode())
        if GoldenFiles.areWritten {
            try Data(text.utf8).write(to: sample.file)
        }
        let dtc = try #require(Tool("dtc"))
        let (result, blob) = try dtc.run(
            ["-I", "dts", "-O", "dtb", "-o", "result", "golden.dts"],
            files: ["golden.dts": Array(try Data(contentsOf: sample.file))])
        // Of a source with numbers for references dtc says that it sees none.
        #expect(result.status == 0, "\(result.errors)")
        #expect(try source(of: try #require(blob)) == text)
    }

    @Test(
        "dtc reads without a warning what machines of every size say",
        .enabled(if: Tool("dtc") != nil, "dtc is not installed"), arguments: [1, 2, 8, 123, 124, 254])
    func sizes(_ count: Int) throws {
        var tree = ARMMachineTree.sample
        tree.hasPerformanceMonitors = true
        tree.virtioDevices = (0..<UInt32(160)).map {
            ARMMachineTree.Device(
                registers: PhysicalRange(base: 0xA00_0000 + UInt64($0) * 0x200, size: 0x200), interrupt: 32 + $0)
        }
        tree.processors = (0..<count).map { index in
            ARMMachineTree.Processor(
                affinity: ARMMachineTree.affinity(of: index),
                position: ARMMachineTree.Position(
                    socket: index / 64, cluster: index / 8 % 8, core: index / 2 % 4, thread: index % 2))
        }
        tree.interruptController.redistributors = [
            PhysicalRange(base: 0x80A_0000, size: UInt64(min(count, 123)) * 0x2_0000)
        ]
        if count > 123 {
            tree.interruptController.redistributors.append(
                PhysicalRange(base: 0x40_0000_0000, size: UInt64(count - 123) * 0x2_0000))
        }
        let text = try source(of: try tree.tree().encode())
        #expect(text.components(separatedBy: "device_type = \"cpu\"").count - 1 == count)
        #expect(text.contains("#redistributor-regions = <0x02>") == (count > 123))
        #expect(text.components(separatedBy: "virtio_mmio@").count - 1 == 160)
    }

    @Test("What a machine does not have is not in its tree")
    func absentParts() throws {
        var tree = ARMMachineTree.sample
        tree.serialPort = nil
        tree.clock = nil
        tree.virtioDevices = []
        tree.ramdisk = nil
        tree.randomSeed = []
        let text = String(decoding: try tree.tree().encode(), as: UTF8.self)
        for word in ["pl011", "pl031", "virtio", "initrd", "rng-seed", "stdout-path", "pmu"] {
            #expect(!text.contains(word), "\(word)")
        }
    }

    @Test("A single processor needs no method to be started, several name PSCI")
    func enableMethod() throws {
        var tree = ARMMachineTree.sample
        #expect(String(decoding: try tree.tree().encode(), as: UTF8.self).contains("enable-method"))
        tree.processors = Array(tree.processors.prefix(1))
        #expect(!String(decoding: try tree.tree().encode(), as: UTF8.self).contains("enable-method"))
    }

    @Test("A command line with a zero byte, an affinity of more than 24 bits and a device that is there twice are refused")
    func refusals() throws {
        var tree = ARMMachineTree.sample
        tree.commandLine = "a\0b"
        #expect(throws: FirmwareTableError.self) { try tree.tree().encode() }
        tree = .sample
        tree.processors[1].affinity = 1 << 32
        #expect(throws: FirmwareTableError.self) { try tree.tree() }
        tree = .sample
        tree.virtioDevices += tree.virtioDevices
        #expect(throws: FirmwareTableError.self) { try tree.tree().encode() }
    }
}

import StratoFirmwareTables
import Testing

extension DeviceTree {
    /// What a machine on aarch64 has of everything that a tree can say.
    static var sample: DeviceTree {
        let clock: Phandle = 1
        let interruptController: Phandle = 2
        let isCached = true
        return DeviceTree(reservations: [PhysicalRange(base: 0x4800_0000, size: 0x1_0000)], bootProcessor: 1) {
            Property("#address-cells", 2)
            Property("#size-cells", 2)
            Property("compatible", "linux,dummy-virt")
            Property("interrupt-parent", .phandle(interruptController))
            Node("cpus") {
                Property("#address-cells", 1)
                Property("#size-cells", 0)
                for number in 0..<UInt32(2) {
                    Node("cpu@\(number)", phandle: 10 + number) {
                        Property("device_type", "cpu")
                        Property("compatible", "arm,armv8")
                        Property("reg", .cell(number))
                        if isCached {
                            Property("i-cache-size", 0x8000)
                        }
                    }
                }
            }
            Node("memory@40000000") {
                Property("device_type", "memory")
                Property("reg", .address(0x4000_0000), .size(0x1_8000_0000))
            }
            Node("apb-pclk", phandle: clock) {
                Property("compatible", "fixed-clock")
                Property("#clock-cells", 0)
                Property("clock-frequency", 24_000_000)
            }
            Node("intc@8000000", phandle: interruptController) {
                Property("compatible", "arm,gic-v3")
                Property("interrupt-controller")
                Property("#interrupt-cells", 3)
                Property("#address-cells", 0)
                Property("reg", .address(0x800_0000), .size(0x1_0000), .address(0x80A_0000), .size(0xF6_0000))
            }
            Node("pl011@9000000") {
                Property("compatible", "arm,pl011", "arm,primecell")
                Property("reg", .address(0x900_0000), .size(0x1000))
                Property("interrupts", 0, 1, 4)
                Property("clocks", .phandle(clock), .phandle(clock))
                Property("clock-names", "uartclk", "apb_pclk")
            }
            Node("chosen") {
                Property("bootargs", "console=ttyAMA0")
                Property("kaslr-seed", .doubleCell(0x0123_4567_89AB_CDEF))
                Property("rng-seed", .bytes([1, 2, 3, 4, 5]))
            }
        }
    }
}

@Suite("Flattened device tree")
struct DeviceTreeTests {
    @Test("a small tree is this, byte by byte")
    func golden() throws {
        let tree = DeviceTree(reservations: [PhysicalRange(base: 0x1000, size: 0x20)], bootProcessor: 3) {
            DeviceTree.Property("reg", .address(0x1_0000_0002))
            DeviceTree.Node("a@1", phandle: 5) {
                DeviceTree.Property("x-reg", "hi")
                DeviceTree.Property("reg", .bytes([9]), .cell(1))
            }
        }
        #expect(
            try tree.encode() == [
                // Header: magic, size, structure, strings, reservations, versions, boot processor, sizes.
                0xD0, 0x0D, 0xFE, 0xED, 0, 0, 0, 0xBE, 0, 0, 0, 72, 0, 0, 0, 0xAC,
                0, 0, 0, 40, 0, 0, 0, 17, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0, 18, 0, 0, 0, 100,
                // Reservations.
                0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0x20,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                // The root, and its property.
                0, 0, 0, 1, 0, 0, 0, 0,
                0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2,
                // The node and its properties.
                0, 0, 0, 1, 0x61, 0x40, 0x31, 0,
                0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0x68, 0x69, 0, 0,
                0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0,
                0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 10, 0, 0, 0, 5,
                // Ends.
                0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 9,
            ] + Array("reg\0x-reg\0phandle\0".utf8))
    }

    @Test("names that are equal, or that another ends in, share their bytes")
    func sharing() throws {
        let tree = DeviceTree {
            DeviceTree.Property("clock-names", "a")
            DeviceTree.Property("names", "b")
            DeviceTree.Node("n") {
                DeviceTree.Property("clock-names", "c")
                DeviceTree.Property("clock", "d")
            }
        }
        let bytes = try tree.encode()
        let strings = Int(UInt32(bigEndian: bytes.little(UInt32.self, at: 12)))
        #expect(Array(bytes[strings...]) == Array("clock-names\0clock\0".utf8))
    }

    @Test("properties come before nodes, wherever they were written")
    func order() throws {
        let one = DeviceTree {
            DeviceTree.Node("n")
            DeviceTree.Property("p", 1)
        }
        let other = DeviceTree {
            DeviceTree.Property("p", 1)
            DeviceTree.Node("n")
        }
        #expect(try one.encode() == other.encode())
    }

    @Test("blocks are aligned as the specification wants, for text of any length", arguments: 0..<9)
    func alignment(length: Int) throws {
        let tree = DeviceTree {
            DeviceTree.Property("text", .string(String(repeating: "x", count: length)))
            DeviceTree.Node(String(repeating: "n", count: length + 1))
        }
        let bytes = try tree.encode()
        let field = { Int(UInt32(bigEndian: bytes.little(UInt32.self, at: $0 * 4))) }
        #expect(field(1) == bytes.count)
        #expect(field(2) % 4 == 0)
        #expect(field(4) % 8 == 0)
        #expect(field(9) % 4 == 0)
        #expect(field(2) + field(9) == field(3))
        #expect(field(3) + field(8) == bytes.count)
    }

    @Test(
        "what the specification does not allow is refused in words",
        arguments: [
            ("no name", .node(.init("") {})),
            ("a name of 32 characters", .node(.init(String(repeating: "n", count: 32)))),
            ("a slash", .node(.init("a/b"))),
            ("an empty unit address", .node(.init("a@"))),
            ("two unit addresses", .node(.init("a@1@2"))),
            ("a zero byte in a name", .node(.init("a\0"))),
            ("a property without a name", .property(.init("", 1))),
            ("a property's name of 32 characters", .property(.init(String(repeating: "n", count: 32), 1))),
            ("a blank in a property's name", .property(.init("a b", 1))),
            ("a zero byte in text", .property(.init("text", "a\0b"))),
            ("a phandle that no node has", .property(.init("clocks", .phandle(77)))),
            ("phandle 0", .node(.init("a", phandle: 0))),
            ("the phandle of none", .node(.init("a", phandle: .max))),
            ("a phandle that another has", .node(.init("a", phandle: 2))),
            ("two phandles", .node(.init("a", phandle: 9) { DeviceTree.Property("phandle", 8) })),
            ("two nodes of the same name", .node(.init("chosen"))),
            ("two properties of the same name", .property(.init("compatible", "other"))),
        ] as [(String, DeviceTree.Item)])
    func refusals(what: String, item: DeviceTree.Item) throws {
        var tree = DeviceTree.sample
        _ = try tree.encode()
        tree.root.contents.append(item)
        let error = #expect(throws: FirmwareTableError.self, "\(what)") { try tree.encode() }
        #expect(error?.description.isEmpty == false)
    }

    @Test("reservations without size or end, trees that are too deep or too large are refused")
    func limits() throws {
        var tree = DeviceTree.sample
        tree.reservations = [PhysicalRange(base: 0, size: 0)]
        #expect(throws: FirmwareTableError.self) { try tree.encode() }
        tree.reservations = [PhysicalRange(base: .max, size: 2)]
        #expect(throws: FirmwareTableError.self) { try tree.encode() }
        tree.reservations = []
        let size = try tree.encode().count
        #expect(try tree.encode(limit: size).count == size)
        #expect(throws: FirmwareTableError.self) { try tree.encode(limit: size - 1) }
        #expect(throws: FirmwareTableError.self) {
            try DeviceTree { DeviceTree.Property("large", .bytes([UInt8](repeating: 0, count: 2 << 20))) }.encode()
        }

        func nested(_ depth: Int) -> DeviceTree {
            var node = DeviceTree.Node("n")
            for _ in 1..<depth { node = DeviceTree.Node("n", phandle: nil) { [DeviceTree.Item.node(node)] } }
            return DeviceTree { node }
        }
        _ = try nested(63).encode()
        #expect(throws: FirmwareTableError.self) { try nested(64).encode() }
    }

    static let compiler = Tool("dtc")

    @Test(
        "dtc decompiles the tree to what was written, and compiles that to the same bytes",
        .enabled(if: compiler != nil, "dtc (Debian package device-tree-compiler) is not installed"))
    func roundTrip() throws {
        let compiler = try #require(DeviceTreeTests.compiler)
        let tree = try DeviceTree.sample.encode()
        let (source, _) = try compiler.run(["-I", "dtb", "-O", "dts", "tree"], files: ["tree": tree])
        #expect(source.status == 0)
        #expect(source.errors.isEmpty, "\(source.errors)")
        let expected = [
            "/memreserve/ 0x0000000048000000 0x0000000000010000;",
            "compatible = \"linux,dummy-virt\";",
            "interrupt-parent = <0x02>;",
            "cpu@1 { device_type = \"cpu\"; compatible = \"arm,armv8\"; reg = <0x01>; i-cache-size = <0x8000>; phandle = <0x0b>; };",
            "memory@40000000 { device_type = \"memory\"; reg = <0x00 0x40000000 0x01 0x80000000>; };",
            "interrupt-controller;",
            // Versions of dtc write the zero between two strings in two ways.
            "arm,primecell\";",
            "interrupts = <0x00 0x01 0x04>;",
            "clocks = <0x01 0x01>;",
            "kaslr-seed = <0x1234567 0x89abcdef>;",
            "rng-seed = [01 02 03 04 05];",
        ]
        for text in expected {
            #expect(source.words.contains(text), "missing: \(text)\nin: \(source.output)")
        }
        // In source, dtc wants references by label, where the decompiler writes numbers.
        let (report, back) = try compiler.run(
            ["-W", "no-clocks_property", "-I", "dts", "-O", "dtb", "-b", "1", "-o", "result", "source"],
            files: ["source": Array(source.output.utf8)])
        #expect(report.status == 0)
        #expect(report.errors.isEmpty, "\(report.errors)")
        #expect(try #require(back) == tree)
    }
}

import Testing

@testable import StratoFirmwareTables

@Suite("AML")
struct AMLTests {
    @Test(
        "a package length counts itself and takes as few bytes as it can",
        arguments: [
            (0, [0x01]), (62, [0x3F]), (63, [0x41, 0x04]), (0xFFD, [0x4F, 0xFF]), (0xFFE, [0x81, 0x00, 0x01]),
            (0xF_FFFC, [0x8F, 0xFF, 0xFF]), (0xF_FFFD, [0xC1, 0x00, 0x00, 0x01]),
        ] as [(Int, [UInt8])])
    func packageLength(size: Int, expected: [UInt8]) {
        let bytes = AMLEncoding.packaged([UInt8](repeating: 0xAA, count: size))
        #expect(Array(bytes.prefix(expected.count)) == expected)
        #expect(bytes.count == expected.count + size)
    }

    @Test(
        "integers have their shortest form",
        arguments: [
            (0, [0x00]), (1, [0x01]), (2, [0x0A, 2]), (0xFF, [0x0A, 0xFF]), (0x100, [0x0B, 0, 1]),
            (0xFFFF, [0x0B, 0xFF, 0xFF]), (0x1_0000, [0x0C, 0, 0, 1, 0]), (0x1_0000_0000, [0x0E, 0, 0, 0, 0, 1, 0, 0, 0]),
        ] as [(UInt64, [UInt8])])
    func integers(value: UInt64, expected: [UInt8]) {
        #expect(AMLEncoding.integer(value) == expected)
    }

    @Test(
        "paths of every shape",
        arguments: [
            ("A", "A___"), ("\\_SB", "\\_SB_"), ("^PWRB", "^PWRB"), ("\\_SB.PCI0", "\\\u{2E}_SB_PCI0"),
            ("\\_SB.PCI0.S00", "\\\u{2F}\u{03}_SB_PCI0S00_"), ("\\", "\\\0"),
        ])
    func paths(path: String, expected: String) {
        #expect(AMLEncoding.path(path) == Array(expected.utf8))
    }

    @Test("EISA ids have the letters in five bits each and the digits as they are")
    func eisaIdentifiers() {
        #expect(ASL.Value.eisaID("PNP0C0C").bytes == [0x0C, 0x41, 0xD0, 0x0C, 0x0C])
        #expect(ASL.Value.eisaID("PNP0501").bytes == [0x0C, 0x41, 0xD0, 0x05, 0x01])
    }

    @Test("a device with resources is this, byte by byte")
    func device() {
        let bytes = ASL.encode {
            ASL.Device("VR00") {
                ASL.Name("_UID", 0)
                ASL.Name(
                    "_CRS",
                    .resourceTemplate {
                        ASL.Memory32Fixed(base: 0xF010_0000, length: 0x200)
                        ASL.Interrupt(.edge, .activeHigh, .exclusive, 5)
                    })
            }
        }
        #expect(
            bytes == [
                0x5B, 0x82, 0x2B, 0x56, 0x52, 0x30, 0x30,
                0x08, 0x5F, 0x55, 0x49, 0x44, 0x00,
                0x08, 0x5F, 0x43, 0x52, 0x53, 0x11, 0x1A, 0x0A, 0x17,
                0x86, 0x09, 0x00, 0x01, 0x00, 0x00, 0x10, 0xF0, 0x00, 0x02, 0x00, 0x00,
                0x89, 0x06, 0x00, 0x03, 0x01, 0x05, 0x00, 0x00, 0x00,
                0x79, 0x00,
            ])
    }

    @Test("address spaces are this, byte by byte: fixed, positively decoded, with a length that fits")
    func addressSpaces() {
        #expect(
            ASL.WordBusNumber(0...0x7F).bytes == [0x88, 13, 0, 2, 0x0C, 0, 0, 0, 0, 0, 0x7F, 0, 0, 0, 0x80, 0])
        #expect(
            ASL.WordIO(0xD00...0xFFFF).bytes == [0x88, 13, 0, 1, 0x0C, 3, 0, 0, 0x00, 0x0D, 0xFF, 0xFF, 0, 0, 0x00, 0xF3])
        #expect(
            ASL.DWordMemory(0xC000_0000...0xEFFF_FFFF).bytes == [
                0x87, 23, 0, 0, 0x0C, 1, 0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF, 0xFF, 0xEF, 0, 0, 0, 0, 0, 0, 0, 0x30,
            ])
        #expect(
            ASL.QWordMemory(.consumer, 0x1_0000_0000...0x1_0FFF_FFFF).bytes == [
                0x8A, 43, 0, 0, 0x0D, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x0F, 1, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0,
            ])
    }

    @Test("a UUID's first three groups are little-endian, and a field of a buffer is named")
    func buffers() {
        #expect(
            ASL.Value.uuid("33DB4D5B-1FF7-401C-9657-7441C03DD766").bytes == [
                0x11, 0x13, 0x0A, 0x10, 0x5B, 0x4D, 0xDB, 0x33, 0xF7, 0x1F, 0x1C, 0x40, 0x96, 0x57, 0x74, 0x41, 0xC0, 0x3D,
                0xD7, 0x66,
            ])
        #expect(
            ASL.CreateDWordField(.argument(3), 8, "CDW3").bytes == [0x8A, 0x6B, 0x0A, 8] + Array("CDW3".utf8))
        #expect(ASL.Or(.local(0), 4, .name("CDW1")).bytes == [0x7D, 0x60, 0x0A, 4] + Array("CDW1".utf8))
        #expect(ASL.And(.local(0), 4, .local(1)).bytes == [0x7B, 0x60, 0x0A, 4, 0x61])
    }

    @Test("statements, expressions and blocks nest")
    func statements() {
        let bytes = ASL.encode {
            ASL.Method("TEST", 2) {
                ASL.If(.equal(.argument(0), .and(.local(1), 0xF0))) {
                    ASL.Return(1)
                }
                ASL.Else {
                    ASL.Store(.add(.argument(1), 1), .local(0))
                }
            }
        }
        #expect(
            bytes == [
                0x14, 0x19, 0x54, 0x45, 0x53, 0x54, 0x02,
                0xA0, 0x0A, 0x93, 0x68, 0x7B, 0x61, 0x0A, 0xF0, 0x00, 0xA4, 0x01,
                0xA1, 0x07, 0x70, 0x72, 0x69, 0x01, 0x00, 0x60,
            ])
    }

    @Test(
        "iasl compiles every kind of term that there is to the bytes that it was given",
        .enabled(if: !IASL.isMissing, "iasl (Debian package acpica-tools) is not installed"))
    func everyTerm() throws {
        let table = DSDT.encode(
            ASL.encode {
                ASL.Scope("\\_SB") {
                    ASL.Device("DEV0") {
                        ASL.Name("_HID", .eisaID("PNP0A06"))
                        ASL.Name("_UID", .string("zero"))
                        ASL.OperationRegion("REGS", .systemIO, offset: 0xCD8, length: 12)
                        ASL.Field(
                            "REGS", .byte, .preserve,
                            [
                                .named("FLD0", bits: 4), .gap(bits: 4), .named("FLD1", bits: 8), .gap(bits: 70),
                                .named("FLD2", bits: 1),
                            ])
                        ASL.Name("LIST", .package([0, 1, 0x1_0000, "text", .buffer([1, 2, 3])]))
                        ASL.Method("LOOP", 2, isSerialized: true) {
                            ASL.Store(0, .local(0))
                            ASL.While(.less(.local(0), .argument(0))) {
                                ASL.If(.both(.greater(.local(0), 3), .not(.equal(.argument(1), 7)))) {
                                    ASL.Return(.shiftLeft(1, .local(0)))
                                }
                                ASL.Else {
                                    ASL.Notify(.name("^^DEV0"), .or(.shiftRight(.argument(1), 2), .subtract(.argument(1), 1)))
                                }
                                ASL.Store(.name("FLD0"), .local(0))
                            }
                            ASL.Notify(.name("\\_SB.DEV0"), .add(.local(0), 1))
                            ASL.Return(.either(.local(0), .name("FLD2")))
                        }
                    }
                }
            })
        let result = try IASL.roundTrip(table)
        #expect(result.report.contains("0 Errors"), "\(result.report)\n\(result.source)")
        #expect(Array(result.table.dropFirst(36)) == Array(table.dropFirst(36)), "\(result.source)")
    }
}

/// ACPI tables as fw_cfg hands them to firmware: two files that it reads, and a script that tells it how to link them.
package struct ACPITableFiles: Sendable, Equatable {
    package static let tablesName = "etc/acpi/tables"
    package static let pointerName = "etc/acpi/rsdp"
    package static let loaderName = "etc/table-loader"

    /// What is kept free for tables that are made anew with more windows.
    static let spareSize = 1024
    static let sizeGranularity = 4096

    /// Many times what the largest machine's tables take, in bytes.
    static let largestSize = 1 << 20

    /// `etc/acpi/tables`.
    package let tables: [UInt8]

    /// `etc/acpi/rsdp`.
    package let pointer: [UInt8]

    /// `etc/table-loader`.
    package let loader: [UInt8]

    init(tables image: ACPITableImage, pointer: ACPITableImage, size: Int?) throws(FirmwareTableError) {
        let needed = image.bytes.count
        let granularity = ACPITableFiles.sizeGranularity
        let size = size ?? (needed + ACPITableFiles.spareSize + granularity - 1) / granularity * granularity
        guard needed <= size else {
            throw FirmwareTableError("the ACPI tables take \(needed) bytes, more than the \(size) that firmware was told")
        }
        guard size <= ACPITableFiles.largestSize else {
            throw FirmwareTableError("a file of \(size) bytes is too large for ACPI tables")
        }
        var padded = image.bytes
        padded.append(zeros: size - needed)
        var loader = TableLoader()
        loader.allocate(ACPITableFiles.pointerName, alignment: UInt32(RSDP.alignment), zone: .biosSegment)
        loader.allocate(ACPITableFiles.tablesName, alignment: UInt32(FACS.alignment), zone: .anywhere)
        image.link(ACPITableFiles.tablesName, pointingInto: ACPITableFiles.tablesName, by: &loader)
        pointer.link(ACPITableFiles.pointerName, pointingInto: ACPITableFiles.tablesName, by: &loader)
        tables = padded.bytes
        self.pointer = pointer.bytes.bytes
        self.loader = loader.bytes
    }
}

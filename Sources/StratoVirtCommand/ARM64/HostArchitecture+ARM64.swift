#if arch(arm64)
/// What the command line has to know about the architecture of the host, which is that of the guest.
enum HostArchitecture {
    static let name = "aarch64"
    /// QEMU's and StratoVirt's name of the standard machine.
    static let standardMachine = "virt"
    /// The standard machine of the other architecture.
    static let foreignStandardMachine = "q35"
    /// Linux's name of the first serial port.
    static let serialConsole = "ttyAMA0"
    /// The same on the other architecture.
    static let foreignSerialConsole = "ttyS0"
    /// The version of the interrupt controller that `-machine gic-version=` may name, nil where there is no GIC.
    static let interruptControllerVersion: Int? = 3
    /// Properties of `-cpu` that change nothing.
    static let ineffectiveProcessorFeatures = ["kvm-steal-time"]
    /// Where a guest writes its boot markers.
    static let bootMarkerPort = "address 0x09000F00"
}
#endif

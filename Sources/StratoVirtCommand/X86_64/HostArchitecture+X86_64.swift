#if arch(x86_64)
/// What the command line has to know about the architecture of the host, which is that of the guest.
enum HostArchitecture {
    static let name = "x86_64"
    /// QEMU's and StratoVirt's name of the standard machine.
    static let standardMachine = "q35"
    /// The standard machine of the other architecture.
    static let foreignStandardMachine = "virt"
    /// Linux's name of the first serial port.
    static let serialConsole = "ttyS0"
    /// The same on the other architecture.
    static let foreignSerialConsole = "ttyAMA0"
    /// The version of the interrupt controller that `-machine gic-version=` may name, nil where there is no GIC.
    static let interruptControllerVersion: Int? = nil
    /// Properties of `-cpu` that change nothing.
    static let ineffectiveProcessorFeatures = ["pmu", "sve", "kvm-steal-time"]
    /// Where a guest writes its boot markers.
    static let bootMarkerPort = "port 0x3FF"
}
#endif

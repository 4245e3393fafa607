/// What a standard machine tells about itself by SMBIOS (DSP0134, 3.0); what is nil keeps the machine's own words.
///
/// Text is printable ASCII of at most 255 characters. The system's UUID is the configuration's.
public struct SystemIdentity: Sendable, Hashable {
    /// Type 0, the firmware. What is given replaces the firmware's own description.
    public struct Firmware: Sendable, Hashable {
        /// Who made it.
        public var vendor: String?
        /// Its version.
        public var version: String?
        /// `mm/dd/yyyy`.
        public var date: String?

        /// Nothing given.
        public init() {}
    }

    /// Type 1, the system.
    public struct System: Sendable, Hashable {
        /// Who made it.
        public var manufacturer: String?
        /// What it is.
        public var product: String?
        /// Its version.
        public var version: String?
        /// Its serial number.
        public var serialNumber: String?
        /// What it is ordered by.
        public var stockKeepingUnit: String?
        /// What it belongs to.
        public var family: String?

        /// Nothing given.
        public init() {}
    }

    /// Type 2, the baseboard.
    public struct Baseboard: Sendable, Hashable {
        /// Who made it.
        public var manufacturer: String?
        /// What it is.
        public var product: String?
        /// Its version.
        public var version: String?
        /// Its serial number.
        public var serialNumber: String?
        /// The owner's number.
        public var assetTag: String?
        /// Where in the chassis it is.
        public var location: String?

        /// Nothing given.
        public init() {}
    }

    /// Type 3, the chassis.
    public struct Chassis: Sendable, Hashable {
        /// Who made it.
        public var manufacturer: String?
        /// Its version.
        public var version: String?
        /// Its serial number.
        public var serialNumber: String?
        /// The owner's number.
        public var assetTag: String?
        /// What it is ordered by.
        public var stockKeepingUnit: String?

        /// Nothing given.
        public init() {}
    }

    /// Type 4, the processors of all sockets.
    public struct Processors: Sendable, Hashable {
        /// Speeds that can be told, in MHz.
        public static let allowedSpeeds = 0...65535

        /// The socket's number follows it.
        public var socketPrefix: String?
        /// Who made them.
        public var manufacturer: String?
        /// Their version.
        public var version: String?
        /// Their serial number.
        public var serialNumber: String?
        /// The owner's number.
        public var assetTag: String?
        /// What they are ordered by.
        public var partNumber: String?
        /// In MHz.
        public var maximumSpeed: Int?
        /// In MHz.
        public var currentSpeed: Int?

        /// Nothing given.
        public init() {}
    }

    /// Type 17, the memory devices.
    public struct MemoryDevices: Sendable, Hashable {
        /// The device's number follows it.
        public var locatorPrefix: String?
        /// Which bank they are in.
        public var bank: String?
        /// Who made them.
        public var manufacturer: String?
        /// Their serial number.
        public var serialNumber: String?
        /// The owner's number.
        public var assetTag: String?
        /// What they are ordered by.
        public var partNumber: String?
        /// In MT/s.
        public var speed: Int?

        /// Nothing given.
        public init() {}
    }

    /// Type 0; nil leaves it to UEFI firmware to describe itself.
    public var firmware: Firmware?
    /// Type 1.
    public var system = System()
    /// Type 2.
    public var baseboard = Baseboard()
    /// Type 3.
    public var chassis = Chassis()
    /// Type 4.
    public var processors = Processors()
    /// Type 17.
    public var memoryDevices = MemoryDevices()

    /// The machine's own words.
    public init() {}
}

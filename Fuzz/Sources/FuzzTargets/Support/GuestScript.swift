internal import StratoMemory

/// What a guest does to a machine's devices, as bytes: one byte that says what, then its operands.
///
///     bit 7      write
///     bits 6:4   which of the places; 7: something else than an access, which the target defines
///     bits 2:0   width - 1; an access is its offset (1, 2 or 4 bytes, as many as the place needs), then the value
struct GuestScript {
    /// Addresses that accesses go to.
    struct Place {
        let range: GuestRange
        /// On the bus for ports, not for memory.
        var isPort = false
        /// A device is there always, whatever the guest does.
        var isFixed = true
    }

    /// One step of a seed.
    enum Step {
        case read(UInt64, width: Int = 1, in: Int = 0)
        case write(UInt64, at: UInt64, width: Int = 1, in: Int = 0)
        case event([UInt8])
    }

    private static let isWrite: UInt8 = 0x80
    private static let eventMask: UInt8 = 0x70

    /// Offsets reach this far past a range's end: no device of the range must answer there.
    private static let margin: UInt64 = 8

    let memory = Bus(name: "MMIO")
    let ports = Bus(name: "port")
    let places: [Place]

    init(_ places: [Place]) {
        self.places = places
    }

    /// One device by itself.
    init(_ device: any BusDevice, at range: GuestRange) throws {
        places = [Place(range: range)]
        try memory.insert(device, at: range)
    }

    /// Carries out all of the input, as the exits of a virtual CPU do.
    ///
    /// - Parameter event: gets the steps that are no accesses.
    func run(_ input: inout FuzzInput, event: (inout FuzzInput) throws -> Void) rethrows {
        var memoryView = memory.makeView()
        var portView = ports.makeView()
        while !input.isEmpty {
            let code = input.byte()
            guard code & GuestScript.eventMask != GuestScript.eventMask else {
                try event(&input)
                continue
            }
            let place = places[Int(code & GuestScript.eventMask) >> 4 % places.count]
            if place.isPort {
                GuestScript.access(&portView, place, code, &input)
            } else {
                GuestScript.access(&memoryView, place, code, &input)
            }
        }
    }

    func run(_ input: inout FuzzInput) {
        run(&input) { _ in }
    }

    private static func access(_ bus: inout BusView, _ place: Place, _ code: UInt8, _ input: inout FuzzInput) {
        let width = Int(code & 7) + 1
        let size = place.range.size
        let offset = number(offsetSize(size), &input) % (size + margin)
        let address = place.range.base.value + offset
        let isInside = place.isFixed && offset + UInt64(width) <= size
        if code & isWrite != 0 {
            let isTaken = bus.write(number(width, &input), to: address, width: width)
            expect(isTaken || !isInside, "a device takes every write in its range")
        } else {
            let value = bus.read(address, width: width)
            expect(value != nil || !isInside, "a device answers every read in its range")
            expect(width == 8 || (value ?? 0) >> UInt64(8 * width) == 0, "an answer is as wide as the read")
        }
    }

    private static func number(_ count: Int, _ input: inout FuzzInput) -> UInt64 {
        (0..<count).reduce(0) { $0 | UInt64(input.byte()) << UInt64(8 * $1) }
    }

    private static func offsetSize(_ size: UInt64) -> Int {
        size + margin <= 1 << 8 ? 1 : size + margin <= 1 << 16 ? 2 : 4
    }

    /// The input that makes places of these sizes see these steps.
    static func bytes(_ steps: [Step], sizes: [UInt64]) -> [UInt8] {
        steps.flatMap { step -> [UInt8] in
            switch step {
            case .read(let offset, let width, let place):
                [UInt8(place << 4 | (width - 1))] + little(offset, offsetSize(sizes[place]))
            case .write(let value, let offset, let width, let place):
                [isWrite | UInt8(place << 4 | (width - 1))] + little(offset, offsetSize(sizes[place])) + little(value, width)
            case .event(let bytes):
                [eventMask] + bytes
            }
        }
    }

    static func bytes(_ steps: [Step], size: UInt64) -> [UInt8] { bytes(steps, sizes: [size]) }
}

/// A number's lowest bytes, the lowest first.
func little(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
}

extension [UInt8] {
    /// Replaces bytes by a number, little-endian; the array grows if it must.
    mutating func put<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        if count < offset + T.bitWidth / 8 { append(contentsOf: repeatElement(0, count: offset + T.bitWidth / 8 - count)) }
        for index in 0..<T.bitWidth / 8 { self[offset + index] = UInt8(truncatingIfNeeded: value >> T(8 * index)) }
    }
}

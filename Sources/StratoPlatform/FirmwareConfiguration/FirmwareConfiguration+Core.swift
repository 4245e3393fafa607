internal import Glibc
internal import StratoHost
internal import StratoMemory

extension FirmwareConfiguration {
    /// Where an item's bytes come from.
    enum Content {
        case bytes([UInt8])
        case source(any FirmwareSource)
        /// Made by a group's builder; the bytes are those of the last time.
        case built(group: Int, [UInt8])
        case writable([UInt8], initial: [UInt8], @Sendable ([UInt8]) -> Void)

        var size: UInt32 {
            switch self {
            case .bytes(let bytes), .built(_, let bytes), .writable(let bytes, _, _): UInt32(clamping: bytes.count)
            case .source(let source): source.size
            }
        }
    }

    /// The device without its registers.
    struct Core: ~Copyable {
        private static let stateVersion: UInt32 = 1
        /// Bytes of a source that are held for the data register.
        private static let windowSize: UInt32 = 4096

        private struct File {
            let name: String
            let key: Key
        }

        private struct Group {
            let keys: [Key]
            let build: @Sendable () -> [[UInt8]]
        }

        private var items: [Key: Content] = [
            .signature: .bytes(FirmwareConfiguration.signature),
            .identifier: .bytes(littleEndian(Feature.traditional | Feature.dma)),
        ]
        private var files: [File] = []
        private var groups: [Group] = []

        var addressHigh: UInt32 = 0
        private var key = Key.signature
        private var selected: Content? = .bytes(FirmwareConfiguration.signature)
        /// In the selected item; may be past its end.
        private var offset: UInt32 = 0

        /// A page of the selected source. Guest memory is what a file is read to; this page no guest sees.
        private var window: GuestMemory?
        private var windowStart: UInt32?

        private static func littleEndian(_ value: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
        }

        // MARK: Items

        mutating func set(_ key: Key, _ content: Content) throws(FirmwareConfigurationError) {
            let isOwn = key == .signature || key == .identifier || key == .fileDirectory
            let number = key.rawValue & ~Key.architectureLocal
            guard !isOwn, number < Key.firstFile else {
                throw FirmwareConfigurationError(description: "fw_cfg: item \(key.rawValue) is not the machine's to set")
            }
            items[key] = content
        }

        mutating func add(_ name: String, _ content: Content) throws(FirmwareConfigurationError) {
            _ = try addItem(name, content)
        }

        mutating func addGroup(_ names: [String], _ build: @escaping @Sendable () -> [[UInt8]]) throws(FirmwareConfigurationError)
        {
            for name in names { try check(name) }
            guard Set(names).count == names.count else {
                throw FirmwareConfigurationError(description: "fw_cfg: a file is named twice in \(names)")
            }
            var keys: [Key] = []
            for name in names { keys.append(try addItem(name, .built(group: groups.count, []))) }
            groups.append(Group(keys: keys, build: build))
        }

        private mutating func addItem(_ name: String, _ content: Content) throws(FirmwareConfigurationError) -> Key {
            try check(name)
            let key = Key(rawValue: Key.firstFile + UInt16(files.count))
            files.append(File(name: name, key: key))
            items[key] = content
            return key
        }

        private func check(_ name: String) throws(FirmwareConfigurationError) {
            let bytes = name.utf8
            guard !bytes.isEmpty, bytes.count < Directory.nameSize, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw FirmwareConfigurationError(
                    description: "fw_cfg: file name '\(name)' is not 1 to \(Directory.nameSize - 1) printable ASCII characters")
            }
            guard !files.contains(where: { $0.name == name }) else {
                throw FirmwareConfigurationError(description: "fw_cfg: there is a file \(name) already")
            }
            guard files.count <= Int(Key.lastFile - Key.firstFile) else {
                throw FirmwareConfigurationError(description: "fw_cfg: no room for file \(name)")
            }
        }

        /// Sorted by name, so that what a guest sees does not depend on the order in which a machine is put together.
        private var directory: [UInt8] {
            func bigEndian(_ value: UInt32) -> [UInt8] { littleEndian(value).reversed() }
            func littleEndian(_ value: UInt32) -> [UInt8] { Core.littleEndian(value) }
            var bytes = bigEndian(UInt32(files.count))
            bytes.reserveCapacity(Directory.headerSize + files.count * Directory.entrySize)
            for file in files.sorted(by: { $0.name < $1.name }) {
                bytes += bigEndian(items[file.key]?.size ?? 0)
                // Key, and 16 bits that are reserved.
                bytes += bigEndian(UInt32(file.key.rawValue) << 16)
                bytes += file.name.utf8
                bytes += [UInt8](repeating: 0, count: Directory.nameSize - file.name.utf8.count)
            }
            return bytes
        }

        // MARK: Selecting

        /// What has to be built before a key is selected.
        func groups(neededBy key: Key) -> [(index: Int, build: @Sendable () -> [[UInt8]])] {
            if key == .fileDirectory { return groups.enumerated().map { ($0.offset, $0.element.build) } }
            guard case .built(let index, _) = items[key], index < groups.count else { return [] }
            return [(index, groups[index].build)]
        }

        /// Takes over what was built; false if something was left out or is too large.
        mutating func install(_ built: [[UInt8]], group index: Int) -> Bool {
            guard index < groups.count else { return false }
            var isComplete = true
            for (position, key) in groups[index].keys.enumerated() {
                let isUsable = position < built.count && built[position].count <= FirmwareConfiguration.maximumItemSize
                items[key] = .built(group: index, isUsable ? built[position] : [])
                isComplete = isComplete && isUsable
            }
            return isComplete
        }

        mutating func select(_ key: Key) {
            self.key = key
            offset = 0
            windowStart = nil
            selected = key == .fileDirectory ? .bytes(directory) : items[key]
        }

        // MARK: Reading

        private var remaining: UInt32 {
            let size = selected?.size ?? 0
            return offset < size ? size - offset : 0
        }

        mutating func skip(_ length: UInt32) {
            let (sum, overflow) = offset.addingReportingOverflow(length)
            offset = overflow ? .max : sum
        }

        mutating func nextByte() throws(LinuxError) -> UInt8 {
            guard remaining > 0, let selected else { return 0 }
            let position = offset
            offset += 1
            switch selected {
            case .bytes(let bytes), .built(_, let bytes), .writable(let bytes, _, _):
                return Int(position) < bytes.count ? bytes[Int(position)] : 0
            case .source(let source):
                return try byte(of: source, at: position)
            }
        }

        private mutating func byte(of source: any FirmwareSource, at position: UInt32) throws(LinuxError) -> UInt8 {
            let start = position & ~(Core.windowSize - 1)
            if windowStart != start || window == nil {
                windowStart = nil
                let page = if let window { window } else { try Core.makeWindow() }
                window = page
                let count = Int(min(Core.windowSize, source.size - start))
                try source.read(at: start, count: count, to: GuestAddress(0), in: page)
                windowStart = start
            }
            return window?.buffer(at: GuestAddress(UInt64(position - start)), count: 1)?.load(UInt8.self, at: 0) ?? 0
        }

        private static func makeWindow() throws(LinuxError) -> GuestMemory {
            do throws(GuestMemoryError) {
                guard let range = GuestRange(base: GuestAddress(0), size: UInt64(windowSize)) else {
                    throw .invalidLayout("no page")
                }
                return try GuestMemory([range])
            } catch {
                throw LinuxError(code: ENOMEM, operation: "hold a page of a firmware item: \(error)")
            }
        }

        /// Copies the next bytes to the guest, zeros after the item's end; false, and nothing is copied, if there is no such
        /// memory or the end is too near.
        mutating func read(_ length: UInt32, to target: GuestAddress, in memory: GuestMemory) throws(LinuxError) -> Bool {
            let available = min(length, remaining)
            guard length - available <= Transfer.paddingLimit, let buffer = memory.buffer(at: target, count: Int(length)) else {
                return false
            }
            if available > 0, let selected {
                switch selected {
                case .bytes(let bytes), .built(_, let bytes), .writable(let bytes, _, _):
                    let rest = bytes.span.extracting(droppingFirst: Int(offset))
                    buffer.copy(rest.extracting(first: Int(available)), to: 0)
                case .source(let source):
                    try source.read(at: offset, count: Int(available), to: target, in: memory)
                }
            }
            buffer.slice(from: Int(available), count: Int(length - available))?.fill(0)
            skip(length)
            return true
        }

        // MARK: Writing

        /// Copies bytes from the guest to where the selection is; nil, and nothing is changed, if that can't be.
        mutating func write(
            _ length: UInt32, from source: GuestAddress, in memory: GuestMemory
        ) -> (bytes: [UInt8], handler: @Sendable ([UInt8]) -> Void)? {
            guard case .writable(var bytes, let initial, let handler) = selected, length > 0, length <= remaining,
                let buffer = memory.buffer(at: source, count: Int(length))
            else { return nil }
            bytes.replaceSubrange(Int(offset)..<Int(offset + length), with: buffer.bytes())
            skip(length)
            let content = Content.writable(bytes, initial: initial, handler)
            items[key] = content
            selected = content
            return (bytes, handler)
        }

        // MARK: State

        mutating func reset() {
            for (key, content) in items {
                guard case .writable(_, let initial, let handler) = content else { continue }
                items[key] = .writable(initial, initial: initial, handler)
            }
            addressHigh = 0
            select(.signature)
        }

        /// Keys of the items that change, ascending.
        private var changingKeys: [Key] {
            items.keys.filter { key in
                switch items[key] {
                case .built, .writable: true
                default: false
                }
            }.sorted { $0.rawValue < $1.rawValue }
        }

        func encoded() -> [UInt8] {
            var encoder = StateEncoder(version: Core.stateVersion)
            encoder.put(key.rawValue)
            encoder.put(offset)
            encoder.put(addressHigh)
            let keys = changingKeys
            encoder.put(UInt32(keys.count))
            for key in keys {
                encoder.put(key.rawValue)
                switch items[key] {
                case .built(_, let bytes), .writable(let bytes, _, _): encoder.put(bytes)
                default: encoder.put([UInt8]())
                }
            }
            return encoder.bytes
        }

        mutating func restore(_ bytes: [UInt8]) throws(StateError) {
            var decoder = try StateDecoder(bytes, versions: Core.stateVersion...Core.stateVersion)
            let newKey = Key(rawValue: try decoder.take())
            let newOffset = try decoder.take(UInt32.self)
            let newHigh = try decoder.take(UInt32.self)
            guard newKey.rawValue & Key.writeChannel == 0 else { throw .invalid("fw_cfg selection") }
            var changed: [Key: Content] = [:]
            let keys = changingKeys
            guard try decoder.take(UInt32.self) == UInt32(keys.count) else { throw .invalid("number of fw_cfg items") }
            for key in keys {
                guard try decoder.take(UInt16.self) == key.rawValue else { throw .invalid("fw_cfg item") }
                let bytes = try decoder.take("size of a fw_cfg item", atMost: FirmwareConfiguration.maximumItemSize)
                switch items[key] {
                case .built(let group, _):
                    changed[key] = .built(group: group, bytes)
                case .writable(_, let initial, let handler):
                    guard bytes.count == initial.count else { throw .invalid("size of a fw_cfg item") }
                    changed[key] = .writable(bytes, initial: initial, handler)
                default:
                    throw .invalid("fw_cfg item")
                }
            }
            try decoder.finish()
            items.merge(changed) { $1 }
            select(newKey)
            offset = newOffset
            addressHigh = newHigh
        }
    }
}
